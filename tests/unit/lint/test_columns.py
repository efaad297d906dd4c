"""What adding a column, or altering one, does to every row of its table."""

from pathlib import Path
from typing import Any

import pytest

from pgwindlass.lint.catalog import Catalog, CatalogColumn, CatalogTable, Function
from pgwindlass.lint.columns import added_column, altered_column, keeps_rows
from pgwindlass.parser import tree
from pgwindlass.parser.split import split
from tests.unit.examples import told

pytestmark = pytest.mark.unit

REWRITES = "writes the whole table and its indexes anew under the strongest lock"
BACKFILL = "add it without, set the default, and fill it in batches"
VOLATILE = "is volatile, so that this writes the whole table and its indexes anew under the"


def catalog(major: int = 16, **more: Any) -> Catalog:
    given: dict[str, Any] = {
        "tables": {},
        "constrained_domains": frozenset({"positive"}),
        "functions": {
            "mine": Function(builtin=False, volatile=True),
            "steady": Function(builtin=False, volatile=False),
            "random": Function(builtin=True, volatile=False),
        },
    }
    return Catalog(major=major, **(given | more))


def commands(change: str) -> list[Any]:
    (statement,) = split(Path("a.sql"), f"alter table t {change}")
    return tree.commands(statement.node)


def said(column: str, known: Catalog | None = None) -> list[tuple[str, ...]]:
    (command,) = commands(f"add column x {column}")
    return told(added_column(getattr(command, "def").column_def, known))


@pytest.mark.parametrize(
    "type_", ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"]
)
def test_a_serial_column_has_a_value_for_each_row(type_: str) -> None:
    assert said(type_) == [("warning", "add-serial", f"{REWRITES}: {BACKFILL}", "rewrite")]


def test_an_identity_column_has_a_value_for_each_row() -> None:
    assert said("int generated always as identity") == [
        ("warning", "add-identity", f"{REWRITES}: {BACKFILL}", "rewrite")
    ]


def test_a_domain_with_a_constraint_is_known_to_the_catalog_alone() -> None:
    assert said("positive", catalog()) == [
        (
            "warning",
            "add-column-domain",
            f"{REWRITES}, because positive has a constraint: take the type beneath it, and a CHECK "
            "NOT VALID",
            "rewrite",
        )
    ]
    assert said("positive") == []
    assert said("plain", catalog()) == []


STORED = [
    ("warning", "add-generated", f"{REWRITES}: a plain column, a trigger, and batches", "rewrite")
]


@pytest.mark.parametrize(
    ("word", "major", "stored"),
    [
        (" stored", None, True),
        (" stored", 18, True),
        (" virtual", None, False),
        (" virtual", 18, False),
        (" virtual", 17, True),
        ("", None, False),
        ("", 18, False),
        ("", 17, True),
    ],
)
def test_a_generated_column_is_written_where_it_is_stored(
    word: str, major: int | None, stored: bool
) -> None:
    known = catalog(major) if major else None

    assert said(f"int generated always as (a * 2){word}", known) == (STORED if stored else [])


def test_a_check_is_read_against_every_row() -> None:
    assert said("int check (x > 0)") == [
        (
            "warning",
            "add-column-check",
            "reads the whole table under its strongest lock: add the CHECK apart, NOT VALID, then "
            "VALIDATE",
            "scan",
        )
    ]


@pytest.mark.parametrize(
    "function",
    [
        "random()",
        "clock_timestamp()",
        "gen_random_uuid()",
        "uuidv4()",
        "uuidv7()",
        "timeofday()",
        "nextval('s')",
        "uuid_generate_v1()",
        "uuid_generate_v4()",
        "gen_random_bytes(8)",
    ],
)
def test_a_volatile_default_is_written_to_each_row(function: str) -> None:
    name = function.partition("(")[0]

    assert said(f"text default {function}") == [
        (
            "warning",
            "volatile-default",
            f"{name} {VOLATILE} strongest lock: {BACKFILL}",
            "rewrite",
        )
    ]


@pytest.mark.parametrize(
    "column", ["int", "int default 7", "timestamptz default now()", "text default lower('A')"]
)
def test_a_plain_column_and_a_steady_default_are_silent(column: str) -> None:
    assert said(column) == []
    assert said(column, catalog()) == []


@pytest.mark.parametrize(
    ("function", "volatile"),
    [("mine", True), ("steady", False), ("random", False), ("timeofday", True)],
)
def test_the_catalog_knows_a_function_better(function: str, volatile: bool) -> None:
    rules = [rule for _, rule, _, _ in said(f"text default {function}()", catalog())]

    assert rules == (["volatile-default"] if volatile else [])


def test_every_constraint_of_a_column_is_said() -> None:
    rules = [rule for _, rule, _, _ in said("serial check (x > 0) default random()")]

    assert rules == ["add-serial", "add-column-check", "volatile-default"]


def column(type_: str, modifier: int = -1, *, never_null: bool = False) -> CatalogColumn:
    return CatalogColumn(type_, modifier, never_null)


VARCHAR_10 = column("varchar", 14)
NUMERIC_10_2 = column("numeric", (10 << 16 | 2) + 4)


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        (column("varchar", 14), "text", True),
        (column("text"), "varchar", True),
        (column("text"), "varchar(10)", False),
        (column("cidr"), "inet", True),
        (column("inet"), "cidr", False),
        (column("timestamp"), "timestamptz", True),
        (column("timestamp"), "timestamptz(3)", False),
        (column("int4"), "bigint", False),
        (column("int4"), "int", False),
        (VARCHAR_10, "varchar", True),
        (VARCHAR_10, "varchar(9)", False),
        (VARCHAR_10, "varchar(10)", True),
        (VARCHAR_10, "varchar(11)", True),
        (column("varchar"), "varchar(10)", False),
        (column("varbit", 10), "varbit", True),
        (column("varbit", 10), "varbit(9)", False),
        (column("varbit", 10), "varbit(10)", True),
        (column("bpchar", 14), "bpchar(20)", False),
        (column("bpchar", 14), "bpchar", False),
        (NUMERIC_10_2, "numeric", True),
        (NUMERIC_10_2, "numeric(9, 2)", False),
        (NUMERIC_10_2, "numeric(10, 2)", True),
        (NUMERIC_10_2, "numeric(11, 2)", True),
        (NUMERIC_10_2, "numeric(11, 3)", False),
        (NUMERIC_10_2, "numeric(11)", False),
        (column("numeric", (10 << 16) + 4), "numeric(12)", True),
        (column("numeric"), "numeric(10, 2)", False),
        (column("varchar", 14), "text using lower(a)", False),
        (column("varchar", 14), 'text collate "C"', False),
        (None, "text", False),
    ],
)
def test_a_change_of_type_keeps_the_rows_where_the_new_one_is_wider(
    before: CatalogColumn | None, after: str, keeps: bool
) -> None:
    (command,) = commands(f"alter a type {after}")

    assert keeps_rows(command, before) is keeps


TABLE = CatalogTable(
    kind="r",
    columns={
        "a": column("varchar", 14, never_null=True),
        "b": column("int4"),
        "c": column("text", never_null=True),
    },
    indexes={},
)


@pytest.mark.parametrize(
    ("rule", "change", "broken"),
    [
        ("changing-column-type", "alter a type text", False),
        ("changing-column-type", "alter a type text, alter b type bigint", True),
        ("changing-column-type", "alter a type text, drop column b", False),
        ("changing-column-type", "alter gone type text", True),
        ("adding-not-nullable-field", "alter a set not null", False),
        ("adding-not-nullable-field", "alter a set not null, alter c set not null", False),
        ("adding-not-nullable-field", "alter a set not null, alter b set not null", True),
        ("adding-not-nullable-field", "alter a set not null, alter b drop not null", False),
        ("adding-not-nullable-field", "alter gone set not null", True),
        ("ban-drop-column", "drop column a", True),
    ],
)
def test_the_columns_of_a_table_tell_whether_a_rule_is_broken(
    rule: str, change: str, broken: bool
) -> None:
    assert altered_column(rule, commands(change), TABLE) is broken
