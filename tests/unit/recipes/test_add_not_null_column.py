"""What the recipe writes, statement by statement."""

import pytest

from pgwindlass.recipes import stages
from tests.unit.recipes.examples import ORDERS, order, told

pytestmark = pytest.mark.unit

CASES = [
    (
        "add-not-null-column",
        {"column": "region", "type": "text", "value": "'eu'"},
        [
            (
                "add_orders_region",
                "a constant default is kept once, and no row is written",
                ("ALTER TABLE public.orders ADD COLUMN region text NOT NULL DEFAULT 'eu'",),
                ("ALTER TABLE public.orders DROP COLUMN region",),
                (
                    "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'region'",
                ),
                "before",
            )
        ],
    ),
    (
        "add-not-null-column",
        {"column": "at", "type": "timestamptz", "value": "now()"},
        [
            (
                "add_orders_at",
                "the default is for new rows alone: no row is written",
                (
                    "ALTER TABLE public.orders ADD COLUMN at timestamptz",
                    "ALTER TABLE public.orders ALTER COLUMN at SET DEFAULT now()",
                ),
                ("ALTER TABLE public.orders DROP COLUMN at",),
                (),
                "before",
            ),
            (
                "fill_orders_at",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET at = now() WHERE at IS NULL",
                ),
                ("SELECT 1",),
                ("SELECT NOT EXISTS (SELECT FROM public.orders WHERE at IS NULL)",),
                "before",
            ),
            (
                "check_orders_at",
                "from here on at is never NULL; the rows are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_at_present CHECK (at IS NOT NULL) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_at_present",),
                (),
                "before",
            ),
            (
                "validate_orders_at",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_at_present",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_at_present",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_at_present CHECK (at IS NOT NULL) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "not_null_orders_at",
                "the CHECK has proven it: no row is read",
                (
                    "ALTER TABLE public.orders ALTER COLUMN at SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_at_present",
                ),
                (
                    "ALTER TABLE public.orders ALTER COLUMN at DROP NOT NULL",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_at_present CHECK (at IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_at_present",
                ),
                (
                    "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'at'",
                ),
                "before",
            ),
        ],
    ),
    (
        "add-not-null-column",
        {"column": "double", "type": "int", "value": "amount * 2"},
        [
            (
                "add_orders_double",
                "a trigger fills it for the old code",
                (
                    "ALTER TABLE public.orders ADD COLUMN double int",
                    "CREATE FUNCTION public.orders_double_fill() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF new.double IS NULL THEN new.double := new.amount * 2; END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_double_fill BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_double_fill()",
                ),
                (
                    "DROP TRIGGER orders_double_fill ON public.orders",
                    "DROP FUNCTION public.orders_double_fill()",
                    "ALTER TABLE public.orders DROP COLUMN double",
                ),
                (),
                "before",
            ),
            (
                "fill_orders_double",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET double = amount * 2 WHERE double IS NULL",
                ),
                ("SELECT 1",),
                ("SELECT NOT EXISTS (SELECT FROM public.orders WHERE double IS NULL)",),
                "before",
            ),
            (
                "check_orders_double",
                "from here on double is never NULL; the rows are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_double_present CHECK (double IS NOT NULL) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_double_present",),
                (),
                "before",
            ),
            (
                "validate_orders_double",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_double_present",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_double_present",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_double_present CHECK (double IS NOT NULL) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "not_null_orders_double",
                "the CHECK has proven it: no row is read",
                (
                    "ALTER TABLE public.orders ALTER COLUMN double SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_double_present",
                ),
                (
                    "ALTER TABLE public.orders ALTER COLUMN double DROP NOT NULL",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_double_present CHECK (double IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_double_present",
                ),
                (
                    "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'double'",
                ),
                "before",
            ),
            (
                "drop_orders_double_fill",
                "the new code gives the value itself",
                (
                    "DROP TRIGGER orders_double_fill ON public.orders",
                    "DROP FUNCTION public.orders_double_fill()",
                ),
                (
                    "CREATE FUNCTION public.orders_double_fill() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF new.double IS NULL THEN new.double := new.amount * 2; END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_double_fill BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_double_fill()",
                ),
                (),
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
