"""The state of each migration: what is on disk against what the history has."""

import pytest

from pgwindlass.model import Failed, Migration, Partial
from pgwindlass.plan.states import (
    EVERYTHING,
    MigrationState,
    State,
    built_on,
    compare,
    heads,
    is_graph,
    unapplied,
    up_to,
    waiting,
)
from tests.unit.examples import NOW, A, B, C, applied, changed, migration

pytestmark = pytest.mark.unit

# a1 ─ b2 ─ c3 ─ e5 (head)
#        └ d4 (head)
GRAPH = tuple(
    migration(name, after=after)
    for name, after in (
        ("a1", ()),
        ("b2", ("a1",)),
        ("d4", ("b2",)),
        ("c3", ("b2",)),
        ("e5", ("c3",)),
    )
)
WHEN = "2026-11-20T12:30:15+00:00"


def partial(name: str, direction: str) -> Partial:
    return Partial(name=name, direction=direction, statements_done=1, statements=3)  # type: ignore[arg-type]  # a test's word


def test_a_migration_without_a_row_is_pending_and_one_with_its_row_is_applied() -> None:
    states = compare((migration(A, title="orders"), migration(B)), (applied(A),))

    assert states == (
        MigrationState(A, State.APPLIED, WHEN, "", "orders"),
        MigrationState(B, State.PENDING),
    )


@pytest.mark.parametrize(
    ("checksum", "state"),
    [("sha256:another", State.EDITED), (None, State.APPLIED), ("sha256:select 1;", State.APPLIED)],
)
def test_a_file_is_edited_where_its_row_has_another_checksum(
    checksum: str | None, state: State
) -> None:
    (found,) = compare((migration(A),), (changed(applied(A), checksum=checksum),))

    assert found.state is state


def test_a_row_without_a_file_is_missing() -> None:
    assert compare((), (applied(A, at=None),)) == (MigrationState(A, State.MISSING),)


def test_what_is_older_than_the_newest_applied_one_is_out_of_order() -> None:
    states = compare((migration(A), migration(B), migration(C)), (applied(B),))

    assert [state.state for state in states] == [
        State.OUT_OF_ORDER,
        State.APPLIED,
        State.PENDING,
    ]


def test_a_missing_file_makes_nothing_out_of_order() -> None:
    states = compare((migration(A), migration(B)), (applied(C),))

    assert [state.state for state in states] == [State.PENDING, State.PENDING, State.MISSING]


@pytest.mark.parametrize(
    ("direction", "state"), [("up", State.PARTIAL), ("down", State.HALF_UNDONE)]
)
def test_what_was_cut_off_half_way_says_how_far_it_came(direction: str, state: State) -> None:
    states = compare((migration(A, title="t"),), (applied(A),), (partial(A, direction),))

    assert states == (MigrationState(A, state, WHEN, "statement 1 of 3 done", "t"),)


def test_a_partial_one_without_a_file_is_missing() -> None:
    assert compare((), (), (partial(A, "up"),)) == (MigrationState(A, State.MISSING),)


def test_a_failed_one_says_when_it_began_and_the_beginning_of_its_error() -> None:
    failed = Failed(name=A, started_at=NOW, said=f"ERROR:\n  {'x' * 200}")

    (state,) = compare((migration(A),), (), (), (failed,))

    assert state == MigrationState(
        A, State.FAILED, "", f"began 2026-11-20 12:30:15 UTC: ERROR: {'x' * 113}"
    )


def test_states_are_in_the_order_of_their_names() -> None:
    states = compare((migration(B),), (applied(C), applied(A)))

    assert [state.name for state in states] == [A, B, C]


def test_states_of_a_graph_are_in_its_order_and_those_without_a_file_before_it() -> None:
    states = compare(GRAPH, (applied("zz"), applied("a1")))

    assert [state.name for state in states] == ["zz", "a1", "b2", "d4", "c3", "e5"]


def test_nothing_of_a_graph_is_out_of_order() -> None:
    states = compare((*GRAPH, migration("03", after=("e5",))), (applied("e5"),))

    assert [state.state for state in states if state.name != "e5"] == [State.PENDING] * 5


def test_a_graph_is_told_by_what_a_migration_builds_on() -> None:
    assert is_graph(GRAPH)
    assert is_graph((migration(), migration(after=())))
    assert not is_graph((migration(),))
    assert not is_graph(())


def test_the_heads_of_a_graph_are_those_that_nothing_builds_on() -> None:
    assert heads(GRAPH) == ("d4", "e5")
    assert heads((migration(A), migration(B))) == (A, B)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((A,), {A}),
        ((B,), {A, B}),
        ((A, B), {A, B}),
        (("unknown",), set()),
        ((), set()),
    ],
)
def test_up_to_a_name_are_all_before_it(names: tuple[str, ...], expected: set[str]) -> None:
    assert up_to((migration(A), migration(B), migration(C)), names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("d4",), {"a1", "b2", "d4"}), (("e5", "d4"), {"a1", "b2", "c3", "d4", "e5"}), ((), set())],
)
def test_up_to_a_revision_is_all_that_it_builds_on(
    names: tuple[str, ...], expected: set[str]
) -> None:
    assert up_to(GRAPH, names) == expected


def test_what_builds_on_a_revision_does_so_at_once_or_through_others() -> None:
    assert built_on(GRAPH, "b2") == {"c3", "d4", "e5"}
    assert built_on(GRAPH, "e5") == frozenset()
    assert built_on((migration(A), migration(B)), A) == frozenset()


def test_waiting_is_what_is_not_recorded_as_applied() -> None:
    names = [f"2026080{number}_000000_m" for number in range(1, 9)]
    states = (
        *(MigrationState(name, state) for name, state in zip(names, State, strict=False)),
        MigrationState("zz", State.OUT_OF_ORDER),
        MigrationState("without a file", State.PENDING),
    )
    on_disk: tuple[Migration, ...] = (*map(migration, names), migration("zz"))

    waits = {migration.name for migration in waiting(on_disk, states)}

    by_state = dict(zip(State, names, strict=False))
    assert waits == {by_state[State.PENDING], by_state[State.FAILED], "zz"}


def test_the_word_for_every_head_is_alembics() -> None:
    assert EVERYTHING == "heads"


@pytest.mark.parametrize(
    ("on_disk", "recorded", "states"),
    [
        ((A,), (A, B, C), "applied ahead ahead"),
        ((A, B), (A, C), "applied pending missing"),  # of another branch
        ((A, C), (A, B, C), "applied missing applied"),  # a file is gone
        ((), (A,), "missing"),  # another directory, more likely
    ],
)
def test_a_database_that_goes_beyond_the_files_is_ahead(
    on_disk: tuple[str, ...], recorded: tuple[str, ...], states: str
) -> None:
    files = tuple(migration(name) for name in on_disk)

    compared = compare(files, tuple(applied(name) for name in recorded))

    assert " ".join(state.state for state in compared) == states


def test_of_a_graph_whatever_is_unknown_is_ahead_where_all_that_is_here_is_applied() -> None:
    files = (migration("ff", after=()), migration("aa", after=("ff",)))

    known = compare(files, (applied("ff"), applied("aa"), applied("bb")))
    other = compare(files, (applied("ff"), applied("bb")))

    assert {state.name: state.state for state in known}["bb"] is State.AHEAD
    assert {state.name: state.state for state in other}["bb"] is State.MISSING


def test_what_is_not_applied_or_not_wholly_is_waited_for() -> None:
    states = tuple(MigrationState(state.name, state) for state in State)

    assert {state.state for state in unapplied(states)} == {
        State.PENDING,
        State.OUT_OF_ORDER,
        State.FAILED,
        State.PARTIAL,
        State.HALF_UNDONE,
    }
