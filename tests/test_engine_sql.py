"""The sql engine on real PostgreSQL: change and record together, once, and behind the last one."""

import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig, MigrationsConfig
from pgwindlass.database import connection as database_
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import Engine, open_engine
from pgwindlass.errors import ConfigError, LockTimeout, Refused, StepFailed
from tests.fix_migration import NAME, Write
from tests.kit import parts, tables

TERMS = Terms(lock=LockConfig(timeout=(Duration(0.1),), wait=Duration(2)))


def names(engine: Engine, database: Database) -> list[str]:
    return [row.name for row in database.read("test", engine.history.rows)]


def test_apply_and_undo_walk_forward_and_back_and_forward(database: Database, write: Write) -> None:
    engine, migration = write("BEGIN; create table t (i int); COMMIT;", "drop table t;")

    for _ in range(2):
        engine.runner.apply(migration, database, TERMS)
        assert "t" in tables(database.url.reveal())
        assert names(engine, database) == [NAME]
        engine.runner.undo(migration, database, TERMS)
        assert "t" not in tables(database.url.reveal())
        assert names(engine, database) == []


def test_a_failing_statement_leaves_neither_change_nor_record(
    database16: Database, write: Write
) -> None:
    engine, migration = write("create table t (i int);\n\nselect 1 / 0;\n")

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, TERMS)

    assert parts(caught.value) == (
        f"migrations/{NAME}.sql:3: division by zero [22012]\n"
        "its transaction was rolled back: nothing of this migration is left\n"
        "mend the file, or what it found, and start again"
    )
    assert tables(database16.url.reveal()) == set()


def test_a_server_error_names_the_line_inside_the_statement(
    database16: Database, write: Write
) -> None:
    engine, migration = write("select 1;\nselect\n  1,\n  nothing_here;\n")

    with pytest.raises(StepFailed, match=rf"{NAME}.sql:4: column .nothing_here. does not exist"):
        engine.runner.apply(migration, database16, TERMS)


def test_expect_none_turns_a_verify_statement_around(database16: Database, write: Write) -> None:
    engine, migration = write(
        "create table t (i int);", verify="-- expect: none\nselect * from t;\n"
    )
    engine.runner.apply(migration, database16, TERMS)

    with database16.connect("test") as connection:
        assert engine.runner.verify(migration, connection) == 1
        connection.execute("insert into t values (1)")
        with pytest.raises(StepFailed, match="1 rows where none was expected"):
            engine.runner.verify(migration, connection)


@pytest.mark.unit
def test_a_verify_script_that_writes_is_refused(write: Write) -> None:
    with pytest.raises(ConfigError, match="a verify script only reads"):
        write("select 1;", verify="delete from t;")


def test_statements_outside_a_transaction_go_on_behind_the_last_finished_one(
    database: Database, write: Write
) -> None:
    text = (
        "-- windlass: transaction=off\ncreate table t (i int);\n"
        "insert into t values (1);\ninsert into missing values (1);\n"
    )
    engine, migration = write(text)
    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database, TERMS)
    assert caught.value.state == (
        "the statements before it stay done and are recorded; this one is not"
    )
    assert names(engine, database) == []

    with database.connect("test") as connection:
        connection.execute("create table missing (i int)")
    engine.runner.apply(migration, database, TERMS)

    with database.connect("test") as connection:
        row = connection.execute("select count(*) from t").fetchone()
    assert row == (1,)
    assert names(engine, database) == [NAME]


def test_a_half_done_file_that_was_edited_is_refused(database16: Database, write: Write) -> None:
    head = "-- windlass: transaction=off\n"
    engine, migration = write(head + "create table t (i int);\nselect 1 / 0;\n")
    with pytest.raises(StepFailed):
        engine.runner.apply(migration, database16, TERMS)

    engine, edited = write(head + "create table t (j int);\nselect 1;\n")

    with pytest.raises(
        Refused, match="1 of its statements ran already, and their text has changed"
    ):
        engine.runner.apply(edited, database16, TERMS)


def test_a_half_done_file_can_be_undone(database16: Database, write: Write) -> None:
    engine, migration = write(
        "-- windlass: transaction=off\ncreate table t (i int);\nselect 1 / 0;\n",
        "drop table if exists t;",
    )
    with pytest.raises(StepFailed):
        engine.runner.apply(migration, database16, TERMS)

    engine.runner.undo(migration, database16, TERMS)

    assert "t" not in tables(database16.url.reveal())


def test_an_invalid_index_of_a_killed_build_is_dropped_and_built_anew(
    database: Database, write: Write
) -> None:
    engine, migration = write("create unique index concurrently if not exists i on t (a);")
    with database.connect("test") as connection:
        connection.execute("create table t (a int)")
        connection.execute("insert into t values (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("create unique index concurrently i on t (a)")
        connection.execute("delete from t where ctid = '(0,1)'")

    engine.runner.apply(migration, database, TERMS)

    with database.connect("test") as connection:
        row = connection.execute(
            "select indisvalid from pg_index where indexrelid = 'i'::regclass"
        ).fetchone()
    assert row == (True,)


def test_a_failed_concurrent_build_leaves_no_invalid_index(
    database16: Database, write: Write
) -> None:
    engine, migration = write("create unique index concurrently i on t (a);")
    with database16.connect("test") as connection:
        connection.execute("create table t (a int)")
        connection.execute("insert into t values (1), (1)")

    with pytest.raises(StepFailed, match="could not create unique index"):
        engine.runner.apply(migration, database16, TERMS)

    with database16.connect("test") as connection:
        assert connection.execute("select to_regclass('i')").fetchone() == (None,)


def test_a_locked_table_is_given_up_and_the_blocker_named(
    database16: Database, write: Write
) -> None:
    engine, migration = write("alter table t add column b int;")
    told: list[str] = []
    with database16.connect("holder", autocommit=False) as holder:
        holder.execute("create table t (a int)")
        holder.commit()
        holder.execute("lock table t in access share mode")

        with pytest.raises(LockTimeout) as caught:
            engine.runner.apply(migration, database16, replace(TERMS, note=told.append))

    assert "a table stayed locked for 2s" in caught.value.what
    assert "windlass/test/holder, idle in transaction" in caught.value.what
    assert told
    assert names(engine, database16) == []


def test_a_table_that_is_let_go_is_changed_on_a_later_try(
    database16: Database, write: Write
) -> None:
    engine, migration = write("alter table t add column b int;")
    with database16.connect("test") as connection:
        connection.execute("create table t (a int)")
    holder = psycopg.connect(database16.url.reveal())
    holder.execute("lock table t in access share mode")

    lock = LockConfig(timeout=(Duration(0.1),), wait=Duration(20))
    told = Terms(lock=lock, note=lambda _text: holder.close())
    retries = engine.runner.apply(migration, database16, told)

    assert retries >= 1
    assert names(engine, database16) == [NAME]


def test_two_first_runs_at_the_same_moment_apply_once(database: Database, write: Write) -> None:
    engine, migration = write("create table t (i int); select pg_sleep(0.2);")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            engine.runner.apply(migration, database, Terms())
        except StepFailed as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names(engine, database) == [NAME]
    assert failed == []


@pytest.mark.parametrize(
    ("columns", "owner"),
    [
        ("version bigint primary key, dirty boolean", "golang-migrate's table"),
        ("version varchar(255) primary key", "a table of dbmate or Rails"),
        ("id serial, migration_name text", "another tool's table"),
    ],
)
def test_another_tools_table_is_recognised_and_never_adopted(
    database16: Database, write: Write, columns: str, owner: str
) -> None:
    engine, _ = write("select 1;")
    with database16.connect("test") as connection:
        connection.execute(f"create table schema_migrations ({columns})".encode())

    with pytest.raises(Refused, match=f"public.schema_migrations is {owner}, not ours"):
        names(engine, database16)


def test_a_row_that_a_person_deleted_makes_the_migration_pending_again(
    database16: Database, write: Write
) -> None:
    engine, migration = write("create table if not exists t (i int);")
    engine.runner.apply(migration, database16, TERMS)
    with database16.connect("test") as connection:
        connection.execute("delete from schema_migrations where migration_name = %s", (NAME,))

    engine.runner.apply(migration, database16, TERMS)

    assert names(engine, database16) == [NAME]


@pytest.mark.unit
def test_the_dry_run_shows_every_byte_that_would_be_sent(write: Write) -> None:
    engine, migration = write("BEGIN; create table t (i int); COMMIT;")

    assert engine.files.render(migration, "up", Terms()) == (
        "BEGIN;\nset local lock_timeout = 200;\nset local statement_timeout = 3600000;\n"
        "set local idle_in_transaction_session_timeout = 60000;\n"
        'set local search_path = "public";\n\ncreate table t (i int);\n\n'
        "insert into public.schema_migrations (migration_name, checksum) "
        f"values ('{NAME}', '{migration.checksum}');\nCOMMIT;"
    )


@pytest.mark.unit
def test_the_dry_run_of_a_concurrent_build_is_no_transaction(write: Write) -> None:
    engine, migration = write("create index concurrently i on t (a);")

    before, statement, note, record = engine.files.render(migration, "up", Terms()).split("\n\n", 3)

    assert before.startswith('set search_path = "public";\ninsert into windlass.partial_migration')
    assert f"values ('{NAME}', 'up', 0, " in before and ", 1, 1) on conflict" in before
    assert statement == "create index concurrently i on t (a);"
    assert f"values ('{NAME}', 'up', 1, " in note and ", 1, null) on conflict" in note
    assert record.startswith("BEGIN;") and record.endswith("COMMIT;")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("add_t.sql", "expected YYYYMMDD_HHMMSS_name.sql"),
        ("20260801_000000_Add.sql", "expected YYYYMMDD_HHMMSS_name.sql"),
        ("20260802_000000_b_rollback.sql", "only beside a migration of that name"),
        ("20260801_000000_b.sql", "has the timestamp of"),
    ],
)
def test_files_whose_order_is_unclear_are_refused(
    tmp_path: Path, write: Write, name: str, words: str
) -> None:
    engine, _ = write("select 1;")
    (tmp_path / "migrations" / name).write_text("select 1;")

    with pytest.raises(ConfigError, match=words):
        engine.files.list()


@pytest.mark.unit
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, write: Write) -> None:
    engine, _ = write("select 1;")
    (tmp_path / "migrations" / f"{NAME.upper()}.sql").write_text("select 1;")

    with pytest.raises(ConfigError, match="differ in case alone, and are one file where names"):
        engine.files.list()


def test_reading_a_definition_that_somebody_has_locked_ends_and_names_him(
    database16: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_, "READ_WITHIN", 1)
    with psycopg.connect(database16.url.reveal(), application_name="psql") as holder:
        holder.execute("create table t (a int)")
        holder.commit()
        holder.execute("lock table t")

        with pytest.raises(LockTimeout) as caught:
            database16.read("test", lambda c: c.execute("select * from t").fetchall())
        pid = holder.info.backend_pid

    assert caught.value.what == (
        f"a table stayed locked for 1 s while its definition was read: t by pid {pid} (psql)"
    )


@pytest.mark.unit
def test_create_writes_a_trio_that_parses(tmp_path: Path) -> None:
    engine = open_engine(MigrationsConfig(), tmp_path)

    made = engine.create("add_user_preferences")

    assert [path.name[15:] for path in made] == [
        "_add_user_preferences.sql",
        "_add_user_preferences_rollback.sql",
        "_add_user_preferences_verify.sql",
    ]
    assert len(engine.files.list()) == 1
