"""How long the next try may wait for a table. Pure: what was seen is an argument.

A session that waits for a strong lock makes all behind it wait as long. So a longer wait is worth
its price only where it would have got the lock: not against a transaction that lasts longer than
the next rung.
"""

from ..config.sections import LockConfig
from .blockers import Blocker


def next_rung(rung: int, lock: LockConfig, *, seconds: float | None) -> int:
    """Return the rung after a try whose blockers have all ended.

    Args:
        rung: of the try that failed, counted from 0.
        lock: the ladder.
        seconds: from the beginning of that try until the last of them ended; None where no session
            could be seen, which is no reason to climb.

    """
    if seconds is None:
        return rung
    above = min(rung + 1, len(lock.timeout) - 1)
    return above if seconds <= lock.timeout[above].seconds else 0


def to_evict(lock: LockConfig, *, deadlock_timeout: float) -> int | None:
    """Return the lowest rung on which an autovacuum gives way; None where the ladder ends below.

    The server cancels an autovacuum for a session that has waited `deadlock_timeout` for it,
    no sooner: measured on 15 and 18, with 0.9 s never, with 2 s always, against the default of 1 s.
    """
    for number, rung in enumerate(lock.timeout):
        if rung.seconds > deadlock_timeout:
            return number
    return None


def can_give_way(blockers: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
    """Return the autovacuums that give way, where nothing else blocks."""
    if all(b.autovacuum and not b.wraparound for b in blockers):
        return blockers
    return ()
