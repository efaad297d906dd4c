"""A backfill beside a streaming replica that lags: it waits, and the replica gets every row."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CalledProcessError

import psycopg
import pytest

from pgwindlass.backfill import run as backfills
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import BackfillConfig
from pgwindlass.database.retry import Terms
from tests.fix_migration import Write
from tests.fix_own_server import OwnServer, free_port, own_server
from tests.npm_postgres import hand_over


@contextmanager
def standby_of(primary: OwnServer) -> Iterator[OwnServer]:
    """Run a streaming standby for a block."""
    home = Path(tempfile.mkdtemp(prefix="wl-own-"))
    home.chmod(0o755)
    hand_over(home)
    second = OwnServer(home, primary.binaries, free_port())
    url = primary.url()
    second.run("pg_basebackup", "-d", url, "-D", str(second.data), "-R", "-X", "stream", "-N")
    second.start()
    try:
        yield second
    finally:
        with suppress(CalledProcessError):
            second.stop()
        shutil.rmtree(home, ignore_errors=True)


def test_batches_wait_for_a_replica_that_does_not_replay(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "LOOK_EVERY", 0.05)
    engine, migration = write(
        "-- windlass: backfill table=t batch=500\nupdate t set n = n + 1, p = repeat('x', 500);"
    )
    with (
        own_server() as primary,
        standby_of(primary) as second,
        psycopg.connect(second.url(), autocommit=True) as replica,
        psycopg.connect(primary.url(), autocommit=True) as connection,
    ):
        connection.execute(
            "create table t as select g as id, 0 as n, '' as p from generate_series(1, 8000) g"
        )
        connection.execute("alter table t add primary key (id)")
        replica.execute("select pg_wal_replay_pause()")
        notes: list[str] = []
        waited = threading.Event()

        def note(text: str) -> None:
            notes.append(text)
            if "waits: the replica walreceiver is" in text:
                waited.set()

        limits = BackfillConfig(wal_backlog=1, wait=Duration(60))
        runs = threading.Thread(
            target=engine.runner.apply,
            args=(migration, primary.database(), Terms(note=note, backfill=limits)),
        )
        runs.start()
        assert waited.wait(60), notes
        row = connection.execute("select count(*) from t where n = 1").fetchone()
        assert row is not None and 0 < row[0] < 8000
        replica.execute("select pg_wal_replay_resume()")
        runs.join(60)

        assert not runs.is_alive()
        deadline, count = time.monotonic() + 60, None
        while count != (8000,) and time.monotonic() < deadline:
            count = replica.execute("select count(*) from t where n = 1").fetchone()
        assert count == (8000,)
