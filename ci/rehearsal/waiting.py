"""Who waits for a plan's migrations: a line for each relation, the busiest first. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..model import Rehearsal, TableActivity
from .forecast import BlockingLock, blocking_locks

Known = Literal["measured", "inferred", "assumed"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A relation that somebody waits for.

    lock: the one that is held the longest.
    migration: which takes it.
    others: further migrations that make somebody wait for the relation.
    seconds: of all of them together, each with its longest.
    known: whether the time was seen, or is that of the statement, which may have held it shorter.
    activity: how busy it is on the live server; None: that is not known.
    """

    relation: str
    lock: BlockingLock
    migration: str
    others: int
    seconds: float
    known: Known
    activity: TableActivity | None


def waiting(rehearsal: Rehearsal) -> tuple[Waiting, ...]:
    """Return every relation that anybody waits for, the busiest first.

    Busy is by scans and rows changed on the live server; where that is not known, or is the same,
    what is held longer is first.
    """
    activity = {table.relation: table for table in rehearsal.activity}
    longest: dict[str, list[tuple[BlockingLock, str, Known]]] = {}
    for migration in rehearsal.migrations:
        seen = set[str]()
        for lock in blocking_locks(migration):
            if lock.relation in seen:
                continue
            seen.add(lock.relation)
            known: Known = "measured" if migration.transactional or _passing(lock) else "inferred"
            longest.setdefault(lock.relation, []).append((lock, migration.name, known))
    lines = [_line(relation, held, activity.get(relation)) for relation, held in longest.items()]
    return tuple(sorted(lines, key=lambda line: (-_traffic(line), -line.seconds, line.relation)))


def relations(rehearsal: Rehearsal) -> frozenset[str]:
    """Return the relations that anybody waits for."""
    return frozenset(
        lock.relation for migration in rehearsal.migrations for lock in blocking_locks(migration)
    )


def _passing(lock: BlockingLock) -> bool:
    return any(
        lock.relation == name and lock.mode == mode for name, mode, _ in lock.statement.passing
    )


def _line(
    relation: str, held: Iterable[tuple[BlockingLock, str, Known]], activity: TableActivity | None
) -> Waiting:
    ordered = sorted(held, key=lambda each: -each[0].seconds)
    lock, migration, known = ordered[0]
    whole = sum(each.seconds for each, _, _ in ordered)
    return Waiting(relation, lock, migration, len(ordered) - 1, whole, known, activity)


def _traffic(line: Waiting) -> float:
    return line.activity.traffic if line.activity is not None else -1.0
