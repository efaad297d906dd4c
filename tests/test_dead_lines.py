"""Lines that say nothing any more: a machine that is gone, a proxy that swallows what it takes."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgwindlass.database import connection as connections
from pgwindlass.database import holder, lock, opening, silence
from pgwindlass.database.connection import Database
from pgwindlass.errors import LockHeld, Unreachable
from pgwindlass.secret import Secret
from tests.fix_own_server import OwnServer
from tests.fix_pgbouncer import Pooler
from tests.fix_proxy import Proxy

SETTINGS = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")


@pytest.fixture
def swallowing(
    lonely_server: OwnServer, proxy: Callable[[tuple[str, int]], Proxy]
) -> Iterator[tuple[Proxy, Database]]:
    """A proxy before the server, and the database behind it."""
    line = proxy(("127.0.0.1", lonely_server.port))
    yield line, lonely_server.database(line.port)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after a fraction of the time."""
    monkeypatch.setattr(silence, "ASK_AFTER", 0.3)
    monkeypatch.setattr(silence, "ASK_EVERY", 0.3)
    monkeypatch.setattr(silence, "SILENT_AT_MOST", 1.5)
    monkeypatch.setattr(opening, "ASKED_WITHIN", 1.0)


def test_every_session_of_ours_is_watched_over_at_both_ends(lonely_server: OwnServer) -> None:
    with lonely_server.database().connect("lock") as connection:
        values = [
            connection.execute(f"show {name}".encode()).fetchone()
            for name in (*SETTINGS, "tcp_user_timeout")
        ]
        parameters = connection.info.get_parameters()

    assert values == [("15",), ("5",), ("3",), ("30000",)]
    assert parameters["keepalives_idle"] == "15"
    assert parameters["tcp_user_timeout"] == "30000"


def test_a_child_of_libpq_gets_the_same(lonely_server: OwnServer) -> None:
    variables = {k: str(v) for k, v in lonely_server.database().environment().items()}
    shown = subprocess.run(
        [str(lonely_server.binaries / "psql"), "-Atc", "show tcp_user_timeout"],
        env=variables,
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "30000\n"


def test_a_session_of_a_pooler_gets_none_of_it(database16: Database, pooler: Pooler) -> None:
    pooled = pooler(database16, pool_size=1)
    with pooled.connect("test") as connection:
        connection.execute("select 1")
    with psycopg.connect(pooled.url.reveal(), autocommit=True) as app:
        assert app.execute("show tcp_user_timeout").fetchone() == ("0",)


def test_a_statement_that_a_proxy_swallows_ends(
    swallowing: tuple[Proxy, Database], hurried: None
) -> None:
    line, database = swallowing
    with database.connect("test") as connection:
        line.stall("up")
        with pytest.raises(psycopg.OperationalError, match="no other connection was answered"):
            connection.execute("select 1")

        assert connection.closed


def test_an_answer_that_a_proxy_swallows_ends_inside_a_transaction_too(
    swallowing: tuple[Proxy, Database], hurried: None
) -> None:
    line, database = swallowing
    with (
        database.connect("test") as connection,
        pytest.raises(psycopg.OperationalError, match="no other connection was answered"),
        connection.transaction(),
    ):
        connection.execute("select 1")
        line.stall("down")
        connection.execute("select 2")


def test_a_line_that_is_dead_where_others_live_ends_soon(
    lonely_server: OwnServer, proxy: Callable[[tuple[str, int]], Proxy], hurried: None
) -> None:
    line = proxy(("127.0.0.1", lonely_server.port))
    with lonely_server.database(line.port).connect("test") as connection:
        line.stall("up")
        threading.Timer(0.2, line.heal).start()  # for what connects from now on
        with pytest.raises(psycopg.OperationalError, match="runs no statement of this session"):
            connection.execute("select 1")


def test_a_statement_that_takes_its_time_is_left_alone(
    lonely_server: OwnServer, hurried: None
) -> None:
    with lonely_server.database().connect("test") as connection:
        row = connection.execute("select 7 from pg_sleep(2.5)").fetchone()

    assert row == (7,)


def test_a_connection_whose_first_words_are_swallowed_ends(
    swallowing: tuple[Proxy, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, database = swallowing
    monkeypatch.setattr(connections, "CONNECT_WITHIN", 2)
    line.stall("down")
    with pytest.raises(Unreachable, match="cannot be reached"), database.connect("test"):
        raise AssertionError("connected")


def test_who_waits_is_told_when_the_holder_was_last_heard_of(
    lonely_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "BEAT", 0.3)
    first = Database(url=Secret(lonely_server.url()), deployment_id="01FIRST")
    with lock.hold(first, wait=1):
        time.sleep(1.5)
        with (
            pytest.raises(LockHeld, match=r"01FIRST/lock from 127.*last heard of [01] s") as held,
            lock.hold(lonely_server.database(), wait=0),
        ):
            raise AssertionError("held twice")

    assert "where its machine is gone, its lock falls within" in held.value.next_step


def test_a_session_that_is_no_run_of_ours_is_told_as_that(lonely_server: OwnServer) -> None:
    with psycopg.connect(lonely_server.url(), application_name="psql") as other:
        other.execute("select pg_advisory_lock(%s)", (lock.KEY,))
        pid = other.info.backend_pid
        with (
            pytest.raises(LockHeld, match=r"holds the lock: psql from 127\.0\.0\.1") as held,
            lock.hold(lonely_server.database(), wait=0),
        ):
            raise AssertionError("held twice")

    assert "it is no run of Windlass" in held.value.next_step
    assert f"pg_terminate_backend({pid})" in held.value.next_step


def test_the_lock_of_a_machine_that_is_gone_falls_within_a_minute(
    lonely_server: OwnServer,
    black_hole: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a tenth of the times that are set: the kernel's own minimum is a second."""
    monkeypatch.setattr(
        connections,
        "PINNED_DIRECT",
        "set tcp_keepalives_idle = 1; set tcp_keepalives_interval = 1; "
        "set tcp_keepalives_count = 2; set tcp_user_timeout = 3000",
    )
    with lonely_server.database().connect("lock") as gone:
        gone.execute("select pg_advisory_lock(%s)", (lock.KEY,))
        black_hole(_port_of(gone.fileno()))
        with lock.hold(lonely_server.database(), wait=20):
            pass
        gone.pgconn.finish()


def _port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as line:
        return int(line.getsockname()[1])
