"""Where temporary files are kept in memory: Linux has a file system for it, others do not."""

import os
from pathlib import Path

SHARED = Path("/dev/shm")
ROOM = 4 << 30  # bytes; one run has up to two at a time


def directory(place: Path = SHARED, room: int = ROOM) -> str:
    """Return the directory; empty where there is none, it has no room, or runs no program."""
    if not place.is_dir():
        return ""
    system = os.statvfs(place)
    enough = system.f_bavail * system.f_frsize >= room
    return str(place) if enough and not system.f_flag & os.ST_NOEXEC else ""
