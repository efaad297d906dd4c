"""When a statement that is not answered is given up."""

import pytest

from pgwindlass.database import silence
from pgwindlass.database.silence import Seen, Sight, Silence, Standstill

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


WAITS = Seen("waits", "1", "active, ClientWrite since 10:15")


def stood(*answers: Seen, limit: float = 120.0) -> str:
    """Return why a child is ended that is asked about every ten seconds from the twentieth on."""
    state, seconds = Standstill(), silence.first_look(limit)
    for answer in answers:
        state = state.after(answer, seconds=seconds)
        seconds += 10
    return state.reason(seconds=seconds - 10, limit=limit)


def test_a_child_for_which_the_server_works_is_waited_for_without_an_end() -> None:
    assert stood(*[Seen("works", "1")] * 1000) == ""


def test_a_child_that_the_server_waits_for_is_given_up_after_the_limit() -> None:
    assert stood(*[WAITS] * 10) == ""
    assert stood(*[WAITS] * 11) == f"the server waits for it: {WAITS.words}"
    assert stood(*[Seen("gone")] * 11) == "the server waits for it: the server has no session of it"


def test_a_session_that_begins_something_new_is_progress() -> None:
    again = Seen("waits", "2", "idle in transaction, ClientRead since 10:16")

    assert stood(*[WAITS] * 10, again, *[again] * 10) == ""
    assert again.words in stood(*[WAITS] * 10, again, *[again] * 11)


def test_a_server_that_does_not_answer_about_a_child_is_given_up_after_a_minute() -> None:
    silent = Seen("silent")

    assert stood(*[silent] * 4) == ""
    assert "does not answer on another line either" in stood(*[silent] * 5)
    assert WAITS.words in stood(WAITS, *[silent] * 5)
    assert stood(*[silent] * 4, Seen("works"), *[silent] * 4) == ""


def test_a_silence_takes_nothing_from_a_standstill() -> None:
    assert WAITS.words in stood(*[WAITS] * 5, Seen("silent"), *[WAITS] * 5)


def test_a_short_limit_is_looked_at_in_time() -> None:
    assert silence.first_look(120.0) == silence.ASK_AFTER
    assert silence.first_look(9.0) == 3.0
