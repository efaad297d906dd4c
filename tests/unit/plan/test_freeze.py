"""Whether an environment rests now: windows of dates, of every week, and a pause."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pgwindlass.config.sections import FreezeWindow
from pgwindlass.errors import Refused
from pgwindlass.model import Pause
from pgwindlass.plan import freeze

pytestmark = pytest.mark.unit


def window(**keys: Any) -> FreezeWindow:
    return msgspec.convert(keys, FreezeWindow)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CHRISTMAS = window(
    **{"from": "2026-12-20", "until": "2027-01-02T08:00", "reason": "the year's end"}
)
WEEKEND = window(
    **{"weekdays": ["fri"], "from": "16:00", "until": "mon 08:00", "timezone": "Europe/Vienna"}
)
NIGHT = window(**{"from": "22:00", "until": "06:00"})
TWO = window(**{"weekdays": ["fri", "sat"], "from": "16:00", "until": "23:30"})


@pytest.mark.parametrize(
    ("frozen_by", "now", "until"),
    [
        (CHRISTMAS, "2026-12-19T23:59:59", None),
        (CHRISTMAS, "2026-12-20T00:00", "2027-01-02T08:00"),
        (CHRISTMAS, "2027-01-02T07:59:59", "2027-01-02T08:00"),
        (CHRISTMAS, "2027-01-02T08:00", None),
        (WEEKEND, "2026-11-20T14:59:59", None),  # a Friday; 15:59 in Vienna
        (WEEKEND, "2026-11-20T15:00", "2026-11-23T07:00"),
        (WEEKEND, "2026-11-22T12:00", "2026-11-23T07:00"),
        (WEEKEND, "2026-11-23T07:00", None),
        (WEEKEND, "2026-10-25T12:00", "2026-10-26T07:00"),  # summer time ends in it
        (WEEKEND, "2026-10-23T14:00", "2026-10-26T07:00"),  # it began in summer time
        (WEEKEND, "2026-10-23T13:59:59", None),
        (NIGHT, "2026-11-19T21:59", None),
        (NIGHT, "2026-11-19T22:00", "2026-11-20T06:00"),
        (NIGHT, "2026-11-20T05:59", "2026-11-20T06:00"),
        (NIGHT, "2026-11-20T06:00", None),
        (TWO, "2026-11-21T17:00", "2026-11-21T23:30"),
        (TWO, "2026-11-22T17:00", None),
    ],
)
def test_a_window_holds_from_its_begin_until_before_its_end(
    frozen_by: FreezeWindow, now: str, until: str | None
) -> None:
    found = freeze.frozen([frozen_by], at(now))

    assert (found.until if found else None) == (at(until) if until else None)


def test_a_window_that_ends_on_its_own_weekday_ends_a_week_later() -> None:
    week = window(**{"weekdays": ["mon"], "from": "08:00", "until": "mon 08:00"})

    found = freeze.frozen([week], at("2026-11-20T12:00"))

    assert found is not None and found.until == at("2026-11-23T08:00")
    later = freeze.frozen([week], at("2026-11-23T07:59"))
    assert later is not None and later.until == at("2026-11-23T08:00")


def test_of_several_windows_the_one_that_ends_last_is_told() -> None:
    found = freeze.frozen([NIGHT, CHRISTMAS], at("2026-12-24T23:00"))

    assert str(found) == "frozen until 2027-01-02 08:00 UTC: the year's end"
    assert freeze.frozen([], at("2026-12-24T23:00")) is None


@pytest.mark.parametrize("frozen_by", [CHRISTMAS, WEEKEND, NIGHT])
def test_a_window_does_not_depend_on_the_zone_of_the_machine(
    frozen_by: FreezeWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [at(f"2026-12-{day}T{hour}:30") for day in range(18, 22) for hour in ("02", "15", "23")]
    here = [str(freeze.frozen([frozen_by], now)) for now in days]
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        there = [str(freeze.frozen([frozen_by], now)) for now in days]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert here == there and set(here) != {"None"}


def test_a_window_without_a_reason_says_its_end_alone() -> None:
    assert str(freeze.frozen([NIGHT], at("2026-11-19T23:00"))) == (
        "frozen until 2026-11-20 06:00 UTC"
    )


def test_a_freeze_refuses_and_a_reason_passes_it() -> None:
    now = at("2026-12-24T12:00")
    with pytest.raises(Refused, match="production is frozen until 2027-01-02 08:00 UTC") as refused:
        freeze.require_thawed([CHRISTMAS], now, environment="production", break_glass="")

    assert "--env production --break-glass REASON" in refused.value.next_step
    passed = freeze.require_thawed([CHRISTMAS], now, environment="x", break_glass="an incident")
    assert passed is not None
    assert (
        freeze.require_thawed([CHRISTMAS], at("2026-11-01"), environment="x", break_glass="")
        is None
    )


def test_a_pause_holds_until_its_end_or_for_good() -> None:
    since, later = at("2026-11-20T12:00"), at("2026-11-20T14:00")
    forever = Pause(by="ann@ci-7", since=since, reason="an incident")
    short = Pause(by="ann@ci-7", since=since, reason="an incident", until=later)

    with pytest.raises(Refused) as refused:
        freeze.require_unpaused(forever, at("2027-11-20"), environment="uat")
    assert refused.value.what == (
        "uat is paused by ann@ci-7 since 2026-11-20 12:00 UTC: an incident"
    )
    assert refused.value.next_step == "invoke resume --env uat --reason WHY lifts the pause"
    with pytest.raises(Refused, match="until 2026-11-20 14:00 UTC: an incident"):
        freeze.require_unpaused(short, at("2026-11-20T13:59"), environment="uat")
    freeze.require_unpaused(short, later, environment="uat")
    freeze.require_unpaused(None, later, environment="uat")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"from": "16:00", "until": "2026-12-20"}, "weekly window are times"),
        ({"from": "2026-12-20", "until": "16:00"}, "is no date"),
        ({"from": "2026-12-20", "until": "2026-12-20"}, "until must be later"),
        ({"from": "25:00", "until": "26:00"}, "is no date"),
        ({"from": "mon 16:00", "until": "18:00", "weekdays": ["mon"]}, "weekly window are times"),
        ({"from": "16:00", "until": "18:00", "timezone": "Mars/Base"}, 'knows no "Mars/Base"'),
        ({"from": "16:00", "until": "18:00", "timezone": "../etc"}, "knows no"),
        ({"from": "16:00", "until": "18:00", "weekdays": ["friday"]}, "Invalid enum value"),
    ],
)
def test_a_window_that_can_never_hold_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        window(**keys)
