"""Which migrations are undone together, and what the rollback of a set gives back. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..model import Migration

Set = tuple[Migration, ...]
Differences = tuple[str, ...]


class Judged(NamedTuple):
    """What is left of one migration when its set is undone.

    differences: that it leaves; none where the set gives the definitions back.
    proven_with: the others without whose rollback its own does not.
    """

    differences: Differences
    proven_with: tuple[str, ...]


def sets(
    migrations: Iterable[Migration], undone: Callable[[Migration], bool]
) -> Iterator[tuple[Set, bool]]:
    """Yield migrations in sets that are undone together, and whether they are.

    One that is not undone stands alone: no rollback goes past it.
    """
    together: list[Migration] = []
    for migration in migrations:
        if undone(migration):
            together.append(migration)
            continue
        if together:
            yield tuple(together), True
        together = []
        yield (migration,), False
    if together:
        yield tuple(together), True


class Around(NamedTuple):
    """Migrations around a restart: what is undone together on both its sides, and the rest.

    head: before those, up to one that is not undone.
    first: before the restart.
    last: after it, from there on up to one that is not undone.
    tail: from that one on.
    """

    head: Set
    first: Set
    last: Set
    tail: Set


def around(first: Set, last: Set, undone: Callable[[Migration], bool]) -> Around:
    """Return the set that lies on both sides of a restart: no rollback goes past what stays.

    Args:
        first: what runs before the restart, in order.
        last: what runs after it.
        undone: whether a migration is.

    """
    begin = next((at + 1 for at in reversed(range(len(first))) if not undone(first[at])), 0)
    end = next((at for at in range(len(last)) if not undone(last[at])), len(last))
    return Around(first[:begin], first[begin:], last[:end], last[end:])


def judged(names: Sequence[str], differences: Sequence[Differences]) -> list[Judged]:
    """Return what each of a set leaves that was undone, the last first.

    One whose rollback gives nothing back alone is proven with those that are undone after it, up
    to the first behind which nothing differs. What differs at the end is the fault of the first
    one that leaves it.

    Args:
        names: of the migrations, in the order in which they ran.
        differences: from before each one, behind its rollback.

    """
    results = [Judged((), ()) for _ in names]
    group: list[int] = []
    for at in reversed(range(len(names))):
        group.append(at)
        if differences[at]:
            continue
        for member in group:
            others = tuple(names[other] for other in reversed(group) if other != member)
            results[member] = Judged((), others)
        group = []
    if group:
        left = differences[group[-1]]
        blamed = next(at for at in group if left[0] in differences[at])
        results[blamed] = Judged(left, ())
    return results
