"""Goes on after an outage of the server: what was cut off runs again only where it is not done."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from ..database import errors, orphans, transient, trusted
from ..errors import ChildFailed, Stalled, StepFailed, Unreachable
from ..model import Direction, Migration, Plan
from .journal import Journal, lacks
from .work import Work

T = TypeVar("T")

ENDED_AT_MOST = 3  # times that somebody ends one and the same migration's session
LOST_KINDS = ("OperationalError", "InterfaceError", "ConnectionDoesNotExistError")
RECORD = """
    select d.status, (select pg_catalog.count(*) from windlass.step s where s.deployment_id = d.id),
           (select pg_catalog.max(c.id) from windlass.correction c)
    from windlass.deployment d where d.id = %s
"""


def run_migration(work: Work, migration: Migration, direction: Direction) -> int:
    """Apply or undo one migration, through outages; return how often it was tried again.

    A transaction whose COMMIT was cut off is resolved by the history: first everything of it that
    is still at work on the server is ended, and the lock is ours again, then its row is read.
    """
    runner = work.engine.runner
    run = runner.apply if direction == "up" else runner.undo

    def settled() -> bool:
        return (migration.name in _applied(work)) == (direction == "up")

    outage, tries, retries = work.database.patience.outage(), 0, 0
    done = False
    while not done:
        try:
            retries = run(migration, work.database, work.terms())
            done = True
        except (StepFailed, psycopg.Error) as error:
            why = passing(error)
            tries += 1
            ended = why == transient.STATES["57P01"] and tries > ENDED_AT_MOST
            if not why or ended or not _again(work, why, outage.goes_on):
                raise
            orphans.end_own(work.database)
            work.guard()
            done = settled() and not _half_done(work, migration)
    _note(work, migration, direction)
    return retries + tries


def read_again(work: Work, run: Callable[[], T]) -> T:
    """Run what changes nothing, or means the same when it runs twice, through outages."""
    outage = work.database.patience.outage()
    while True:
        try:
            return run()
        except (StepFailed, psycopg.Error) as error:
            why = passing(error)
            if not why or not outage.goes_on(why):
                raise
        work.guard()


def passing(error: BaseException) -> str:
    """Say what passes by itself in an error or in what it was raised from; empty: nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Unreachable):  # it was waited for already
            return ""
        why = _passing(cause)
        if why:
            return why
        cause = cause.__cause__
    return ""


def _passing(error: BaseException) -> str:
    if isinstance(error, psycopg.Error):
        return errors.passing(error)
    if isinstance(error, Stalled):
        return transient.LOST
    if isinstance(error, ChildFailed):
        return transient.in_child(error.stderr)
    state, kind = getattr(error, "sqlstate", None), getattr(error, "kind", "")
    if state:  # of the project's own Python
        return transient.reason(str(state), broken=False)
    return transient.in_child(str(error)) or transient.LOST if kind in LOST_KINDS else ""


def _again(work: Work, why: str, goes_on: Callable[[str], bool]) -> bool:
    """Wait; where the server is full, a child may have the place of our spare session."""
    spare = work.database.spare
    if transient.is_full(why) and spare is not None:
        spare.close()
    return goes_on(why)


def _note(work: Work, migration: Migration, direction: Direction) -> None:
    if direction == "up":
        work.standing.add(migration.name)
    else:
        work.standing.discard(migration.name)
    if work.database.spare is not None and work.held:
        work.database.spare.open()


def _applied(work: Work) -> set[str]:
    return {row.name for row in work.database.read("history", work.engine.history.rows)}


def _half_done(work: Work, migration: Migration) -> bool:
    partials = work.database.read("history", work.engine.history.partials)
    return any(partial.name == migration.name for partial in partials)


def corrections(work: Work) -> int:
    """Return the number of the last correction of the history; 0: there is none."""

    def read(connection: psycopg.Connection) -> int:
        if not trusted.exists(connection, "correction"):
            return 0
        row = connection.execute("select pg_catalog.max(id) from windlass.correction").fetchone()
        return int(row[0] or 0) if row else 0

    return work.database.read("journal", read)


def require_unbroken(work: Work, plan: Plan, journal: Journal, corrected: int) -> None:
    """Raise unless the database is as this run left it, after its lock was lost and taken again.

    Raises:
        StepFailed: another run was there meanwhile, or a server without our last transactions.

    """

    def read(connection: psycopg.Connection) -> tuple[str, int, int] | None:
        if not trusted.exists(connection, "deployment", "step", "correction"):
            return None
        return connection.execute(RECORD, (journal.id,)).fetchone()

    row = work.database.read("journal", read)
    if row is None or row[1] < journal.written:
        raise lacks("the journal does not have this deployment as it was written", plan.environment)
    if row[0] != "running":
        raise _others(f"the journal says that it ended: {row[0]}", plan)
    if int(row[2] or 0) != corrected:
        raise _others("somebody corrected the history", plan)
    missing = sorted(work.standing - _applied(work))
    if missing:
        raise lacks(f"not applied any more: {', '.join(missing)}", plan.environment)


def _others(what: str, plan: Plan) -> StepFailed:
    return StepFailed(
        f"another run was there while the deployment lock was lost: {what}",
        state="nothing more was started; what this run did before is in the journal",
        next_step=f"invoke history --env {plan.environment}, then plan again",
    )
