"""One copy, one way to try a migration on it: what its value says, stage by stage."""

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.rehearsal.copy import COPIED, Copy, Stage, clients_for, one_line
from pgwindlass.rehearsal.sets import attempt_set
from tests.fix_migration import NAME, Write

TABLE = "create table t (i int);"
WITH_ROWS = f"{TABLE}\ninsert into t select generate_series(1, 5000);"


def test_a_migration_goes_up_down_and_up_and_each_moment_is_in_the_value(
    database16: Database, write: Write
) -> None:
    engine, first = write(WITH_ROWS, "drop table t;")
    copy = Copy(database=database16, engine=engine, clients=clients_for(database16), watched=True)
    before = copy.definitions()

    (attempt,) = attempt_set(copy, (first,), before, back=True)

    assert (attempt.failed, attempt.error, attempt.differences) == (None, None, ())
    assert [one.where for one in attempt.statements] == [
        f"migrations/{NAME}.sql:1",
        f"migrations/{NAME}.sql:2",
    ]
    assert attempt.growth > 100_000
    assert attempt.seconds > 0 and attempt.undo_seconds > 0
    assert attempt.rows_before == attempt.rows_undone == {}
    assert attempt.rows_applied["public", "t"].rows == 5000
    assert attempt.after == copy.definitions() != before


def test_without_a_way_back_it_runs_once(database16: Database, write: Write) -> None:
    engine, migration = write(TABLE, "select 1 / 0;")
    copy = Copy(database=database16, engine=engine, clients=clients_for(database16))

    attempt = copy.attempt(migration, copy.definitions(), back=False)

    assert (attempt.failed, attempt.undo_seconds, attempt.statements) == (None, 0.0, ())
    assert any("; Type: TABLE; " in title for title in attempt.after)


def test_what_a_rollback_leaves_is_a_difference_and_it_runs_again_all_the_same(
    database16: Database, write: Write
) -> None:
    engine, migration = write("create table if not exists t (i int);", "select 1;")
    copy = Copy(database=database16, engine=engine, clients=clients_for(database16))

    (attempt,) = attempt_set(copy, (migration,), copy.definitions(), back=True)

    assert attempt.differences == ("table public.t was not there before",)
    assert attempt.failed is None


@pytest.mark.parametrize(
    ("sql", "rollback", "failed", "said"),
    [
        ("select 1 / 0;", "select 1;", "apply", f"{NAME}.sql:1: division by zero [22012]"),
        (TABLE, "select 1 / 0;", "undo", f"{NAME}_rollback.sql:1: division by zero [22012]"),
        (TABLE, "select 1;", "again", f'{NAME}.sql:1: relation "t" already exists [42P07]'),
    ],
)
def test_an_error_is_a_value_with_its_stage_and_nothing_runs_behind_it(
    database16: Database, write: Write, sql: str, rollback: str, failed: Stage, said: str
) -> None:
    engine, migration = write(sql, rollback)
    copy = Copy(database=database16, engine=engine, clients=clients_for(database16))
    before = copy.definitions()

    (attempt,) = attempt_set(copy, (migration,), before, back=True)

    assert attempt.failed == failed
    assert attempt.error is not None and one_line(attempt.error) == f"migrations/{said}"
    assert attempt.after == before


def test_verify_scripts_are_run_where_the_copy_has_rows(database16: Database, write: Write) -> None:
    engine, migration = write(TABLE, "drop table t;", verify="select exists (select from t);")
    clients = clients_for(database16)
    full = Copy(database=database16, engine=engine, clients=clients)
    empty = Copy(
        database=database16, engine=engine, clients=clients, options=COPIED, verifies=False
    )

    with pytest.raises(StepFailed, match="row 1 is"):
        full.apply(migration)

    empty.apply(migration)
    empty.undo(migration)


def test_states_are_before_and_after_each_and_the_first_failure_ends_them(
    database16: Database, write: Write
) -> None:
    engine, migration = write(TABLE)
    copy = Copy(database=database16, engine=engine, clients=clients_for(database16))

    before, after = copy.states((migration,))
    engine, broken = write("select 1 / 0;")
    states = copy.states((broken,))

    assert [title for title in after if title not in before] == [
        title for title in after if title.startswith("t; Type: TABLE; ")
    ]
    assert next(states) == after
    with copy.database.connect("test") as connection:
        engine.corrections.unstamp(connection, NAME)
    with pytest.raises(StepFailed, match="division by zero"):
        next(states)
