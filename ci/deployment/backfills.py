"""Backfills that are jobs of their own: run beside deployments, seen and waited for by them.

A job was recorded by the deployment whose approved plan has its statement; it runs that statement
alone, of the file whose checksum the history has. While it runs it holds the deployment lock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
import psycopg

from ..backfill import record
from ..backfill.progress import BackfillState
from ..backfill.run import Asked, RecordGone, gone
from ..backfill.task import verify_checksum_of
from ..database import lock, orphans, own_tables
from ..errors import ConfigError, LockHeld, Refused, StepFailed, changed
from ..model import Migration, Plan, StepName
from ..origin import find_origin
from ..plan import jobs
from ..plan.pending import in_running_order
from ..secret import redact
from . import events, identity, mirror, outlast, pause, units
from .work import Work

STEP = "backfill"
ASKED, ENDED = "backfill-asked", "backfill-ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillReport:
    """The backfills of an environment, the one that changed last at the end."""

    environment: str
    backfills: tuple[BackfillState, ...]
    lock: str  # who holds the deployment lock; empty: nobody


def report(work: Work) -> BackfillReport:
    """Return what is recorded of backfills. Reads only."""

    def look(connection: psycopg.Connection) -> BackfillReport:
        return BackfillReport(
            environment=work.settings.name,
            backfills=record.read_all(connection),
            lock=lock.who(connection),
        )

    return work.database.read(STEP, look)


def run(work: Work, name: str = "") -> tuple[BackfillState, ...]:
    """Run the jobs that are open, or those of one migration, to their end; return how they ended.

    Raises:
        Refused: one is paused, a deployment is not finished, or the file is another one.
        LockHeld: a deployment is running.
        StepFailed: a row cannot be changed, or the verify script does not hold.

    """
    identity.require(work)
    work.database.patience.armed = True
    with lock.hold(
        work.database,
        wait=work.settings.environment.lock.wait.seconds,
        on_wait=lambda holder: work.reporter.note(f"waiting for {holder}"),
        extra_locks=work.engine.lock_keys,
    ) as held:
        under = replace(work, guard=held.guard, held=True, approved=True)
        identity.require(work)
        pause.require_running(work)
        orphans.end_orphans(work.database, work.reporter.note)
        _require_no_unit(work)
        own_tables.prepare(work.database, under.terms())
        selected = [state for state in _jobs(work) if name in ("", state.migration)]
        for state in selected:
            _require_unpaused(work, state)
        work.reporter.started(StepName.MIGRATE)
        ended = []
        for state in selected:
            ended.append(_run(under, state))
            events.append_now(work.database, ENDED, events.record_of(ended[-1]))
            if ended[-1].is_open:
                break
    mirror.send(work)
    return tuple(ended)


def _jobs(work: Work) -> tuple[BackfillState, ...]:
    return jobs.unfinished(work.database.read(STEP, record.read_all))


def _require_no_unit(work: Work) -> None:
    unit = work.database.read(STEP, units.read_open)
    if unit is not None:
        raise Refused(
            f"deployment {unit.id} is not finished, and may take back what the backfill fills",
            next_step=f"invoke resume --env {work.settings.name} finishes it",
        )


def _require_unpaused(work: Work, state: BackfillState) -> None:
    if state.asked:
        raise Refused(
            str(state),
            next_step=f"invoke backfill.resume --env {work.settings.name} --name {state.migration}",
        )


def _run(work: Work, state: BackfillState) -> BackfillState:
    """Run one job, through outages; return its state at the end."""
    migration = _on_disk(work, state)
    runs = work.engine.backfills
    if runs is None:
        raise AssertionError(f"the engine {work.engine.name} has no backfills")
    stopped = _through_outages(
        work, lambda: runs.run_job(migration, state.statement, work.database, work.terms())
    )
    own = (state.migration, state.direction, state.statement)
    with work.database.session(STEP) as connection, connection.transaction():
        if stopped:
            record.set_state(connection, own, "paused" if stopped == "pause" else "cancelled")
        if stopped == "cancel":
            record.ask(connection, own, "", state.asked_by)
        after = record.read(connection, own)
    if after is None:
        raise gone(state.migration, state.statement)
    if after.state == "done":
        _verify(work, migration)
    return after


def _through_outages(work: Work, run_job: Callable[[], object]) -> str:
    """Run a job; return what a person asked it to do, empty where it came to its end."""
    outage = work.database.patience.outage()
    while True:
        try:
            run_job()
        except Asked as asked:
            return str(asked)
        except RecordGone:
            raise
        except (StepFailed, psycopg.Error) as error:
            why = outlast.passing(error)
            if not why or not outage.goes_on(why):
                if isinstance(error, StepFailed):
                    raise _with_command(work, error) from error
                raise StepFailed(
                    redact(f"the connection was lost: {error}".splitlines()[0]),
                    state="a batch in progress was rolled back, unless its COMMIT had arrived; "
                    "those before it stay done and are recorded",
                    next_step=f"{_command(work, 'run')} goes on behind them",
                ) from error
            orphans.end_own(work.database)
            work.guard()
        else:
            return ""


def _with_command(work: Work, error: StepFailed) -> StepFailed:
    remedy = error.next_step.removesuffix(", and start again").removesuffix("start again")
    return changed(error, next_step=f"{remedy}; then: {_command(work, 'run')}")


def _command(work: Work, verb: str) -> str:
    return f"invoke backfill.{verb} --env {work.settings.name}"


def _on_disk(work: Work, state: BackfillState) -> Migration:
    """Return the migration of a job; Refused where its files are not those that were deployed."""
    name = state.migration
    migration = next((m for m in work.engine.files.list() if m.name == name), None)
    applied = {row.name: row.checksum for row in work.database.read(STEP, work.engine.history.rows)}
    if migration is None or applied.get(name) not in (migration.checksum, None):
        problem = "has no file here" if migration is None else "is not the file that was deployed"
        raise Refused(
            f"{name} {problem}, and its backfill is not finished",
            next_step="run it from the commit that was deployed (git log)",
        )
    if verify_checksum_of(migration.verify) != state.verify_checksum:
        raise Refused(
            f"the verify script of {name} is not the one that was deployed, and its backfill is "
            "not finished",
            next_step="run it from the commit that was deployed (git log)",
        )
    return migration


def _verify(work: Work, migration: Migration) -> None:
    def look(connection: psycopg.Connection) -> int:
        return work.engine.runner.verify(migration, connection)

    count = work.database.read("verify", look, own_session=True)
    if count:
        work.reporter.note(f"{migration.name}: {count} verify scripts hold")


def ask(work: Work, wish: str, name: str, reason: str) -> tuple[BackfillState, ...]:
    """Ask the jobs that are open, or those of one migration, to pause or to end; recorded.

    One that runs hears of it within some seconds, between two batches. `wish` is pause, cancel,
    or empty: a pause is over. By its migration's name a job that was cancelled is opened again.

    Raises:
        ConfigError: cancel has no reason.
        Refused: there is no such backfill.

    """
    if wish == "cancel" and not reason.strip():
        raise ConfigError("cancel needs a reason, which is recorded", next_step='--reason "why"')
    identity.require(work)
    known = work.database.read(STEP, record.read_all)
    selected = [s for s in known if _is_asked(s, wish, name)]
    if not selected:
        raise Refused(
            f"no backfill{f' of {name}' if name else ''} is open",
            next_step=f"{_command(work, 'status')} lists them",
        )
    who = events.who(find_origin(work.settings.root))
    with work.database.session(STEP) as connection, events.transaction(connection):
        for state in selected:
            own = (state.migration, state.direction, state.statement)
            record.ask(connection, own, wish, who if wish else "")
            if not state.is_open:
                record.set_state(connection, own, "waiting")
            told = {"asked": wish or "resume", "by": who, "reason": reason.strip()}
            about = events.record_of(state) | told
            events.append(connection, ASKED, work.deployment_id, about)
    _settle(work, tuple(selected), wish)
    mirror.send(work)
    names = {state.migration for state in selected}
    return tuple(s for s in work.database.read(STEP, record.read_all) if s.migration in names)


def _is_asked(state: BackfillState, wish: str, name: str) -> bool:
    if state.is_open:
        return name in ("", state.migration)
    again = wish == "" and state.job and state.state == "cancelled"
    return again and name == state.migration


def _settle(work: Work, selected: tuple[BackfillState, ...], wish: str) -> None:
    """Record at once what nobody is there to do: no run has a job while nobody has the lock."""
    try:
        with lock.hold(work.database, wait=0.0), work.database.session(STEP) as connection:
            for state in selected:
                own = (state.migration, state.direction, state.statement)
                if state.job and wish == "cancel":
                    record.set_state(connection, own, "cancelled")
                    record.ask(connection, own, "", "")
                elif state.job:
                    record.set_state(connection, own, "paused" if wish else "waiting")
    except LockHeld:
        work.reporter.note("it is told to whoever runs it, and done between two batches")


def require_clear(work: Work, plan: Plan, own: frozenset[str]) -> None:
    """Refuse migrations while a job of another deployment is open; `own` are this unit's.

    Raises:
        Refused: one is open, or would be left behind a migration that comes after it.

    """
    if plan.direction == "up" and plan.migrations:
        _leaving(work, in_running_order(plan.migrations), own)


def _leaving(work: Work, ordered: tuple[Migration, ...], own: frozenset[str]) -> list[str]:
    """Return which of the migrations, in running order, leave a job; refuse as `require_clear`."""
    environment, runs = work.settings.name, work.engine.backfills
    jobs.require_finished(_jobs(work), own, environment=environment)
    leaving = [m.name for m in ordered if runs is not None and runs.has_job(m)]
    names = tuple(migration.name for migration in ordered)
    jobs.require_last(names, frozenset(leaving), environment=environment)
    return leaving


def check(work: Work, migrations: tuple[Migration, ...]) -> str:
    """Return for a preflight that no job is in the way of migrations, in running order.

    Raises:
        Refused: as `require_clear`.

    """
    if not migrations:
        count = len(_jobs(work))
        return f"{count} open" if count else "none is open"
    leaving = _leaving(work, migrations, frozenset(migration.name for migration in migrations))
    return f"{leaving[-1]} leaves one to {_command(work, 'run')}" if leaving else "none is open"


@contextmanager
def told(work: Work) -> Iterator[None]:
    """Say of a lock that somebody holds how a job that holds it is made to let go."""
    try:
        yield
    except LockHeld as error:
        running = [state for state in _jobs(work) if state.state == "running"]
        if not running:
            raise
        raise changed(
            error,
            next_step=f"it may be this: {running[0]}; {_command(work, 'pause')} makes it let go, "
            f"{_command(work, 'status')} says how far it is; or the same command later",
        ) from error


def document(states: tuple[BackfillState, ...]) -> object:
    """Return backfills for JSON."""
    return msgspec.to_builtins(states)
