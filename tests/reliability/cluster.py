"""A server of the matrix's own, which may be restarted, filled, and lost to its standby."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from pgwindlass.postgres import embedded
from tests.fix_postgres import CLIENTS
from tests.fix_s3 import free_port
from tests.npm_postgres import as_user, hand_over

WITHIN = 60.0  # seconds for what a server is asked to become
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=30",
    "superuser_reserved_connections=0",
    "max_worker_processes=4",
    "shared_buffers=32MB",
    "max_wal_senders=3",
)


@dataclass
class Cluster:
    """A running server; its socket is in `home`, and it listens on loopback too."""

    home: Path
    port: int = field(default_factory=free_port)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def socket(self) -> Path:
        return self.home / f".s.PGSQL.{self.port}"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.home}&port={self.port}"

    def program(self, name: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the server's user."""
        argv = as_user([str(CLIENTS / name), *arguments])
        subprocess.run(argv, check=True, capture_output=True, cwd=self.home, timeout=WITHIN)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        words = [f"-c {setting}" for setting in SETTINGS]
        options = " ".join([*words, f"-c port={self.port} -c unix_socket_directories={self.home}"])
        log = str(self.home / "log")
        self.program("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def restart(self, mode: str) -> None:
        """Restart it, fast or immediate."""
        log = str(self.home / "log")
        self.program("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-m", mode, "restart")

    def stop(self) -> None:
        """End it at once."""
        self.program("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements in a session of their own; return the rows of the last one."""
        with self.session(database) as session:
            rows: list[tuple[object, ...]] = []
            for statement in statements:
                cursor = session.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    @contextmanager
    def session(self, database: str) -> Iterator[psycopg.Connection]:
        """Open a session that may write, whatever the server's default is.

        Once more where the database was renamed while it was opened.
        """
        try:
            opened = psycopg.connect(self.url(database), autocommit=True)
        except psycopg.OperationalError as error:
            if "just been dropped or renamed" not in str(error):
                raise
            opened = psycopg.connect(self.url(database), autocommit=True)
        with opened as connection:
            connection.execute("set default_transaction_read_only = off")
            yield connection


def made(home: Path) -> Cluster:
    """Make a cluster in a directory, and start it."""
    embedded.open_to_others(CLIENTS)
    home.mkdir()
    home.chmod(0o755)
    hand_over(home)
    cluster = Cluster(home)
    cluster.program("initdb", "-D", str(cluster.data), "-U", "postgres", "-A", "trust", "--no-sync")
    cluster.start()
    return cluster


def standby(primary: Cluster, home: Path, tablespace: Path) -> Cluster:
    """Make a streaming standby of a server, its tablespace in its own home, and start it."""
    home.mkdir()
    home.chmod(0o755)
    hand_over(home)
    second = Cluster(home)
    second.program(
        "pg_basebackup",
        *("-d", primary.url(), "-D", str(second.data), "-R", "-X", "stream", "-c", "fast", "-N"),
        *("-T", f"{tablespace}={home / 'small'}"),
    )
    second.start()
    until(lambda: bool(primary.execute("select from pg_stat_replication where state='streaming'")))
    return second


def until(condition: Callable[[], bool], within: float = WITHIN) -> bool:
    """Wait for an event; tell whether it came."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
