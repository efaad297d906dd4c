"""The one door to git. Each call is one child in the repository named, and asks nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import process, temporary
from .errors import ChildFailed
from .purposes import GIT, GIT_REMOTE
from .secret import Secret

WITHIN = 10.0  # seconds, for what reads the repository on this machine
LONG = 120.0  # seconds, for what writes all files of a commit
QUIET: Mapping[str, str | Secret] = {"GIT_TERMINAL_PROMPT": "0"}


def read(
    root: Path,
    *arguments: str,
    env: Mapping[str, str | Secret] | None = None,
    within: float = WITHIN,
    remote: bool = False,
) -> str:
    """Return what git prints, without the line break at its end.

    Args:
        root: a directory of the repository; git runs there.
        arguments: of git, the command first.
        env: variables in addition to those that git gets of ours.
        within: seconds after which git is ended.
        remote: whether it speaks with a remote, which may need a token of ours.

    Raises:
        ChildFailed: git is missing, took too long or ended with another code than 0.

    """
    added = {**QUIET, **(env or {})}
    purpose = GIT_REMOTE if remote else GIT
    argv = _argv(root, arguments)
    return process.run(argv, purpose=purpose, within=within, env=added).stdout.strip()


def read_or_none(root: Path, *arguments: str) -> str | None:
    """Return what git prints; None without a repository, without git, or where it has no answer."""
    try:
        return read(root, *arguments)
    except ChildFailed:
        return None


@contextmanager
def checked_out(root: Path, commit: str, *, within: float = LONG) -> Iterator[Path]:
    """Write a commit's files into a directory, and yield where `root` is in it.

    The repository's index and files stay as they are; nothing is recorded in it.

    Raises:
        ChildFailed: there is no such commit here.

    """
    top = Path(read(root, "rev-parse", "--show-toplevel"))
    below = read(root, "rev-parse", "--show-prefix")
    with temporary.directory("check") as folder:
        files = folder / "files"
        files.mkdir()
        index = {"GIT_INDEX_FILE": str(folder / "index")}
        read(top, "read-tree", commit, env=index, within=within)
        read(top, "checkout-index", "--all", f"--prefix={files}/", env=index, within=within)
        yield files / below


def blob(root: Path, name: str) -> Iterator[bytes]:
    """Yield the bytes of an object, `COMMIT:PATH` for a file.

    Raises:
        ChildFailed: there is no such object.

    """
    return process.stream(_argv(root, ("cat-file", "blob", name)), purpose=GIT, env=QUIET)


def raw(root: Path, *arguments: str, env: Mapping[str, str | Secret] | None = None) -> bytes:
    """Return what git prints, byte for byte: names of files, which no redaction may touch.

    Raises:
        ChildFailed: git is missing, or ended with another code than 0.

    """
    argv = _argv(root, arguments)
    return b"".join(process.stream(argv, purpose=GIT, env={**QUIET, **(env or {})}))


def _argv(root: Path, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return ("git", "-C", str(root), *arguments)
