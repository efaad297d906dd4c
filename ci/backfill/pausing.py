"""When a backfill waits: others are behind, or somebody has asked it to. Pure."""

import re
from dataclasses import dataclass

from ..config.sections import BackfillConfig

WAL_FILE = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
MEGABYTE = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the server says of those whom batches may leave behind."""

    replica: str = ""  # application_name of the one that is furthest behind
    replica_bytes: int = 0  # of WAL that it has not replayed
    replica_seconds: float = 0.0  # as pg_stat_replication.replay_lag; 0.0: not known
    archive_bytes: int = 0  # of WAL that is not archived
    vacuum: str = ""  # a table of the backfill under an autovacuum to prevent wraparound

    @property
    def lag(self) -> str:
        """How far the last replica is behind, for a line of progress; empty: there is none."""
        if not self.replica:
            return ""
        return f"{self.replica} {self.replica_seconds:.1f} s behind"


def wal_behind(current: str, archived: str, segment: int) -> int:
    """Return the bytes of WAL between two files of one timeline; 0 where that is not known.

    Args:
        current: the file that is written now, 24 hex digits.
        archived: the last one that was archived; its history and backup files do not count.
        segment: bytes of a file.

    """
    now, last = WAL_FILE.fullmatch(current), WAL_FILE.fullmatch(archived)
    if now is None or last is None or now[1] != last[1]:
        return 0
    per_log = 2**32 // segment
    numbers = [int(each[2], 16) * per_log + int(each[3], 16) for each in (now, last)]
    return max(0, numbers[0] - numbers[1] - 1) * segment  # the current one is not full yet


def reason(around: Surroundings, limits: BackfillConfig) -> str:
    """Say why the next batch has to wait; empty: it has not."""
    most = limits.wal_backlog * MEGABYTE
    late = around.replica_bytes and around.replica_seconds > limits.replica_lag.seconds
    if late or around.replica_bytes > most:
        return (
            f"the replica {around.replica} is {around.replica_seconds:.0f} s and "
            f"{around.replica_bytes / MEGABYTE:.0f} MB behind"
        )
    if around.archive_bytes > most:
        return f"{around.archive_bytes / MEGABYTE:.0f} MB of WAL are not archived yet"
    if around.vacuum:
        return f"an autovacuum to prevent wraparound is at work on {around.vacuum}"
    return ""
