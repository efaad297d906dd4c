"""What a recipe asks for, and what it refuses."""

from dataclasses import replace

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.recipes import stages
from pgwindlass.recipes.shape import Shape
from tests.unit.recipes.examples import ORDERS, order

pytestmark = pytest.mark.unit


def test_an_option_that_is_missing_is_named_with_an_example() -> None:
    with pytest.raises(ConfigError) as caught:
        order("rename-column", column="note").require("to", "email")

    assert caught.value.what == "--recipe rename-column needs --to"
    assert caught.value.next_step == "such as --to email"
    assert order("rename-column", to="b").require("to", "email") == "b"


def test_several_columns_are_split_by_commas() -> None:
    assert order("split-table", column="a, b,,c ").columns == ("a", "b", "c")


@pytest.mark.parametrize(
    ("recipe", "options", "why"),
    [
        ("rename-column", {"column": "z", "to": "a"}, "public.orders has no column z; it has id, "),
        ("rename-column", {"column": "note", "to": "id"}, "public.orders has a column id already"),
        (
            "rename-column",
            {"column": "id", "to": "a"},
            "public.orders.id: the primary key orders_pkey has it",
        ),
        ("rename-column", {"column": "state", "to": "a"}, "lines.lines_state_fkey refers to it"),
        ("rename-column", {"column": "seen", "to": "a"}, "rule _RETURN on view v depends on it"),
        ("drop-column", {"column": "counted"}, "it counts up by itself (orders_counted_seq)"),
        ("drop-column", {"column": "owner"}, "it counts up by itself (identity)"),
        ("drop-column", {"column": "made"}, "it is generated from other columns"),
        ("drop-column", {"column": "state"}, "lines.lines_state_fkey refers to it"),
        (
            "change-type",
            {"column": "note", "type": "int", "using": "id"},
            "--using names id; it is about note alone",
        ),
        (
            "change-type",
            {"column": "note", "type": "int", "back": "id"},
            "--back names id; it is about note_new alone",
        ),
        (
            "change-type",
            {"column": "note", "type": "int", "using": "("},
            "--using (: no expression of SQL",
        ),
        (
            "change-type",
            {"column": "note", "type": "int", "using": "note), (1"},
            "--using note), (1: expected one expression",
        ),
        (
            "change-type",
            {"column": "note", "type": "int", "using": "1) where (true"},
            "expected one expression",
        ),
        (
            "add-not-null-column",
            {"column": "total", "type": "int", "value": "amount"},
            "public.orders_total_fill exists already",
        ),
        (
            "add-not-null-column",
            {"column": "a", "type": "int", "value": "b"},
            "--value: public.orders has no column b",
        ),
        (
            "add-foreign-key",
            {"column": "note", "references": "a b"},
            "--references a b: expected TABLE or TABLE(COLUMN)",
        ),
        ("split-table", {"column": "note", "to": "orders"}, "public.orders exists already"),
        ("paint", {}, "--recipe paint: expected one of add-not-null-column, change-type, "),
    ],
)
def test_what_cannot_be_is_refused(recipe: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stages(recipe, order(recipe, **options), ORDERS)

    assert why in caught.value.what


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (
            replace(ORDERS, kind="p"),
            "public.orders is partitioned: a recipe is for one table alone",
        ),
        (replace(ORDERS, inherits=True), "public.orders has parent or child tables: a recipe"),
        (replace(ORDERS, constraints={}), "public.orders has no primary key"),
    ],
)
def test_a_table_that_is_not_alone_is_refused(shape: Shape, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stages("split-table", order("split-table", column="amount", to="details"), shape)

    assert why in caught.value.what
