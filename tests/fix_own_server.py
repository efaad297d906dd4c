"""A PostgreSQL of the test's own, on TCP and a Unix socket: restarted, filled up, cut off."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests.npm_postgres import PACKAGED, as_user, hand_over

SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "listen_addresses=127.0.0.1",
    "superuser_reserved_connections=0",
    "wal_level=replica",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class OwnServer:
    """A running server of one test."""

    directory: Path
    binaries: Path
    port: int
    settings: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, port: int = 0, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def database(self, port: int = 0, name: str = "postgres") -> Database:
        return Database(url=Secret(self.url(port, name)), deployment_id="test")

    def run(self, program: str, *arguments: str) -> None:
        argv = as_user([str(self.binaries / program), *arguments])
        subprocess.run(argv, check=True, capture_output=True, cwd=self.directory)

    def start(self) -> None:
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, *self.settings))
        options += f" -p {self.port} -k {self.directory}"
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def restart(self, mode: str = "immediate") -> None:
        self.stop(mode)
        self.start()


@contextmanager
def own_server(*settings: str, binaries: Path | None = None) -> Iterator[OwnServer]:
    """Run a server for a block; `binaries`: of another installation than the newest of Debian."""
    base = Path(tempfile.mkdtemp(prefix="wl-own-"))
    base.chmod(0o755)
    hand_over(base)
    binaries = binaries or max(PACKAGED.glob("*/bin"), key=lambda path: int(path.parent.name))
    server = OwnServer(base, binaries, free_port(), settings)
    server.run("initdb", "-D", str(server.data), "-U", "postgres", "-A", "trust", "--no-sync")
    server.start()
    try:
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def black_hole() -> Iterator[Callable[[int], None]]:
    """Return a function that lets no packet from or to a port of this machine through any more."""
    rules: list[list[str]] = []

    def drop(port: int) -> None:
        for side in ("--dport", "--sport"):
            rule = ["INPUT", "-i", "lo", "-p", "tcp", side, str(port), "-j", "DROP"]
            done = subprocess.run(["iptables", "-w", "-I", *rule], check=False, capture_output=True)
            if done.returncode != 0:
                pytest.skip("dropping packets needs root and iptables")
            rules.append(rule)

    yield drop
    for rule in rules:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@pytest.fixture(scope="module")
def lonely_server() -> Iterator[OwnServer]:
    """A server that one file of tests has for itself."""
    with own_server() as server:
        yield server
