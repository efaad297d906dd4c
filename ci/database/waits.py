"""How long a transaction has made others wait, by what was seen of it, and when it must let go.

Pure: each look at its locks is an argument. `lock_timeout` begins anew at every lock; a reader
behind the first of forty waits for all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

# rows: a session that blocks us waits for rows that we have changed, so it never lets us through.
# circle: it waits for a lock of ours; it goes on as soon as we let go.
# sum: our waits together are longer than the rung.
# budget: a table of `hot_tables` was held up for longer than it may be, over all tries.
Reason = Literal["rows", "circle", "sum", "budget"]
Awaits = Literal["", "rows", "lock"]  # what a blocker waits for, of ours


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a session's locks at one moment.

    at: seconds on the monotonic clock.
    transaction: its virtual transaction id.
    waits: whether it waits for a lock of any kind.
    strong: tables on which it has, or waits for, a lock that an application waits for; those that
        it created itself are not among them.
    """

    at: float
    transaction: str
    waits: bool
    strong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """What looks at one try have come to; seconds.

    at: the moment of the last look.
    waited: by this transaction, for locks, while it had or wanted something strong.
    held: by each table, had or wanted.
    """

    at: float
    transaction: str = ""
    waited: float = 0.0
    held: Mapping[str, float] = field(default_factory=dict)


def counted(tally: Tally, look: Look) -> Tally:
    """Return the tally with one more look: what is seen now is taken to be so since the last."""
    since = look.at - tally.at
    waited = tally.waited if look.transaction == tally.transaction else 0.0
    held = dict(tally.held)
    for table in look.strong:
        held[table] = held.get(table, 0.0) + since
    if look.waits and look.strong:
        waited += since
    return Tally(look.at, look.transaction, waited, held)


def reason_to_let_go(
    tally: Tally, *, rung: float, awaits: Iterable[Awaits] = (), left: Mapping[str, float]
) -> Reason | None:
    """Return why a transaction must be rolled back now; None: it may go on.

    Args:
        tally: what its looks have come to.
        rung: seconds that its waits may take together.
        awaits: what each session that blocks it waits for, of its own.
        left: seconds that are left of each hot table's budget.

    """
    circles = set(awaits)
    if "rows" in circles:
        return "rows"
    if "lock" in circles:
        return "circle"
    if overdrawn(tally, left):
        return "budget"
    return "sum" if tally.waited > rung else None


def overdrawn(tally: Tally, left: Mapping[str, float]) -> str:
    """Return the hot table that was held up for longer than is left of its budget; else empty."""
    return next((table for table in sorted(left) if tally.held.get(table, 0.0) > left[table]), "")


def spent(left: Mapping[str, float], tally: Tally) -> dict[str, float]:
    """Return what is left of each hot table's budget after a try; never below 0."""
    return {table: max(0.0, left[table] - tally.held.get(table, 0.0)) for table in left}
