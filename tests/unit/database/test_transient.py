"""Which failures pass by themselves, and which are told at once."""

import pytest

from pgwindlass.database import transient

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "state", ["08006", "08003", "08P01", "57P01", "57P02", "57P03", "25P03", "53300"]
)
def test_a_lost_or_refused_session_passes(state: str) -> None:
    assert transient.reason(state, broken=True)


@pytest.mark.parametrize("state", ["28P01", "28000", "3D000", "42501", "42P01", "53100", "57014"])
def test_what_stays_is_told_at_once(state: str) -> None:
    assert transient.reason(state, broken=False) == ""
    assert transient.reason(state, broken=True) == ""


def test_a_session_without_a_state_has_passed_where_it_is_broken() -> None:
    assert transient.reason(None, broken=True) == transient.LOST
    assert transient.reason(None, broken=False) == ""


def test_a_role_that_may_only_read_is_no_standby() -> None:
    assert transient.reason("25006", broken=False) == ""
    assert transient.reason("25006", broken=True) == transient.STATES["25006"]


def test_a_new_session_that_is_a_standbys_is_waited_for() -> None:
    assert transient.refused("a standby", "accepts", "25006") == transient.STATES["25006"]


def test_a_refused_connection_is_judged_by_what_answers() -> None:
    assert transient.refused("Verbindung verweigert", "none") == "the server does not answer"
    assert "starting or stopping" in transient.refused("FATAL: fährt hoch", "rejects")
    assert transient.refused('FATAL: database "x" does not exist', "accepts") == ""
    assert transient.refused("FATAL: password authentication failed", "accepts") == ""


@pytest.mark.parametrize(
    "message",
    [
        "FATAL:  sorry, too many clients already",
        'FATAL:  too many connections for role "shop"',
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ],
)
def test_a_server_without_a_free_place_is_waited_for(message: str) -> None:
    assert transient.is_full(transient.refused(message, "accepts"))
    assert transient.is_full(transient.in_child(f"pg_dump: error: {message}"))


def test_a_child_that_lost_its_server_is_known_by_its_words() -> None:
    words = "pg_dump: error: server closed the connection unexpectedly"
    assert transient.in_child(words) == transient.LOST
    assert transient.in_child("pg_dump: error: permission denied for table t") == ""
