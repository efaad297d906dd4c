"""Backups in a directory of this machine, or one that is mounted here."""

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UNCHANGED, StoreFailed

READ = 1 << 20  # bytes per chunk read back
SUFFIX = ".windlass-partial"  # of files being written; no key may end so
STALE = 60.0  # seconds; younger files may be between their creation and their lock

# errno -> what to do about it
REMEDIES = {
    errno.ENOSPC: "make room there (invoke backup.prune), or name another place in backups.to",
    errno.EDQUOT: "raise the quota or make room there (invoke backup.prune)",
    errno.EFBIG: "raise the file size limit (ulimit -f), or use a file system for large files",
    errno.EACCES: "let the user that runs this read and write there",
    errno.EPERM: "let the user that runs this read and write there",
    errno.EROFS: "mount it writable, or name another place in backups.to",
    errno.ENOENT: "list what there is: invoke backup.list",
    errno.EISDIR: "name a backup, not a directory: invoke backup.list",
    errno.ENAMETOOLONG: "use shorter names for the environment and the database",
    errno.EIO: "look at the disk: dmesg, smartctl",
    errno.EEXIST: "look at what is there; nothing was replaced",
    errno.ESTALE: "mount the directory again, then start again",
}


class DirectoryStore:
    """Keeps each object as one file, mode 0600, in directories of mode 0700."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        expected_bytes: int = 0,  # noqa: ARG002  # of the Protocol; a file needs no part size
        writers: int = 1,  # noqa: ARG002  # nor memory
        once: bool = False,
    ) -> str:
        """Store the stream, whole or not at all; see `Store.write`.

        Written beside its place, synced, renamed, and the directory synced: a power cut leaves
        the old file or the new one.
        """
        target = self._target(key)
        with self._doing("write", target):
            created = _make_directories(target.parent)
            _sweep(target.parent)
            # The name carries nothing of the key, whose own length may be at the limit.
            partial = target.with_name(f".{secrets.token_hex(8)}{SUFFIX}")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                self._fill(descriptor, chunks, target)
            finally:
                os.close(descriptor)
            with self._doing("write", target):
                if once:  # a link, unlike a renaming, replaces nothing
                    target.hardlink_to(partial)
                    partial.unlink()
                else:
                    partial.replace(target)
                _sync_directory(target.parent)
        except BaseException:
            _remove(partial, created)
            raise
        return str(target)

    def _fill(self, descriptor: int, chunks: Iterable[bytes], target: Path) -> None:
        with self._doing("lock", target):
            # Held until the file is closed: how `_sweep` tells a dead writer's file from ours.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for chunk in chunks:  # outside of `_doing`: an error of the source is not ours
            with self._doing("write", target):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
        with self._doing("write", target):
            os.fsync(descriptor)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the file in chunks of 1 MiB; a missing key is an error of this call."""
        target = self._target(key)
        with self._doing("read", target):
            descriptor = os.open(target, os.O_RDONLY)
            os.close(descriptor)
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

        def body() -> Iterator[bytes]:
            with self._doing("read", target):
                file = target.open("rb", buffering=0)
            with file:
                while True:
                    with self._doing("read", target):
                        chunk = file.read(READ)
                    if not chunk:
                        return
                    yield chunk

        return body()

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, in ascending order."""
        keys: list[str] = []
        with self._doing("list", self.path):
            for directory, _, names in os.walk(self.path, onerror=_raise_unless_missing):
                place = Path(directory).relative_to(self.path)
                keys += [(place / name).as_posix() for name in names if not name.endswith(SUFFIX)]
        yield from sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove one file, and its directory where that was the last one."""
        target = self._target(key)
        with self._doing("delete", target):
            target.unlink()
            if target.parent != self.path:
                with contextlib.suppress(OSError):  # not empty; a leftover directory is no key
                    target.parent.rmdir()

    def sweep(self, prefix: str) -> tuple[str, ...]:
        """Remove the files that killed writers left under `prefix`, and their empty directories."""
        swept = []
        start = self.path / prefix
        for leftover in sorted(start.rglob(f".*{SUFFIX}")) if start.is_dir() else ():
            if _remove_dead(leftover):
                swept.append(str(leftover))
                with contextlib.suppress(OSError):  # not empty; a leftover directory is no key
                    leftover.parent.rmdir()
        return tuple(swept)

    def require_time(self, seconds: float) -> None:
        """A directory asks for no credentials."""

    def fetch_command(self, key: str) -> str:
        """Return `cat` of the file."""
        return f"cat {shlex.quote(self.address(key))}"

    def check(self, prefix: str = "") -> str:
        """Write a small file without a name, read it back, and say how long that took."""
        start_at = self.path.absolute() / prefix
        place = next(place for place in (start_at, *start_at.parents) if place.is_dir())
        content, start = secrets.token_bytes(64), time.monotonic()
        with self._doing("write", place), tempfile.TemporaryFile(dir=place) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            same = file.read() == content
        if not same:
            raise StoreFailed(
                f"{place}: read back other bytes than were written",
                state="nothing was left there",
                next_step="do not trust this store; look at dmesg and smartctl",
            )
        seconds = time.monotonic() - start
        return f"{self.path}: wrote and read back a file without a name in {seconds:.2f} s"

    def address(self, key: str) -> str:
        """Return the file's path."""
        return str(self.path / key)

    def _target(self, key: str) -> Path:
        elements = key.split("/")
        invalid = any(part in ("", ".", "..") or "\0" in part for part in elements)
        if invalid or key.endswith(SUFFIX):
            raise StoreFailed(
                f'"{key}" is not a key: empty, absolute, reserved, or with an empty or dot element',
                state="nothing was read or written",
                next_step="use a relative path such as uat/app/20260803T101500Z-1/dump.pgc",
            )
        return self.path.joinpath(*elements)

    @contextmanager
    def _doing(self, verb: str, target: Path) -> Iterator[None]:
        """Translate what the file system says."""
        try:
            yield
        except OSError as error:
            raise StoreFailed(
                f"cannot {verb} {target}: {error.strerror or error}",
                state="the file is not stored" if verb == "write" else UNCHANGED,
                next_step=REMEDIES.get(error.errno or 0, "look at the directory and its disk"),
            ) from error


def _make_directories(directory: Path) -> list[Path]:
    """Create what is missing, each with mode 0700, and return it, the deepest first."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    created: list[Path] = []
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another writer was quicker
            place.mkdir(mode=0o700)
            created.insert(0, place)
            _sync_directory(place.parent)
    return created


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    """Remove files that killed runs left here; best effort, as they are not keys."""
    for leftover in directory.glob(f".*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE:
                _remove_dead(leftover)


def _remove_dead(leftover: Path) -> bool:
    """Remove a file whose writer is dead; False where it is alive, or we may not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(leftover, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused: it is alive
            leftover.unlink()
        finally:
            os.close(descriptor)
        return True
    return False


def _remove(partial: Path, created: list[Path]) -> None:
    """Undo a write that did not end; a second error would hide the first."""
    with contextlib.suppress(OSError):
        partial.unlink()
    for directory in created:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _raise_unless_missing(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
