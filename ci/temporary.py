"""Directories of our own for a while, and the end of those that killed runs left.

One may hold a key or a part of a backup. Its lock falls with the process, whatever ends that. It
gets its name when it is locked: what has the name and no lock is a killed run's.
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
UNNAMED = f".{PREFIX}"  # until it is locked
YOUNG = 60.0  # seconds; a younger one without its name may be a run's that is about to lock it
_held: dict[Path, int] = {}


def make(purpose: str) -> Path:
    """Make a directory that nobody else may enter, and lock it; `remove` takes it away."""
    unnamed = Path(tempfile.mkdtemp(prefix=f"{UNNAMED}{purpose}-"))
    held = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a file system without locks: `sweep` cannot take it either
        fcntl.flock(held, fcntl.LOCK_EX)
    path = unnamed.rename(unnamed.with_name(unnamed.name.removeprefix(".")))
    _held[path] = held
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

    `young`: those without their name that are younger, in seconds, stay.
    """
    place = Path(tempfile.gettempdir())
    named = [path for path in place.glob(f"{PREFIX}*") if _is_left(path, 0)]
    return (*named, *(path for path in place.glob(f"{UNNAMED}*") if _is_left(path, young)))


def _is_left(path: Path, young: float) -> bool:
    """Remove a directory that no process holds; tell whether it did."""
    with suppress(OSError):
        status = path.lstat()
        if status.st_uid != os.geteuid() or (young and time.time() - status.st_mtime < young):
            return False
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(held)
        return not path.exists()
    return False
