"""Every error has three parts and an exit code; place and step are fields of it."""

import copy
import pickle
from typing import Any

import pytest

from pgwindlass.errors import (
    ChildFailed,
    ConfigError,
    Interrupted,
    Laxer,
    LockHeld,
    LockTimeout,
    NotApproved,
    Place,
    PlanChanged,
    Refused,
    RolledBack,
    StepFailed,
    Stopped,
    StoreFailed,
    Terminated,
    Unchanged,
    Unreachable,
    WindlassError,
    changed,
    found_at,
    more,
)

pytestmark = pytest.mark.unit

PLACE = Place("db/1_a.sql", 3)

NOTHING_CHANGED = "nothing was changed"


@pytest.mark.parametrize(
    ("kind", "parent", "code"),
    [
        (ConfigError, WindlassError, 2),
        (Refused, WindlassError, 3),
        (NotApproved, Refused, 3),
        (PlanChanged, Refused, 3),
        (LockHeld, Refused, 3),
        (Laxer, Refused, 2),
        (StepFailed, WindlassError, 1),
        (Stopped, StepFailed, 1),
        (StoreFailed, StepFailed, 1),
        (Unreachable, StepFailed, 1),
        (LockTimeout, StepFailed, 1),
        (RolledBack, WindlassError, 4),
        (Interrupted, WindlassError, 130),
    ],
)
def test_an_error_has_its_place_in_the_tree_and_its_exit_code(
    kind: Any, parent: type, code: int
) -> None:
    error = kind("what", state="state", next_step="next")

    assert issubclass(kind, parent)
    assert error.exit_code == code
    assert (error.what, error.state, error.next_step) == ("what", "state", "next")
    assert error.args == ("what",)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (ConfigError, "nothing was changed"),
        (Refused, NOTHING_CHANGED),
        (NotApproved, NOTHING_CHANGED),
        (Laxer, NOTHING_CHANGED),
    ],
)
def test_a_refusal_changed_nothing_unless_it_says_so(kind: Any, state: str) -> None:
    assert kind("what", next_step="next").state == state
    assert kind("what", state="something was", next_step="next").state == "something was"


def test_that_nothing_was_changed_is_a_value_apart_from_what_an_error_knows_of_itself() -> None:
    bare = StepFailed("what", state=Unchanged(), next_step="next")
    more = StepFailed("what", state=Unchanged("the backup stays"), next_step="next")
    words = StepFailed("what", state="nothing was changed", next_step="next")

    assert (bare.state, bare.own) == ("nothing was changed", "")
    assert (more.state, more.own) == ("nothing was changed; the backup stays", "the backup stays")
    assert words.own == "nothing was changed"
    told = changed(more, state="1 of 2 migrations stand")
    assert (told.state, told.own) == ("1 of 2 migrations stand", "1 of 2 migrations stand")
    assert changed(more, next_step="another").own == "the backup stays"
    assert changed(words, state=Unchanged("x")).state == "nothing was changed; x"
    assert more.own == "the backup stays"


@pytest.mark.parametrize("kind", [WindlassError, StepFailed, RolledBack, Interrupted])
def test_what_may_have_changed_something_has_to_say_its_state(kind: Any) -> None:
    with pytest.raises(TypeError, match="state"):
        kind("what", next_step="next")


def test_an_error_of_a_child_keeps_its_status_and_the_end_of_what_it_wrote() -> None:
    error = ChildFailed("what", state="state", next_step="next", code=-9, stderr="killed")

    assert isinstance(error, StepFailed)
    assert error.exit_code == 1
    assert (error.what, error.state, error.next_step) == ("what", "state", "next")
    assert (error.code, error.stderr) == (-9, "killed")


def test_an_interruption_says_whether_it_was_a_signal() -> None:
    assert not Interrupted("what", state="state", next_step="next").by_sigterm
    assert Interrupted("what", state="state", next_step="next", by_sigterm=True).by_sigterm


def test_a_termination_is_a_keyboard_interrupt_to_whoever_waits() -> None:
    assert issubclass(Terminated, KeyboardInterrupt)


@pytest.mark.parametrize("kind", [WindlassError, Refused, LockTimeout])
def test_an_error_pickles_and_copies_with_all_its_fields(kind: type[WindlassError]) -> None:
    error = kind("gone", state="s", next_step="n", place=PLACE, step="migrate")
    error.add_note("and more")

    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert twin is not error
        assert type(twin) is kind
        assert (twin.args, twin.__dict__) == (error.args, error.__dict__)


def test_an_error_has_a_place_and_a_step_where_they_are_known() -> None:
    error = StepFailed("gone", state="s", next_step="n")

    assert (error.place, error.step) == (None, "")


def test_what_is_step_place_and_message() -> None:
    error = StepFailed("no such table", state="s", next_step="n", place=PLACE, step="migrate")

    assert str(error) == error.what == "migrate: db/1_a.sql:3: no such table"
    assert error.message == "no such table"


def test_what_is_the_message_alone_where_nothing_else_is_known() -> None:
    assert str(Refused("no", next_step="n")) == "no"
    assert str(ConfigError("no", next_step="n", place=Place("deploy.yml"))) == "deploy.yml: no"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("db/1_a.sql:3", PLACE),
        ("a:b.sql:1", Place("a:b.sql", 1)),
        ("prisma/lock.toml", Place("prisma/lock.toml")),
        ("a:b", Place("a:b")),
        (":7", Place(":7")),
    ],
)
def test_a_place_is_read_as_it_is_written(text: str, place: Place) -> None:
    assert Place.parse(text) == place
    assert str(place) == text


def test_a_changed_error_is_another_one_of_its_kind() -> None:
    error = ChildFailed("gone", state="s", next_step="n", code=3, stderr="why", place=PLACE)
    error.add_note("first")

    new = changed(error, state="t", step="backup")
    new.add_note("second")

    assert (type(new), new.code, new.stderr, new.place) == (ChildFailed, 3, "why", PLACE)
    assert (new.what, new.state, new.next_step) == ("backup: db/1_a.sql:3: gone", "t", "n")
    assert (error.what, error.state, error.__notes__) == ("db/1_a.sql:3: gone", "s", ["first"])
    assert new.__notes__ == ["first", "second"]
    other = changed(error, next_step="m")
    assert (other.what, other.state, other.next_step) == (error.what, "s", "m")


def test_more_is_said_of_an_error_and_that_nothing_was_changed_stays_a_value() -> None:
    error = StepFailed("gone", state=Unchanged("a", claim="as it was"), next_step="n")

    new = more(error, "b")

    assert (new.state, new.own, error.state) == ("as it was; a; b", "a; b", "as it was; a")
    assert more(StepFailed("gone", state="", next_step="n"), "b").state == "b"
    assert more(StepFailed("gone", state="a", next_step="n"), "b").own == "a; b"
    assert more(StepFailed("gone", state=Unchanged(), next_step="n"), "b").own == "b"


def test_the_place_is_that_of_the_error_else_of_what_it_was_raised_from() -> None:
    inner = ConfigError("no", next_step="n", place=PLACE)
    outer = StepFailed("the base does not run", state="s", next_step="n")
    outer.__cause__ = ValueError("between")
    outer.__cause__.__cause__ = inner
    own = RolledBack("gone", state="s", next_step="n", place=Place("x.sql", 1))
    own.__cause__ = inner

    assert found_at(outer) == PLACE
    assert found_at(own) == Place("x.sql", 1)
    assert found_at(ValueError("no")) is None
    assert found_at(StepFailed("x.sql:4: only in its text", state="s", next_step="n")) is None
