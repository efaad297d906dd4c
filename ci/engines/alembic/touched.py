"""Did somebody write where the project's Python reads, while unapproved code ran?

A file's ctime is the kernel's: a program can set the other times of a file, and not this one.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What a Python imports or is told by. Bytecode of the project's own modules is never read.
READ = (".py", ".pyc", ".so", ".pth", ".ini", ".cfg", ".toml", ".env", "._pth", ".egg-link")
NOT_READ = frozenset({".git", "node_modules", ".windlass", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by the clock that gives files their times, in nanoseconds."""

    at: int

    @staticmethod
    def now(directory: Path) -> "Moment":
        """Return this moment; a file in the directory is written for it."""
        file = directory / ".windlass-now"
        file.write_bytes(b"")
        changed = file.stat().st_ctime_ns
        file.unlink()
        return Moment(changed)


def written_since(moment: Moment, places: Iterable[Path]) -> Path | None:
    """Return a file below the places that a Python may read and that was written since; or None.

    Bytecode counts in installed packages only (`site-packages`).
    """
    for place in places:
        for entry in _files(str(place), installed="site-packages" in str(place)):
            try:
                changed = entry.stat(follow_symlinks=False).st_ctime_ns
            except FileNotFoundError:
                continue
            if changed > moment.at:
                return Path(entry.path)
    return None


def installed_packages(python: Path) -> tuple[Path, ...]:
    """Return the directories of the packages of a virtual environment, by its Python."""
    environment = python.parent.parent
    return tuple(sorted(environment.glob("lib*/python3*/site-packages")))


def _files(directory: str, *, installed: bool) -> "Iterator[os.DirEntry[str]]":
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            inside = installed or entry.name == "site-packages"
            if entry.name not in NOT_READ or (inside and entry.name == "__pycache__"):
                yield from _files(entry.path, installed=inside)
        elif entry.name.endswith(READ) or entry.is_symlink():
            yield entry
