"""Law 5 on a busy table: pgbench reads and writes it while somebody is in our way."""

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import CLIENTS, Server, start
from tests.kit import Project, Ran

pytestmark = pytest.mark.sampled(2)

SLACK = 0.1  # seconds over the rung
READ_AND_WRITE = """\\set id random(1, 100)
select v from {table} where id = :id;
update {table} set v = v + 1 where id = :id;
"""


@pytest.fixture(scope="module")
def quick_vacuum() -> Iterator[Server]:
    """Start a server of its own whose autovacuum comes every second."""
    with tempfile.TemporaryDirectory(prefix="wl-av-") as name:
        Path(name).chmod(0o755)
        server, stop = start(16, Path(name) / "pg")
        _set(server, "autovacuum_naptime = '1s'")
        yield server
        stop()


def _set(server: Server, setting: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"alter system set {setting}".encode())
        connection.execute("select pg_reload_conf()")


@dataclass
class Busy:
    """A project whose table t pgbench works on, and beside it a table that nobody changes."""

    project: Project
    server: Server
    logs: Path

    def bench(self, seconds: int) -> "Bench":
        """Start four clients on t and, to know the machine's own hiccups, four on the other."""
        return Bench([self._bench(seconds, table) for table in ("t", "quiet")], self.logs)

    def _bench(self, seconds: int, table: str) -> "subprocess.Popen[str]":
        file = self.logs / f"{table}.sql"
        file.write_text(READ_AND_WRITE.format(table=table))
        return subprocess.Popen(
            [
                str(CLIENTS / "pgbench"),
                "-n",
                "-c",
                "4",
                "-R",
                "50",
                "-T",
                str(seconds),
                "-l",
                "--log-prefix",
                str(self.logs / f"log-{table}"),
                "-f",
                str(file),
                self.project.url,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def migrate(self) -> "Migrating":
        found = Migrating(self.project)
        found.thread.start()
        return found


@dataclass
class Bench:
    """pgbench at work."""

    processes: "list[subprocess.Popen[str]]"
    logs: Path

    def slowest(self) -> float:
        """Wait for the end; return the slowest transaction on t, less the slowest elsewhere.

        In seconds; what stopped every query on the machine was not us. None may have failed.
        """
        for process in self.processes:
            said, _ = process.communicate()
            assert process.returncode == 0, said
            assert "number of failed transactions: 0 " in said
        return self._slowest("t") - self._slowest("quiet")

    def _slowest(self, table: str) -> float:
        logs = self.logs.glob(f"log-{table}.*")
        lines = [line for log in logs for line in log.read_text().splitlines()]
        assert len(lines) > 100
        # Latency less what pgbench itself was late to start with.
        return max(int(line.split()[2]) - int(line.split()[6]) for line in lines) / 1e6


class Migrating:
    """`windlass migrate` in a thread; `arrived`: when the column stood (monotonic clock)."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.arrived = 0.0
        self.ran: Ran | None = None
        self.thread = threading.Thread(target=self._run)
        self._looking = threading.Thread(target=self._look)
        self._looking.start()

    def _run(self) -> None:
        self.ran = self.project.run("migrate", "--env", "dev")

    def _look(self) -> None:
        query = "select from pg_attribute where attrelid = 't'::regclass and attname = 'b'"
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            while connection.execute(query).rowcount == 0 and self.ran is None:
                time.sleep(0.02)
        self.arrived = time.monotonic()

    def end(self) -> Ran:
        self.thread.join()
        self._looking.join()
        assert self.ran is not None
        assert self.ran.code == 0, self.ran.err
        return self.ran


def make(tmp_path: Path, server: Server, url: str) -> Busy:
    project = Project(tmp_path / "shop", url)
    project.migration("20260801_000000_b", "alter table t add column b int;")
    busy = Busy(project, server, tmp_path)
    busy.execute(
        "create table t (id int primary key, v int)",
        "insert into t select g, 0 from generate_series(1, 100) g",
        "create table quiet as table t",
    )
    return busy


@pytest.fixture
def busy(tmp_path: Path, server16: Server, new_database: Callable[[Server], Database]) -> Busy:
    url = new_database(server16).url.reveal()
    return make(tmp_path, server16, url)


@pytest.fixture
def vacuumed(
    tmp_path: Path, quick_vacuum: Server, new_database: Callable[[Server], Database]
) -> Busy:
    url = new_database(quick_vacuum).url.reveal()
    return make(tmp_path, quick_vacuum, url)


@pytest.mark.parametrize(
    ("held", "query"),
    [(10, "select v from t where id = 1"), (4, "select pg_sleep(4), v from t where id = 1")],
    ids=["idle in transaction for ten seconds", "a long SELECT"],
)
def test_behind_an_old_transaction_nobody_waits_longer_than_the_lowest_rung(
    busy: Busy, held: float, query: str
) -> None:
    with closing(psycopg.connect(busy.project.url)) as holder:
        began = time.monotonic()
        bench = busy.bench(int(held) + 3)
        thread = threading.Thread(target=holder.execute, args=(query.encode(),))
        thread.start()
        time.sleep(0.3)
        migrating = busy.migrate()
        thread.join()
        time.sleep(max(0.0, began + held - time.monotonic()))
        holder.rollback()
        left = time.monotonic()
        ran = migrating.end()

    assert migrating.arrived - left < 1
    assert bench.slowest() < 0.2 + SLACK
    assert "waiting for the end of pid" in ran.err


def test_through_a_crowd_of_short_writers_it_climbs_and_gets_there(busy: Busy) -> None:
    crowd = "begin;\nselect count(*) from t;\nselect pg_sleep(0.35);\ncommit;\n"
    queued = "select from pg_locks where relation = 't'::regclass and not granted and mode = %s"
    stop = threading.Event()

    def hold_past_the_lowest_rung() -> None:
        with psycopg.connect(busy.project.url) as holder, psycopg.connect(busy.project.url) as eye:
            eye.autocommit = True
            holder.execute("select count(*) from t")
            while not eye.execute(queued, ["AccessExclusiveLock"]).rowcount:
                time.sleep(0.02)
            time.sleep(0.35)

    def write() -> None:
        with psycopg.connect(busy.project.url, autocommit=True) as connection:
            while not stop.is_set():
                for statement in crowd.splitlines():
                    connection.execute(statement.encode())

    writers = [threading.Thread(target=write) for _ in range(4)]
    writers.append(threading.Thread(target=hold_past_the_lowest_rung))
    for number, writer in enumerate(writers):
        writer.start()
        time.sleep(0.07 * (number % 2))
    bench = busy.bench(6)
    time.sleep(0.3)
    migrating = busy.migrate()
    ran = migrating.end()
    stop.set()
    for writer in writers:
        writer.join()

    assert "retried" in ran.err
    assert bench.slowest() < 0.5 + SLACK


def wait_for_vacuum(busy: Busy) -> None:
    deadline = time.monotonic() + 40
    with psycopg.connect(busy.project.url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "select count(*) from pg_stat_activity where backend_type = 'autovacuum worker' "
                "and query like 'autovacuum:%public.t%' and datname = current_database()"
            ).fetchone()
            if row and row[0]:
                return
            time.sleep(0.1)
    raise AssertionError("no autovacuum came")


SLOW = (
    "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, "
    "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0"
)


def test_an_autovacuum_gives_way_without_anybody_waiting_for_it(vacuumed: Busy) -> None:
    vacuumed.execute(
        "insert into t select g, 0 from generate_series(101, 40000) g",
        f"alter table t set ({SLOW})",
        "delete from t where id > 1000",
    )
    wait_for_vacuum(vacuumed)
    bench = vacuumed.bench(4)
    began = time.monotonic()
    migrating = vacuumed.migrate()
    ran = migrating.end()

    assert "asked the autovacuum to give way" in ran.err
    assert migrating.arrived - began < 5
    assert bench.slowest() < 0.2 + SLACK


def test_a_role_that_may_not_ask_waits_on_the_rung_above_deadlock_timeout(vacuumed: Busy) -> None:
    vacuumed.execute(
        "drop role if exists migrator",
        "create role migrator login",
        "grant all on schema public to migrator",
        "alter table t owner to migrator",
        "do $$ begin execute format('grant all on database %I to migrator', current_database()); "
        "end $$",
        "insert into t select g, 0 from generate_series(101, 40000) g",
        f"alter table t set ({SLOW})",
        "delete from t where id > 1000",
    )
    wait_for_vacuum(vacuumed)
    bench = vacuumed.bench(6)
    superuser = vacuumed.project.url
    vacuumed.project.url = superuser.replace("postgres@", "migrator@")
    migrating = vacuumed.migrate()
    ran = migrating.end()
    vacuumed.project.url = superuser

    assert "asked" not in ran.err
    assert "autovacuum" in ran.err
    assert bench.slowest() < 2.0 + SLACK  # deadlock_timeout, and no more than the rung
    vacuumed.execute("drop owned by migrator cascade")


def test_an_autovacuum_against_wraparound_is_outlasted_on_the_lowest_rung(vacuumed: Busy) -> None:
    burn = (
        "do $$ begin for i in 1..110000 loop begin insert into burnt values (i); "
        "exception when others then null; end; end loop; end $$"
    )
    vacuumed.execute(
        "insert into t select g, 0 from generate_series(101, 40000) g",
        "create table burnt (n int)",
        burn,
        f"alter table t set ({SLOW}, autovacuum_freeze_max_age = 100000)",
        "delete from t where id > 1000",
    )
    wait_for_vacuum(vacuumed)
    bench = vacuumed.bench(7)
    migrating = vacuumed.migrate()
    time.sleep(3)
    assert migrating.thread.is_alive()
    _set(vacuumed.server, "autovacuum_naptime = '1h'")
    vacuumed.execute(
        "select pg_cancel_backend(pid) from pg_stat_activity "
        "where backend_type = 'autovacuum worker' and query like '%to prevent wraparound%'"
    )
    ran = migrating.end()
    _set(vacuumed.server, "autovacuum_naptime = '1s'")

    assert "autovacuum to prevent wraparound" in ran.err
    assert bench.slowest() < 0.2 + SLACK


def test_what_a_killed_run_left_behind_is_ended_and_said(busy: Busy) -> None:
    name = "windlass/01DEAD/migrate/20260801_000000_b"
    with closing(psycopg.connect(busy.project.url, application_name=name)) as orphan:
        orphan.execute("lock table t")
        ran = busy.migrate().end()

    assert f"left behind by {name}" in ran.err
