"""Many runs that want the same: one does it, the others wait for it and see that it is done."""

import random
import time
from dataclasses import dataclass

import psycopg

from ..config.duration import Duration
from ..errors import LockHeld, PlanChanged
from ..model import Deployment
from ..plan.states import MigrationState, compare, unapplied
from . import journal, proposals
from .work import Work

LONGEST_PAUSE = 2.0  # seconds between two looks
TOLD_EVERY = 30.0  # seconds, where nothing changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What this run wanted is done, and it did nothing of it itself."""

    environment: str
    migrations: tuple[str, ...]  # that were pending when it began
    deployment: str  # the newest in the journal; empty: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether all that is on disk is applied."""

    environment: str
    applied: bool
    waiting: tuple[MigrationState, ...]


def migrate_or_join(
    work: Work, *, to: str = "", steps: int = 0, within: Duration
) -> Deployment | Joined:
    """Run the pending migrations, or wait for the run that does; see `propose_migration`.

    `within` is for the waiting. Where the other run failed, this one goes on itself.

    Raises:
        LockHeld: another run has the lock, and what this one wants is not done yet.
        PlanChanged: what was planned changes faster than it can be begun.

    """
    _be_patient(work, within)
    deadline = time.monotonic() + within.seconds
    proposal = proposals.propose_migration(work, to=to, steps=steps)
    wanted = tuple(migration.name for migration in proposal.plan.migrations)
    left = wanted
    while left:
        try:
            return proposals.carry_out(work, proposal)
        except (LockHeld, PlanChanged) as error:
            left = _left(work, wanted)
            if left and time.monotonic() >= deadline:
                raise
            work.reporter.note(f"{error.what}: looking again")
        time.sleep(random.uniform(0, 0.2))  # noqa: S311  # jitter
        if left:
            proposal = proposals.propose_migration(work, to=to, steps=len(left) if steps else 0)
    newest = journal.newest_deployments(work.database, limit=1)
    return Joined(
        environment=work.settings.name,
        migrations=wanted,
        deployment=newest[0].id if newest else "",
    )


def wait_until_applied(work: Work, *, within: Duration) -> Readiness:
    """Wait until nothing that is on disk is pending. Reads only; says what it waits for."""
    _be_patient(work, within)
    deadline, told, count = time.monotonic() + within.seconds, 0.0, -1
    pause = 0.1
    on_disk = work.engine.files.list()
    history = work.engine.history

    def read(connection: psycopg.Connection) -> tuple[MigrationState, ...]:
        states = compare(
            on_disk,
            history.rows(connection),
            history.partials(connection),
            history.failed(connection),
        )
        return unapplied(states)

    while True:
        waiting = work.database.read("status", read)
        now = time.monotonic()
        if not waiting or now >= deadline:
            return Readiness(environment=work.settings.name, applied=not waiting, waiting=waiting)
        if len(waiting) != count or now - told > TOLD_EVERY:
            told, count = now, len(waiting)
            work.reporter.note(
                f"{count} of {len(on_disk)} migrations are not applied, the first is "
                f"{waiting[0].name}: waiting, up to {within}"
            )
        time.sleep(min(random.uniform(pause / 2, pause), max(0.0, deadline - now)))  # noqa: S311  # jitter
        pause = min(pause * 2, LONGEST_PAUSE)


def _left(work: Work, wanted: tuple[str, ...]) -> tuple[str, ...]:
    applied = {row.name for row in work.database.read("history", work.engine.history.rows)}
    return tuple(name for name in wanted if name not in applied)


def _be_patient(work: Work, within: Duration) -> None:
    """Wait for a server that does not answer yet, too: containers start beside each other."""
    patience = work.database.patience
    patience.armed = True
    patience.wait = max(patience.wait, within, key=lambda span: span.seconds)
