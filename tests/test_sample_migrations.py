"""The sample's migrations on real servers: forward, back, forward again, with rows in the tables.

Run by the real engine, and by a few lines of our own: the files must hold by themselves, too.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.deployment.facts import take_facts
from pgwindlass.engines import open_engine
from pgwindlass.errors import StepFailed
from pgwindlass.lint.severity import listed
from pgwindlass.model import Migration
from sample.data import fill
from tests.fix_postgres import Server

pytestmark = pytest.mark.sampled(2)

MIGRATIONS = Path(__file__).parent.parent / "migrations"
BASE = "20260801_090000_create_base_tables"
FULL_NAME = "20260803_101500_add_user_full_name"
LAST_ERROR = "20260804_091200_add_last_error_to_environments"
STATUS_CODE = "20260805_101500_add_status_code_to_error_events"
INDEX = "20260805_101600_index_error_events_status_code"
TOOL_COLUMNS = "20260806_140000_add_tool_columns_to_messages"
ROLE = "20260807_093000_message_role_to_varchar"
PREFERENCES = "20260810_110000_create_user_preferences"
ALL = (BASE, FULL_NAME, LAST_ERROR, STATUS_CODE, INDEX, TOOL_COLUMNS, ROLE, PREFERENCES)
TABLES = ("conversations", "environments", "error_events", "messages", "users")
ROWS = 2_000
ENGINE = open_engine(MigrationsConfig(), MIGRATIONS.parent)

CHECK = "check (role in ('user', 'assistant', 'system', 'tool'))"
WITHOUT_TYPE = "alter table messages alter column role type varchar(20); drop type message_role"
WITH_CHECK = f"alter table messages add constraint check_role_values {CHECK}"
ROLE_STATES = {
    "enum": "",
    "varchar": WITHOUT_TYPE,
    "varchar with the CHECK": f"{WITHOUT_TYPE}; {WITH_CHECK}",
    "varchar with the CHECK unproven": f"{WITHOUT_TYPE}; {WITH_CHECK} not valid",
    "varchar with another CHECK": f"{WITHOUT_TYPE}; "
    "alter table messages add constraint check_role_values check (role <> 'nobody')",
    "type left over": "alter table messages alter column role type varchar(20)",
    "type left over beside the CHECK": "alter table messages alter column role type varchar(20); "
    + WITH_CHECK,
    "enum with the CHECK": WITH_CHECK,
    "text": "alter table messages alter column role type text; drop type message_role",
}

ROLE_STATES_BEFORE_UNDO = {
    "as the migration left it": "",
    "without the CHECK": "alter table messages drop constraint check_role_values",
    "type there again": "create type message_role as enum ('user', 'assistant', 'system', 'tool')",
    "type with other values": "create type message_role as enum ('user', 'robot')",
    "an ENUM again": "alter table messages drop constraint check_role_values; "
    "create type message_role as enum ('tool', 'user', 'assistant', 'system', 'robot'); "
    "alter table messages alter column role type message_role using role::message_role",
    "text": "alter table messages alter column role type text",
}

STATUS_CODE_OF = {  # payload → what the backfill makes of it
    '{"status_code": 500}': 500,
    '{"status_code": "404"}': 404,
    '{"status_code": "007"}': 7,
    '{"status_code": 5e2}': 500,
    '{"status_code": -1}': -1,
    '{"status_code": 500.5}': None,
    '{"status_code": "n/a"}': None,
    '{"status_code": ""}': None,
    '{"status_code": " 500"}': None,
    '{"status_code": "500\\n"}': None,
    '{"status_code": 99999999999}': None,
    '{"status_code": null}': None,
    '{"status_code": {"a": 1}}': None,
    '{"message": "x"}': None,
    "[500]": None,
    "500": None,
}


@pytest.fixture
def base(database16: Database) -> Iterator[psycopg.Connection]:
    """A connection to a database with the base tables, empty."""
    with database16.connect("test") as connection:
        run(connection, BASE)
        yield connection


def run(connection: psycopg.Connection, stem: str) -> None:
    """Send one file as it is: it brings its own BEGIN and COMMIT, or is a single statement."""
    connection.execute((MIGRATIONS / f"{stem}.sql").read_bytes())


def apply_up_to(connection: psycopg.Connection, last: str) -> None:
    """Apply every migration up to and including `last`."""
    for name in ALL[: ALL.index(last) + 1]:
        run(connection, name)


def undo(connection: psycopg.Connection, name: str) -> None:
    run(connection, f"{name}_rollback")


def unmet(connection: psycopg.Connection, name: str) -> list[str]:
    """Return the statements of the verify script that do not hold; read-only."""
    text = (MIGRATIONS / f"{name}_verify.sql").read_text()
    wrong = []
    with connection.transaction():
        connection.execute("set transaction read only")
        for statement in text.split(";\n"):
            if not statement.strip():
                continue
            rows = connection.execute(statement.encode()).fetchall()
            none_expected = "-- expect: none\n" in statement
            holds = all(value is True for row in rows for value in row)
            if (rows != []) if none_expected else (rows == [] or not holds):
                wrong.append(f"{statement.strip()} → {rows[:3]}")
    return wrong


def apply(name: str, database: Database) -> None:
    """Apply one migration with the engine, verify script included."""
    ENGINE.runner.apply(of_name(name), database, Terms())


def take_back(name: str, database: Database) -> None:
    ENGINE.runner.undo(of_name(name), database, Terms())


def of_name(name: str) -> Migration:
    return next(migration for migration in ENGINE.files.list() if migration.name == name)


def applied(database: Database) -> list[str]:
    return [row.name for row in database.read("test", ENGINE.history.rows)]


def fingerprint(database: Database) -> str:
    return take_facts(database, ENGINE.history).schema_fingerprint


def forget(connection: psycopg.Connection, name: str) -> None:
    """Take the history row out, as where somebody changed the schema by hand."""
    connection.execute("delete from schema_migrations where migration_name = %s", (name,))


def schema(server: Server, database: Database) -> str:
    """Return `pg_dump -s` without the runner's tables, less what is random in it."""
    dumped = subprocess.run(
        [
            *(
                server.binaries / "pg_dump",
                "-s",
                "-N",
                "windlass",
                "-T",
                "public.schema_migrations",
            ),
            *("-d", database.url.reveal()),
        ],
        env={**os.environ, "LC_ALL": "C"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = dumped.splitlines()
    return "\n".join(x for x in lines if not x.startswith(("\\restrict ", "\\unrestrict ")))


def counts(connection: psycopg.Connection) -> dict[str, int]:
    return {table: number(connection, f"select count(*) from {table}") for table in TABLES}


def number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_every_migration_has_a_rollback_a_verify_script_and_its_header() -> None:
    expected = {f"{name}{extra}" for name in ALL for extra in ("", "_rollback", "_verify")}
    assert {path.stem for path in MIGRATIONS.glob("*.sql")} == expected
    for path in MIGRATIONS.glob("*.sql"):
        name, extra = path.stem[16:], "Migration"
        for word in ("rollback", "verify"):
            if name.endswith(f"_{word}"):
                name, extra = name.removesuffix(f"_{word}"), word.capitalize()
        first, second, third = path.read_text().splitlines()[:3]
        created = f"{path.stem[:4]}-{path.stem[4:6]}-{path.stem[6:8]}"
        assert (first, second) == (f"-- {extra}: {name}", f"-- Created: {created}")
        assert third.startswith("-- Description: ")


def test_every_migration_walks_forward_back_and_forward_again(
    server: Server, database: Database
) -> None:
    with database.connect("test") as connection:
        schemas = [schema(server, database)]
        for name in ALL:
            filled = counts(connection) if name != BASE else {}
            run(connection, name)
            assert unmet(connection, name) == []

            undo(connection, name)
            assert schema(server, database) == schemas[-1], name
            assert unmet_or_failing(connection, name), f"{name}: holds without its migration"

            run(connection, name)
            assert unmet(connection, name) == []
            schemas.append(schema(server, database))
            if name == BASE:
                fill(connection, ROWS)
            else:
                assert counts(connection) == filled, name

        assert [name for name in ALL if unmet(connection, name)] == []

        for name in reversed(ALL):
            undo(connection, name)
        assert schema(server, database) == schemas[0]


def test_the_engine_finds_every_migration_in_order_and_nothing_dangerous_in_it() -> None:
    found = ENGINE.files.list()

    assert tuple(migration.name for migration in found) == ALL
    assert [m.name for m in found if m.rollback is None or m.verify is None] == []
    assert [m.name for m in found if not m.transactional] == [FULL_NAME, STATUS_CODE, INDEX]
    findings = listed(ENGINE.files.lint(found, None))
    assert [(one.level, one.rule) for one in findings] == [("note", "references-locks")]


def test_the_engine_carries_every_migration_forward_back_and_forward_again(
    server: Server, database: Database
) -> None:
    with database.connect("test") as connection:
        schemas, prints = [schema(server, database)], [fingerprint(database)]
        for number_before, name in enumerate(ALL):
            filled = counts(connection) if name != BASE else {}
            apply(name, database)
            assert applied(database) == list(ALL[: number_before + 1])
            changed = (schema(server, database), fingerprint(database))
            assert changed[0] != schemas[-1]
            assert changed[1] != prints[-1]

            take_back(name, database)
            assert applied(database) == list(ALL[:number_before])
            assert schema(server, database) == schemas[-1], name
            assert fingerprint(database) == prints[-1], name
            if name != BASE:
                assert counts(connection) == filled, name

            apply(name, database)
            assert (schema(server, database), fingerprint(database)) == changed, name
            schemas.append(changed[0])
            prints.append(changed[1])
            if name == BASE:
                fill(connection, ROWS)
            else:
                assert counts(connection) == filled, name

        for name in reversed(ALL):
            take_back(name, database)
            schemas.pop()
            prints.pop()
            assert schema(server, database) == schemas[-1], name
            assert fingerprint(database) == prints[-1], name
        assert applied(database) == []
        assert schemas[1:] == prints[1:] == []


def test_the_engine_runs_no_migration_twice(database16: Database) -> None:
    for name in (*ALL, *ALL):
        apply(name, database16)
    with database16.connect("test") as connection:
        fill(connection, ROWS)
        connection.execute("update users set full_name = null")
        apply(FULL_NAME, database16)
        filled = number(connection, "select count(full_name) from users")

    assert applied(database16) == list(ALL)
    assert filled == 0


@pytest.mark.parametrize("name", [LAST_ERROR, STATUS_CODE, INDEX, TOOL_COLUMNS, PREFERENCES])
def test_the_engine_records_what_somebody_did_by_hand(database16: Database, name: str) -> None:
    with database16.connect("test") as connection:
        for before in ALL[: ALL.index(name)]:
            apply(before, database16)
            if before == BASE:
                fill(connection, ROWS)
        run(connection, name)
        by_hand, filled = fingerprint(database16), counts(connection)

        apply(name, database16)

        assert applied(database16)[-1] == name
        assert fingerprint(database16) == by_hand
        assert counts(connection) == filled


@pytest.mark.parametrize(
    "there",
    [(), ("tool_call_id",), ("name",), ("name", "tool_call_id")],
    ids=lambda there: " and ".join(there) or "none",
)
def test_the_engine_adds_the_tool_columns_whichever_are_there_and_again(
    database: Database, there: tuple[str, ...]
) -> None:
    with database.connect("test") as connection:
        apply(BASE, database)
        fill(connection, ROWS)
        without, filled = fingerprint(database), counts(connection)
        for column in there:
            connection.execute(f"alter table messages add column {column} varchar(100)".encode())
            connection.execute(f"update messages set {column} = 'kept'".encode())
        apply(TOOL_COLUMNS, database)
        whole = fingerprint(database)
        forget(connection, TOOL_COLUMNS)
        apply(TOOL_COLUMNS, database)
        assert fingerprint(database) == whole != without
        for column in ("tool_call_id", "name"):
            kept = number(connection, f"select count(*) from messages where {column} = 'kept'")
            assert kept == (filled["messages"] if column in there else 0)

        take_back(TOOL_COLUMNS, database)
        assert fingerprint(database) == without
        assert counts(connection) == filled


def test_a_tool_column_of_another_type_stops_the_engine_and_is_left_alone(
    database16: Database,
) -> None:
    with database16.connect("test") as connection:
        apply(BASE, database16)
        connection.execute("alter table messages add column name text")
        before = fingerprint(database16)

        with pytest.raises(
            StepFailed, match=f"{TOOL_COLUMNS}.sql:8: the column messages.name already"
        ):
            apply(TOOL_COLUMNS, database16)

    assert fingerprint(database16) == before
    assert applied(database16) == [BASE]


def test_the_engine_builds_an_index_anew_that_was_left_invalid(database: Database) -> None:
    with database.connect("test") as connection:
        for name in ALL[: ALL.index(INDEX)]:
            apply(name, database)
        connection.execute(
            "create index idx_error_events_status_code on error_events (status_code)"
        )
        connection.execute(
            "update pg_index set indisvalid = false "
            "where indexrelid = 'idx_error_events_status_code'::regclass"
        )
        apply(INDEX, database)

        assert unmet(connection, INDEX) == []
    assert applied(database)[-1] == INDEX


@pytest.mark.parametrize("state", ROLE_STATES)
def test_the_engine_makes_the_role_a_varchar_from_every_state_and_again(
    database: Database, state: str
) -> None:
    with database.connect("test") as connection:
        apply(BASE, database)
        fill(connection, ROWS)
        enum, before = fingerprint(database), roles(connection)
        apply(ROLE, database)
        expected = fingerprint(database)
        take_back(ROLE, database)
        connection.execute(ROLE_STATES[state].encode())

        apply(ROLE, database)
        assert fingerprint(database) == expected
        assert roles(connection) == before

        table = storage(connection)
        forget(connection, ROLE)
        apply(ROLE, database)
        assert storage(connection) == table, "the second run rewrote the table or its CHECK"

        take_back(ROLE, database)
        assert fingerprint(database) == enum
        assert roles(connection) == before


@pytest.mark.parametrize("state", ROLE_STATES_BEFORE_UNDO)
def test_the_role_becomes_an_enum_again_from_every_state(
    server: Server, database: Database, state: str
) -> None:
    with database.connect("test") as connection:
        apply(BASE, database)
        fill(connection, ROWS)
        enum, before = schema(server, database), roles(connection)
        apply(ROLE, database)
        connection.execute(ROLE_STATES_BEFORE_UNDO[state].encode())

        take_back(ROLE, database)

        assert schema(server, database) == enum
        assert roles(connection) == before
    assert applied(database) == [BASE]


def test_the_role_stays_a_varchar_where_a_row_is_none_of_the_enum(database16: Database) -> None:
    with database16.connect("test") as connection:
        apply(BASE, database16)
        fill(connection, ROWS)
        apply(ROLE, database16)
        connection.execute("alter table messages drop constraint check_role_values")
        connection.execute("update messages set role = 'robot' where id = 1")
        before = fingerprint(database16)

        with pytest.raises(StepFailed, match="invalid input value for enum message_role"):
            take_back(ROLE, database16)

    assert fingerprint(database16) == before
    assert applied(database16) == [BASE, ROLE]


def unmet_or_failing(connection: psycopg.Connection, name: str) -> bool:
    """Tell whether the verify script objects, be it by an error over what is missing."""
    try:
        return unmet(connection, name) != []
    except psycopg.Error:
        return True


def test_a_verify_script_holds_where_the_old_code_has_filled_an_empty_database(
    database16: Database,
) -> None:
    with database16.connect("test") as connection:
        apply_up_to(connection, PREFERENCES)
        fill(connection, ROWS)

        assert [name for name in ALL if unmet(connection, name)] == []


def test_every_user_gets_the_full_name(base: psycopg.Connection) -> None:
    fill(base, ROWS)
    run(base, FULL_NAME)

    wrong = "full_name is distinct from first_name || ' ' || last_name"
    assert number(base, f"select count(*) from users where {wrong}") == 0
    assert number(base, "select count(*) from users where full_name = 'Ada Lovelace'") > 0


def test_a_backfill_that_was_forgotten_is_found(database16: Database) -> None:
    with database16.connect("test") as connection:
        apply_up_to(connection, STATUS_CODE)
        fill(connection, ROWS)
        connection.execute("update users set full_name = 'x' where id > 10")
        connection.execute("update error_events set status_code = 500 where id > 10")

        assert unmet(connection, FULL_NAME) != []
        assert len(unmet(connection, STATUS_CODE)) == 2  # also: not what the payload says


def test_only_an_integer_in_the_payload_becomes_a_status_code(base: psycopg.Connection) -> None:
    for payload in STATUS_CODE_OF:
        base.execute("insert into error_events (payload) values (%s)", (payload,))
    run(base, STATUS_CODE)

    found = base.execute("select status_code from error_events order by id").fetchall()
    assert dict(zip(STATUS_CODE_OF, (row[0] for row in found), strict=True)) == STATUS_CODE_OF
    assert unmet(base, STATUS_CODE) == []


def test_the_rows_that_need_a_status_code_get_it_and_no_others(base: psycopg.Connection) -> None:
    fill(base, ROWS)
    run(base, STATUS_CODE)

    found = base.execute(
        "select distinct payload ? 'status_code', payload->>'status_code', status_code "
        "from error_events order by status_code, payload->>'status_code', 1"
    ).fetchall()
    assert found == [
        (True, "404", 404),
        (True, "422", 422),
        (True, "500", 500),
        (True, "502", 502),
        (True, "503", 503),
        (True, "500.5", None),
        (True, "99999999999", None),
        (True, "n/a", None),
        (False, None, None),
        (True, None, None),
    ]


def test_the_status_code_index_is_used(base: psycopg.Connection) -> None:
    fill(base, ROWS)
    run(base, STATUS_CODE)
    run(base, INDEX)
    base.execute("analyze error_events")
    base.execute("set enable_seqscan = off")

    plan = base.execute("explain select * from error_events where status_code = 422").fetchall()
    assert "idx_error_events_status_code" in str(plan)


def test_the_verify_script_finds_an_index_left_invalid(database16: Database) -> None:
    with database16.connect("test") as connection:
        apply_up_to(connection, STATUS_CODE)
        for _ in range(2):
            connection.execute("insert into error_events (payload, status_code) values ('{}', 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "create unique index concurrently idx_error_events_status_code "
                "on error_events (status_code)"
            )
        run(connection, INDEX)  # IF NOT EXISTS takes it for done

        assert unmet(connection, INDEX) != []


def roles(connection: psycopg.Connection) -> list[tuple[str, int]]:
    query = "select role::text, count(*) from messages group by 1 order by 1"
    return connection.execute(query).fetchall()


def storage(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """Return what changes when the table is rewritten or the constraint made anew."""
    return connection.execute(
        "select pg_relation_filenode('messages'), oid from pg_constraint "
        "where conname = 'check_role_values'"
    ).fetchall()


def test_a_role_the_check_does_not_know_stops_the_migration_and_changes_nothing(
    base: psycopg.Connection,
) -> None:
    fill(base, ROWS)
    base.execute(WITHOUT_TYPE.encode())
    base.execute("update messages set role = 'robot' where id = 1")
    before = roles(base)

    with pytest.raises(psycopg.errors.CheckViolation):
        run(base, ROLE)
    base.execute("rollback")

    assert roles(base) == before


def test_the_role_migration_stops_where_another_column_has_the_type(
    base: psycopg.Connection,
) -> None:
    base.execute("create table drafts (role message_role)")

    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        run(base, ROLE)


def test_a_check_in_the_words_of_a_restore_is_known(
    base: psycopg.Connection,
) -> None:
    run(base, ROLE)
    # pg_dump writes the CHECK out in the server's words, and reading them back words it once more.
    again = (
        "alter table messages drop constraint check_role_values, "
        "add constraint check_role_values check (role::text = any (array['tool'::character varying,"
        " 'user'::character varying, 'system'::character varying, 'assistant'::character varying]"
        "::text[]))"
    )
    base.execute(again.encode())
    assert unmet(base, ROLE) == []

    table = storage(base)
    run(base, ROLE)
    assert storage(base) == table


def test_the_same_seed_gives_the_same_rows_and_another_one_others(base: psycopg.Connection) -> None:
    digests = []
    for seed in (1, 1, 2):
        base.execute(
            "truncate users, environments, error_events, conversations, messages restart identity"
        )
        made = fill(base, ROWS, seed=seed)
        assert made == counts(base)
        assert sum(made.values()) == ROWS
        digests.append(
            [
                base.execute(
                    f"select md5(string_agg(t::text, '|' order by t::text)) from {x} t".encode()
                ).fetchall()
                for x in TABLES
            ]
        )

    assert digests[0] == digests[1]
    assert all(a != b for a, b in zip(digests[1], digests[2], strict=True))


def test_a_user_can_be_added_behind_the_filled_ones(base: psycopg.Connection) -> None:
    fill(base, ROWS)
    base.execute("insert into users (email, first_name, last_name) values ('a@b', 'A', 'B')")

    assert number(base, "select max(id) from users") == ROWS // 10 + 1


def test_the_fewest_rows_reach_every_table_and_every_role(base: psycopg.Connection) -> None:
    assert sum(fill(base, 20).values()) == 20
    assert all(counts(base).values())
    assert len(roles(base)) == 4


def test_fewer_rows_than_tables_need_are_refused(base: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="rows is 19; expected at least 20"):
        fill(base, 19)


def test_ten_thousand_rows_are_quick(base: psycopg.Connection) -> None:
    began = time.monotonic()
    fill(base)

    assert sum(counts(base).values()) == 10_000
    assert time.monotonic() - began < 5  # a tenth of that, where nobody else is busy
