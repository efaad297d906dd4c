"""How many rows the next batch has."""

import pytest

from pgwindlass.backfill.sizing import MOST, grown, poisoned, stopped, timeout, yielding

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("rows", "seconds", "target", "next_rows"),
    [
        (1000, 0.5, 0.5, 1000),
        (1000, 0.4, 0.5, 1250),
        (1000, 0.01, 0.5, 2000),
        (1000, 0.0, 0.5, 2000),
        (1000, 2.0, 0.5, 250),
        (1, 9.0, 0.5, 1),
        (MOST, 0.1, 0.5, MOST),
    ],
)
def test_a_batch_comes_near_to_its_time(
    rows: int, seconds: float, target: float, next_rows: int
) -> None:
    assert grown(rows, seconds, target) == next_rows


def test_the_file_may_allow_fewer_rows() -> None:
    assert grown(1000, 0.1, 0.5, 1500) == 1500
    assert grown(1, 0.1, 0.5, 1) == 1


def test_a_batch_shrinks_down_to_one_row() -> None:
    assert [stopped(1000), stopped(4), stopped(3), stopped(1)] == [250, 1, 1, 1]
    assert [poisoned(1000), poisoned(8), poisoned(7), poisoned(1)] == [125, 1, 1, 1]


def test_it_yields_to_who_waits_unless_it_is_short_already() -> None:
    assert yielding(1000, 0.5, 0.5) == 500
    assert yielding(1, 0.5, 0.5) == 1
    assert yielding(1000, 0.05, 0.5) == 1000
    assert yielding(1000, 0.06, 0.5) == 500


def test_one_row_may_take_as_long_as_any_statement() -> None:
    assert timeout(1, 0.5, 3600.0) == 3600.0
    assert timeout(2, 0.5, 3600.0) == 2.0
    assert timeout(2, 5.0, 3600.0) == 20.0
    assert timeout(2, 5.0, 10.0) == 10.0
