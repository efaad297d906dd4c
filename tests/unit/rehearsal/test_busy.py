"""How busy the live tables are: two readings, and what lies between."""

from datetime import timedelta
from typing import Any

import pytest

from pgwindlass.model import TableActivity
from pgwindlass.rehearsal.busy import HIDDEN, Reading, activity, hidden_calls, tables_of
from tests.unit.examples import NOW

pytestmark = pytest.mark.unit

READS, WRITES = "select * from orders where id = $1", "update shop.orders set n = $1"


def reading(seconds: float = 0.0, **more: Any) -> Reading:
    return Reading(at=NOW + timedelta(seconds=seconds), **more)


def test_between_two_readings_the_rate_is_measured() -> None:
    first = reading(tables={"shop.orders": 1000}, statements={READS: 50})
    second = reading(
        30,
        tables={"shop.orders": 1600, "shop.other": 9},
        statements={READS: 100, WRITES: 10, HIDDEN: 70},
    )

    assert activity(first, second, ["shop.orders", "shop.gone"]) == (
        TableActivity(relation="shop.orders", traffic=1200.0, calls=120.0, measured=True),
    )
    assert hidden_calls(second) == 70
    assert hidden_calls(first) == 0


def test_near_to_each_other_the_average_since_the_counters_began_is_inferred() -> None:
    second = reading(
        19,
        tables={"public.orders": 600},
        statements={READS: 30},
        tables_since=NOW - timedelta(seconds=41),
        statements_since=NOW - timedelta(seconds=101),
    )

    assert activity(reading(), second, ["public.orders"]) == (
        TableActivity(relation="public.orders", traffic=600.0, calls=15.0, measured=False),
    )


@pytest.mark.parametrize("more", [{}, {"statements": {READS: 30}}], ids=["absent", "no beginning"])
def test_calls_of_which_nothing_is_known_are_none(more: dict[str, Any]) -> None:
    second = reading(
        1, tables={"public.orders": 60}, tables_since=NOW - timedelta(seconds=59), **more
    )

    assert activity(reading(), second, ["public.orders"]) == (
        TableActivity(relation="public.orders", traffic=60.0),
    )


def test_tables_whose_counters_have_no_beginning_are_left_out() -> None:
    assert activity(reading(), reading(1, tables={"public.orders": 60}), ["public.orders"]) == ()


def test_a_counter_that_was_reset_meanwhile_is_no_rate_below_zero() -> None:
    first = reading(tables={"public.orders": 600}, statements={READS: 30})
    second = reading(60, tables={"public.orders": 60}, statements={READS: 3})

    (table,) = activity(first, second, ["public.orders"])

    assert (table.traffic, table.calls) == (0.0, 0.0)


def test_the_statements_of_a_partitioned_table_are_those_of_its_partitions_too() -> None:
    first = reading(statements={})
    second = reading(
        60,
        tables={"public.orders_1": 60},
        roots={"public.orders_1": "public.orders"},
        statements={READS: 3, "select from orders_1": 4},
    )

    (table,) = activity(first, second, ["public.orders_1"])

    assert table.calls == 7.0


def test_a_name_in_quotes_is_the_statements_name() -> None:
    first = reading(statements={})
    second = reading(
        60, tables={'public."My""t"': 1}, statements={'select from "My""t"': 2, "select 1": 5}
    )

    (table,) = activity(first, second, ['public."My""t"'])

    assert table.calls == 2.0


def test_a_statement_that_names_no_schema_counts_for_each_namesake_and_is_inferred() -> None:
    tables = {"shop.orders": 60, "old.orders": 60, "old.lines": 60, '"a.b".orders': 1}
    statements = {READS: 30, WRITES: 5, "delete from old.orders": 2, "select from lines": 1}
    second = reading(60, tables=tables, statements=statements)

    busy = activity(reading(statements={}), second, tables)

    assert [(each.relation, each.calls, each.shared) for each in busy] == [
        ('"a.b".orders', 30.0, True),
        ("old.lines", 1.0, False),
        ("old.orders", 32.0, True),
        ("shop.orders", 35.0, True),
    ]


def test_namesakes_share_nothing_where_every_statement_names_its_schema() -> None:
    tables = {"shop.orders": 60, "old.orders": 60}
    second = reading(60, tables=tables, statements={WRITES: 5})

    busy = activity(reading(statements={}), second, tables)

    assert [(each.calls, each.shared) for each in busy] == [(0.0, False), (5.0, False)]


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("select 1", frozenset()),
        ("select * from a join s.b using (id)", frozenset({("", "a"), ("s", "b")})),
        (HIDDEN, frozenset()),
        ("COPY a (id) FROM STDIN", frozenset({("", "a")})),
    ],
)
def test_a_statement_names_its_tables(text: str, tables: frozenset[tuple[str, str]]) -> None:
    assert tables_of(text) == tables
