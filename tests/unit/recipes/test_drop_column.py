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
                "its values are in the backup alone; undoing it makes the column again",
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
                "its values are in the backup alone; undoing it makes the column again",
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
    (
        "drop-column",
        {"column": "kind", "value": "'old'"},
        [
            (
                "optional_orders_kind",
                "the new code does not write it",
                ("ALTER TABLE public.orders ALTER COLUMN kind DROP NOT NULL",),
                (
                    "ALTER TABLE public.orders ALTER COLUMN kind SET DEFAULT 'old'",
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET kind = 'old' WHERE kind IS NULL",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_kind_present CHECK (kind IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_kind_present",
                    "ALTER TABLE public.orders ALTER COLUMN kind SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_kind_present",
                    "ALTER TABLE public.orders ALTER COLUMN kind DROP DEFAULT",
                ),
                (),
                "before",
            ),
            (
                "drop_orders_kind",
                "its values are in the backup alone; undoing it makes the column again (without NOT NULL, as it is then)",
                ("ALTER TABLE public.orders DROP COLUMN kind",),
                ("ALTER TABLE public.orders ADD COLUMN kind text",),
                (
                    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'kind')",
                ),
                "after",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("recipe", "options", "expected"), CASES)
def test_each_stage(
    recipe: str, options: dict[str, str], expected: list[tuple[object, ...]]
) -> None:
    assert told(stages(recipe, order(recipe, **options), ORDERS)) == expected
