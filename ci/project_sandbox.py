"""Where a project's Python reads what nobody approved: by bubblewrap, where the machine lets it.

Inside it sees no process but its own, no network, no socket of the system, no file with a password
where programs usually keep one; it writes into the project alone. All it starts ends with it.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import account, bubblewrap

# Below the home directory: where programs keep keys, tokens and passwords.
DIRECTORIES = (
    ".ssh",
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".kube",
    ".gnupg",
    ".age",
    ".password-store",
    ".local/share/keyrings",
    ".terraform.d",
    ".postgresql",
)
FILES = (
    ".pgpass",
    ".pg_service.conf",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".vault-token",
)
# Of the project: what is read by others, and what the next run believes.
KEPT = (".git", ".github", "deploy.yml", "tasks.py")
HIDDEN = (".windlass",)  # of the project: the embedded databases


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the project's Python may reach.

    writes: its directories; others can only be read.
    home: its home directory, empty.
    packages: the virtual environment, which is only read.
    sockets: directories of the sockets of copies.
    network: whether the copies are on a server that is reached by the network.
    """

    writes: tuple[Path, ...]
    home: Path
    packages: Path
    sockets: tuple[Path, ...]
    network: bool


def command(argv: Iterable[str], needs: Needs, *, cwd: Path) -> list[str]:
    """Return the command that runs a program in the sandbox."""
    # As root it keeps the right to read what other users own.
    isolated = bubblewrap.isolated(network=needs.network, kept=("CAP_DAC_OVERRIDE",))
    mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"]
    names = ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]
    mounts += names if needs.network else []
    # Other programs' sockets and files are there: each has its own, and ours are bound one by one.
    mounts += ["--tmpfs", str(Path(tempfile.gettempdir()).resolve()), *_hidden(account.home())]
    for place in needs.sockets:
        mounts += _bound("--ro-bind", place)
    for place in needs.writes:
        mounts += [*_bound("--bind", place), *_kept(place)]
    mounts += [*_bound("--ro-bind", needs.packages), *_bound("--bind", needs.home)]
    return [*isolated, *mounts, "--chdir", str(cwd), *argv]


def _hidden(home: Path) -> Iterator[str]:
    for name in DIRECTORIES:
        if (home / name).is_dir():
            yield from ("--tmpfs", str(home / name))
    for name in FILES:
        if (home / name).is_file():
            yield from ("--ro-bind", os.devnull, str(home / name))


def _kept(place: Path) -> Iterator[str]:
    for name in KEPT:
        if (place / name).exists():
            yield from _bound("--ro-bind", place / name)
    for name in HIDDEN:
        if (place / name).is_dir():
            yield from ("--tmpfs", str(place / name))


def _bound(how: str, path: Path) -> Iterator[str]:
    where = str(path.resolve())  # a link leads there inside too
    if path.exists():
        yield from (how, where, where)
