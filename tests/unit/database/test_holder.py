"""What is told of who holds the deployment lock."""

import pytest

from pgwindlass.database.holder import BEAT, QUIET, Holder

pytestmark = pytest.mark.unit


def holder(**more: object) -> Holder:
    values: dict[str, object] = {
        "name": "windlass/01A/lock",
        "address": "10.0.0.7",
        "seconds": 90,
        "pid": 17,
        "heard": 4.0,
    }
    return Holder(**(values | more))  # type: ignore[arg-type]


def test_it_is_named_with_where_it_is_and_what_it_does() -> None:
    assert holder(step="at its step backup").text() == (
        "windlass/01A/lock from 10.0.0.7, for 90 s, pid 17, last heard of 4 s ago, "
        "at its step backup"
    )
    assert holder(pid=None, lasts=30.0).text() == (
        "windlass/01A/lock from 10.0.0.7, for 90 s, by a lease, last heard of 4 s ago"
    )
    assert holder(name="", address=None, seconds=None, heard=None).text() == (
        "somebody from an address that our role may not see, pid 17"
    )


def test_one_at_work_is_waited_for_and_its_last_moment_is_computed() -> None:
    assert holder().next_step(30).endswith("its lock falls within 36 s")
    assert holder(heard=0.0).next_step(0).endswith(f"within {BEAT:.0f} s")
    assert holder(heard=QUIET).next_step(0).endswith("within 0 s")
    assert "its machine still answers" in holder(heard=QUIET + 0.1).next_step(0)


def test_one_that_is_quiet_and_answers_is_ended_by_a_person() -> None:
    assert "its machine still answers" in holder(heard=500.0).next_step(30)
    assert "pg_terminate_backend(17)" in holder(heard=500.0).next_step(30)


def test_what_is_not_known_is_not_claimed() -> None:
    assert holder(heard=None).next_step(30) == (
        "wait until it is done; our role may not see when it was last heard of. A run of this "
        f"release whose machine is gone ends within {30 + BEAT:.0f} s"
    )
    assert "no run of Windlass" in holder(name="psql").next_step(30)
    assert "30 s after its last word" in holder(lasts=30.0).next_step(30)
