"""The content of the files that decide what a deployment does, beside its migrations."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..model import Sources
from ..plan.named_files import named_words
from .checkout import look
from .work import Work

# Not part of a directory that a command names: what tools keep there.
NOT_READ = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", ".windlass"})


def take_sources(work: Work) -> Sources:
    """Return the commit, what differs from it, and a hash of every file that decides.

    Raises:
        ConfigError: git is pointed at another repository.

    """
    settings, files = work.settings, work.engine.files
    root = settings.root
    named = tuple(_named(root, (word for _, word in named_words(settings))))
    besides = files.besides()
    checkout = look(
        Path(os.path.realpath(root)),
        deciding=(*named, settings.file.path),
        directories=files.directories(),
        generated=besides,
    )
    hashes = {shown(path, root): hash_of(path) for path in (*named, *besides)}
    return Sources(
        commit=checkout.commit, changed=checkout.changed, files=tuple(sorted(hashes.items()))
    )


def _named(root: Path, words: Iterator[str]) -> Iterator[Path]:
    """Yield the files that words name inside the project; of a directory all that it holds."""
    for word in words:
        path = root / word
        if not _is_within(path, root):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not _is_within(root, path):
            for place, names, files in os.walk(path):
                names[:] = sorted(set(names) - NOT_READ)
                yield from (Path(place, name) for name in sorted(files))


def _is_within(path: Path, directory: Path) -> bool:
    """Tell whether a path is written as one below a directory, wherever links lead from there."""
    absolute = os.path.normpath(path.absolute())
    try:
        return os.path.commonpath([absolute, directory.absolute()]) == str(directory.absolute())
    except ValueError:  # on different drives
        return False


def shown(path: Path, root: Path) -> str:
    """Return a path as plans show it: from the directory of deploy.yml, the same everywhere."""
    return Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()


def hash_of(path: Path) -> str:
    """Return a hash of a file's text, LF or CRLF; of what cannot be read, that it cannot."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"not readable: {error.strerror}"
    text = content.replace(b"\r\n", b"\n")
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
