"""Directories of our own for a while, and the end of those that killed runs left.

One may hold a key or a part of a backup. Its lock falls with the process, whatever ends that.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "windlass-tmp-"
YOUNG = 60.0  # seconds; a younger one may be a run's that is about to lock it
_held: dict[Path, int] = {}


def make(purpose: str) -> Path:
    """Make a directory that nobody else may enter, and lock it; `remove` takes it away."""
    path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    _held[path] = held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a file system without locks: `sweep` cannot take it either
        fcntl.flock(held, fcntl.LOCK_EX)
    return path


def remove(path: Path) -> None:
    """Take a directory away, as far as it lets itself be."""
    shutil.rmtree(path, ignore_errors=True)
    held = _held.pop(path, None)
    if held is not None:
        os.close(held)


@contextmanager
def directory(purpose: str) -> Iterator[Path]:
    """Yield a directory that is there as long as the block."""
    path = make(purpose)
    try:
        yield path
    finally:
        remove(path)


def sweep(young: float = YOUNG) -> tuple[Path, ...]:
    """Take away what killed runs of this user left on this machine; return what that was.

    `young`: those that are younger, in seconds, stay.
    """
    return tuple(
        path for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if _is_left(path, young)
    )


def _is_left(path: Path, young: float) -> bool:
    """Remove a directory that no process holds; tell whether it did."""
    with suppress(OSError):
        status = path.lstat()
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < young:
            return False
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(held)
        return not path.exists()
    return False
