"""What dump, verification and restore share: the tables, their rows, the passing stream."""

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from ..errors import StoreFailed, Unchanged
from ..stores import Store
from .checkpoints import Checkpoints

Progress = Callable[[int, "int | None"], None]  # bytes done, bytes in all where that is known
MANIFEST = "manifest.json"
NOT_KEPT = Unchanged("no backup was kept: no manifest, no archive")
SHOWN = 5  # differences that an error lists
LARGEST = 32 << 20  # bytes of a document in the store, such as a manifest, that are read


class TooLarge(StoreFailed):
    """An object is larger than any document of ours."""


def whole(store: Store, key: str) -> bytes:
    """Return a small object.

    Raises:
        StoreFailed: it is not there.
        TooLarge: it is larger than any document of ours; no more is read.

    """
    content = bytearray()
    with closing(cast(Generator[bytes, None, None], store.read(key))) as chunks:
        for chunk in chunks:
            content += chunk
            if len(content) > LARGEST:
                raise TooLarge(
                    f"{store.address(key)} is larger than {LARGEST >> 20} MiB, which no document "
                    "of Windlass's is",
                    state=Unchanged("no more of it was read"),
                    next_step="find out who wrote it, and move it away",
                )
    return bytes(content)


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
    checkpoints: Checkpoints | None = None  # noted on the way, where they are wanted

    def passing(self, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Yield the chunks as they are, each hashed and counted; closed, it closes their source."""
        try:
            for chunk in chunks:
                if self.checkpoints is not None:
                    self.checkpoints.pass_by(self.sha256, self.size, chunk)
                else:
                    self.sha256.update(chunk)
                self.size += len(chunk)
                self.progress(self.size, self.total)
                yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
