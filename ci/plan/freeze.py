"""Whether an environment rests now: by a freeze window of `deploy.yml`, or by a pause. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ..config.sections import CLOCK, WEEKDAYS, FreezeWindow
from ..errors import Refused
from ..model import Pause

WEEK = 7


@dataclass(frozen=True, slots=True)
class Frozen:
    """That nothing is deployed now, why, and until when."""

    until: datetime  # UTC
    reason: str

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"frozen until {self.until:%Y-%m-%d %H:%M} UTC{why}"


def frozen(windows: Iterable[FreezeWindow], now: datetime) -> Frozen | None:
    """Return the window that `now` is in, the one that ends last; None: it is in none."""
    ends = [Frozen(end, w.reason) for w in windows if (end := _end(w, now)) is not None]
    return max(ends, key=lambda window: window.until, default=None)


def _end(window: FreezeWindow, now: datetime) -> datetime | None:
    """Return when the window that `now` is in ends; None: it is outside."""
    spans = _spans(window, now) if window.weekly else (_span(window),)
    ends = [end for begin, end in spans if begin <= now < end]
    return max(ends, default=None)


def _span(window: FreezeWindow) -> tuple[datetime, datetime]:
    begins, until = window.moment(window.begins), window.moment(window.until)
    return begins.astimezone(UTC), until.astimezone(UTC)


def _spans(window: FreezeWindow, now: datetime) -> Iterable[tuple[datetime, datetime]]:
    """Yield the windows of the week before now, and of today and tomorrow."""
    zone = ZoneInfo(window.timezone)
    today = now.astimezone(zone).date()
    _, begins = _clock(window.begins)
    for days in range(-WEEK - 1, 2):
        day = today + timedelta(days=days)
        if not window.weekdays or WEEKDAYS[day.weekday()] in window.weekdays:
            begin = datetime.combine(day, begins, zone).astimezone(UTC)
            yield begin, _until(window.until, day, begins, zone)


def _until(text: str, day: date, begins: time, zone: ZoneInfo) -> datetime:
    """Return the first such time after the window's begin on a day."""
    weekday, ends = _clock(text)
    later = (WEEKDAYS.index(weekday) - day.weekday()) % WEEK if weekday else 0
    if not later and ends <= begins:
        later = WEEK if weekday else 1
    return datetime.combine(day + timedelta(days=later), ends, zone).astimezone(UTC)


def _clock(text: str) -> tuple[str, time]:
    match = CLOCK.fullmatch(text)
    if match is None:
        raise AssertionError(f"{text!r} was no time of day, and deploy.yml was read")
    return match[1] or "", time(int(match[2]), int(match[3]))


def require_thawed(
    windows: Iterable[FreezeWindow], now: datetime, *, environment: str, break_glass: str
) -> Frozen | None:
    """Return the window that `break_glass` passes; None: there is none now.

    Raises:
        Refused: the environment is frozen, and no reason was given to deploy all the same.

    """
    window = frozen(windows, now)
    if window is not None and not break_glass:
        raise Refused(
            f"{environment} is {window}",
            next_step=f"wait; or, for an emergency: invoke deploy --env {environment} "
            "--break-glass REASON",
        )
    return window


def require_unpaused(pause: Pause | None, now: datetime, *, environment: str) -> None:
    """Do nothing where no pause holds; one whose time is over does not.

    Raises:
        Refused: the environment is paused.

    """
    if pause is not None and (pause.until is None or now < pause.until):
        raise Refused(
            f"{environment} is {pause}",
            next_step=f"invoke resume --env {environment} --reason WHY lifts the pause",
        )
