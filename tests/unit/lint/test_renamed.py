"""What RENAME and SET SCHEMA make of the catalog."""

from pathlib import Path

import pytest

from pgwindlass.lint.catalog import Catalog
from pgwindlass.lint.forward import advance
from pgwindlass.parser.split import split
from tests.unit.lint.rewriting import catalog_of

pytestmark = pytest.mark.unit

STANDS = """
create table p (id int primary key);
create table o (
    a int, b int, constraint k check (a > b and a is not null), foreign key (b) references p
);
create index i on o (a);
create table child () inherits (o);
create materialized view m as select 1 as a;
"""


def behind(sql: str) -> Catalog:
    (statement,) = split(Path("x.sql"), sql)
    return advance(catalog_of(STANDS), statement.kind, statement.node)


def test_a_table_goes_with_who_refers_to_it() -> None:
    catalog = behind("alter table o rename to n")

    assert ("public", "o") not in catalog.tables
    assert catalog.tables["public", "child"].parents == (("public", "n"),)
    moved = behind("alter table p set schema s").tables["public", "o"]
    assert [item.refers for item in moved.constraints if item.kind == "foreign"] == [("s", "p")]


@pytest.mark.parametrize(
    "sql", ["alter materialized view m rename to n", "alter table m rename to n"]
)
def test_a_view_goes_by_its_new_name(sql: str) -> None:
    assert ("public", "n") in behind(sql).tables


def test_a_column_is_renamed_in_checks_indexes_and_children() -> None:
    for key in (("public", "o"), ("public", "child")):
        table = behind("alter table o rename column a to z").tables[key]
        check = table.constraint("k")
        assert [*table.columns] == ["z", "b"]
        assert check is not None
        assert check.columns == ("z", "b")
        assert check.expression == "z > b AND z IS NOT NULL"
    indexes = behind("alter table o rename a to z").tables["public", "o"].indexes
    assert indexes["i"].columns == ("z",)


def test_an_index_and_a_constraint_have_new_names() -> None:
    assert [*behind("alter index i rename to j").tables["public", "o"].indexes] == ["j"]
    pkey = behind("alter table p rename constraint p_pkey to q").tables["public", "p"]
    assert [item.name for item in pkey.constraints] == ["q"]
    assert [*pkey.indexes] == ["q"]


@pytest.mark.parametrize(
    "sql",
    [
        "alter index gone rename to j",
        "alter table gone rename to j",
        "alter table gone rename a to b",
        "alter view gone rename to j",
        "alter view gone set schema s",
    ],
)
def test_what_is_not_known_changes_nothing(sql: str) -> None:
    assert behind(sql) == catalog_of(STANDS)
