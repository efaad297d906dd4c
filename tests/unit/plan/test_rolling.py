"""Which members are restarted next, and what the markers tell of each."""

import pytest

from pgwindlass.database.markers import Marker
from pgwindlass.plan.rolling import KIND, Mark, Seen, detail, is_done, marks, told
from tests.unit.examples import NOW

pytestmark = pytest.mark.unit


def marker(
    key: str, member: str, instance: str = "", *, run: str = "r1", plan: str = "p", kind: str = KIND
) -> Marker:
    about = detail(member, plan, instance)
    return Marker(id=key, kind=kind, deployment=run, at=NOW, detail=about)


def test_the_newest_marker_of_a_member_counts() -> None:
    known = (marker("1", "a"), marker("2", "a", "i1"), marker("3", "b"))

    assert marks(known, {"r1"}, "p") == ((Mark("a", ("1", "2"), "i1"), Mark("b", ("3",))), ())


def test_a_member_that_is_begun_anew_is_not_proven_any_more() -> None:
    known = (marker("1", "a", "i1"), marker("2", "a"))

    assert marks(known, {"r1"}, "p") == ((Mark("a", ("1", "2")),), ())


def test_the_markers_of_another_unit_count_for_nothing() -> None:
    known = (
        marker("1", "a", "i1", run="other"),
        marker("2", "c", "i3", run="r2"),
        marker("3", "d", kind="restart"),
    )

    assert marks(known, {"r1", "r2"}, "p") == ((Mark("c", ("2",), "i3"),), ("1",))


def test_under_another_plan_a_member_was_begun_and_is_not_proven() -> None:
    known = (marker("1", "a", "i1", plan="another"),)

    assert marks(known, {"r1"}, "p") == ((Mark("a", ("1",)),), ())


@pytest.mark.parametrize(
    ("mark", "instance", "done"),
    [
        (Mark("a", ("1",), "i1"), "i1", True),
        (Mark("a", ("1",), "i1"), "i2", False),  # somebody restarted it since
        (Mark("a", ("1",)), "i1", False),
        (Mark("a", ("1",)), "", False),
        (Mark("a", ("1",), "i1"), "", False),
        (None, "i1", False),
    ],
)
def test_a_member_is_done_while_the_proven_instance_serves(
    mark: Mark | None, instance: str, done: bool
) -> None:
    assert is_done(mark, instance) is done


def test_each_member_is_told_by_what_serves_on_it() -> None:
    seen = [
        Seen("a", "i1"),
        Seen("b", "i2"),
        Seen("c", ""),
        Seen("d", "i4"),
        Seen("e", "i5"),
        Seen("f", problem="ssh failed"),
    ]
    known = [Mark("a", ("1",), "i1"), Mark("b", ("2",)), Mark("c", ("3",), "i3")]

    assert told(seen, known) == (
        "the new version runs on a; restarted and not proven: b; down: c; "
        "not restarted, so the old version runs on d, e; what runs on f is not known: ssh failed"
    )


def test_what_is_not_there_is_not_told() -> None:
    assert told([Seen("a", "i")], []) == "not restarted, so the old version runs on a"
