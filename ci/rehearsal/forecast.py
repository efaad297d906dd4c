"""From what was seen on the copy to what the deployment will do. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..model import Rehearsal, Rehearsed, Traced

# From the conflict table of the documentation, "Explicit Locking": what an application does.
BLOCKS = {
    "AccessExclusiveLock": "reads and writes",
    "ExclusiveLock": "writes",
    "ShareRowExclusiveLock": "writes",
    "ShareLock": "writes",
}
ROWS = "row locks"  # in the place of a mode


@dataclass(frozen=True, slots=True)
class BlockingLock:
    """A lock that an application's queries wait for, and how long it was held on the copy.

    mode: of a lock of the table; `ROWS` where it is of rows.
    rows: how many are locked, and of how many by the table's statistics (-1: not known).
    """

    relation: str
    mode: str
    seconds: float
    statement: Traced  # which took it
    rows: tuple[int, int] | None = None

    @property
    def blocks(self) -> str:
        """What waits for it: "writes", "reads and writes", "writes of 10 of about 90 rows"."""
        if self.rows is None:
            return BLOCKS[self.mode]
        count, whole = self.rows
        of = f" of about {whole:,}" if whole >= count else ""
        return f"writes of {count:,}{of} row{'' if count == 1 and not of else 's'}"


def blocking_locks(migration: Rehearsed) -> tuple[BlockingLock, ...]:
    """Return the locks of a migration that an application would wait for, the longest first.

    In a transaction a lock is held from the statement that takes it until the end: the verify
    script, the history's row and the commit come after the last statement. What is in one before
    batches is held until they begin. Else it is held as long as its statement, or batch, runs. One
    that a statement gave back was held as long as it was seen. Of a relation locked twice, each
    mode is one; rows changed or locked are one of their own.
    """
    locks: list[BlockingLock] = []
    # What begins the transaction is in it too: a few milliseconds more, never less.
    tail = max(
        0.0, migration.seconds - sum(statement.seconds for statement in migration.statements)
    )
    for at, statement in enumerate(migration.statements):
        seconds = statement.seconds
        if migration.transactional and statement.until_end is not None:
            seconds = statement.until_end
        elif migration.transactional:
            seconds = tail + sum(traced.seconds for traced in migration.statements[at:])
        elif at < migration.together:
            inside = migration.statements[at : migration.together]
            seconds = sum(traced.seconds for traced in inside)
        locks += [
            BlockingLock(relation, mode, seconds, statement)
            for relation, mode in (*statement.locks, *_indexes_alone(statement))
            if mode in BLOCKS
        ]
        locks += [
            BlockingLock(relation, mode, held, statement)
            for relation, mode, held in statement.passing
            if mode in BLOCKS
        ]
        locks += _of_rows(statement, seconds, locks)
    return tuple(sorted(locks, key=lambda lock: (-lock.seconds, lock.blocks, lock.relation)))


def _of_rows(
    statement: Traced, seconds: float, locks: Iterable[BlockingLock]
) -> list[BlockingLock]:
    """Return the row locks of a statement, where no lock of their table is held for as long."""
    tables = {lock.relation for lock in locks if lock.rows is None and lock.seconds >= seconds}
    return [
        BlockingLock(relation, ROWS, seconds, statement, (count, whole))
        for relation, count, whole in statement.rows_locked
        if relation not in tables
    ]


def _indexes_alone(statement: Traced) -> tuple[tuple[str, str], ...]:
    """Return an index's exclusive locks where no table has one: planning a read needs its indexes.

    Source: get_relation_info in plancat.c opens every index of a table it plans for.
    """
    exclusive = "AccessExclusiveLock"
    if any(mode == exclusive for _, mode in statement.locks):
        return ()
    return tuple(lock for lock in statement.index_locks if lock[1] == exclusive)


def too_long(migration: Rehearsed, *, at_most: float) -> BlockingLock | None:
    """Return the lock that was held the longest, where that is more than `at_most` seconds."""
    longest = next(iter(blocking_locks(migration)), None)
    return longest if longest is not None and longest.seconds > at_most else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long it will take, by what it took on the copy; seconds."""

    deployment: float  # backup, proof and migrations; the restart is not rehearsed
    restore: float


def forecast(rehearsal: Rehearsal) -> Forecast:
    """Return how long a deployment of the plan and a restore of its backup would take."""
    return Forecast(
        deployment=rehearsal.backup_seconds + rehearsal.proof_seconds + rehearsal.seconds,
        restore=rehearsal.restore_seconds,
    )
