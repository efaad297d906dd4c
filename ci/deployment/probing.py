"""Asks the service all the time while it restarts, so that the requests it loses are counted.

A request goes out twenty times a second, whether those before it are answered or not: a service
that hangs is asked as often as one that answers. Each has a connection of its own, as a new
visitor has, for a kept one hides who accepts no more.
"""

import threading
import time
from dataclasses import dataclass, field

from ..config.sections import SmokeCheck, SmokeConfig
from ..plan import probe
from ..plan.probe import Request, Tally

INTERVAL = 0.05  # seconds between two requests
TIMEOUT = 2.0  # seconds until a request counts as lost
AT_ONCE = 60  # requests that wait for an answer; above it none is sent, and none counted
NO_CHECK = "no requests were counted: no smoke test has get"
NOT_SENT = "no requests were counted: the smoke test's cannot be sent"


class Probe:
    """Sends one check's request over and over until it is stopped."""

    def __init__(self, smoke: SmokeConfig, check: SmokeCheck) -> None:
        from ..smoke import Sender  # requests takes 0.1 s to import, and `status` runs without it

        self._sender = Sender(smoke.base_url, check)
        within = check.expect.within
        self._timeout = max(TIMEOUT, within.seconds if within is not None else 0.0)
        self._before = 0  # the status that the service gave before the restart
        self._began = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._ended: list[Request] = []
        self._waiting: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._send_all, daemon=True, name="probe")

    def start(self) -> bool:
        """Ask once how the service is, then go on asking; False where it cannot be asked at all."""
        outcome = self._sender.ask(self._timeout)
        if outcome.unsendable:
            return False
        self._before = outcome.code
        self._began = time.monotonic()
        self._thread.start()
        return True

    def now(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._began

    def counted(self, *, since: float = 0.0) -> Tally:
        """Return what the requests came to that were sent since then and have ended."""
        with self._lock:
            ended = [request for request in self._ended if request.sent >= since]
        return probe.tally(ended, until=self.now(), served_before=bool(self._before))

    def stop(self) -> Tally:
        """Send no more, wait for what is under way, and return what all requests came to."""
        self._over.set()
        self._thread.join()
        until = time.monotonic() + self._timeout
        for waiting in tuple(self._waiting):
            waiting.join(max(0.0, until - time.monotonic()))
        return self.counted()

    def _send_all(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            if len(self._waiting) < AT_ONCE:
                thread = threading.Thread(target=self._send, daemon=True, name="probe asks")
                self._waiting.add(thread)
                thread.start()
            # A late one is not made up for: two at once would be no picture of a visitor.
            due = max(due + INTERVAL, time.monotonic())

    def _send(self) -> None:
        sent = self.now()
        try:
            outcome = self._sender.ask(self._timeout)
            took = self.now() - sent
            lost = outcome.lost or probe.how_lost(outcome.code, self._before)
            with self._lock:
                self._ended.append(Request(sent, took, lost))
        finally:
            self._waiting.discard(threading.current_thread())


@dataclass(slots=True)
class Watch:
    """The probe of one run, from before its restart until its smoke tests passed."""

    probe: Probe | None = field(default=None, repr=False)
    absent: str = ""  # why there is none

    def start(self, smoke: SmokeConfig | None) -> None:
        """Begin to ask; a probe that runs already is ended, as its restart is."""
        self.stop()
        check = next((check for check in smoke.checks if check.get), None) if smoke else None
        if smoke is None or check is None:
            self.absent = NO_CHECK
            return
        begun = Probe(smoke, check)
        self.absent = "" if begun.start() else NOT_SENT
        self.probe = None if self.absent else begun

    def moment(self) -> float:
        """Return the seconds since the probe began; 0 where nothing is asked."""
        return self.probe.now() if self.probe is not None else 0.0

    def counted(self, *, since: float = 0.0) -> Tally | None:
        """Return what the requests came to that were sent since then; None: nothing is asked."""
        return self.probe.counted(since=since) if self.probe is not None else None

    def stop(self) -> Tally | None:
        """End it and return what all requests came to; None: nothing was asked."""
        running, self.probe = self.probe, None
        return running.stop() if running is not None else None

    def words(self, counted: Tally | None) -> str:
        """Return the numbers as text, or why there are none."""
        return str(counted) if counted is not None else self.absent
