"""Every error has three parts and an exit code."""

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
    PlanChanged,
    Refused,
    RolledBack,
    StepFailed,
    Stopped,
    StoreFailed,
    Terminated,
    Unreachable,
    WindlassError,
)

pytestmark = pytest.mark.unit

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
        (ConfigError, "nothing was contacted or changed"),
        (Refused, NOTHING_CHANGED),
        (NotApproved, NOTHING_CHANGED),
        (Laxer, NOTHING_CHANGED),
    ],
)
def test_a_refusal_changed_nothing_unless_it_says_so(kind: Any, state: str) -> None:
    assert kind("what", next_step="next").state == state
    assert kind("what", state="something was", next_step="next").state == "something was"


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
