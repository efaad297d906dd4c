"""A store whose manifests, proofs, rehearsals and events are signed, and judged when read.

It stands before the real one, so that nobody can read such a document and forget to ask.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from ..errors import Unchanged, Untrusted
from ..model import DocumentKind
from ..signing import Seal
from ..stores import Store
from .stream import TooLarge, whole

NAMES = re.compile(r"(manifest|pruned|proof|rehearsal|events)(?:-[0-9a-z]+)?\.json")
KINDS = {kind: kind for kind in get_args(DocumentKind)}


def kind_of(key: str) -> DocumentKind | None:
    """Return what kind of document lies under a key; None: none that is signed."""
    match = NAMES.fullmatch(key.rpartition("/")[2])
    return KINDS[match[1]] if match else None


class SignedStore:
    """See `Store`. What is signed nowhere (archives, pins) passes as it is.

    A rehearsal that cannot be signed here is kept for as long as this lives, and is told.

    Args:
        store: the real one.
        seal: signs and judges.
        note: is told once of each document that is not trusted.

    """

    def __init__(self, store: Store, seal: Seal, note: Callable[[str], None]) -> None:
        self.store, self.seal, self.note = store, seal, note
        self._told: set[str] = set()
        self._unsigned: dict[str, bytes] = {}

    def write(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        expected_bytes: int = 0,
        writers: int = 1,
        once: bool = False,
    ) -> str:
        """Store the stream; a document of a kind that is signed, with its signature."""
        kind = kind_of(key)
        if kind is None:
            return self.store.write(
                key, chunks, expected_bytes=expected_bytes, writers=writers, once=once
            )
        document = b"".join(chunks)
        if kind == "rehearsal" and not self.seal.can_sign:
            self._unsigned[key] = document
            self.note("the rehearsal is not recorded: there is no key here to sign it with")
            return self.store.address(key)
        return self.store.write(key, [self.seal.seal(kind, key, document)], once=once)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the stored bytes; of a signed document, what was signed.

        Raises:
            Untrusted: it is not signed as it should be.

        """
        kind = kind_of(key)
        if kind is None:
            return self.store.read(key)
        if key in self._unsigned:
            return (document for document in [self._unsigned[key]])
        try:
            document = self.seal.open(kind, key, self._content(key), self._shown(key))
        except Untrusted as error:
            if key not in self._told:
                self._told.add(key)
                self.note(error.what)
            raise
        return (part for part in [document])

    def _content(self, key: str) -> bytes:
        try:
            return whole(self.store, key)
        except TooLarge as error:
            state = Unchanged(error.own)
            raise Untrusted(error.what, state=state, next_step=error.next_step) from error

    def _shown(self, key: str) -> str:
        """Return an address without control characters: anybody may have named the object."""
        address = self.store.address(key)
        return address if address.isprintable() else repr(address)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, in ascending order."""
        own = {key for key in self._unsigned if key.startswith(prefix)}
        return iter(sorted(own.union(self.store.keys(prefix)))) if own else self.store.keys(prefix)

    def delete(self, key: str) -> None:
        """Remove one key."""
        self.store.delete(key)

    def sweep(self, prefix: str) -> tuple[str, ...]:
        """Remove what killed writers left."""
        return self.store.sweep(prefix)

    def require_time(self, seconds: float) -> None:
        """Raise where our credentials expire before that."""
        self.store.require_time(seconds)

    def fetch_command(self, key: str) -> str:
        """Return the shell command that writes the object to standard output."""
        return self.store.fetch_command(key)

    def check(self, prefix: str = "") -> str:
        """Look at the real store."""
        return self.store.check(prefix)

    def address(self, key: str) -> str:
        """Return where the key is."""
        return self.store.address(key)


def require_key(store: Store) -> None:
    """Raise ConfigError where what is written to this store must be signed, and cannot be here."""
    if isinstance(store, SignedStore):
        store.seal.require_key()


def can_write(store: Store) -> bool:
    """Tell whether a backup can be taken to this store from here."""
    return not isinstance(store, SignedStore) or store.seal.can_sign
