"""A column made again as it was."""

import pytest

from pgwindlass.recipes.restored import again, definition, unique
from pgwindlass.recipes.shape import Column
from tests.unit.recipes.examples import ORDERS

pytestmark = pytest.mark.unit


def test_a_columns_default_comes_behind_its_values() -> None:
    assert again(ORDERS, "amount", not_null=True, filled=("FILL",)) == (
        "ALTER TABLE public.orders ADD COLUMN amount integer",
        "FILL",
        "ALTER TABLE public.orders ALTER COLUMN amount SET DEFAULT 0",
        "CREATE INDEX CONCURRENTLY orders_amount_idx ON public.orders USING btree (amount) WHERE (amount > 3)",
        "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_check CHECK ((amount > 0)) NOT VALID",
        "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_check",
        "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_present CHECK (amount IS NOT NULL) NOT VALID",
        "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_present",
        "ALTER TABLE public.orders ALTER COLUMN amount SET NOT NULL",
        "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_present",
    )


def test_a_constraint_that_was_not_valid_comes_back_so() -> None:
    statements = again(ORDERS, "note", not_null=False)

    assert statements[-1] == (
        "ALTER TABLE public.orders ADD CONSTRAINT orders_note_ref FOREIGN KEY (note) REFERENCES notes(id) NOT VALID"
    )


@pytest.mark.parametrize(
    ("text", "index", "constraint"),
    [
        ("UNIQUE (a)", "(a)", ""),
        ("UNIQUE (a, b) DEFERRABLE", "(a, b)", " DEFERRABLE"),
        ("UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b)", "(a) INCLUDE (b) NULLS NOT DISTINCT", ""),
    ],
)
def test_a_unique_constraint_takes_an_index_that_was_built_before(
    text: str, index: str, constraint: str
) -> None:
    assert unique(ORDERS, "u", text) == [
        f"CREATE UNIQUE INDEX CONCURRENTLY u ON public.orders {index}",
        f"ALTER TABLE public.orders ADD CONSTRAINT u UNIQUE USING INDEX u{constraint}",
    ]


def test_a_type_has_its_collation_where_it_stays() -> None:
    column = Column(type="text", collation='pg_catalog."C"')

    assert definition(column) == 'text COLLATE pg_catalog."C"'
    assert definition(column, type_="int") == "int"
