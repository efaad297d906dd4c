"""Which key a table is split by."""

from dataclasses import replace

import pytest

from pgwindlass.backfill.keys import IndexColumn, TableFacts, UniqueIndex, Unsuitable, choose
from pgwindlass.parser.backfill import Backfill, Split
from pgwindlass.parser.ranges import KeyColumn

pytestmark = pytest.mark.unit

ID = IndexColumn(name="id", type="int8", not_null=True)
KEY = UniqueIndex(name="t_pkey", primary=True, whole=True, columns=(ID,))
OTHER = UniqueIndex(
    name="By two",
    primary=False,
    whole=True,
    columns=(replace(ID, name="a", type="uuid"), replace(ID, name="b", type="text")),
)
TABLE = TableFacts(
    name="public.t",
    kind="r",
    inherited=False,
    indexes=(OTHER, KEY),
    aggregates=frozenset(),
)
SPLIT = Split(
    schema="",
    table="t",
    only=False,
    alias="t",
    columns_set=frozenset({"n"}),
    functions=frozenset(),
)
PLAIN = Backfill(table="t", line=1)


def test_the_primary_key_is_taken_or_the_index_that_is_named() -> None:
    assert choose(TABLE, PLAIN, SPLIT) == (KeyColumn("id", "int8"),)
    named = replace(PLAIN, key='"By two"')
    assert choose(TABLE, named, SPLIT) == (KeyColumn("a", "uuid"), KeyColumn("b", "text"))
    assert choose(TABLE, replace(PLAIN, key="T_PKEY"), SPLIT) == (KeyColumn("id", "int8"),)
    assert choose(replace(TABLE, kind="p"), PLAIN, SPLIT)
    assert choose(replace(TABLE, inherited=True), PLAIN, replace(SPLIT, only=True))


@pytest.mark.parametrize(
    ("table", "asked", "split", "reason"),
    [
        (replace(TABLE, kind="f"), PLAIN, SPLIT, "public.t is a foreign table"),
        (replace(TABLE, kind="c"), PLAIN, SPLIT, "public.t is no table"),
        (
            replace(TABLE, inherited=True),
            PLAIN,
            SPLIT,
            "other tables inherit from public.t, and its key is not theirs: write ONLY, and a "
            "backfill for each",
        ),
        (
            replace(TABLE, aggregates=frozenset({"b", "a"})),
            PLAIN,
            SPLIT,
            "a() is an aggregate, which is over rows of different batches",
        ),
        (
            replace(TABLE, indexes=(OTHER,)),
            PLAIN,
            SPLIT,
            "public.t has no primary key: name a unique index of it, key=INDEX",
        ),
        (TABLE, replace(PLAIN, key="absent"), SPLIT, "public.t has no unique index absent"),
        (
            replace(TABLE, indexes=(replace(KEY, whole=False),)),
            PLAIN,
            SPLIT,
            "t_pkey is invalid, deferrable, partial or of expressions, so that it does not order "
            "every row",
        ),
        (
            replace(TABLE, indexes=(replace(KEY, columns=(replace(ID, not_null=False),)),)),
            PLAIN,
            SPLIT,
            "id of t_pkey may be null, and null has no range",
        ),
        (
            replace(TABLE, indexes=(replace(KEY, columns=(replace(ID, type="float8"),)),)),
            PLAIN,
            SPLIT,
            "id of t_pkey is of the type float8",
        ),
        (
            TABLE,
            PLAIN,
            replace(SPLIT, columns_set=frozenset({"id"})),
            "the statement sets id, a column of the key: a row could be met twice",
        ),
    ],
)
def test_a_table_that_cannot_be_split_says_why(
    table: TableFacts, asked: Backfill, split: Split, reason: str
) -> None:
    with pytest.raises(Unsuitable) as caught:
        choose(table, asked, split)

    assert str(caught.value) == reason
