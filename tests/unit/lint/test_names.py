"""What the parser's nodes call things."""

from pathlib import Path

import pytest

from pgwindlass.lint import names
from pgwindlass.lint.catalog import CatalogColumn
from pgwindlass.parser import tree
from pgwindlass.parser.split import split
from tests.unit.lint.rewriting import catalog_of

pytestmark = pytest.mark.unit

CATALOG = catalog_of("create domain short as text; create type app.mood as enum ('x');")


def definition(column: str) -> object:
    (statement,) = split(Path("x.sql"), f"alter table t add column {column}")
    return getattr(tree.commands(statement.node)[0], "def").column_def


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("a serial", CatalogColumn("int4", -1, True)),
        ("a bigserial", CatalogColumn("int8", -1, True)),
        ("a smallserial", CatalogColumn("int2", -1, True)),
        ("a int", CatalogColumn("int4")),
        ("a text[]", CatalogColumn("_text")),
        ("a varchar(5) not null", CatalogColumn("varchar", 9, True)),
        ("a char(5)", CatalogColumn("bpchar", 9)),
        ("a numeric(10, 2)", CatalogColumn("numeric", (10 << 16 | 2) + 4)),
        ("a numeric(10)", CatalogColumn("numeric", (10 << 16) + 4)),
        ("a numeric(5, -2)", CatalogColumn("numeric", (5 << 16 | 0x7FE) + 4)),
        ("a time(3)", CatalogColumn("time", 3)),
        ("a interval(3)", CatalogColumn("interval", 0x7FFF << 16 | 3)),
        ("a interval day", CatalogColumn("interval", 8 << 16 | 0xFFFF)),
        ("a int primary key", CatalogColumn("int4", -1, True)),
        ("a int generated always as identity", CatalogColumn("int4", -1, True)),
        ("a short", CatalogColumn("public.short")),
        ("a app.mood", CatalogColumn("app.mood")),
        ("a app.other", CatalogColumn("app.other")),
        ("a pg_catalog.int4", CatalogColumn("int4")),
        ("a app.serial", CatalogColumn("app.serial")),
        ("a int default 1", CatalogColumn("int4")),
    ],
)
def test_a_column_as_the_catalog_has_it(column: str, expected: CatalogColumn) -> None:
    assert names.column_of(definition(column), CATALOG) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("create temp table t (a int)", ("pg_temp", "t")),
        ("create table t (a int)", ("public", "t")),
        ("create table s.t (a int)", ("s", "t")),
    ],
)
def test_where_a_table_is_created(sql: str, expected: tuple[str, str]) -> None:
    (statement,) = split(Path("x.sql"), sql)

    assert names.new_key(statement.node.relation, CATALOG) == expected


def test_the_functions_of_a_node_in_their_order() -> None:
    (statement,) = split(Path("x.sql"), "select a.f(g(1)), h()")

    assert sorted(names.calls(statement.node)) == [("a", "f"), ("g",), ("h",)]
