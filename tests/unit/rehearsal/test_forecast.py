"""From what was seen on the copy to what the deployment will do."""

import msgspec
import pytest

from pgwindlass.rehearsal.forecast import (
    BLOCKS,
    ROWS,
    BlockingLock,
    Forecast,
    blocking_locks,
    forecast,
    too_long,
)
from tests.unit.examples import rehearsal, rehearsed, traced

pytestmark = pytest.mark.unit

EXCLUSIVE = "AccessExclusiveLock"


def lock(relation: str = "public.t", mode: str = EXCLUSIVE) -> tuple[tuple[str, str], ...]:
    return ((relation, mode),)


@pytest.mark.parametrize(
    ("mode", "blocks"),
    [
        ("AccessExclusiveLock", "reads and writes"),
        ("ExclusiveLock", "writes"),
        ("ShareRowExclusiveLock", "writes"),
        ("ShareLock", "writes"),
        ("ShareUpdateExclusiveLock", None),
        ("RowExclusiveLock", None),
        ("RowShareLock", None),
        ("AccessShareLock", None),
    ],
)
def test_a_lock_that_an_application_waits_for_says_what_waits(
    mode: str, blocks: str | None
) -> None:
    statement = traced(locks=lock(mode=mode), seconds=2.0)

    found = blocking_locks(rehearsed(statement))

    expected = (BlockingLock("public.t", mode, 2.0, statement),) if blocks else ()
    assert found == expected
    assert [one.blocks for one in found] == ([blocks] if blocks else [])
    assert BLOCKS.get(mode) == blocks


def test_in_a_transaction_a_lock_is_held_until_the_end() -> None:
    before = traced(seconds=8.0)
    taking = traced(seconds=1.0, locks=lock())
    behind = traced(seconds=2.0, locks=lock("public.u"))
    migration = rehearsed(before, taking, behind, seconds=11.5)  # half a second more for the rest

    assert blocking_locks(migration) == (
        BlockingLock("public.t", EXCLUSIVE, 3.5, taking),
        BlockingLock("public.u", EXCLUSIVE, 2.5, behind),
    )


def test_what_was_measured_until_the_commit_goes_before_what_is_added_up() -> None:
    taking = traced(seconds=1.0, locks=lock(), until_end=1.5)
    behind = traced(seconds=0.25, locks=lock("public.u"), until_end=0.5)

    inside = rehearsed(taking, behind, seconds=9.0)
    outside = rehearsed(taking, seconds=9.0, transactional=False)

    assert [one.seconds for one in blocking_locks(inside)] == [1.5, 0.5]
    assert [one.seconds for one in blocking_locks(outside)] == [1.0]


def test_outside_a_transaction_a_lock_is_held_as_long_as_its_statement_runs() -> None:
    taking, behind = traced(seconds=1.0, locks=lock()), traced(seconds=2.0)
    migration = rehearsed(taking, behind, transactional=False, seconds=9.0)

    assert blocking_locks(migration) == (BlockingLock("public.t", EXCLUSIVE, 1.0, taking),)


def test_before_batches_a_lock_is_held_until_they_begin() -> None:
    taking, behind, batch = (
        traced(seconds=1.0, locks=lock()),
        traced(seconds=2.0),
        traced(seconds=4.0, locks=lock("public.u")),
    )
    migration = msgspec.structs.replace(
        rehearsed(taking, behind, batch, transactional=False, seconds=9.0), together=2
    )

    assert blocking_locks(migration) == (
        BlockingLock("public.u", EXCLUSIVE, 4.0, batch),
        BlockingLock("public.t", EXCLUSIVE, 3.0, taking),
    )


def test_statements_that_seem_longer_than_their_migration_shorten_no_lock() -> None:
    taking = traced(seconds=2.0, locks=lock())

    assert blocking_locks(rehearsed(taking, seconds=1.0)) == (
        BlockingLock("public.t", EXCLUSIVE, 2.0, taking),
    )


def test_of_equally_long_locks_the_stronger_is_first_and_then_the_smaller_name() -> None:
    statement = traced(
        locks=(
            ("public.a", "ShareLock"),
            ("public.z", EXCLUSIVE),
            ("public.b", EXCLUSIVE),
        )
    )

    assert [(one.relation, one.blocks) for one in blocking_locks(rehearsed(statement))] == [
        ("public.b", "reads and writes"),
        ("public.z", "reads and writes"),
        ("public.a", "writes"),
    ]


def test_the_lock_of_an_index_counts_where_no_table_has_the_same() -> None:
    index = lock("public.i")
    alone = traced(index_locks=(*index, ("public.j", "ShareLock")))
    beside_weak = traced(locks=lock(mode="ShareLock"), index_locks=index)
    beside_strong = traced(locks=lock(), index_locks=index)

    assert [one.relation for one in blocking_locks(rehearsed(alone))] == ["public.i"]
    assert [one.relation for one in blocking_locks(rehearsed(beside_weak))] == [
        "public.i",
        "public.t",
    ]
    assert [one.relation for one in blocking_locks(rehearsed(beside_strong))] == ["public.t"]


def test_rows_that_a_statement_changes_are_locked_until_the_end() -> None:
    changing = traced(seconds=8.0, rows_locked=(("public.t", 1, 90), ("public.u", 7, -1)))
    behind = traced(seconds=2.0, rows_locked=(("public.v", 1, -1),))
    migration = rehearsed(changing, behind, seconds=10.5)

    assert blocking_locks(migration) == (
        BlockingLock("public.t", ROWS, 10.5, changing, (1, 90)),
        BlockingLock("public.u", ROWS, 10.5, changing, (7, -1)),
        BlockingLock("public.v", ROWS, 2.5, behind, (1, -1)),
    )
    assert [lock.blocks for lock in blocking_locks(migration)] == [
        "writes of 1 of about 90 rows",
        "writes of 7 rows",
        "writes of 1 row",
    ]
    assert too_long(migration, at_most=2.0) == BlockingLock(
        "public.t", ROWS, 10.5, changing, (1, 90)
    )


def test_rows_of_a_table_that_is_locked_for_as_long_are_no_lock_of_their_own() -> None:
    locking = traced(seconds=1.0, locks=lock(mode="ShareLock"))
    changing = traced(seconds=8.0, rows_locked=(("public.t", 9, 90),))
    both = traced(seconds=1.0, locks=lock(), rows_locked=(("public.t", 9, 90),))

    assert [one.mode for one in blocking_locks(rehearsed(locking, changing))] == ["ShareLock"]
    assert [one.mode for one in blocking_locks(rehearsed(changing, locking))] == [ROWS, "ShareLock"]
    assert [one.mode for one in blocking_locks(rehearsed(both))] == [EXCLUSIVE]


def test_a_lock_that_was_given_back_is_as_long_as_it_was_seen() -> None:
    passing = traced(
        seconds=8.0,
        passing=(("public.t", EXCLUSIVE, 0.5), ("public.u", "AccessShareLock", 0.5)),
        rows_locked=(("public.t", 9, 90),),
    )

    assert [(one.mode, one.seconds) for one in blocking_locks(rehearsed(passing))] == [
        (ROWS, 8.0),
        (EXCLUSIVE, 0.5),
    ]


@pytest.mark.parametrize(("at_most", "expected"), [(1.9, True), (2.0, False), (2.1, False)])
def test_a_lock_is_too_long_above_what_is_allowed(at_most: float, expected: bool) -> None:
    longest = traced(seconds=2.0, locks=lock())
    shorter = traced(seconds=1.0, locks=lock("public.u"))
    migration = rehearsed(shorter, longest, transactional=False)

    found = too_long(migration, at_most=at_most)

    assert found == (BlockingLock("public.t", EXCLUSIVE, 2.0, longest) if expected else None)


def test_without_a_lock_nothing_is_too_long() -> None:
    assert too_long(rehearsed(traced()), at_most=0.0) is None


def test_a_deployment_takes_the_backup_its_proof_and_the_migrations() -> None:
    found = forecast(rehearsal(rehearsed(traced(seconds=1.5)), rehearsed(traced(seconds=0.25))))

    assert found == Forecast(deployment=10.0 + 4.0 + 1.75, restore=20.0)
