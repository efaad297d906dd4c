"""The promise of a rehearsal beside what bystanders waited: one file, rehearsed, then run live.

Live, each table that the file locks has a reader and a writer of fifty statements a second, and
somebody who keeps it busy with transactions of a tenth of a second, so that we have to wait too.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig, MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import Engine, open_engine
from pgwindlass.model import Migration, Rehearsed
from pgwindlass.rehearsal.forecast import blocking_locks
from pgwindlass.rehearsal.trace import Trace
from pgwindlass.secret import Secret

RUNG = 0.5  # seconds, the highest
LOCK = LockConfig(timeout=(Duration(0.2), Duration(RUNG)), wait=Duration(60))
EVERY = 1 / 50  # seconds between two statements of a reader or a writer
BUSY = 0.1  # seconds of a transaction of somebody else, and between two of them
TABLES = ("customers", "orders", "events", "codes", "quiet")
SETUP = """
create table customers (id int primary key, name text not null, email text, v int default 0);
insert into customers select i, 'n' || i, 'e' || i, 0 from generate_series(1, {rows} / 5) i;
create table orders (id int primary key, customer_id int references customers, note text,
                     code varchar(10), amount numeric(10,2), at timestamp default now(), v int);
insert into orders select i, 1 + i % ({rows} / 5), 'note ' || i, 'c', i % 100, now(), 0
from generate_series(1, {rows}) i;
create index orders_customer on orders (customer_id);
create index orders_at on orders (at);
create table events (id int, v int, k int not null, payload text, primary key (id, k))
partition by list (k);
create table events_0 partition of events for values in (0);
create table events_1 partition of events for values in (1);
create table events_2 partition of events for values in (2);
insert into events select i, 0, i % 3, 'p' || i from generate_series(1, {rows} / 2) i;
create table codes (id int primary key, v int, label text);
insert into codes select i, 0, 'l' || i from generate_series(1, 100) i;
alter table codes add constraint codes_v check (v >= 0) not valid;
create view order_notes as select id, note from orders;
create table quiet as select * from codes;
alter table quiet add primary key (id);
create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger orders_touch before insert on orders for each row execute function touch();
analyze;
"""
# fmt: off
FILES = (
    "alter table orders add column b int",
    "alter table orders add column b int default 7",
    "alter table orders add column b timestamptz default clock_timestamp()",
    "alter table orders add column b bigint generated always as (amount * 2) stored",
    "alter table orders add column b int check (b > 0)",
    "alter table orders add column b int references customers",
    "alter table orders add column b bigserial",
    "alter table orders drop column note cascade",
    "alter table orders rename column code to kind",
    "alter table orders alter column code type varchar(20)",
    "alter table orders alter column code type varchar(5)",
    "alter table orders alter column amount type numeric(12,2)",
    "alter table orders alter column amount type numeric(12,3)",
    "alter table orders alter column v type bigint",
    "alter table orders alter column note drop not null",
    "alter table orders alter column amount set not null",
    "alter table orders alter column amount set default 5",
    "alter table orders alter column amount set statistics 500",
    "alter table orders set (fillfactor = 80)",
    "alter table orders add constraint k check (amount >= 0)",
    "alter table orders add constraint k check (amount >= 0) not valid",
    "alter table codes validate constraint codes_v",
    "alter table orders add constraint k foreign key (id) references customers not valid",
    "alter table orders add constraint k unique (id, note)",
    "alter table orders drop constraint orders_customer_id_fkey",
    "alter table orders disable trigger orders_touch",
    "alter table orders enable row level security",
    "alter table orders replica identity full",
    "alter table orders set unlogged",
    "alter table orders owner to current_user",
    "create index x on orders (note)",
    "create unique index x on orders (id, note)",
    "create index concurrently x on orders (note)",
    "drop index orders_at",
    "drop index concurrently orders_at",
    "reindex index orders_at",
    "reindex table concurrently orders",
    "cluster orders using orders_at",
    "create trigger x before insert on orders for each row execute function touch()",
    "drop trigger orders_touch on orders",
    "create policy x on orders using (true)",
    "create or replace view order_notes as select id, note, amount from orders",
    "create table x (id int references orders)",
    "create table x as select * from orders",
    "create table events_3 partition of events for values in (3)",
    "alter table events detach partition events_2",
    "alter table events add column b int",
    "alter table events add column b int default random()",
    "create index x on events (v)",
    "comment on table orders is 'x'",
    "lock table orders in share mode; select pg_sleep(0.3)",
    "analyze orders",
    "update orders set note = 'x' where id <= 5000",
    "update orders set v = v + 1",
    "delete from orders where id <= 2000",
    "select count(*) from (select from orders where id <= 3000 for update) o",
    "insert into orders (id, customer_id, v) select -i, 1, 0 from generate_series(1, 5000) i",
    "alter table orders add column b int; alter table customers add column b int; "
    "alter table codes add column b int",
    "truncate codes",
    "do $$ begin begin lock table codes in access exclusive mode; perform pg_sleep(0.2); "
    "raise 'back'; exception when others then null; end; end $$",
)
# fmt: on


@dataclass(frozen=True)
class Promise:
    """What the rehearsal said of a file, and what bystanders of its tables waited; seconds."""

    sql: str
    promised: float  # of the relation that is held up the longest
    waited: float  # the slowest of all bystanders, less the slowest of a table that nobody touches
    retries: int

    @property
    def ratio(self) -> float:
        """What was waited, to what it may be: a rung of waiting for locks, and the promise."""
        return self.waited / (RUNG + self.promised)


@dataclass
class Crowd:
    """Bystanders of some tables."""

    url: str
    over: threading.Event = field(default_factory=threading.Event)
    slowest: dict[str, float] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, tables: list[str]) -> None:
        for table in tables:
            read = f"select v from {table} where id = %s"
            write = f"update {table} set v = v + 0 where id = %s"
            self.threads += [
                threading.Thread(target=self._ask, args=(table, text)) for text in (read, write)
            ]
            if table != "quiet":
                self.threads.append(threading.Thread(target=self._keep_busy, args=(table,)))
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, table: str, text: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            number = 0
            while not self.over.is_set():
                number = number % 100 + 1
                began = time.monotonic()
                with suppress(psycopg.Error):  # the table or its column may be gone
                    connection.execute(text.encode(), (number,))
                took = time.monotonic() - began
                self.slowest[table] = max(self.slowest.get(table, 0.0), took)
                time.sleep(max(0.0, EVERY - took))

    def _keep_busy(self, table: str) -> None:
        with psycopg.connect(self.url) as connection:
            while not self.over.is_set():
                with suppress(psycopg.Error):
                    connection.execute(f"select from {table} limit 1".encode())
                    time.sleep(BUSY)
                connection.rollback()
                time.sleep(BUSY)


def prepare(server: str, *, rows: int) -> str:
    """Make the database that every run begins from, and return its name."""
    name = f"promise_{rows}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    with psycopg.connect(server, dbname=name, autocommit=True) as connection:
        connection.execute(SETUP.format(rows=rows).encode())
    return name


@contextmanager
def cloned(server: str, template: str) -> Iterator[Database]:
    """Give a database like the template, and drop it behind the block."""
    name = sql.Identifier(f"{template}_run")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {}").format(name, sql.Identifier(template))
        )
        try:
            yield Database(url=Secret(server.replace("/postgres?", f"/{template}_run?")))
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))


def measure(server: str, template: str, text: str, home: Path) -> Promise:
    """Rehearse a file on one clone, run it live on another, and compare."""
    engine, migration = _project(home, text)
    with cloned(server, template) as copy:
        rehearsed = _rehearse(engine, migration, copy)
    promised = max((lock.seconds for lock in blocking_locks(rehearsed)), default=0.0)
    touched = engine.files.tables(migration) | {
        lock.relation.partition(".")[2] for lock in blocking_locks(rehearsed)
    }
    tables = [table for table in TABLES[:-1] if table in touched]
    with cloned(server, template) as live, ExitStack() as stack:
        crowd = Crowd(live.url.reveal())
        crowd.start([*tables, "quiet"])
        stack.callback(crowd.end)
        time.sleep(3 * BUSY)
        engine.history.prepare(live)
        retries = engine.runner.apply(migration, live, Terms(lock=LOCK))
        crowd.end()
    control = crowd.slowest["quiet"]
    slowest = max((crowd.slowest[table] for table in tables), default=0.0)
    return Promise(text, promised, max(0.0, slowest - control), retries)


def _project(home: Path, text: str) -> tuple[Engine, Migration]:
    directory = home / "migrations"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "20260801_000000_a.sql").write_text(f"{text};\n")
    engine = open_engine(MigrationsConfig(), home)
    (migration,) = engine.files.list()
    return engine, migration


def _rehearse(engine: Engine, migration: Migration, copy: Database) -> Rehearsed:
    trace = Trace(copy, engine.history.tables)
    engine.history.prepare(copy)
    began = time.monotonic()
    engine.runner.apply(migration, copy, Terms(lock=LOCK, observe=trace.observe))
    seconds = time.monotonic() - began - trace.overhead
    statements = trace.finished()
    trace.close()
    return Rehearsed(
        name=migration.name,
        transactional=migration.transactional,
        seconds=seconds,
        statements=statements,
        growth=0,
        rolled_back=False,
    )
