"""When the next batch waits."""

import pytest

from pgwindlass.backfill.pausing import MEGABYTE, Surroundings, reason, wal_behind
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import BackfillConfig

pytestmark = pytest.mark.unit

LIMITS = BackfillConfig(replica_lag=Duration(10), wal_backlog=100)
MOST = 100 * MEGABYTE


def test_nothing_is_in_the_way_where_nobody_is_behind() -> None:
    assert reason(Surroundings(), LIMITS) == ""
    near = Surroundings(replica="b", replica_bytes=MOST, replica_seconds=10.0, archive_bytes=MOST)
    assert reason(near, LIMITS) == ""


def test_a_replica_is_late_by_time_or_by_bytes() -> None:
    late = Surroundings(replica="b", replica_bytes=MEGABYTE, replica_seconds=10.5)
    assert reason(late, LIMITS) == "the replica b is 10 s and 1 MB behind"
    far = Surroundings(replica="b", replica_bytes=MOST + MEGABYTE)
    assert reason(far, LIMITS) == "the replica b is 0 s and 101 MB behind"


def test_a_time_of_before_does_not_count_for_one_that_has_all() -> None:
    assert reason(Surroundings(replica="b", replica_seconds=99.0), LIMITS) == ""


def test_the_archive_and_a_vacuum_are_waited_for() -> None:
    assert reason(Surroundings(archive_bytes=MOST + MEGABYTE), LIMITS) == (
        "101 MB of WAL are not archived yet"
    )
    assert reason(Surroundings(vacuum="t"), LIMITS) == (
        "an autovacuum to prevent wraparound is at work on t"
    )


def test_the_lag_of_a_replica_is_told() -> None:
    assert Surroundings().lag == ""
    assert Surroundings(replica="b", replica_seconds=0.25).lag == "b 0.2 s behind"


@pytest.mark.parametrize(
    ("current", "archived", "files"),
    [
        ("000000010000000000000005", "000000010000000000000004", 0),
        ("000000010000000000000005", "000000010000000000000001", 3),
        ("000000010000000000000005", "000000010000000000000005", 0),
        ("000000010000000200000001", "0000000100000001000000FF", 1),
        ("000000020000000000000005", "000000010000000000000001", 0),
        ("000000010000000000000005", "00000002.history", 0),
        ("000000010000000000000005", "", 0),
    ],
)
def test_wal_behind_counts_whole_files_of_one_timeline(
    current: str, archived: str, files: int
) -> None:
    assert wal_behind(current, archived, 16 * MEGABYTE) == files * 16 * MEGABYTE
