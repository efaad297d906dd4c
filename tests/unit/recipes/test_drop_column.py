"""What the recipe writes, statement by statement."""

import pytest

from pgwindlass.recipes import stages
from tests.unit.recipes.examples import ORDERS, order, told

pytestmark = pytest.mark.unit

CASES = [
    (
        "drop-column",
        {"column": "amount"},
        [
            (
                "drop_orders_amount",
                ("ALTER TABLE public.orders DROP COLUMN amount",),
                (
                    "ALTER TABLE public.orders ADD COLUMN amount integer",
                    "ALTER TABLE public.orders ALTER COLUMN amount SET DEFAULT 0",
                    "CREATE INDEX CONCURRENTLY orders_amount_idx ON public.orders USING btree (amount) WHERE (amount > 3)",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_check CHECK ((amount > 0)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_check",
                ),
                (
                    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'amount')",
                ),
                "after",
            )
        ],
    ),
    (
        "drop-column",
        {"column": "note"},
        [
            (
                "drop_orders_note",
                ("ALTER TABLE public.orders DROP COLUMN note",),
                (
                    'ALTER TABLE public.orders ADD COLUMN note text COLLATE pg_catalog."C"',
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_note_key ON public.orders (note) INCLUDE (id) NULLS NOT DISTINCT",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_key UNIQUE USING INDEX orders_note_key DEFERRABLE",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_ref FOREIGN KEY (note) REFERENCES notes(id) NOT VALID",
                ),
                (
                    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'note')",
                ),
                "after",
            )
        ],
    ),
]


@pytest.mark.parametrize(("recipe", "options", "expected"), CASES)
def test_each_stage(
    recipe: str, options: dict[str, str], expected: list[tuple[object, ...]]
) -> None:
    assert told(stages(recipe, order(recipe, **options), ORDERS)) == expected
