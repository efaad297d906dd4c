"""What dump, verification and restore share: the tables, their rows, the passing stream."""

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

Progress = Callable[[int, "int | None"], None]  # bytes done, bytes in all where that is known
MANIFEST = "manifest.json"
NOT_KEPT = "no backup was kept: no manifest, no archive; the database is unchanged"
SHOWN = 5  # differences that an error lists


class Together:
    """Adds up the progress of several streams; called from their threads."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self.progress, self.total = progress, total
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Progress:
        """Return the progress of one of them."""

        def count(done: int, _total: int | None) -> None:
            with self._lock:
                self._done[name] = done
                everything = sum(self._done.values())
                # An estimate that was too low is none any more.
                low = self.total is not None and everything > self.total
                self.progress(everything, None if low else self.total)

        return count


@dataclass(slots=True)
class Meter:
    """Hashes and measures a stream while it passes."""

    progress: Progress
    total: int | None = None
    size: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def passing(self, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Yield the chunks as they are, each hashed and counted; closed, it closes their source."""
        try:
            for chunk in chunks:
                self.sha256.update(chunk)
                self.size += len(chunk)
                self.progress(self.size, self.total)
                yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
