"""What a backup store must do, and which ones there are."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Protocol, assert_never
from urllib.parse import urlsplit

from ..config.sections import BackupsConfig
from ..errors import ConfigError


class Store(Protocol):
    """Keeps byte streams under keys. Knows nothing of PostgreSQL or manifests.

    A key is a relative path with `/` between its elements. Every failure of the store is a
    `StoreFailed` (`Unreachable` where nothing answers); no other exception leaves a driver.
    """

    def write(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        expected_bytes: int = 0,
        writers: int = 1,
        once: bool = False,
    ) -> str:
        """Store the stream, whole or not at all, and return its address for people.

        Whatever `chunks` raises is raised again after every trace of the object is removed.
        `expected_bytes` is an upper bound that drivers may size their parts by; 0: not known.
        Memory stays bounded, whatever the stream's length; `writers` of this process, which write
        at the same time, share it. An existing key is replaced; with `once` it is an error.
        """
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the stored bytes; a missing key is an error before the first chunk."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, in ascending order; none is no error."""
        ...

    def delete(self, key: str) -> None:
        """Remove one key; a missing key is an error."""
        ...

    def sweep(self, prefix: str) -> tuple[str, ...]:
        """Remove what killed writers left under `prefix`, which is no key; return the addresses.

        The caller sees to it that no one writes there: unfinished writes are removed too.
        """
        ...

    def require_time(self, seconds: float) -> None:
        """Raise `Unreachable` where our credentials are known to expire before that."""
        ...

    def fetch_command(self, key: str) -> str:
        """Return the shell command that writes the object to standard output, without us."""
        ...

    def check(self, prefix: str = "") -> str:
        """Try what a backup needs under a prefix, for `doctor`, and return what was found.

        Nothing is left there, and nothing is asked for that a writer may lack, such as a deletion.
        """
        ...

    def address(self, key: str) -> str:
        """Return where the key is, as people and other tools write it: s3://…, /path/…."""
        ...


class Scheme(StrEnum):
    """How `backups.to` begins."""

    S3 = "s3"
    FILE = "file"


def open_store(config: BackupsConfig) -> Store:
    """Return the store that `backups.to` names; its libraries are imported here, not before."""
    parts = urlsplit(config.to)
    scheme = _scheme(config, parts.scheme)
    match scheme:
        case Scheme.S3:
            from .s3 import S3Store

            return S3Store(
                bucket=parts.netloc,
                prefix=parts.path.strip("/"),
                endpoint=config.endpoint or None,
                options=config.s3,
            )
        case Scheme.FILE:
            from .directory import DirectoryStore

            return DirectoryStore(parts.path)
        case _:
            assert_never(scheme)


def _scheme(config: BackupsConfig, text: str) -> Scheme:
    try:
        return Scheme(text)
    except ValueError:
        raise ConfigError(
            f'backups.to is "{config.to}"; expected s3://BUCKET/PREFIX or file:///PATH',
            next_step="write one of these in deploy.yml",
        ) from None
