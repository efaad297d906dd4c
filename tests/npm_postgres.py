"""PostgreSQL of other major versions: Debian's package, and for the matrix servers from npm."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

PACKAGED = Path("/usr/lib/postgresql")  # Debian's, and Ubuntu's
ROOT = Path(__file__).resolve().parent.parent
USER = "nobody"  # the server refuses to run as root


def as_user(argv: list[str], user: str = USER) -> list[str]:
    """Return the argv that runs a program as another user where we are root."""
    if os.geteuid() != 0:
        return argv
    return ["setpriv", f"--reuid={user}", "--clear-groups", *argv]


def hand_over(path: Path, user: str = USER) -> None:
    """Make a directory the other user's, where we are root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def clients(major: int) -> Path:
    """Return where tests/install-clients puts the client tools of a major version."""
    return ROOT / ".servers" / str(major) / "clients" / "bin"


def start(major: int, directory: Path) -> tuple[Path, Path, Callable[[], None]]:
    """Start a server on a socket in `directory`; return that, its binaries, and what stops it."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    binaries = PACKAGED / str(major) / "bin"
    if not (binaries / "postgres").exists():
        binaries = _copied(major, directory)
    hand_over(directory)
    data = directory / "data"

    def run(program: str, *arguments: str) -> None:
        argv = as_user([str(binaries / program), *arguments])
        subprocess.run(argv, check=True, capture_output=True, cwd=directory)

    run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
    log = str(directory / "log")
    run("pg_ctl", "-D", str(data), "-w", "-l", log, "-o", options, "start")

    def stop() -> None:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")

    return directory, binaries, stop


def _copied(major: int, directory: Path) -> Path:
    """Copy npm's server to where another user may read it; the checkout may stand where not."""
    native = ROOT / ".servers" / str(major) / "native"
    assert (native / "bin" / "postgres").exists(), (
        f"PostgreSQL {major} is not here: tests/install-servers {major}"
    )
    shutil.copytree(native, directory / "native", symlinks=True)
    return directory / "native" / "bin"
