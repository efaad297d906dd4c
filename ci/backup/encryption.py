"""Encrypts a backup on its way out and decrypts it on its way in, in the age format.

age (age-encryption.org/v1) cuts a stream into authenticated pieces of 64 KiB, so nothing is held
in memory, a cut or changed stream is an error, and the tool of that name reads it without us.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import UNCHANGED, ConfigError, StepFailed, Unchanged
from ..secret import Secret

PEM = "-----BEGIN "  # a private key's file of ssh begins with it
HEADER = 64 << 10  # bytes; a recipient takes 100 to 800; more takes the library minutes
HEADER_ENDS = b"\n--- "
PIECES = 64  # of 64 KiB that may wait for the reader
ANSWER_WITHIN = 0.5  # seconds between two looks whether the reader still reads


def require_usable(recipients: tuple[str, ...], identity: Secret | None) -> None:
    """Raise `ConfigError` where the library is missing or a key is none."""
    age = _library()
    for recipient in recipients:
        _recipient(age, recipient)
    if identity is not None and identity.reveal().strip():
        _identity(age, identity)


def sealed(chunks: Iterable[bytes], recipients: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the chunks encrypted for the recipients; as they are where there are none."""
    if not recipients:
        return iter(chunks)
    age = _library()
    keys = [_recipient(age, recipient) for recipient in recipients]
    return _through(chunks, lambda source, sink: age.encrypt_io(source, sink, keys))


def opened(
    chunks: Iterable[bytes], encrypted_for: tuple[str, ...], identity: Secret | None
) -> Iterator[bytes]:
    """Yield the chunks decrypted; as they are where they are not encrypted.

    Raises:
        ConfigError: there is no identity.
        StepFailed: the identity is not a recipient's, or the bytes are not what was sealed.

    """
    if not encrypted_for:
        return iter(chunks)
    if identity is None or not identity.reveal().strip():
        raise ConfigError(
            f"the backup is encrypted for {', '.join(encrypted_for)}, and there is no private key",
            next_step="write backups.encrypt.identity: ${AGE_IDENTITY}, and export AGE_IDENTITY",
        )
    age = _library()
    key = _identity(age, identity)
    return _through(
        _with_short_header(chunks), lambda source, sink: _decrypt(age, source, sink, key)
    )


def _with_short_header(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks, the first ones when the end of the header is among them.

    Raises:
        StepFailed: the header is longer than any of ours: to read it would take hours.

    """
    head, ended = b"", False
    try:
        for chunk in chunks:
            if ended:
                yield chunk
                continue
            head += chunk
            ended = HEADER_ENDS in head[: HEADER + len(HEADER_ENDS)]
            if ended:
                yield head
            elif len(head) > HEADER:
                raise StepFailed(
                    f"the backup cannot be decrypted: its age header has no end in {HEADER} bytes",
                    state=Unchanged("no more of it was read"),
                    next_step="find out who wrote it; take another backup: invoke backup",
                )
        if not ended:
            yield head
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _decrypt(age: Any, source: object, sink: object, key: object) -> None:  # noqa: ANN401
    try:
        age.decrypt_io(source, sink, [key])
    except (age.DecryptError, OSError) as error:
        raise StepFailed(
            f"the backup cannot be decrypted: {error}",
            state=UNCHANGED,
            next_step="check backups.encrypt.identity, then invoke backup.verify --level checksum",
        ) from error


def _library() -> Any:  # noqa: ANN401  # the library has no types
    try:
        import pyrage
    except ImportError:
        raise ConfigError(
            "backups.encrypt needs the library pyrage, which is not installed",
            next_step='pip install "pgwindlass[encryption]"',
        ) from None
    return pyrage


def _recipient(age: Any, text: str) -> Any:  # noqa: ANN401
    for kind in (age.x25519, age.ssh):
        try:
            return kind.Recipient.from_str(text)
        except age.RecipientError:
            continue
    raise ConfigError(
        f'backups.encrypt.recipients: "{text}" is not a public key of age',
        next_step="write one as age-keygen prints it (age1…), or an ssh-ed25519 or ssh-rsa key",
    )


def _identity(age: Any, identity: Secret) -> Any:  # noqa: ANN401
    text = identity.reveal().strip()
    try:
        if text.startswith(PEM):
            return age.ssh.Identity.from_buffer(f"{text}\n".encode())
        return age.x25519.Identity.from_str(text)
    except age.IdentityError as error:
        raise ConfigError(
            "backups.encrypt.identity is not a private key that age can use"
            + (f": {error}" if text.startswith(PEM) else ""),
            next_step="write it as age-keygen prints it (AGE-SECRET-KEY-1…), or the whole file of "
            "an ssh-ed25519 or ssh-rsa key without a passphrase (ssh-keygen -p on a copy)",
        ) from None


class _Nobody(Exception):
    """The reader has gone."""


class _Source:
    """What the library reads from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks, self.rest = iter(chunks), memoryview(b"")
        self.failed: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self.rest:
                self.rest = memoryview(next(self.chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failed = error  # raised again as it is: the library would change the message
            raise
        taken, self.rest = self.rest[:size], self.rest[size:]
        return bytes(taken)


class _Sink:
    """What the library writes to: a queue with one reader, until the reader has gone."""

    def __init__(self) -> None:
        self.pieces: queue.Queue[bytes | None] = queue.Queue(PIECES)
        self.gone = threading.Event()

    def write(self, piece: bytes) -> int:
        self.put(bytes(piece))
        return len(piece)

    def put(self, piece: bytes | None) -> None:
        while not self.gone.is_set():
            try:
                return self.pieces.put(piece, timeout=ANSWER_WITHIN)
            except queue.Full:
                continue
        raise _Nobody

    def flush(self) -> None:
        """Nothing is kept back."""


def _through(chunks: Iterable[bytes], work: Callable[[_Source, _Sink], None]) -> Iterator[bytes]:
    """Yield what `work`, on a thread of its own, returns for the chunks."""
    source, sink = _Source(chunks), _Sink()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(source, sink)
        except BaseException as error:  # noqa: BLE001  # raised on the reading thread
            errors.append(source.failed or error)
        try:
            sink.put(None)
        except _Nobody:
            return

    thread = threading.Thread(target=run, name="sealing", daemon=True)
    thread.start()
    ended = False
    try:
        while (piece := sink.pieces.get()) is not None:
            yield piece
        ended = True
    finally:
        sink.gone.set()
        thread.join()
        close = getattr(source.chunks, "close", None)
        if close is not None and not ended:  # otherwise the caller may read the rest
            close()
    if errors:
        raise errors[0]
