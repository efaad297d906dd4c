"""How many rows the next batch has: so many that it takes as long as it should. Pure."""

FIRST = 1000  # rows of the first batch
MOST = 500_000  # rows; above it a batch of rows that need no change reads for too long
GROWTH = 2.0  # at most, from one batch to the next: what comes may be heavier
POISONED = 8  # by this a batch shrinks around a row that cannot be changed
STOPPED = 4  # by this one shrinks that was stopped by a lock or by its timeout
SLACK = 4.0  # a batch of several rows may take so many times what it should
LEAST_TIMEOUT = 2.0  # seconds
YIELDS_ABOVE = 0.1  # of the target: a batch that is shorter does not shrink for who waits


def grown(rows: int, seconds: float, target: float, most: int | None = None) -> int:
    """Return how many rows the batch behind one that succeeded has.

    Args:
        rows: that it had.
        seconds: that it took, from its begin to its commit.
        target: that it should take.
        most: rows that the file allows; None: MOST.

    """
    factor = min(GROWTH, target / seconds) if seconds > 0 else GROWTH
    return max(1, min(int(rows * factor) or 1, most or MOST))


def stopped(rows: int) -> int:
    """Return how many rows to try where a lock or the time stopped a batch; at least one."""
    return max(1, rows // STOPPED)


def poisoned(rows: int) -> int:
    """Return how many rows to try where one of them could not be changed; at least one."""
    return max(1, rows // POISONED)


def yielding(rows: int, seconds: float, target: float) -> int:
    """Return how many rows the next batch has where somebody waited for one; at least one."""
    return max(1, rows // 2) if seconds > target * YIELDS_ABOVE else rows


def timeout(rows: int, target: float, longest: float) -> float:
    """Return how many seconds a batch may take: of one row alone, as long as any statement."""
    return longest if rows == 1 else min(longest, max(LEAST_TIMEOUT, SLACK * target))
