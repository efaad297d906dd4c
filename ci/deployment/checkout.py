"""The commit that is checked out, and what on disk is not as the commit has it.

Git's index is not asked: bits in it (assume-unchanged, skip-worktree), its clock, a filter or a
setting of this machine can hide a change. The bytes on disk are compared with the commit's.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import git, process, purposes
from ..errors import ChildFailed, ConfigError

# What another repository, index or tree could be put in the place of this one with.
MISLEADING = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)
PLAIN = {"GIT_NO_REPLACE_OBJECTS": "1"}  # refs/replace shows another tree under a commit's name
ABSENT = " (not in the commit)"
IGNORED_NAMES = ("__pycache__", ".DS_Store")  # what tools leave in a directory, and nothing reads


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit, and the files that differ from it by name. Empty: there is no checkout."""

    commit: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of a commit."""

    mode: str
    oid: str


def look(
    root: Path,
    *,
    deciding: Collection[Path] = (),
    directories: Collection[Path] = (),
    generated: Collection[Path] = (),
) -> Checkout:
    """Return the commit at `root` and every file that is not as the commit has it.

    Args:
        root: a directory of the checkout.
        deciding: files that decide what happens; they count also where git does not know them,
            and no filter of git's is believed about them but line ends.
        directories: likewise of every file below.
        generated: likewise; but where a .gitignore of the commit names one, it need not be in it.

    Raises:
        ConfigError: a variable such as GIT_DIR points git at another repository.

    """
    if not any((parent / ".git").exists() for parent in (root, *root.parents)):
        return Checkout()
    _require_own_repository()
    top = git.read_or_none(root, "rev-parse", "--show-toplevel")
    commit = git.read_or_none(root, "rev-parse", "--verify", "HEAD^{commit}")
    if not top or not commit:
        return Checkout(changed=(".git (git does not read it, or it has no commit)",))
    home = Path(top)
    strict = _names((*deciding, *_below(directories)), home)
    lenient = _names(generated, home) - strict
    changed = set(_changed(home, commit, strict | lenient))
    return Checkout(commit, tuple(sorted(changed - _ignored(home, commit, lenient, changed))))


def _ignored(
    home: Path, commit: str, names: Collection[str], changed: Collection[str]
) -> frozenset[str]:
    """Return those of `changed` that a .gitignore names which is as the commit has it."""
    absent = [name for name in names if f"{name}{ABSENT}" in changed and "\n" not in name]
    if not absent:
        return frozenset()
    tree = _tree(home, commit)
    answer = process.run(
        ("git", "-C", str(home), "check-ignore", "--verbose", "--no-index", "--", *absent),
        purpose=purposes.GIT,
        within=git.WITHIN,
        env=git.QUIET,
        check=False,
    )
    ignored = set()
    for line in answer.stdout.splitlines():
        source, _, name = line.partition("\t")
        file = source.partition(":")[0]
        if Path(file).name == ".gitignore" and file in tree and file not in changed:
            ignored.add(f"{name}{ABSENT}")
    return frozenset(ignored)


def _require_own_repository() -> None:
    for name in MISLEADING:
        if os.environ.get(name):
            raise ConfigError(
                f"{name} is set: git would tell of another repository than the one here",
                next_step=f"unset {name}",
            )


def _below(directories: Collection[Path]) -> Iterator[Path]:
    for directory in directories:
        for place, names, files in os.walk(directory):
            names[:] = [name for name in names if name not in IGNORED_NAMES]
            yield from (Path(place, name) for name in files if name not in IGNORED_NAMES)


def _names(paths: Iterable[Path], home: Path) -> set[str]:
    """Return files' paths in the checkout, and those that links lead to; of others whole paths."""
    names = set()
    for path in paths:
        real = Path(os.path.realpath(path))
        for place in (real, Path(os.path.realpath(path.parent), path.name)):
            inside = place.is_relative_to(home)
            names.add(place.relative_to(home).as_posix() if inside else str(place))
    return names


def _changed(home: Path, commit: str, own: Collection[str], prefix: str = "") -> Iterator[str]:
    """Yield the files that differ from a commit, and those of `own` that are not in it."""
    tree = _tree(home, commit)
    differing = []
    for name, entry in tree.items():
        if entry.mode == "160000":
            yield from _changed_submodule(home / name, entry.oid, f"{prefix}{name}")
        elif not _same(home / name, entry, any_line_ends=name in own):
            differing.append(name)
    sparse = _left_out(home) if differing else frozenset()
    filtered = [name for name in differing if name not in own]
    as_git_has_it = _through_filters(home, filtered, tree)
    for name in differing:
        absent = name in sparse and not os.path.lexists(home / name)
        if not absent and name not in as_git_has_it:
            yield f"{prefix}{name}"
    for name in own:
        if name not in tree and not any(name.startswith(f"{module}/") for module in tree):
            yield f"{prefix}{name}{ABSENT}"


def _tree(home: Path, commit: str) -> dict[str, _Entry]:
    """Return what a commit holds, by path."""
    raw = git.raw(home, "ls-tree", "-r", "-z", "--full-tree", commit, env=PLAIN)
    entries = {}
    for line in raw.split(b"\0"):
        head, _, name = line.partition(b"\t")
        if name:
            mode, _, oid = head.decode().split()
            entries[os.fsdecode(name)] = _Entry(mode, oid)
    return entries


def _changed_submodule(place: Path, oid: str, name: str) -> Iterator[str]:
    """Yield what is changed in a submodule; one that was not checked out has nothing."""
    if not (place / ".git").exists():
        if place.is_dir() and any(place.iterdir()):
            yield f"{name} (not a checkout of its submodule)"
        return
    if git.read_or_none(place, "rev-parse", "HEAD") != oid:
        yield f"{name} (another commit of the submodule)"
    yield from _changed(place, oid, (), f"{name}/")


def _same(path: Path, entry: _Entry, *, any_line_ends: bool) -> bool:
    """Tell whether a path holds the bytes of a blob; LF and CRLF may be alike."""
    try:
        mode = path.lstat().st_mode
        if entry.mode == "120000":
            link = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else None
            return link is not None and blob_id(link, entry.oid) == entry.oid
        if not stat.S_ISREG(mode):
            return False
        content = path.read_bytes()
    except OSError:
        return False
    if blob_id(content, entry.oid) == entry.oid:
        return True
    return any_line_ends and blob_id(content.replace(b"\r\n", b"\n"), entry.oid) == entry.oid


def blob_id(content: bytes, like: str) -> str:
    """Return git's name of some bytes, by the hash that another name of the repository has."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest()


def _left_out(home: Path) -> frozenset[str]:
    """Return what a sparse checkout leaves out, where this is one."""
    if git.read_or_none(home, "config", "--bool", "core.sparseCheckout") != "true":
        return frozenset()
    lines = git.raw(home, "ls-files", "-t", "-z").split(b"\0")
    return frozenset(os.fsdecode(line[2:]) for line in lines if line.startswith(b"S "))


def _through_filters(home: Path, names: list[str], tree: dict[str, _Entry]) -> frozenset[str]:
    """Return which files are the commit's once git has filtered them: LFS, git-crypt, line ends."""
    present = [
        name
        for name in names
        if (home / name).is_file() and not (home / name).is_symlink() and "\n" not in name
    ]
    if not present:
        return frozenset()
    lines = b"".join(os.fsencode(name) + b"\n" for name in present)
    argv = ("git", "-C", str(home), "hash-object", "--stdin-paths")
    try:
        told = (
            b"".join(process.pipe(argv, [lines], purpose=purposes.GIT, env=git.QUIET))
            .decode()
            .split()
        )
    except ChildFailed:  # a filter that is not installed: then git too calls them changed
        return frozenset()
    pairs = zip(present, told, strict=True)
    return frozenset(name for name, oid in pairs if oid == tree[name].oid)
