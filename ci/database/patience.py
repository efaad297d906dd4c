"""Waits out what passes by itself, within `lock.wait`, and says so."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..config.duration import Duration

LONGEST_PAUSE = 3.0  # seconds between two tries
# Seconds that are waited, all together, where an outage before outlasted the patience.
AFTERWARDS = 10.0
TOLD_EVERY = 30.0  # seconds


def _ignore(_text: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long a run waits for its server. A run that only looks does not wait.

    wait: of one outage.
    note: is told what is waited for.
    armed: whether it waits at all.
    """

    wait: Duration = field(default_factory=lambda: Duration.parse("5m"))
    note: Callable[[str], None] = _ignore
    armed: bool = False
    over: bool = False  # an outage lasted for longer
    primary: bool = False  # a session of a primary was had: a standby's later is a failover's
    _last: float | None = field(default=None, init=False)  # monotonic: the end of AFTERWARDS

    def answered(self) -> None:
        """Note that the server answers: what comes later is another outage."""
        self._last = None

    def deadline(self, now: float) -> float:
        """Return until when an outage is waited out that begins now, in monotonic seconds."""
        if not self.over:
            return now + self.wait.seconds
        if self._last is None:
            self._last = now + AFTERWARDS
        return self._last

    def outage(self) -> "Outage":
        """Begin to wait; one for each thing that is tried again."""
        return Outage(self)


class Outage:
    """One thing that is tried until it works, or the time is over."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._deadline: float | None = None  # from the first failure on
        self._told = 0.0
        self.tries = 0

    def goes_on(self, reason: str) -> bool:
        """Wait until the next try; False where there is none, because the time is over."""
        now, patience = time.monotonic(), self._patience
        if not patience.armed:
            return False
        if self._deadline is None:
            self._deadline = patience.deadline(now)
        self.tries += 1
        pause = random.uniform(0.05, min(LONGEST_PAUSE, 0.1 * 2**self.tries))  # noqa: S311  # jitter
        if now + pause >= self._deadline:
            if not patience.over:
                patience.over = True
                patience.deadline(now)
            return False
        if not self._told or now - self._told > TOLD_EVERY:
            self._told = now
            patience.note(f"{reason}: waiting, up to {patience.wait}")
        time.sleep(pause)
        return True
