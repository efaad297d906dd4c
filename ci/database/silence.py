"""When a statement that is not answered is given up: what was seen of it decides. Pure.

The kernel ends a line on which nothing is acknowledged. A proxy that acknowledges and passes
nothing on is seen only by asking the server on another line.
"""

from dataclasses import dataclass
from typing import Literal

ASK_AFTER = 20.0  # seconds without an answer, before the server is asked on another line
ASK_EVERY = 10.0  # seconds between two questions
SILENT_AT_MOST = 60.0  # seconds in which no other line is answered
ENDED_AT_MOST = 2  # questions in a row whose answer is that the statement has ended

# runs: the server has the statement; ended: it has not, or not any more; silent: no answer.
Sight = Literal["runs", "ended", "silent"]


@dataclass(frozen=True, slots=True)
class Silence:
    """What was seen of one statement since it was sent."""

    ended: int = 0  # questions in a row
    silent_since: float | None = None  # seconds after it was sent

    def after(self, sight: Sight, *, seconds: float, arrived: bool) -> "Silence":
        """Return the same with one more question's answer.

        seconds: since the statement was sent, when the question was asked.
        arrived: bytes of the answer are here.
        """
        if arrived or sight == "runs":
            return Silence()
        if sight == "ended":
            return Silence(ended=self.ended + 1)
        since = seconds if self.silent_since is None else self.silent_since
        return Silence(silent_since=since)

    def reason(self, *, seconds: float) -> str:
        """Say why the line counts as dead; empty while it does not."""
        if self.ended >= ENDED_AT_MOST:
            return (
                f"nothing arrived for {seconds:.0f} s, and the server says that it runs no "
                "statement of this session"
            )
        since = self.silent_since
        if since is not None and seconds - since >= SILENT_AT_MOST - ASK_AFTER:
            return f"nothing arrived for {seconds:.0f} s, and no other connection was answered"
        return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server says of a child's sessions.

    kind: works: one executes something; waits: each waits for the child; gone: it has none;
        silent: the server does not answer.
    mark: changes whenever one of them begins or ends a statement.
    words: what one of them does, for people.
    """

    kind: Literal["works", "waits", "gone", "silent"]
    mark: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Standstill:
    """What was seen of a child since its bytes moved last, or its sessions did."""

    mark: str = ""
    still_since: float | None = None  # seconds after the last byte
    silent_since: float | None = None
    words: str = ""  # the server's last answer

    def after(self, seen: Seen, *, seconds: float) -> "Standstill":
        """Return the same with one more answer, `seconds` after the last byte moved."""
        if seen.kind == "silent":
            since = seconds if self.silent_since is None else self.silent_since
            return Standstill(self.mark, self.still_since, since, self.words)
        if seen.kind == "works" or (self.mark and seen.mark != self.mark):
            return Standstill(mark=seen.mark, words=seen.words)
        since = seconds if self.still_since is None else self.still_since
        words = seen.words or "the server has no session of it"
        return Standstill(mark=seen.mark, still_since=since, words=words)

    def reason(self, *, seconds: float, limit: float) -> str:
        """Say why the child's line counts as dead; empty while it does not.

        limit: seconds without a byte, and without work of the server's, that are allowed.
        """
        if self.silent_since is not None and seconds - self.silent_since >= (
            SILENT_AT_MOST - ASK_AFTER
        ):
            heard = f"; its last answer: {self.words}" if self.words else ""
            return f"the server does not answer on another line either{heard}"
        if self.still_since is not None and seconds - self.still_since >= limit - first_look(limit):
            return f"the server waits for it: {self.words}"
        return ""


def first_look(limit: float) -> float:
    """Return after how many seconds without a byte the server is asked the first time."""
    return min(ASK_AFTER, limit / 3)
