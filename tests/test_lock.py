"""The deployment lock: a session's on a direct line, a lease behind a pooler, never both."""

import threading
import time
from contextlib import closing

import psycopg
import pytest

from pgwindlass.database import lease, lock, orphans
from pgwindlass.database.connection import Database, is_pooled
from pgwindlass.errors import LockHeld, StepFailed
from tests.fix_pgbouncer import Pooler


def as_deployment(database: Database, name: str) -> Database:
    return Database(url=database.url, deployment_id=name)


def test_a_pooler_is_recognised_in_every_mode_and_a_server_is_not(
    database16: Database, pooler: Pooler
) -> None:
    with database16.connect("test") as connection:
        assert not is_pooled(connection)
    for mode in ("transaction", "session"):
        with pooler(database16, mode=mode).connect("test") as connection:
            assert is_pooled(connection)


def test_no_setting_of_ours_stays_in_a_pooled_session(database16: Database, pooler: Pooler) -> None:
    pooled = pooler(database16, pool_size=1)
    pooled.read("test", lambda c: c.execute("select 1").fetchone())

    with psycopg.connect(pooled.url.reveal(), autocommit=True) as app:
        for setting, value in (
            ("default_transaction_read_only", "off"),
            ("lock_timeout", "0"),
            ("statement_timeout", "0"),
            ("search_path", '"$user", public'),
        ):
            assert app.execute(f"show {setting}".encode()).fetchone() == (value,), setting


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "behind a pooler"])
@pytest.mark.parametrize("other_pooled", [False, True], ids=["direct", "behind a pooler"])
def test_a_second_one_is_told_who_holds_it(
    database: Database, pooler: Pooler, pooled: bool, other_pooled: bool
) -> None:
    first, second = as_deployment(database, "01FIRST"), as_deployment(database, "01SECOND")
    told: list[str] = []
    with (
        lock.hold(pooler(first) if pooled else first, wait=1) as held,
        pytest.raises(LockHeld, match=r"another deployment holds the lock: windlass/01FIRST/lock"),
        lock.hold(pooler(second) if other_pooled else second, wait=0.3, on_wait=told.append),
    ):
        raise AssertionError("held twice")

    held_by = told[0]
    assert held_by.startswith("windlass/01FIRST/lock from ")
    assert ("by a lease" in held_by) == pooled
    with lock.hold(second, wait=1):
        assert database.read("test", lock.who).startswith("windlass/01SECOND/lock")
    assert database.read("test", lock.who) == ""
    held.guard  # noqa: B018  # given back, not lost


def test_a_lock_whose_line_is_cut_is_lost_at_once(database16: Database) -> None:
    with lock.hold(database16, wait=1) as held:
        held.require()
        held.guard()
        with psycopg.connect(database16.url.reveal(), autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
            )
        time.sleep(0.1)

        with pytest.raises(StepFailed, match="its connection to the database is gone"):
            held.guard()


def test_a_lease_is_prolonged_by_its_heartbeat(
    database16: Database, pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS", 2)
    monkeypatch.setattr(lease, "MARGIN", 0.5)
    monkeypatch.setattr(lease, "BEAT", 0.3)
    pooled = pooler(database16)
    with lock.hold(pooled, wait=1) as held:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            held.guard()
            with pytest.raises(LockHeld), lock.hold(database16, wait=0):
                raise AssertionError("held twice")
            time.sleep(0.2)


def test_a_lease_that_another_took_is_lost(
    database16: Database, pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    with lock.hold(pooler(database16), wait=1) as held:
        with psycopg.connect(database16.url.reveal(), autocommit=True) as other:
            other.execute("update windlass.lease set token = 'another'")
        time.sleep(0.5)

        with pytest.raises(StepFailed, match="its lease could not be prolonged"):
            held.guard()


def test_a_dead_holders_lease_runs_out(
    database16: Database, pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS", 1)
    pooled = pooler(database16)
    with pooled.connect("lock") as connection:
        assert lease.Lease(as_deployment(pooled, "01DEAD")).take(connection)
    began = time.monotonic()

    with lock.hold(pooled, wait=5):
        assert 0.3 < time.monotonic() - began < 4


def test_two_kinds_at_the_same_moment_never_both_hold_it(
    database16: Database, pooler: Pooler
) -> None:
    pooled, inside, most = pooler(database16), 0, 0
    counting = threading.Lock()
    failed: list[BaseException] = []

    def run(one: Database) -> None:
        nonlocal inside, most
        try:
            for _ in range(5):
                with lock.hold(one, wait=30):
                    with counting:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.01)
                    with counting:
                        inside -= 1
        except BaseException as error:  # noqa: BLE001  # read below
            failed.append(error)

    threads = [
        threading.Thread(target=run, args=(one,))
        for one in (database16, pooled, database16, pooled)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert most == 1


def test_orphans_of_dead_deployments_are_ended_and_nobody_else(database16: Database) -> None:
    notes: list[str] = []
    url = database16.url.reveal()
    dead = "windlass/01DEAD/migrate/20260801_000000_a"
    with (
        closing(psycopg.connect(url, application_name=dead)) as orphan,
        closing(psycopg.connect(url, application_name="windlass/01DEAD/verify")) as reader,
        closing(psycopg.connect(url, application_name="api")) as api,
    ):
        for connection in (orphan, reader, api):
            connection.execute("select 1")
        orphans.end_orphans(as_deployment(database16, "01NEW"), notes.append)

        assert notes == [f"ended pid {orphan.info.backend_pid}, left behind by {dead}"]
        reader.execute("select 1")
        api.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            orphan.execute("select 1")
