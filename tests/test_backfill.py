"""Backfills on real PostgreSQL: batches, kills, poison rows, who waits, what is refused."""

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from tests.fix_migration import NAME, Write


def run(database: Database, *statements: str) -> None:
    with psycopg.connect(database.url.reveal(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url.reveal()) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("count", [0, 1, 3, 2500])
def test_every_row_is_changed_and_the_end_recorded(
    database: Database, write: Write, count: int
) -> None:
    run(
        database,
        f"create table t as select g::bigint as id, 0 as a from generate_series(1, {count}) g",
        "alter table t add primary key (id)",
    )
    engine, migration = write(
        "alter table t add column b int;\n-- windlass: backfill table=t\nupdate t set b = a + 1;"
    )

    engine.runner.apply(migration, database, Terms())

    assert rows(database, "select count(*), count(b) from t") == [(count, count)]
    assert rows(database, "select state, rows_visited, rows_changed from windlass.backfill") == [
        ("done", count, count)
    ]
    assert rows(database, "select migration_name from schema_migrations") == [(NAME,)]
