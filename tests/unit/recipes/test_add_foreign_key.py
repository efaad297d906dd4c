"""What the recipe writes, statement by statement."""

from dataclasses import replace

import pytest

from pgwindlass.errors import ConfigError
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
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_fkey FOREIGN KEY (note) REFERENCES public.notes (id) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_note_fkey",),
                (),
                "before",
            ),
            (
                "validate_orders_note_fkey",
                "reads every row; nobody waits",
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
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_fkey FOREIGN KEY (amount) REFERENCES amounts NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_amount_fkey",),
                (),
                "before",
            ),
            (
                "validate_orders_amount_fkey",
                "reads every row; nobody waits",
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
    (
        "add-foreign-key",
        {"column": "id", "references": '"Other"("No")'},
        [
            (
                "add_orders_id_fkey",
                "for new rows; those that are there are read by the next one",
                (
                    'ALTER TABLE public.orders ADD CONSTRAINT orders_id_fkey FOREIGN KEY (id) REFERENCES "Other" ("No") NOT VALID',
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_id_fkey",),
                (),
                "before",
            ),
            (
                "validate_orders_id_fkey",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_id_fkey",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_id_fkey",
                    'ALTER TABLE public.orders ADD CONSTRAINT orders_id_fkey FOREIGN KEY (id) REFERENCES "Other" ("No") NOT VALID',
                ),
                (
                    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_id_fkey'",
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


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"references": "a"}, "--recipe add-foreign-key needs --column"),
        ({"column": "note"}, "--recipe add-foreign-key needs --references"),
        ({"column": "z", "references": "a"}, "public.orders has no column z"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        stages("add-foreign-key", order("add-foreign-key", **options), ORDERS)


def test_a_constraint_of_that_name_is_not_written_over() -> None:
    taken = replace(ORDERS, constraints={"orders_note_fkey": ORDERS.constraints["orders_note_ref"]})

    with pytest.raises(ConfigError, match="has a constraint orders_note_fkey already"):
        stages("add-foreign-key", order("add-foreign-key", column="note", references="a"), taken)
