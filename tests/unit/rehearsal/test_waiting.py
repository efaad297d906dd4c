"""Who waits for a plan's migrations."""

import pytest

from pgwindlass.model import TableActivity
from pgwindlass.rehearsal.forecast import ROWS, BlockingLock
from pgwindlass.rehearsal.waiting import Waiting, relations, waiting
from tests.unit.examples import A, B, rehearsal, rehearsed, traced

pytestmark = pytest.mark.unit

EXCLUSIVE = "AccessExclusiveLock"


def busy(relation: str, traffic: float) -> TableActivity:
    return TableActivity(relation=relation, traffic=traffic)


def test_the_busiest_relation_is_first_then_the_longest_then_the_first_by_name() -> None:
    short = traced(
        seconds=1.0,
        locks=tuple((f"public.{name}", EXCLUSIVE) for name in ("c", "b", "idle", "hot")),
    )
    long = traced(seconds=3.0, locks=(("public.long", EXCLUSIVE),))
    given = rehearsal(
        rehearsed(long),
        rehearsed(short),
        activity=(busy("public.hot", 9.0), busy("public.idle", 0.0)),
    )

    assert [line.relation for line in waiting(given)] == [
        "public.hot",
        "public.idle",
        "public.long",
        "public.b",
        "public.c",
    ]
    assert relations(given) == {line.relation for line in waiting(given)}


def test_a_relation_is_one_line_with_its_longest_lock_and_the_sum_of_all_migrations() -> None:
    first = traced(seconds=1.0, locks=(("public.t", "ShareLock"),))
    second = traced(seconds=2.0, rows_locked=(("public.t", 3, 9),))
    given = rehearsal(
        rehearsed(first), rehearsed(second, name=B), activity=(busy("public.t", 1.0),)
    )

    assert waiting(given) == (
        Waiting(
            "public.t",
            BlockingLock("public.t", ROWS, 2.0, second, (3, 9)),
            B,
            1,
            3.0,
            "measured",
            busy("public.t", 1.0),
        ),
    )


def test_of_one_migration_each_relation_counts_once() -> None:
    lock = traced(seconds=1.0, locks=(("public.t", "ShareLock"),))
    (line,) = waiting(rehearsal(rehearsed(lock, lock)))

    assert (line.migration, line.others, line.seconds) == (A, 0, 2.0)


@pytest.mark.parametrize(("transactional", "known"), [(True, "measured"), (False, "inferred")])
def test_outside_a_transaction_a_lock_may_be_shorter_than_its_statement(
    transactional: bool, known: str
) -> None:
    lock = traced(locks=(("public.t", EXCLUSIVE),))
    (line,) = waiting(rehearsal(rehearsed(lock, transactional=transactional)))

    assert line.known == known


def test_a_lock_that_was_given_back_was_seen_wherever_it_was_taken() -> None:
    passing = traced(passing=(("public.t", EXCLUSIVE, 0.5),))
    (line,) = waiting(rehearsal(rehearsed(passing, transactional=False)))

    assert (line.known, line.seconds) == ("measured", 0.5)


def test_without_a_lock_nobody_waits() -> None:
    assert waiting(rehearsal(rehearsed(traced()))) == ()
    assert relations(rehearsal()) == frozenset()
