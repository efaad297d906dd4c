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
