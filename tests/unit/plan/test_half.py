"""What undoes a migration that ran in part, and where a person has to decide."""

from pathlib import Path

import pytest

from pgwindlass.parser.file import parse
from pgwindlass.parser.split import Statement
from pgwindlass.plan import half

pytestmark = pytest.mark.unit


def statements(text: str) -> tuple[Statement, ...]:
    return parse(Path("a.sql"), text).statements


@pytest.mark.parametrize(
    "rollback",
    [
        "drop table t;",
        "drop index i; drop view v; set search_path = app;",
        "alter table t drop column a, drop constraint c;",
    ],
)
def test_a_drop_is_certain_whatever_did_not_run(rollback: str) -> None:
    assert half.unsure(statements(rollback), statements("update t set a = 1;")) is None


@pytest.mark.parametrize(
    "rollback",
    [
        "drop table t; update t set a = 2;",
        "alter table t drop column a, alter b set not null; delete from t;",
        "do $$ begin end $$;",
    ],
)
@pytest.mark.parametrize(
    "missing",
    [
        "update t set a = 1;",
        "create table u (i int); delete from u;",
        "alter table t add a int, alter b drop not null;",
        "drop table u;",
    ],
)
def test_what_may_undo_a_change_that_never_ran_is_not_certain(rollback: str, missing: str) -> None:
    script = statements(rollback)
    first = next(s for s in script if not s.sql.startswith("drop"))

    assert half.unsure(script, statements(missing)) == first


@pytest.mark.parametrize(
    "missing",
    [
        "",
        "create table u (i int);",
        "create table u as select 1;",
        "create index i on t (a); create view v as select 1; create sequence s;",
        "create schema s; create type e as enum (); create domain d as int;",
        "create type c as (i int); create extension pg_trgm;",
        "create function f() returns int language sql as 'select 1';",
        "create trigger g before insert on t for each row execute function f();",
        "alter table t add a int, add constraint c check (a > 0);",
    ],
)
def test_where_only_something_new_is_missing_all_is_certain(missing: str) -> None:
    assert half.unsure(statements("update t set a = 2;"), statements(missing)) is None


@pytest.mark.parametrize(
    ("statement", "sent"),
    [
        ("drop table t", "DROP TABLE IF EXISTS t"),
        ("drop table if exists t", "DROP TABLE IF EXISTS t"),
        ("drop index concurrently i", "DROP INDEX CONCURRENTLY IF EXISTS i"),
        ("alter table t drop a", "ALTER TABLE IF EXISTS t DROP IF EXISTS a"),
        (
            "alter table t drop constraint c, alter b set not null",
            "ALTER TABLE IF EXISTS t DROP CONSTRAINT IF EXISTS c, ALTER COLUMN b SET NOT NULL",
        ),
        ("alter table t add a int", "alter table t add a int"),
        ("update t set a = 1", "update t set a = 1"),
        ("select 1", "select 1"),
    ],
)
def test_a_drop_passes_over_what_is_not_there(statement: str, sent: str) -> None:
    (given,) = statements(f"\n{statement};")

    changed = half.if_exists(given)

    assert (" ".join(changed.sql.split()), changed.line) == (sent, given.line)
    assert changed.kind == given.kind
    again = half.if_exists(changed)
    assert " ".join(again.sql.split()) == sent
