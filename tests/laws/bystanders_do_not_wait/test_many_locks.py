"""Law 5 over many locks: a transaction's waits count together, and who waits for us is no blocker.

`lock_timeout` begins anew at every lock, so these hold by the runner's own watch alone.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms, with_retry
from pgwindlass.errors import LockTimeout
from tests.kit import Project

RUNG = 1.0  # seconds
EACH = 0.35  # seconds that each table is held from when we wait for it: below the rung
SLACK = 0.4  # what a busy machine of two cores adds
LADDER = LockConfig(timeout=(Duration(RUNG),), wait=Duration(20))
SETUP = """
create table part (k int, v int) partition by range (k);
do $$ begin for i in 0..5 loop
  execute format('create table part_%s partition of part for values from (%s) to (%s)',
                 i, i, i + 1);
  execute format('create table t%s (id int primary key, v int)', i);
  execute format('insert into t%s select g, 0 from generate_series(1, 100) g', i);
end loop; end $$;
create table late (id int);
create function locks_all() returns trigger language plpgsql as $$ begin
  for i in 0..5 loop execute format('lock table public.t%s', i); end loop; return null;
end $$;
create constraint trigger locks_all after insert on late deferrable initially deferred
  for each row execute function locks_all();
"""
PUBLIC = "set local search_path = public"
PATIENT = "set local deadlock_timeout = '20s'"  # the server would end one of two after a second
WAITED_FOR = """
select relation::regclass::text from pg_locks
where not granted and locktype = 'relation' and mode = 'AccessExclusiveLock'
  and database = (select oid from pg_database where datname = current_database())
"""


@dataclass
class Held:
    """Tables that others read, each until somebody has waited for it for `EACH`."""

    database: Database
    holders: dict[str, psycopg.Connection] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def give_back(self, failed: Callable[[], int]) -> None:
        """Let a reader go on when we have waited for it long enough; all after the first try."""
        with self.database.connect("other") as eye:
            while not self.over.is_set() and self.holders:
                waited = {row[0] for row in eye.execute(WAITED_FOR.encode()).fetchall()}
                if failed():
                    waited = set(self.holders)
                elif waited & set(self.holders):
                    time.sleep(EACH)
                for table in waited & set(self.holders):
                    self.holders.pop(table).close()
                time.sleep(0.005)


@contextmanager
def held(database: Database, tables: list[str], failed: Callable[[], int]) -> Iterator[Held]:
    readers = Held(database)
    for table in tables:
        readers.holders[table] = psycopg.connect(database.url.reveal())
        readers.holders[table].execute(f"select from {table}".encode())
    thread = threading.Thread(target=readers.give_back, args=(failed,))
    thread.start()
    try:
        yield readers
    finally:
        readers.over.set()
        thread.join()
        for holder in readers.holders.values():
            holder.close()


@contextmanager
def bystander(database: Database, query: str) -> Iterator[list[float]]:
    """Run a query over and over on a session of its own; give its times in seconds."""
    times: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with database.connect("other") as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.execute(query.encode())
                times.append(time.monotonic() - began)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


MANY = {
    "a partitioned table": (
        "alter table part add column b int",
        [f"part_{i}" for i in range(1, 6)],
        "select count(*) from part_0",
    ),
    "truncate of several tables": (
        "truncate t0, t1, t2, t3, t4, t5",
        [f"t{i}" for i in range(1, 6)],
        "select count(*) from t0",
    ),
    "several statements": (
        "; ".join(f"alter table t{i} add column b int" for i in range(6)),
        [f"t{i}" for i in range(1, 6)],
        "select count(*) from t0",
    ),
    "a trigger at the commit": (
        "insert into late values (1)",
        [f"t{i}" for i in range(1, 6)],
        "select count(*) from t0",
    ),
}


@pytest.mark.parametrize("what", MANY)
def test_the_waits_of_one_transaction_are_one_rung_together(
    database16: Database, what: str
) -> None:
    sql, tables, query = MANY[what]
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())
    notes: list[str] = []
    tries: list[int] = []
    terms = Terms(lock=LADDER, note=notes.append, attempt=tries.append)

    def attempt(connection: psycopg.Connection) -> None:
        for statement in (PUBLIC, *sql.split("; ")):
            connection.execute(statement.encode())

    with (
        bystander(database16, query) as times,
        held(database16, tables, lambda: max(tries, default=0)),
    ):
        _, retries = with_retry(terms, database16, attempt, step="migrate/a")

    assert max(times) < RUNG + SLACK, f"a reader waited {max(times):.2f} s"
    assert retries >= 1
    assert any("waited for locks for" in note for note in notes), notes


def test_one_wait_below_the_rung_is_not_cut_off(database16: Database) -> None:
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())

    with held(database16, ["t1"], lambda: 0):
        _, retries = with_retry(
            Terms(lock=LockConfig(timeout=(Duration(2.0),), wait=Duration(20))),
            database16,
            lambda c: c.execute("alter table public.t1 add column b int").rowcount,
            step="migrate/a",
        )

    assert retries == 0


SPLIT = "split the file"


def writer(url: str, statement: str, over: threading.Event) -> None:
    """Write as an application does, and go on after whatever the server says."""
    with psycopg.connect(url, autocommit=True, application_name="shop") as connection:
        while not over.is_set():
            try:
                connection.execute(statement.encode())
            except psycopg.Error:
                continue


@contextmanager
def writing(url: str, statement: str) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=writer, args=(url, statement, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_writer_that_waits_for_our_rows_is_told_as_a_file_to_split(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    with database16.connect("test") as connection:
        connection.execute("create table public.t (id int primary key, v int)")
        connection.execute("insert into public.t values (1)")
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("lock: {timeout: [100ms, 200ms], wait: 3s}", "lock: {timeout: [900ms]}")
    )
    name = project.migration(
        "20260801_000000_b",
        "update t set v = v + 1;\nselect pg_sleep(0.3);\nalter table t add column b int;",
        "alter table t drop column b;",
    )

    with writing(project.url, "update t set v = 0 where id = 1"):
        ran = project.run("migrate", "--env", "uat")

    assert ran.code == 1
    what, state, next_step = ran.error()[:3]
    assert f"{name}" in what and ":3" in what, ran.err
    assert "waits for rows that the migration has changed" in what
    assert "rolled back" in state
    assert SPLIT in next_step
    assert "pg_terminate_backend" not in ran.err
    assert "waiting for a lock held by" not in ran.err  # no try was spent on it


def test_two_sessions_in_each_others_way_let_go_at_once(database16: Database) -> None:
    """A reader of two tables, in the other order than ours: rolled back, it can go on."""
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())
    notes: list[str] = []
    terms = Terms(lock=LockConfig(timeout=(Duration(5),), wait=Duration(30)), note=notes.append)
    locked = threading.Event()
    reads: list[float] = []

    def read() -> None:
        with psycopg.connect(database16.url.reveal()) as connection:
            connection.execute(PATIENT)
            connection.execute("select from t1")
            reading.set()
            locked.wait(10)
            began = time.monotonic()
            connection.execute("select from t0")
            reads.append(time.monotonic() - began)

    def attempt(connection: psycopg.Connection) -> None:
        connection.execute(PATIENT)
        connection.execute("alter table public.t0 add column b int")
        locked.set()
        connection.execute("alter table public.t1 add column b int")

    reading = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    reading.wait(10)
    _, retries = with_retry(terms, database16, attempt, step="migrate/a")
    thread.join()

    assert retries >= 1
    assert reads[0] < 2.5, reads
    assert any("waits for us" in note for note in notes), notes


@contextmanager
def read_anew(database: Database) -> Iterator[None]:
    """Read t1, and when a try has waited in vain, in another transaction."""
    over, holding = threading.Event(), threading.Event()

    def read() -> None:
        holder = reader()
        holding.set()
        waited = False
        with database.connect("other") as eye:
            while not over.is_set():
                waits = bool(eye.execute(WAITED_FOR.encode()).fetchall())
                if waited and not waits:
                    before, holder = holder, reader()
                    before.close()
                waited = waits
                time.sleep(0.005)
        holder.close()

    def reader() -> psycopg.Connection:
        connection = psycopg.connect(database.url.reveal())
        connection.execute("select from t1")
        return connection

    thread = threading.Thread(target=read)
    thread.start()
    holding.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_hot_tables_budget_goes_on_over_all_tries(database16: Database) -> None:
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())
    tries: list[int] = []
    short = LockConfig(timeout=(Duration(0.5),), wait=Duration(30))
    terms = Terms(lock=short, hot={"public.t0": 1.2, "public.t1": 60.0}, attempt=tries.append)

    def attempt(connection: psycopg.Connection) -> None:
        connection.execute("alter table public.t0 add column b int")
        connection.execute("alter table public.t1 add column b int")

    told = r"public\.t0 is a hot table, .*held up for 1\.2 s"
    with read_anew(database16), pytest.raises(LockTimeout, match=told):
        with_retry(terms, database16, attempt, step="migrate/a")

    assert max(tries) >= 1


def test_a_statement_that_took_too_long_is_no_wait(database16: Database) -> None:
    lock = LockConfig(timeout=(Duration(0.1),), statement_timeout=Duration(0.4), wait=Duration(5))

    def attempt(connection: psycopg.Connection) -> None:
        connection.execute("select pg_sleep(5)")

    with pytest.raises(psycopg.errors.QueryCanceled):
        with_retry(Terms(lock=lock), database16, attempt, step="migrate/a")


def test_a_row_lock_that_ends_is_waited_for(database16: Database) -> None:
    """Nothing strong is held or wanted: an UPDATE waits for each row within its own rung."""
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())
    with ExitStack() as stack:
        holders = [
            stack.enter_context(closing(psycopg.connect(database16.url.reveal()))) for _ in range(4)
        ]
        for number, holder in enumerate(holders, start=1):
            holder.execute(f"update t0 set v = 1 where id = {number}".encode())

        def end() -> None:
            for holder in holders:
                time.sleep(0.35)
                holder.rollback()

        thread = threading.Thread(target=end)
        thread.start()
        _, retries = with_retry(
            Terms(lock=LADDER),
            database16,
            lambda c: c.execute("update public.t0 set v = v + 1 where id < 5").rowcount,
            step="migrate/a",
        )
        thread.join()

    assert retries == 0
