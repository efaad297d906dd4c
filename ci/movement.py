"""What moves between us and a child, and for how long nothing has.

A line may be dead that nobody closed: then a child waits without an end, and so would we.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from time import monotonic

LOOK_EVERY = 1.0  # seconds between two looks while nothing moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Stillness:
    """A child with which nothing moves.

    seconds: since something did.
    total: bytes that have moved, in both directions.
    last: when the last of them did, or the child began.
    """

    seconds: float
    total: int
    last: datetime


Judge = Callable[[Stillness], str]  # returns why the child is ended; empty while it goes on


def endless(_still: Stillness) -> str:
    """Wait for a child as long as it takes."""
    return ""


class Movement:
    """Counts what moves between us and a child. Processor time that it takes is movement too."""

    def __init__(self, judge: Judge, pid: int) -> None:
        self._judge, self._pid = judge, pid
        self._total, self._last, self._worked = 0, datetime.now(UTC), 0
        self._since = monotonic()
        self._elsewhere = 0  # waits of ours for something else: the source's, the reader's
        self._lock = Lock()

    def moved(self, count: int) -> None:
        """Note that so many bytes have moved."""
        self._total, self._last, self._since = self._total + count, datetime.now(UTC), monotonic()

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Wait for something else inside the block: the child waits for us then."""
        with self._lock:
            self._elsewhere += 1
        try:
            yield
        finally:
            with self._lock:
                self._elsewhere, self._since = self._elsewhere - 1, monotonic()

    def waited_for(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what a source gives; the child waits for us meanwhile."""
        chunks = iter(source)
        while True:
            with self.elsewhere():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def reason(self) -> str:
        """Say why the child is ended; empty while it goes on."""
        if self._judge is endless:
            return ""
        worked = _processor_time(self._pid)
        if worked != self._worked or self._elsewhere:
            self._worked, self._since = worked, monotonic()
        seconds = monotonic() - self._since
        return self._judge(Stillness(seconds=seconds, total=self._total, last=self._last))


def _processor_time(pid: int) -> int:
    """Return the processor time of a process, in the kernel's ticks; 0 where nobody says."""
    try:
        # Its name may hold spaces and brackets: what follows counts from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0
    return int(fields[11]) + int(fields[12])
