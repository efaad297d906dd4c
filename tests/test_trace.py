"""What statements really do, as the trace sees it: locks, rewrites, indexes built, full scans.

Expected is what the documentation says ("Explicit Locking", and the page of each statement), and
what was seen alike on 14, 16 and 18. Abbreviations of the modes, weakest first: AS RS RX SUX S SRX
X AX.
"""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.model import Traced
from pgwindlass.rehearsal import forecast
from pgwindlass.rehearsal.trace import STRENGTH, Trace
from pgwindlass.secret import Secret
from tests.fix_postgres import Server

SHORT = dict(zip(STRENGTH, ("AS", "RS", "RX", "SUX", "S", "SRX", "X", "AX"), strict=True))
SETUP = """
create table t (id int primary key, a int, b text, c varchar(10), n numeric(10,2), ts timestamp);
insert into t select i, i, 'b' || i, 'c', 1, now() from generate_series(1, 1000) i;
create index t_a on t (a);
create unique index t_u on t (a, id);
create table p (id int primary key);
insert into p select generate_series(1, 100);
create table f (id int primary key, pid int references p, q int);
insert into f select i, i, i from generate_series(1, 100) i;
alter table f add constraint f_q foreign key (q) references p not valid;
alter table f add constraint f_check check (q > 0) not valid;
alter table t add constraint t_known check (a is not null);
create view v as select id from t;
create materialized view m as select id from t;
create unique index m_id on m (id);
create table part (id int, k int) partition by range (k);
create table part_1 partition of part for values from (0) to (10);
insert into part select i, i % 10 from generate_series(1, 200) i;
create table cand (id int, k int);
insert into cand select i, 12 from generate_series(1, 50) i;
create sequence s;
create type mood as enum ('a', 'b');
create domain positive as int check (value > 0);
create table withdomain (x positive);
insert into withdomain values (1), (2);
create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger tr before insert on f for each row execute function touch();
"""
# fmt: off
DOES = [
    ('alter table t add column x int', 't:AX'),
    ('alter table t add column x int default 7', 't:AX'),
    ('alter table t add column x int default random()',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t add column x timestamptz default now()', 't:AX'),
    ('alter table t add column x serial',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t add column x int generated always as identity',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t add column x int generated always as (a * 2) stored',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t add column x positive',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t add column x int check (x > 0)', "t:AX | scan t"),
    ('alter table t add column x int unique', "t:AX | index t_x_key | scan t"),
    ('alter table t add column x int references p', 'p:SRX t:AX'),
    ('alter table t drop column b', 't:AX'),
    ('alter table t rename column b to bb', 't:AX'),
    ('alter table t rename to tt', 't:AX'),
    ('alter table t alter column a type bigint',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t alter column c type varchar(20)', 't:AX'),
    ('alter table t alter column c type text', 't:AX'),
    ('alter table t alter column c type varchar(5)',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t alter column n type numeric(12,2)', 't:AX'),
    ('alter table t alter column n type numeric(12,3)',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t alter column ts type timestamptz', 't:AX'),
    ('alter table t alter column b set not null', "t:AX | scan t"),
    ('alter table t alter column a set not null', 't:AX'),
    ('alter table t alter column a set default 5', 't:AX'),
    ('alter table t alter column a set statistics 500', 't:SUX'),
    ('alter table t alter column b set storage external', 't:AX'),
    ('alter table t set (fillfactor = 80)', 't:SUX'),
    ('alter table t add constraint k check (id > 0)', "t:AX | scan t"),
    ('alter table t add constraint k check (id > 0) not valid', 't:AX'),
    ('alter table f validate constraint f_check', "f:SUX | scan f"),
    ('alter table f add constraint k foreign key (id) references p',
     "f:SRX f_pkey:AS p:SRX p_pkey:AS | scan f,p"),
    ('alter table f add constraint k foreign key (id) references p not valid', 'f:SRX p:SRX'),
    ('alter table f validate constraint f_q',
     "f:SUX f_pkey:AS p:RS p_pkey:AS | scan f,p"),
    ('alter table t add constraint k unique (b)', "t:AX | index k | scan t"),
    ('alter table t add constraint k unique using index t_u', 't:AX t_u:SUX'),
    ('alter table f drop constraint f_pid_fkey', 'f:AX p:AX'),
    ('alter table t drop constraint t_known', 't:AX'),
    ('create index x on t (b)', "t:S | index x | scan t"),
    ('create unique index x on t (id, b)', "t:S | index x | scan t"),
    ('drop index t_a', 't:AX t_a:AX'),
    ('reindex index t_a', "t:S t_a:AX | index t_a | scan t"),
    ('reindex table t', "t:S t_a:AX t_pkey:AX t_u:AX | index t_a,t_pkey,t_u | scan t"),
    ('alter index t_a rename to t_aa', 't_a:SUX'),
    ('truncate t', 't:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u'),
    ('drop table f', 'f:AX f_pkey:AX p:AX'),
    ('create table x (id int references p)', 'p:SRX'),
    ('create table x partition of part for values from (10) to (20)', 'part:AX'),
    ('alter table part attach partition cand for values from (10) to (20)',
     "cand:AX part:SUX | scan cand"),
    ('alter table t set unlogged',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('cluster t using t_a',
     "t:AX t_a:AX t_pkey:AX t_u:AX | rewrite t | index t_a,t_pkey,t_u | scan t"),
    ('alter table t disable trigger all', 't:SRX'),
    ('create trigger x before insert on t for each row execute function touch()', 't:SRX'),
    ('drop trigger tr on f', 'f:AX'),
    ('alter table t enable row level security', 't:AX'),
    ('create policy x on t using (true)', 't:AX'),
    ('alter table t owner to postgres', 't:AX'),
    ('refresh materialized view m',
     "m:AX m_id:AX t:AS t_a:AS t_pkey:AS t_u:AS | rewrite m | index m_id | scan m,t | rows 1000"),
    ('refresh materialized view concurrently m',
     "m:X m_id:RX t:AS t_a:AS t_pkey:AS t_u:AS | scan m,t"),
    ('create or replace view v as select id, 1 as one from t', 't:AS v:AX'),
    ('alter table t replica identity full', 't:AX'),
    ("comment on table t is 'x'", 't:SUX'),
    ('analyze t', 't:SUX t_a:AS t_pkey:AS t_u:AS'),
    ('lock table t in share mode', 't:S'),
    ('update t set a = a + 1', "t:RX t_a:RX t_pkey:RX t_u:RX | scan t | rows 1000"),
    ('delete from f where q + 0 <= 10', "f:RX f_pkey:RX | scan f | rows 10"),
    ('insert into p select generate_series(1000, 1099)', 'p:RX | rows 100'),
    ("alter type mood add value 'c'", ''),
    ('alter domain positive set not null', "withdomain:S | scan withdomain"),
    ('create table x as select * from t', "t:AS t_a:AS t_pkey:AS t_u:AS | scan t"),
    ('alter table t set tablespace pg_default', 't:AX'),
    ('alter sequence s restart with 5', 's:SRX'),
]
# fmt: on


def words(traced: Traced) -> str:
    """Return a trace as the table above has it."""
    locks = sorted((*traced.locks, *traced.index_locks))
    parts = [" ".join(f"{name}:{SHORT[mode]}" for name, mode in locks)]
    parts += [f"rewrite {','.join(traced.rewrites)}"] if traced.rewrites else []
    parts += [f"index {','.join(traced.indexes)}"] if traced.indexes else []
    parts += [f"scan {','.join(table for table, _ in traced.scans)}"] if traced.scans else []
    parts += [f"rows {traced.rows_changed}"] if traced.rows_changed else []
    return " | ".join(parts).replace("public.", "")


@pytest.fixture(scope="module")
def copies(servers: Callable[[int], Server]) -> Iterator[Callable[[Server], Database]]:
    """Return a function that gives the one prepared database on a server; nothing is kept in it."""
    made: dict[int, tuple[Server, Database]] = {}

    def copy(server: Server) -> Database:
        if server.major not in made:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute("create database traced")
            made[server.major] = (server, Database(url=Secret(server.url("traced"))))
            with made[server.major][1].connect("test") as connection:
                connection.execute(SETUP.encode())
                connection.execute("alter table t set (autovacuum_enabled = off)")
        return made[server.major][1]

    yield copy
    for server, _ in made.values():
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("drop database traced with (force)")


def traced(database: Database, statement: str) -> Traced:
    """Run a statement in a transaction that is rolled back, and return what it did."""
    seen = Trace(database)
    with database.connect("test", autocommit=False) as connection:
        connection.execute("select 1")
        with seen.observe(connection, "a.sql:1", statement):
            connection.execute(statement.encode())
        connection.rollback()
    return seen.statements[0]


@pytest.mark.parametrize(("statement", "does"), DOES, ids=[one for one, _ in DOES])
def test_a_statement_does_what_the_documentation_says(
    server: Server, copies: Callable[[Server], Database], statement: str, does: str
) -> None:
    assert words(traced(copies(server), statement)) == does


def test_detaching_locks_the_partition_against_everybody_since_14(
    server: Server, copies: Callable[[Server], Database]
) -> None:
    found = words(traced(copies(server), "alter table part detach partition part_1"))

    assert found == ("part:AX part_1:AX" if server.major >= 14 else "part:AX part_1:SUX")


def test_a_grant_locks_the_table_since_18(
    server: Server, copies: Callable[[Server], Database]
) -> None:
    found = words(traced(copies(server), "grant select on t to pg_monitor"))

    assert found == ("t:AS" if server.major >= 18 else "")


def test_only_what_a_statement_adds_is_its_own(
    server16: Server, copies: Callable[[Server], Database]
) -> None:
    database = copies(server16)
    seen = Trace(database)
    with database.connect("test", autocommit=False) as connection:
        for statement in (
            "lock table t in access exclusive mode",
            "alter table t add y int",
            "create table mine (i int)",
            "alter table mine add j int",
        ):
            with seen.observe(connection, "a.sql:1", statement):
                connection.execute(statement.encode())
        connection.rollback()

    assert [words(one) for one in seen.statements] == ["t:AX", "", "", ""]


def test_a_concurrent_build_is_looked_at_from_outside(database16: Database) -> None:
    with database16.connect("test") as connection:
        connection.execute(SETUP.encode())
    seen = Trace(database16)
    statement = "create index concurrently x on t (b)"
    with database16.connect("old", autocommit=False) as old:
        old.execute("update t set a = a where id = 1")  # which the build has to wait for
        commit = threading.Timer(0.8, old.commit)
        commit.start()
        with (
            database16.connect("test") as connection,
            seen.observe(connection, "a.sql:1", statement),
        ):
            connection.execute(statement.encode())
        commit.join()

    (found,) = seen.statements
    assert dict(found.locks)["public.t"] == "ShareUpdateExclusiveLock"
    assert found.indexes == ("public.x",)
    assert found.rewrites == ()
    assert found.seconds > 0.3


def test_a_look_that_fails_fails_the_statement(database16: Database) -> None:
    """Locks that nobody saw would read like locks that nobody took."""
    seen = Trace(database16)
    newest = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and application_name like '%/trace' "
        "order by backend_start desc limit 1"
    )
    with (
        database16.connect("test") as connection,
        pytest.raises(StepFailed, match=r"a\.sql:1: its locks were not seen to the end: "),
        seen.observe(connection, "a.sql:1", "select 1"),
    ):
        connection.execute(newest.encode())
        connection.execute("select pg_sleep(0.2)")
    assert seen.statements == []


def test_the_error_of_a_statement_goes_before_that_of_a_look(database16: Database) -> None:
    seen = Trace(database16)
    with (
        database16.connect("test") as connection,
        pytest.raises(psycopg.errors.DivisionByZero),
        seen.observe(connection, "a.sql:1", "select 1/0"),
    ):
        connection.execute(
            "select pg_terminate_backend(pid), pg_sleep(0.2) from pg_stat_activity "
            "where datname = current_database() and application_name like '%/trace'"
        )
        connection.execute("select 1/0")


@pytest.mark.parametrize("autocommit", [True, False])
def test_the_reading_of_the_books_is_not_the_statements_time(
    database16: Database, autocommit: bool
) -> None:
    """Whoever reads the catalog waits here for half a second; the statement does not."""
    seen = Trace(database16)
    with (
        database16.connect("other", autocommit=False) as other,
        database16.connect("test", autocommit=autocommit) as connection,
    ):
        connection.execute("select 1")
        other.execute("lock table pg_catalog.pg_namespace in access exclusive mode")
        release = threading.Timer(0.5, other.rollback)
        release.start()
        with seen.observe(connection, "a.sql:1", "select 1"):
            connection.execute("select 1")
        release.join()

    assert seen.statements[0].seconds < 0.2
    assert seen.overhead > 0.3


def test_a_full_scan_reads_every_row(server: Server, copies: Callable[[Server], Database]) -> None:
    ((name, rows),) = traced(copies(server), "alter table t alter b set not null").scans

    assert name == "public.t"
    assert rows >= 1000  # what other tests rolled back is read too


# fmt: off
ROWS = [
    ("update t set a = a + 1 where id <= 300", [("public.t", 300)]),
    ("delete from f where id <= 10", [("public.f", 10)]),
    ("insert into f select i, i % 100 + 1, i % 100 + 1 from generate_series(1000, 1010) i", []),
    ("insert into t (id, a) select i, i from generate_series(900, 1010) i "
     "on conflict (id) do update set a = 0", [("public.t", 101)]),
    ("select * from t where id <= 7 for update", [("public.t", 7)]),
    ("select * from t where id <= 7 for no key update", [("public.t", 7)]),
    ("select * from t where id <= 7 for share", [("public.t", 7)]),
    ("do $$ begin perform 1 from t where id <= 9 for update; end $$", [("public.t", 9)]),
    ("select locking(5)", [("public.t", 5)]),
    ("with gone as (delete from f where id <= 3 returning 1) "
     "update t set a = 0 where id <= 2", [("public.f", 3), ("public.t", 2)]),
    ("select count(*) from t", []),
]
# fmt: on
LOCKING = """
create or replace function locking(most int) returns void language plpgsql as $$
begin perform 1 from t where id <= most for update; end $$
"""


@pytest.mark.parametrize(("statement", "locked"), ROWS, ids=[one for one, _ in ROWS])
def test_rows_that_writers_wait_for_are_counted(
    server: Server,
    copies: Callable[[Server], Database],
    statement: str,
    locked: list[tuple[str, int]],
) -> None:
    database = copies(server)
    with database.connect("test") as connection:
        connection.execute(LOCKING.encode())

    assert [(name, rows) for name, rows, _ in traced(database, statement).rows_locked] == locked


def test_a_lock_that_is_given_back_inside_a_statement_is_seen(
    server: Server, copies: Callable[[Server], Database]
) -> None:
    statement = """do $$ begin
        begin
            lock table t in access exclusive mode; perform pg_sleep(0.3); raise 'back';
        exception when others then null;
        end;
        perform 1 from p limit 1;
    end $$"""

    seen = traced(copies(server), statement)

    assert "public.t" not in dict(seen.locks)
    ((name, mode, seconds),) = seen.passing
    assert (name, mode) == ("public.t", "AccessExclusiveLock")
    assert 0.25 < seconds <= seen.seconds


def test_the_rows_of_a_parallel_scan_are_whole(
    server: Server, copies: Callable[[Server], Database]
) -> None:
    database = copies(server)
    with database.connect("test") as connection:
        connection.execute("drop table if exists wide")
        connection.execute("create table wide as select i from generate_series(1, 20000) i")
        connection.execute("analyze wide")
    seen = Trace(database)
    with database.connect("test", autocommit=False) as connection:
        for setting in (
            "parallel_setup_cost = 0",
            "parallel_tuple_cost = 0",
            "min_parallel_table_scan_size = 0",
            "parallel_leader_participation = off",
        ):
            connection.execute(f"set local {setting}".encode())
        with seen.observe(connection, "a.sql:1", "select"):
            connection.execute("select count(*) from wide where i % 3 = 1")
        connection.rollback()
    seen.close()

    assert seen.statements[0].scans == (("public.wide", 20000),)


def test_rows_locked_are_of_so_many_by_the_tables_statistics(database16: Database) -> None:
    with database16.connect("test") as connection:
        connection.execute("create table t as select g as a from generate_series(1, 500) g")
        connection.execute("analyze t")

    assert traced(database16, "update t set a = 0 where a <= 20").rows_locked == (
        ("public.t", 20, 500),
    )


def test_outside_a_transaction_scans_are_not_seen_and_that_is_said(database16: Database) -> None:
    with database16.connect("test") as connection:
        connection.execute("create table t (a int)")
        trace = Trace(database16)
        with trace.observe(connection, "a.sql:1", "vacuum"):
            connection.execute("vacuum (analyze) t")
    trace.close()

    assert not trace.statements[0].scans_seen


def test_a_statement_that_fails_is_no_trace(database16: Database) -> None:
    seen = Trace(database16)
    with database16.connect("test", autocommit=False) as connection:
        with pytest.raises(psycopg.Error), seen.observe(connection, "a.sql:1", "select 1/0"):
            connection.execute("select 1/0")
        connection.rollback()

    assert seen.statements == []


def test_every_mode_that_holds_somebody_up_is_named() -> None:
    assert set(forecast.BLOCKS) == set(STRENGTH[4:])
