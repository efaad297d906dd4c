"""Ends the wait for a statement of the child's whose answer cannot arrive any more."""

from collections.abc import Callable
from time import monotonic

import psycopg

from ...database import silence
from ...database.silence import Sight, Silence

# Seconds that env.py may work after a COMMIT, before its session is asked about.
AFTER_COMMIT = 90.0


class Listening:
    """What the child's session is asked about, while a statement of it is under way.

    Between two statements the project's own Python works, as long as it likes.
    """

    def __init__(self, sight: Callable[[int], Sight] | None) -> None:
        """Ask `sight` about a session by its number; None: nobody is asked."""
        self._sight = sight
        self._pid = 0
        self.heard()

    def heard(self) -> None:
        """Note that the child said something: no statement is under way."""
        self._sent: float | None = None
        self._seen, self._next = Silence(), silence.ASK_AFTER

    def sent(self, pid: int, *, commits: bool = False) -> None:
        """Note that the session `pid` was let run a statement, or commit."""
        self.heard()
        self._pid = pid
        self._sent = monotonic() + (AFTER_COMMIT if commits else 0.0)

    def idle(self) -> None:
        """Ask about the session, where it is time.

        Raises:
            psycopg.OperationalError: an answer cannot arrive any more.

        """
        if self._sent is None or self._sight is None or not self._pid:
            return
        seconds = monotonic() - self._sent
        if seconds < self._next:
            return
        self._seen = self._seen.after(self._sight(self._pid), seconds=seconds, arrived=False)
        self._next = monotonic() - self._sent + silence.ASK_EVERY
        if why := self._seen.reason(seconds=monotonic() - self._sent):
            raise psycopg.OperationalError(f"the connection is given up: {why}")
