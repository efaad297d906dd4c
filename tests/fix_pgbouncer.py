"""Real PgBouncer between us and a server."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests.npm_postgres import as_user, hand_over

CONFIG = """\
[databases]
{name} = host={host} port=5432 dbname={name} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {pool_size}
server_idle_timeout = 1
logfile = {directory}/log
pidfile = {directory}/pid
"""

Pooler = Callable[..., Database]


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    """Return a function that puts a PgBouncer before a database; stopped after the test."""
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="wl-pgb-") as base:
        Path(base).chmod(0o755)

        def make(database: Database, *, mode: str = "transaction", pool_size: int = 20) -> Database:
            directory = Path(base) / str(len(started))
            directory.mkdir()
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            host = str(conninfo_to_dict(database.url.reveal())["host"])
            owner = Path(host).owner()  # nobody else may enter the directory of the socket
            hand_over(directory, owner)
            file = directory / "pgbouncer.ini"
            file.write_text(
                CONFIG.format(
                    name=database.name,
                    host=host,
                    port=port,
                    mode=mode,
                    pool_size=pool_size,
                    directory=directory,
                )
            )
            argv = as_user(["/usr/sbin/pgbouncer", "--quiet", str(file)], owner)
            started.append(
                subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            found = Secret(f"postgresql://postgres@127.0.0.1:{port}/{database.name}")
            _wait_until_it_answers(found.reveal())
            return Database(url=found, deployment_id=database.deployment_id)

        yield make
        for process in started:
            process.terminate()
            process.wait(10)


def _wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PgBouncer does not answer"
            time.sleep(0.05)
        else:
            return
