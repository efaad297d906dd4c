"""When a statement that is not answered is given up."""

import pytest

from pgwindlass.database.silence import Sight, Silence

pytestmark = pytest.mark.unit


SIGHT: dict[str, Sight] = {"runs": "runs", "ended": "ended", "silent": "silent"}


def seen(*sights: Sight, arrived: bool = False) -> str:
    state, seconds = Silence(), 20.0
    for sight in sights:
        state = state.after(sight, seconds=seconds, arrived=arrived)
        seconds += 10
    return state.reason(seconds=seconds - 10)


def test_a_statement_that_runs_is_waited_for_without_an_end() -> None:
    assert seen(*[SIGHT["runs"]] * 100) == ""


def test_one_look_after_the_end_is_no_proof_and_two_are() -> None:
    assert seen("ended") == ""
    assert "runs no statement of this session" in seen("ended", "ended")
    assert seen("ended", "runs", "ended") == ""


def test_a_server_that_answers_nobody_is_given_up_after_a_minute() -> None:
    assert seen(*[SIGHT["silent"]] * 4) == ""
    assert "no other connection was answered" in seen(*[SIGHT["silent"]] * 5)
    assert seen(*[SIGHT["silent"]] * 4, "runs", "silent") == ""


def test_what_has_arrived_is_read_first() -> None:
    assert seen(*[SIGHT["ended"]] * 5, arrived=True) == ""
