"""Locks of hot tables, and whether a file speaks of them."""

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import HotTable
from pgwindlass.rehearsal.forecast import ROWS
from pgwindlass.rehearsal.hot import acknowledged, budgets, full_name, unspoken, unspoken_name
from tests.unit.examples import rehearsed, traced

pytestmark = pytest.mark.unit

HOT = (HotTable(table="orders"), HotTable(table="shop.stock", waits=Duration(0.5)))


def test_a_table_without_a_schema_is_in_public() -> None:
    assert full_name("orders") == "public.orders"
    assert full_name("shop.orders") == "shop.orders"
    assert budgets(HOT) == {"public.orders": 2.0, "shop.stock": 0.5}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("orders nobody orders at night", True),
        ("public.orders: at night", True),
        ("orders, at night", True),
        ("orders", False),
        ("shop.orders at night", False),
        ("the orders are quiet", False),
    ],
)
def test_a_reason_is_of_the_table_that_it_begins_with(reason: str, expected: bool) -> None:
    assert acknowledged("public.orders", [reason]) is expected
    assert acknowledged("orders", ["stock x", reason]) is expected


def test_the_longest_lock_of_a_hot_table_that_is_not_spoken_of_is_returned() -> None:
    statement = traced(
        seconds=1.0,
        locks=(("public.cold", "AccessExclusiveLock"), ("public.orders", "ShareLock")),
        rows_locked=(("shop.stock", 1, 9),),
    )
    migration = rehearsed(statement)

    first = unspoken(migration, HOT, [])
    second = unspoken(migration, HOT, ["orders is quiet"])

    assert first is not None
    assert (first.relation, first.mode) == ("public.orders", "ShareLock")
    assert second is not None
    assert (second.relation, second.mode) == ("shop.stock", ROWS)
    assert unspoken(migration, HOT, ["orders is quiet", "shop.stock is small"]) is None
    assert unspoken(rehearsed(traced()), HOT, []) is None


def test_without_a_rehearsal_the_names_of_the_text_decide() -> None:
    assert unspoken_name(["stock", "orders"], HOT, []) == "public.orders"
    assert unspoken_name(["stock", "orders"], HOT, ["orders is quiet"]) == "shop.stock"
    assert unspoken_name(["cold"], HOT, []) == ""
