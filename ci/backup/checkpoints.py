"""Hashes of a stream's beginnings: each piece of an archive is judged before anybody reads it.

What a replaced archive holds is SQL, or bytes that grow when they are unpacked. The hash of the
whole would be known too late, and reading everything first would take its time twice.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FIRST = 1 << 20  # bytes between two checkpoints, doubled while there are too many
WIDEST = 16 << 20  # bytes, which a reader holds back until they are judged
MOST = 2048  # checkpoints, until they are WIDEST apart


@dataclass(slots=True)
class Checkpoints:
    """Notes the SHA-256 of the first `every` bytes of a stream, of twice as many, and so on."""

    every: int = FIRST
    digests: list[str] = field(default_factory=list)

    def pass_by(self, sha256: "hashlib._Hash", before: int, chunk: bytes) -> None:
        """Add a chunk to the hash of all `before` it, and note what is due on the way."""
        view = memoryview(chunk)
        while view:
            due = self.every - before % self.every
            sha256.update(view[:due])
            if len(view) >= due:
                self._note(sha256.copy().hexdigest())
            before, view = before + min(due, len(view)), view[due:]

    def _note(self, digest: str) -> None:
        self.digests.append(digest)
        if len(self.digests) >= MOST and self.every < WIDEST:
            self.digests, self.every = self.digests[1::2], self.every * 2


def judged(
    chunks: Iterable[bytes], every: int, digests: tuple[str, ...], *, size: int, sha256: str
) -> Iterator[bytes]:
    """Yield a stream piece by piece, each when its checkpoint is right, the last with the whole's.

    Ends before the first piece that is not what it was: the caller knows by the size and the hash
    of what passed. Reads one chunk more than `size` bytes at the most.
    """
    whole, held = hashlib.sha256(), bytearray()
    done, at = 0, 0
    for chunk in chunks:
        if done + len(held) + len(chunk) > size:
            return
        held += chunk
        while at < len(digests) and len(held) >= every:
            whole.update(memoryview(held)[:every])
            if whole.hexdigest() != digests[at]:
                return
            yield bytes(memoryview(held)[:every])
            del held[:every]
            done, at = done + every, at + 1
    whole.update(held)
    if done + len(held) == size and whole.hexdigest() == sha256 and held:
        yield bytes(held)
