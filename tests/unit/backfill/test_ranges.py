"""The query for the end of the next range."""

import pytest

from pgwindlass.backfill.ranges import next_range
from pgwindlass.parser.backfill import Split
from pgwindlass.parser.ranges import KeyColumn, condition

pytestmark = pytest.mark.unit

SPLIT = Split(
    schema="",
    table="t",
    only=True,
    alias="x",
    columns_set=frozenset(),
    functions=frozenset(),
)
TWO = (KeyColumn("a", "int4"), KeyColumn("b", "text"))


def test_the_rows_are_counted_behind_the_last_key() -> None:
    assert next_range("public.t", SPLIT, TWO, lower=True) == (
        'select b.k0, b.k1, b.n from ( select "x"."a"::pg_catalog.text as k0, '
        '"x"."b"::pg_catalog.text as k1, '
        'pg_catalog.row_number() over (order by "x"."a", "x"."b") as n from only public.t "x" '
        f"where {condition(SPLIT, TWO, lower=True)} "
        'order by "x"."a", "x"."b" limit $5::pg_catalog.text::pg_catalog.int8 '
        ") b order by b.n desc limit 1"
    )


def test_the_first_range_has_no_lower_bound() -> None:
    text = next_range("public.t", SPLIT, TWO[:1], lower=False)
    assert "limit $2::pg_catalog.text" in text
    assert condition(SPLIT, TWO[:1], lower=False) in text
