"""How long a run waits for its server: each outage, and all that follow one that was too long."""

from types import SimpleNamespace

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.database import patience
from pgwindlass.database.patience import AFTERWARDS, Patience

pytestmark = pytest.mark.unit


class Clock:
    """A time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(monotonic=lambda: made.now, sleep=made.sleep)
    monkeypatch.setattr(patience, "time", fake)
    return made


def waited(patient: Patience, clock: Clock) -> float:
    """Return for how long an outage is waited out that does not end."""
    began, outage = clock.now, patient.outage()
    while outage.goes_on("no answer"):
        pass
    return clock.now - began


def test_each_outage_has_the_whole_wait_while_none_was_longer(clock: Clock) -> None:
    patient = Patience(wait=Duration(60), armed=True)
    for _ in range(2):
        outage = patient.outage()
        assert outage.goes_on("no answer")
        clock.now += 40
    assert 56 <= waited(patient, clock) < 60
    assert patient.over


def test_what_follows_an_outage_that_was_too_long_waits_a_little_all_together(
    clock: Clock,
) -> None:
    patient = Patience(wait=Duration(60), armed=True)
    waited(patient, clock)

    total = sum(waited(patient, clock) for _ in range(5))

    assert total <= AFTERWARDS


def test_a_server_that_answered_meanwhile_is_waited_for_again(clock: Clock) -> None:
    patient = Patience(wait=Duration(60), armed=True)
    waited(patient, clock)
    clock.now += AFTERWARDS
    assert waited(patient, clock) == 0

    patient.answered()

    assert AFTERWARDS - 4 <= waited(patient, clock) <= AFTERWARDS


def test_a_run_that_only_looks_does_not_wait(clock: Clock) -> None:
    assert waited(Patience(), clock) == 0
