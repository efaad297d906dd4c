"""The runner on real PostgreSQL: builds under a watchdog, half done work, limits, verifying."""

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig, MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import open_engine
from pgwindlass.engines.sql import concurrently
from pgwindlass.errors import ConfigError, LockTimeout, StepFailed
from tests.fix_migration import NAME, Write

HASTY = Terms(lock=LockConfig(timeout=(Duration(0.1),), wait=Duration(2)))


def one(database: Database, query: str) -> object:
    with psycopg.connect(database.url.reveal()) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def run(database: Database, *statements: str) -> None:
    with psycopg.connect(database.url.reveal(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_concurrent_build_gives_up_at_its_deadline_names_who_it_waits_for_and_leaves_nothing(
    database: Database, write: Write
) -> None:
    run(database, "create table t (a int)")
    engine, migration = write("create index concurrently i on t (a);")
    terms = Terms(lock=LockConfig(concurrently=Duration(1.5)))
    with closing(psycopg.connect(database.url.reveal(), application_name="report")) as old:
        old.execute("insert into t values (1)")
        threading.Timer(4.0, old.close).start()

        with pytest.raises(StepFailed) as caught:
            engine.runner.apply(migration, database, terms)

    assert f"{NAME}.sql:1: gave up after 1.5 s: waiting for pid" in caught.value.what
    assert "(report, idle in transaction, transaction" in caught.value.what
    assert caught.value.state.startswith("nothing of this statement is left")
    assert one(database, "select to_regclass('i')") is None
    engine.runner.apply(migration, database, terms)
    assert one(database, "select indisvalid from pg_index where indexrelid = 'i'::regclass") is True


def test_a_concurrent_build_tells_its_progress(
    database: Database, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrently, "LOOK_EVERY", 0.05)
    run(database, "create table t as select g a from generate_series(1, 1500000) g")
    engine, migration = write("create index concurrently i on t (a);")
    told: list[tuple[int, int | None, str]] = []

    engine.runner.apply(migration, database, Terms(progress=lambda *what: told.append(what)))

    assert any(
        unit.startswith(("blocks, ", "rows, ")) and total and done <= total
        for done, total, unit in told
    )


def test_a_lost_deployment_lock_ends_a_build_and_what_it_left_is_cleared(
    database16: Database, write: Write
) -> None:
    run(database16, "create table t (a int)")
    engine, migration = write("create index concurrently i on t (a);")
    lost = threading.Event()

    def guard() -> None:
        if lost.is_set():
            raise StepFailed("the deployment lock was lost: gone", state="-", next_step="-")

    with closing(psycopg.connect(database16.url.reveal())) as old:
        old.execute("insert into t values (1)")
        threading.Timer(0.5, lost.set).start()
        threading.Timer(1.5, old.close).start()
        with pytest.raises(StepFailed, match=r"\.sql:1: the deployment lock was lost: gone"):
            engine.runner.apply(migration, database16, Terms(guard=guard))

    assert one(database16, "select to_regclass('i')") is None


def test_a_lost_deployment_lock_stops_before_the_next_statement(
    database16: Database, write: Write
) -> None:
    engine, migration = write("create table a (i int); create table b (i int); select 1;")
    calls = 0

    def guard() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StepFailed("the deployment lock was lost", state="-", next_step="-")

    with pytest.raises(StepFailed, match="the deployment lock was lost"):
        engine.runner.apply(migration, database16, Terms(guard=guard))

    assert one(database16, "select to_regclass('a')") is None


def test_a_deployment_lock_that_is_lost_while_a_table_is_waited_for_ends_the_waiting(
    database16: Database, write: Write
) -> None:
    run(database16, "create table t (a int)")
    engine, migration = write("alter table t add column b int;")
    began = time.monotonic()

    def guard() -> None:
        if time.monotonic() - began > 1:
            raise StepFailed("the deployment lock was lost", state="-", next_step="-")

    with closing(psycopg.connect(database16.url.reveal())) as holder:
        holder.execute("select * from t")
        with pytest.raises(StepFailed, match="the deployment lock was lost"):
            engine.runner.apply(migration, database16, Terms(guard=guard))

    assert time.monotonic() - began < 5


def test_a_session_that_the_server_ended_is_told_as_lost(
    database16: Database, write: Write
) -> None:
    engine, migration = write("-- windlass: transaction=off\nselect 1;\nselect 2;")
    killed = False

    def guard() -> None:
        nonlocal killed
        if not killed:
            killed = True
            run(
                database16,
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name like 'windlass/test/migrate/%'",
            )

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, replace(Terms(), guard=guard))
        raise AssertionError("the connection was not ended")

    assert f"migrations/{NAME}.sql: the connection was lost" in caught.value.what


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("a", "is not the one this file builds"),
        (
            "gone",
            "whether it is the one this file builds could not be compared (the database did not "
            'do it: column "gone" does not exist',
        ),
    ],
)
def test_an_invalid_index_of_somebody_else_is_not_dropped(
    database16: Database, write: Write, column: str, why: str
) -> None:
    run(
        database16,
        "create table t (a int, b int)",
        "create index i on t (b)",
        "update pg_index set indisvalid = false where indexrelid = 'i'::regclass",
    )
    engine, migration = write(f"create index concurrently i on t ({column});")

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, Terms())

    assert f"{NAME}.sql:1: an invalid index i exists, and {why}" in caught.value.what
    assert one(database16, "select to_regclass('i')::text") == "i"


def test_a_build_that_another_session_has_begun_is_left_alone(
    database: Database, write: Write
) -> None:
    run(database, "create table t as select g a from generate_series(1, 10) g")
    engine, migration = write("create index concurrently i on t (a);")
    with (
        closing(psycopg.connect(database.url.reveal())) as old,
        closing(psycopg.connect(database.url.reveal(), autocommit=True)) as builder,
    ):
        old.execute("insert into t values (1)")
        thread = threading.Thread(
            target=builder.execute, args=(b"create index concurrently i on t (a)",)
        )
        thread.start()
        deadline = time.monotonic() + 10
        while one(database, "select to_regclass('i')::text") is None:
            assert time.monotonic() < deadline
        with pytest.raises(StepFailed, match="the index i is being built by another session"):
            engine.runner.apply(migration, database, Terms())
        old.commit()
        thread.join()

    assert one(database, "select indisvalid from pg_index where indexrelid = 'i'::regclass") is True


def test_a_detach_that_was_cut_off_is_finalized(database: Database, write: Write) -> None:
    if int(str(one(database, "show server_version_num"))) < 140000:
        return  # DETACH … CONCURRENTLY is new in 14
    run(
        database,
        "create table p (n int) partition by range (n)",
        "create table p1 partition of p for values from (0) to (10)",
    )
    with (
        closing(psycopg.connect(database.url.reveal())) as old,
        closing(psycopg.connect(database.url.reveal(), autocommit=True)) as cut,
    ):
        old.execute("select * from p")
        cut.execute("set statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            cut.execute("alter table p detach partition p1 concurrently")
    engine, migration = write("alter table p detach partition p1 concurrently;")

    engine.runner.apply(migration, database, Terms())

    assert one(database, "select count(*) from pg_inherits") == 0


def test_what_a_reindex_that_was_cut_off_left_is_dropped(database: Database, write: Write) -> None:
    run(database, "create table t (a int)", "create index i on t (a)")
    with (
        closing(psycopg.connect(database.url.reveal())) as old,
        closing(psycopg.connect(database.url.reveal(), autocommit=True)) as cut,
    ):
        old.execute("insert into t values (1)")
        cut.execute("set statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            cut.execute("reindex index concurrently i")
    assert one(database, "select count(*) from pg_index where not indisvalid") == 1
    engine, migration = write("reindex index concurrently i;")

    engine.runner.apply(migration, database, Terms())

    assert one(database, "select count(*) from pg_index where not indisvalid") == 0


def test_how_far_a_half_done_file_came_is_known(database16: Database, write: Write) -> None:
    engine, migration = write(
        "-- windlass: transaction=off\ncreate table t (i int);\nselect 1;\nselect 1 / 0;\n"
    )
    with pytest.raises(StepFailed):
        engine.runner.apply(migration, database16, Terms())

    (half,) = database16.read("test", engine.history.partials)

    assert (half.name, half.direction, str(half)) == (NAME, "up", "statement 2 of 3 done")


def test_a_file_has_its_own_lock_timeout(database16: Database, write: Write) -> None:
    engine, migration = write(
        "-- windlass: lock_timeout=50ms statement_timeout=3s\n"
        "create table seen as select current_setting('lock_timeout') l, "
        "current_setting('statement_timeout') s, current_setting('search_path') p, "
        "current_setting('idle_in_transaction_session_timeout') i, current_setting('timezone') z;"
    )

    engine.runner.apply(migration, database16, Terms())

    assert one(database16, "select (l, s, p, i, z)::text from seen") == (
        "(50ms,3s,public,1min,UTC)"
    )


def test_a_statement_that_runs_too_long_says_which_directive_gives_it_longer(
    database16: Database, write: Write
) -> None:
    engine, migration = write(
        "-- windlass: statement_timeout=300ms lock_timeout=100ms\nselect pg_sleep(5);"
    )

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, Terms())

    assert "canceling statement due to statement timeout [57014]" in caught.value.what
    assert caught.value.next_step.startswith("-- windlass: statement_timeout=2h")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("lock_timeout=0s", "lock_timeout=0s would wait for ever"),
        ("lock_timeout=fast", '"fast" is not a duration'),
        ("lock_timeout=2h", "every timeout must be shorter than statement_timeout"),
        ("statement_timeout=100ms", "every timeout must be shorter than statement_timeout"),
    ],
)
def test_limits_that_cannot_work_are_refused_with_the_file(
    database16: Database, write: Write, head: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        engine, migration = write(f"-- windlass: {head}\nselect 1;")
        engine.runner.apply(migration, database16, Terms())

    assert caught.value.what.startswith(f"migrations/{NAME}.sql: ")
    assert words in caught.value.what


def test_a_refusal_names_the_queue_behind_us_and_the_query_only_on_demand(
    database16: Database, write: Write
) -> None:
    run(database16, "create table t (a int)")
    engine, migration = write("alter table t add column b int;")
    notes: list[str] = []
    url = database16.url.reveal()
    readers = [psycopg.connect(url, autocommit=True) for _ in range(3)]
    with closing(psycopg.connect(url, application_name="report")) as holder:
        holder.execute("select 'a@b.c' from t")
        over = threading.Event()

        def read(reader: psycopg.Connection) -> None:
            while not over.is_set():
                reader.execute("select count(*) from t")

        threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        terms = replace(HASTY, note=notes.append)
        with pytest.raises(LockTimeout) as plain:
            engine.runner.apply(migration, database16, terms)
        with pytest.raises(LockTimeout) as open_:
            engine.runner.apply(migration, database16, replace(terms, show_queries=True))
        over.set()
        for thread in threads:
            thread.join()
    for reader in readers:
        reader.close()

    assert "(report, idle in transaction, transaction " in plain.value.what
    assert "AccessShareLock on t)" in plain.value.what
    assert plain.value.what.endswith("sessions queued behind us")
    assert "a@b.c" not in plain.value.what
    assert "query: select 'a@b.c' from t" in open_.value.what


def test_a_deadlock_is_tried_again(database16: Database, write: Write) -> None:
    run(database16, "create table a (i int)", "create table b (i int)")
    engine, migration = write(
        "-- windlass: lock_timeout=5s\nlock table a;\nselect pg_sleep(0.3);\nlock table b;"
    )
    began = threading.Event()

    def other() -> None:
        with psycopg.connect(database16.url.reveal()) as connection:
            connection.execute("lock table b")
            began.set()
            time.sleep(0.9)  # later than the migration: whoever waits longer is the victim
            connection.execute("lock table a")

    thread = threading.Thread(target=other)
    thread.start()
    began.wait()
    retries = engine.runner.apply(migration, database16, Terms())
    thread.join()

    assert retries == 1


def test_the_search_path_is_the_one_of_deploy_yml(
    tmp_path: Path, database16: Database, write: Write
) -> None:
    run(database16, "create schema app")
    _, migration = write("create table t (i int);", verify="select count(*) = 0 from t;")
    engine = open_engine(MigrationsConfig(search_path=("app", "public")), tmp_path)

    engine.runner.apply(migration, database16, Terms())

    assert one(database16, "select to_regclass('app.t') is not null") is True
    assert database16.read("test", lambda c: engine.runner.verify(migration, c)) == 1


@pytest.mark.unit
def test_a_prepared_transaction_is_named_too(tmp_path: Path) -> None:
    from pgwindlass.database.blockers import Blocker

    words = Blocker(
        0,
        "-1/7",
        "",
        "prepared transaction",
        None,
        "AccessShareLock",
        False,
        "",
        "t",
        "AccessExclusiveLock",
    ).text(show_queries=False)

    assert words == "pid 0 (no application_name, prepared transaction, AccessShareLock on t)"


@pytest.mark.parametrize(
    ("verify", "wrong"),
    [
        ("select true;", ""),
        ("select 1;", ""),
        ("-- expect: none\nselect 1 where false;", ""),
        ("-- expect: 2 rows\nselect * from t;", ""),
        ("-- expect: 1 row\nselect 1;", ""),
        ("select null::bool;", ":1: row 1 is (None,); expected true"),
        ("select 1 where false;", ":1: no row where at least one was expected"),
        ("-- expect: none\nselect 1;", ":2: 1 rows where none was expected"),
        ("select true;\n-- expect: 3 rows\nselect * from t;", ":3: 2 rows where 3 were expected"),
    ],
)
def test_a_verify_statement_expects_true_rows_none_or_so_many(
    database16: Database, write: Write, verify: str, wrong: str
) -> None:
    engine, migration = write(
        "create table t as select g from generate_series(1, 2) g;", verify=verify
    )
    if not wrong:
        engine.runner.apply(migration, database16, Terms())
        return

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, Terms())

    assert caught.value.what == f"migrations/{NAME}_verify.sql{wrong}"
    assert one(database16, "select to_regclass('t')") is None


@pytest.mark.unit
def test_an_expectation_that_is_none_is_refused_with_its_line(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        write("select 1;", verify="select true;\n\n-- expect: some\nselect 1;")

    assert f'{NAME}_verify.sql:3: "-- expect: some" is no expectation' in caught.value.what


def test_the_history_is_written_by_who_deploys_whatever_role_the_file_takes(
    database16: Database, write: Write
) -> None:
    run(database16, "drop role if exists weak", "create role weak")
    engine, migration = write("set local role weak; select 1;")

    engine.runner.apply(migration, database16, Terms())

    assert one(database16, "select count(*) from schema_migrations") == 1


def test_a_history_that_cannot_be_written_is_told_in_three_lines(
    database16: Database, write: Write
) -> None:
    engine, migration = write("select 1;")
    engine.runner.apply(migration, database16, Terms())
    run(
        database16,
        "delete from schema_migrations",
        "drop role if exists reader",
        "create role reader login",
        "grant select on schema_migrations to reader",
        "grant usage on schema windlass to reader",
    )
    from pgwindlass.secret import Secret

    url = database16.url.reveal().replace("postgres@", "reader@")
    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, Database(url=Secret(url), deployment_id="test"), Terms())

    assert "its record could not be written: permission denied for" in caught.value.what
    run(database16, "drop owned by reader")
