"""What the recipe writes, statement by statement."""

import pytest

from pgwindlass.recipes import stages
from tests.unit.recipes.examples import ORDERS, order, told

pytestmark = pytest.mark.unit

CASES = [
    (
        "add-foreign-key",
        {"column": "note", "references": "public.notes (id)"},
        [
            (
                "add_orders_note_fkey",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_fkey FOREIGN KEY (note) REFERENCES public.notes (id) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_note_fkey",),
                (),
                "before",
            ),
            (
                "validate_orders_note_fkey",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_note_fkey",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_note_fkey",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_fkey FOREIGN KEY (note) REFERENCES public.notes (id) NOT VALID",
                ),
                (
                    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_note_fkey'",
                ),
                "before",
            ),
        ],
    ),
    (
        "add-foreign-key",
        {"column": "amount", "references": "amounts"},
        [
            (
                "add_orders_amount_fkey",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_fkey FOREIGN KEY (amount) REFERENCES amounts NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_amount_fkey",),
                (),
                "before",
            ),
            (
                "validate_orders_amount_fkey",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_fkey",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_fkey",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_fkey FOREIGN KEY (amount) REFERENCES amounts NOT VALID",
                ),
                (
                    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_amount_fkey'",
                ),
                "before",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("recipe", "options", "expected"), CASES)
def test_each_stage(
    recipe: str, options: dict[str, str], expected: list[tuple[object, ...]]
) -> None:
    assert told(stages(recipe, order(recipe, **options), ORDERS)) == expected
