"""How models differ from a database, in words, of what Alembic's operations say."""

from types import SimpleNamespace
from typing import Any

import pytest

from pgwindlass.engines.alembic.child.differences import describe

pytestmark = pytest.mark.unit


def named(name: str | None, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, **more)


def described(*differences: Any) -> list[str]:
    return describe([SimpleNamespace(as_diffs=lambda: list(differences))])


ORDERS = named("orders", schema=None)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (("add_table", ORDERS), "add table orders"),
        (("remove_table", named("old", schema="app")), "remove table old"),
        (("add_index", named("by_day", table=ORDERS)), "add index by_day of orders"),
        (("add_column", None, "orders", named("note")), "add column orders.note"),
        (("remove_column", "app", "orders", named("note")), "remove column orders.note"),
        (
            ("modify_type", None, "orders", "total", {}, "INTEGER", "BIGINT"),
            "modify type orders.total from INTEGER to BIGINT",
        ),
        (
            ("modify_nullable", None, "orders", "total", {}, True, False),
            "modify nullable orders.total from True to False",
        ),
        (("add_fk", named(None, table=ORDERS)), None),
        (("add_sequence", "by its text"), "add sequence by its text"),
    ],
)
def test_a_difference_is_told_in_words(difference: tuple[Any, ...], words: str | None) -> None:
    (text,) = described(difference)

    if words is None:  # it has no name: its own text stands for it
        assert text.startswith("add fk namespace(") and text.endswith(" of orders")
    else:
        assert text == words


def test_the_differences_of_a_column_come_in_a_list_of_their_own() -> None:
    both: list[Any] = [
        ("modify_type", None, "orders", "total", {}, "INTEGER", "BIGINT"),
        [("add_table", ORDERS)],
    ]

    assert described(both, ("add_table", ORDERS)) == [
        "modify type orders.total from INTEGER to BIGINT",
        "add table orders",
        "add table orders",
    ]


@pytest.mark.parametrize(
    "difference",
    [
        ("remove_table", named("deployment", schema="windlass")),
        ("remove_index", named("i", table=named("deployment", schema="windlass"))),
        ("remove_column", "windlass", "deployment", named("id")),
    ],
)
def test_tables_of_windlass_are_no_difference(difference: tuple[Any, ...]) -> None:
    assert described(difference) == []


def test_a_schema_counts_where_the_table_is() -> None:
    index = named("i", schema="windlass", table=ORDERS)

    assert described(("add_index", index)) == ["add index i of orders"]
