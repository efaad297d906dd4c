"""Reads a file that somebody else wrote: a regular one, and no more of it than fits.

A pipe would wait for ever for a writer, and a device such as /dev/zero has no end.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def read(path: Path, *, at_most: int, inside: Iterable[Path] = (), links: bool = True) -> bytes:
    """Return a file's bytes.

    Args:
        path: the file.
        at_most: bytes.
        inside: directories; a link that leads out of all of them is not followed. None: any.
        links: whether a symbolic link is followed.

    Raises:
        OSError: it cannot be read, is no regular file, is larger, or leads elsewhere.
        RuntimeError: links lead in a circle.

    """
    places = tuple(place.resolve() for place in inside)
    if places and not any(path.resolve(strict=True).is_relative_to(place) for place in places):
        raise OSError("it is a link to a file outside of the project")
    try:
        # Without O_NONBLOCK to open a pipe waits for its writer.
        kept_here = 0 if links else os.O_NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | kept_here)
    except ValueError as error:  # a NUL in its name
        raise OSError(f"{str(path)!r} is no file's name") from error
    try:  # not os.fdopen yet: of a directory it raises, and leaves the descriptor open
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"it is {_kind(status.st_mode)}, and no regular file")
        if status.st_size > at_most:
            raise OSError(f"it has {status.st_size:,} bytes, and at most {at_most:,} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(at_most + 1)  # its size may be 0 in /proc, or may grow
    finally:
        os.close(descriptor)
    if len(raw) > at_most:
        raise OSError(f"it has more than {at_most:,} bytes")
    return raw


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
