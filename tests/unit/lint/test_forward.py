"""The catalog as statements will have changed it; tests/test_lint_catalog.py asks the server."""

from pathlib import Path

import pytest

from pgwindlass.lint.catalog import Catalog, Key
from pgwindlass.lint.forward import advance, body_writes, steps
from pgwindlass.parser.file import parse
from pgwindlass.parser.split import split

pytestmark = pytest.mark.unit

T: Key = ("public", "t")
TABLE = "create table t (a int primary key, b text unique, c int check (c > 0));"


def after(text: str, catalog: Catalog | None = None) -> Catalog:
    known = Catalog(live=True) if catalog is None else catalog
    for statement in split(Path("a.sql"), text):
        known = advance(known, statement.kind, statement.node)
    return known


def test_a_table_has_what_its_statement_says() -> None:
    table = after(TABLE).tables[T]

    assert [*table.columns] == ["a", "b", "c"]
    assert [c.name for c in table.constraints] == ["t_pkey", "t_b_key", "t_c_check"]
    assert [*table.indexes] == ["t_pkey", "t_b_key"]
    assert (table.columns["a"].not_null, table.columns["b"].not_null) == (True, False)
    assert (table.made, table.size) == (True, 0)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("drop table t;", set()),
        ("alter table t rename to u;", {("public", "u")}),
        ("create schema s; alter table t set schema s;", {("s", "t")}),
        ("create table s.t (a int);", {T, ("s", "t")}),
        ("set search_path = s; create table t (a int);", {T, ("s", "t")}),
        ("set search_path = s, public; drop table t;", set()),
        ("drop table s.t;", {T}),
        ("create temporary table t (a int);", {T, ("pg_temp", "t")}),
        ("create table u as select 1 as a;", {T, ("public", "u")}),
        ("select 1 as a into u;", {T, ("public", "u")}),
        ("do $$ begin drop table t; end $$;", {T}),
        ("drop schema public cascade;", set()),
    ],
)
def test_tables_come_and_go_by_schema_and_name(text: str, there: set[Key]) -> None:
    assert set(after(TABLE + text).tables) == there


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("alter table t add constraint k check (c < 9) not valid;", [("k", False)]),
        (
            "alter table t add constraint k check (c < 9) not valid;"
            "alter table t validate constraint k;",
            [("k", True)],
        ),
        ("alter table t add constraint k check (c < 9); alter table t drop constraint k;", []),
        ("alter table t add constraint k check (c < 9); alter table t drop column c;", []),
        (
            "alter table t add constraint k check (c < 9);alter table t rename constraint k to m;",
            [("m", True)],
        ),
    ],
)
def test_a_constraint_is_valid_once_it_is_validated(
    text: str, states: list[tuple[str, bool]]
) -> None:
    own = {"t_pkey", "t_b_key", "t_c_check"}
    found = after(TABLE + text).tables[T].constraints

    assert [(c.name, c.validated) for c in found if c.name not in own] == states


def test_a_renamed_column_is_renamed_in_its_constraints() -> None:
    table = after(TABLE + "alter table t rename c to d;").tables[T]

    assert [c.expression for c in table.constraints if c.kind == "check"] == ["d > 0"]
    assert "d" in table.columns and "c" not in table.columns


def test_what_is_done_to_a_parent_is_done_to_its_children_unless_only() -> None:
    family = TABLE + "create table u () inherits (t);"
    child = ("public", "u")

    assert "x" in after(family + "alter table t add column x int;").tables[child].columns
    only = after(family + "alter table only t alter b set not null;").tables
    assert (only[T].columns["b"].not_null, only[child].columns["b"].not_null) == (True, False)


def test_each_file_begins_with_the_session_as_it_was() -> None:
    files = [
        parse(Path("1.sql"), "set search_path = s; set timezone = 'Europe/Oslo'; select 1;"),
        parse(Path("2.sql"), "select 2;"),
    ]

    paths = [(step.before.search_path, step.before.time_zone) for step in steps(files, Catalog())]

    assert paths[-2:] == [(("s",), "Europe/Oslo"), (("public",), "UTC")]


@pytest.mark.parametrize(("live", "made"), [(True, [True, True]), (False, [True, False])])
def test_without_a_database_a_table_is_new_in_its_own_file_alone(
    live: bool, made: list[bool]
) -> None:
    files = [parse(Path("1.sql"), f"{TABLE} select 1;"), parse(Path("2.sql"), "select 2;")]

    walked = [step for step in steps(files, Catalog(live=live)) if step.before.tables]

    assert [step.before.tables[T].made for step in walked] == made
    assert [step.before.tables[T].size for step in walked] == [
        0 if is_made else -1 for is_made in made
    ]


@pytest.mark.parametrize(
    ("language", "body", "writes"),
    [
        ("sql", "select 1", False),
        ("plpgsql", "begin return 1; end", False),
        ("plpgsql", "begin delete from t; end", True),
        ("plpgsql", "begin perform f(); end", True),
        ("plpgsql", "begin execute x; end", True),
        ("c", "f", True),
        ("SQL", "select updated from t", False),
    ],
)
def test_a_body_writes_where_it_does_more_than_read(language: str, body: str, writes: bool) -> None:
    assert body_writes(language, body) is writes
