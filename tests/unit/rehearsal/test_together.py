"""Which migrations are undone together, and what the rollback of a set gives back."""

import pytest

from pgwindlass.rehearsal.together import Judged, around, judged, sets
from tests.unit.examples import A, B, C, migration

pytestmark = pytest.mark.unit

D = "20260804_000000_last"


def test_what_is_not_undone_stands_alone_between_sets() -> None:
    migrations = [migration(A), migration(B), migration(C, rollback=None), migration(D)]

    found = list(sets(migrations, lambda one: one.rollback is not None))

    assert [([one.name for one in members], back) for members, back in found] == [
        ([A, B], True),
        ([C], False),
        ([D], True),
    ]
    assert list(sets([], lambda _: True)) == []


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([(), ()], [Judged((), ()), Judged((), ())]),
        # The second takes back both; behind the first, whose script is empty, nothing differs.
        ([(), ("a is missing",)], [Judged((), (B,)), Judged((), (A,))]),
        # Nobody takes back what the first did.
        ([("a is there",), ()], [Judged(("a is there",), ()), Judged((), ())]),
        # The second leaves b, and the first does not take it along.
        ([("b is there",), ("b is there",)], [Judged((), ()), Judged(("b is there",), ())]),
        # The second leaves b, the first its own.
        ([("a is there",), ("b is there",)], [Judged(("a is there",), ()), Judged((), ())]),
    ],
)
def test_a_set_is_judged_by_what_is_left_at_its_end(
    differences: list[tuple[str, ...]], expected: list[Judged]
) -> None:
    assert judged([A, B], differences) == expected


def test_groups_end_where_nothing_differs() -> None:
    found = judged([A, B, C, D], [(), ("b",), (), ("d",)])

    assert [one.proven_with for one in found] == [(B,), (A,), (D,), (C,)]


@pytest.mark.parametrize(
    ("stay", "expected"),
    [
        ((), ([], [A, B], [C, D], [])),
        ((A,), ([A], [B], [C, D], [])),
        ((B,), ([A, B], [], [C, D], [])),
        ((D,), ([], [A, B], [C], [D])),
        ((A, B, C), ([A, B], [], [], [C, D])),
    ],
)
def test_what_is_undone_on_both_sides_of_a_restart_ends_where_something_stays(
    stay: tuple[str, ...], expected: tuple[list[str], ...]
) -> None:
    first, last = (migration(A), migration(B)), (migration(C), migration(D))

    parts = around(first, last, lambda each: each.name not in stay)

    assert tuple([each.name for each in part] for part in parts) == expected
