"""What adding a column, or altering one, does to every row of its table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgwindlass.lint.catalog import (
    Catalog,
    CatalogColumn,
    CatalogConstraint,
    CatalogIndex,
    CatalogTable,
    Domain,
    Function,
)
from pgwindlass.lint.columns import Altered, added_column, keeps_rows, not_null, retyped
from pgwindlass.parser import tree
from pgwindlass.parser.split import split
from tests.unit.examples import told

pytestmark = pytest.mark.unit

REWRITES = "writes the whole table and its indexes anew under the strongest lock"
BACKFILL = "add it without, set the default, and fill it in batches"
KEY = ("public", "t")
CATALOG = Catalog(
    live=True,
    major=16,
    tables={
        KEY: CatalogTable(
            columns={
                "a": CatalogColumn("varchar", 14),
                "b": CatalogColumn("int4"),
                "c": CatalogColumn("text"),
                "d": CatalogColumn("varchar", 14),
                "e": CatalogColumn("varchar", 14),
                "n": CatalogColumn("int4", not_null=True),
            },
            constraints=(
                CatalogConstraint("k", "check", ("d",), expression="d <> ''"),
                CatalogConstraint("m", "check", ("b",), expression="b > 0 AND b IS NOT NULL"),
                CatalogConstraint("l", "check", ("c",), expression="(c IS NOT NULL) IS NOT NULL"),
                CatalogConstraint("o", "check", ("a",), False, "a IS NOT NULL"),
            ),
            indexes={
                "i": CatalogIndex(("a",)),
                "j": CatalogIndex(("b",), whole=False, definition="… (b) WHERE e = 'x'"),
            },
        )
    },
    domains={
        ("public", "positive"): Domain("int4", constrained=True),
        ("public", "plain"): Domain("int4", constrained=False),
    },
    functions={
        ("public", "mine"): Function(builtin=False, volatile=True),
        ("public", "steady"): Function(builtin=False, volatile=False),
        ("archive", "steady"): Function(builtin=False, volatile=True),
        ("pg_catalog", "random"): Function(builtin=True, volatile=True),
    },
)
UNKNOWN = Catalog()


def altered(change: str, catalog: Catalog = CATALOG) -> Altered:
    (statement,) = split(Path("a.sql"), f"alter table t {change}")
    (command,) = tree.commands(statement.node)
    return Altered(command, KEY, catalog.tables.get(KEY), catalog, recurses=True)


def rules_of(column: str, catalog: Catalog = CATALOG) -> list[str]:
    return [
        rule for _, rule, _, _ in told(added_column(altered(f"add column x {column}", catalog)))
    ]


@pytest.mark.parametrize("catalog", [CATALOG, UNKNOWN])
@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("serial", ["add-serial"]),
        ("bigserial", ["add-serial"]),
        ("smallserial", ["add-serial"]),
        ("int generated always as identity", ["add-identity"]),
        ("int generated always as (b * 2) stored", ["add-generated"]),
        ("int generated always as (b * 2) stored not null", ["add-generated"]),
        ("int check (x > 0)", ["add-column-check"]),
        ("int default random()", ["volatile-default"]),
        ("text default lower(gen_random_uuid()::text)", ["volatile-default"]),
        ("int unique", ["disallowed-unique-constraint"]),
        ("int not null", ["adding-required-field"]),
        ("int references p", []),
        ("int default 1 references p", ["adding-foreign-key-constraint"]),
        ("int default 1 not null", []),
        ("int", []),
        ("timestamptz default now()", []),
        (
            "serial check (x > 0) default random()",
            ["add-serial", "add-column-check", "volatile-default"],
        ),
    ],
)
def test_a_new_column_is_written_or_read_where_it_has_a_value(
    column: str, found: list[str], catalog: Catalog
) -> None:
    assert rules_of(column, catalog) == found


def test_what_is_said_of_a_serial_column() -> None:
    assert told(added_column(altered("add column x serial"))) == [
        ("warning", "add-serial", f"{REWRITES}: {BACKFILL}", "rewrite")
    ]


@pytest.mark.parametrize(
    ("column", "known", "unknown"),
    [
        ("positive", ["add-column-domain"], []),
        ("public.positive", ["add-column-domain"], []),
        ("archive.positive", [], []),
        ("plain", [], []),
        ("int default mine()", ["volatile-default"], []),
        ("int default steady()", [], []),
        ("int default archive.steady()", ["volatile-default"], []),
    ],
)
def test_the_catalog_knows_domains_and_functions_by_their_schema(
    column: str, known: list[str], unknown: list[str]
) -> None:
    assert rules_of(column) == known
    assert rules_of(column, UNKNOWN) == unknown


@pytest.mark.parametrize(
    ("word", "major", "stored"),
    [
        (" stored", 0, True),
        (" stored", 18, True),
        (" virtual", 0, False),
        (" virtual", 18, False),
        ("", 0, False),
        ("", 18, False),
        ("", 17, True),
    ],
)
def test_a_generated_column_is_written_where_it_is_stored(
    word: str, major: int, stored: bool
) -> None:
    found = rules_of(f"int generated always as (b * 2){word}", replace(CATALOG, major=major))

    assert found == (["add-generated"] if stored else [])


def test_a_column_that_is_there_is_not_added() -> None:
    assert told(added_column(altered("add column if not exists b serial"))) == []


@pytest.mark.parametrize(
    ("column", "found"), [("n", []), ("b", []), ("a", [KEY]), ("c", [KEY]), ("gone", [KEY])]
)
def test_a_null_is_looked_for_where_no_check_proves_that_there_is_none(
    column: str, found: list[Any]
) -> None:
    remarks = list(not_null(altered(f"alter {column} set not null"), column))

    assert [key for remark in remarks for key in remark.works] == found


def test_a_null_is_looked_for_in_each_child_of_its_own() -> None:
    child, proven = ("public", "u"), ("public", "v")
    known = CATALOG.tables[KEY]
    tables = {
        **CATALOG.tables,
        child: replace(known, parents=(KEY,), constraints=()),
        proven: replace(known, parents=(KEY,)),
    }

    (remark,) = not_null(altered("alter b set not null", replace(CATALOG, tables=tables)), "b")

    assert remark.works == (child,)


def column(type_: str, modifier: int = -1) -> CatalogColumn:
    return CatalogColumn(type_, modifier)


VARCHAR_10 = column("varchar", 14)
NUMERIC_10_2 = column("numeric", (10 << 16 | 2) + 4)
INTERVAL_3 = column("interval", 0x7FFF << 16 | 3)


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        (VARCHAR_10, "text", True),
        (column("text"), "varchar", True),
        (column("text"), "varchar(10)", False),
        (column("cidr"), "inet", True),
        (column("inet"), "cidr", False),
        (column("timestamp"), "timestamptz", True),
        (column("timestamptz"), "timestamp", True),
        (column("timestamp"), "timestamptz(3)", False),
        (column("timestamp", 3), "timestamp(6)", True),
        (column("timestamp", 3), "timestamp", True),
        (column("timestamp", 3), "timestamp(0)", False),
        (column("timestamp"), "timestamp(3)", False),
        (column("int4"), "bigint", False),
        (column("int4"), "int", True),
        (VARCHAR_10, "varchar", True),
        (VARCHAR_10, "varchar(9)", False),
        (VARCHAR_10, "varchar(10)", True),
        (VARCHAR_10, "varchar(11)", True),
        (column("varchar"), "varchar(10)", False),
        (column("varbit", 10), "varbit", True),
        (column("varbit", 10), "varbit(9)", False),
        (column("varbit", 10), "varbit(11)", True),
        (column("bpchar", 14), "char(20)", False),
        (NUMERIC_10_2, "numeric", True),
        (NUMERIC_10_2, "numeric(9, 2)", False),
        (NUMERIC_10_2, "numeric(10, 2)", True),
        (NUMERIC_10_2, "numeric(11, 2)", True),
        (NUMERIC_10_2, "numeric(11, 3)", False),
        (column("numeric", (10 << 16) + 4), "numeric(12)", True),
        (column("numeric"), "numeric(10, 2)", False),
        (INTERVAL_3, "interval(6)", True),
        (INTERVAL_3, "interval", True),
        (INTERVAL_3, "interval(1)", False),
        (INTERVAL_3, "interval day", False),
        (VARCHAR_10, "text using lower(a)", False),
        (VARCHAR_10, "text using a", True),
        (VARCHAR_10, "text using a::text", True),
        (VARCHAR_10, "text using a::char(3)", False),
        (column("public.plain"), "int", True),
        (column("public.positive"), "int", True),
        (column("int4"), "plain", True),
        (column("int4"), "positive", False),
    ],
)
def test_a_change_of_type_keeps_the_rows_where_the_new_one_is_wider(
    before: CatalogColumn, after: str, keeps: bool
) -> None:
    definition = getattr(altered(f"alter a type {after}").cmd, "def").column_def

    assert keeps_rows(definition, before, CATALOG) is keeps


@pytest.mark.parametrize(
    ("zone", "keeps"), [("Etc/UTC", True), ("Europe/Oslo", False), ("", False)]
)
def test_a_timestamp_keeps_its_form_where_the_session_is_in_utc(zone: str, keeps: bool) -> None:
    definition = getattr(altered("alter a type timestamptz").cmd, "def").column_def
    catalog = replace(CATALOG, time_zone=zone)

    assert keeps_rows(definition, column("timestamp"), catalog) is keeps


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("alter a type text", []),
        ("alter b type bigint", [("changing-column-type", "rewrite")]),
        ("alter gone type text", [("changing-column-type", "rewrite")]),
        ("alter d type text", [("changing-column-type", "scan")]),  # of its CHECK
        ("alter e type text", [("changing-column-type", "scan")]),  # in the index's condition
        ('alter a type text collate "C"', [("changing-column-type", "scan")]),  # its index
        ("alter d type varchar(10)", [("changing-column-type", "scan")]),  # the same, tested anew
        ("alter n type int", []),
    ],
)
def test_a_change_of_type_says_what_it_makes_anew(
    change: str, found: list[tuple[str, str]]
) -> None:
    assert [(rule, does) for _, rule, _, does in told(retyped(altered(change)))] == found


@pytest.mark.parametrize(
    ("clause", "command"),
    [
        (
            "alter b type bigint",
            "invoke create --recipe change-type --table public.t --column b --type bigint",
        ),
        (
            "alter b type numeric(8, 2)[] using array[b / 2]",
            "invoke create --recipe change-type --table public.t --column b --type "
            "'numeric(8, 2)[]' --using 'ARRAY[b / 2]'",
        ),
        (
            'add "New one" int not null',
            "invoke create --recipe add-not-null-column --table public.t --column 'New one' --type "
            "int --value VALUE",
        ),
    ],
)
def test_a_finding_names_the_recipe_of_its_table_and_column(clause: str, command: str) -> None:
    says = retyped if clause.startswith("alter") else added_column
    (message,) = (remark.message for remark in says(altered(clause)))
    assert message.endswith(f": {command}")
