"""What the recipe writes, statement by statement."""

import pytest

from pgwindlass.recipes import stages
from tests.unit.recipes.examples import ORDERS, order, told

pytestmark = pytest.mark.unit

CASES = [
    (
        "split-table",
        {"column": "amount,note", "to": "details"},
        [
            (
                "create_details",
                "triggers keep both tables equal, whichever is written",
                (
                    'CREATE TABLE public.details (\n    id integer NOT NULL,\n    amount integer NOT NULL,\n    note text COLLATE pg_catalog."C",\n    PRIMARY KEY (id),\n    FOREIGN KEY (id) REFERENCES public.orders (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED\n)',
                    "CREATE FUNCTION public.orders_details_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;\n    INSERT INTO public.details (id, amount, note) VALUES (new.id, new.amount, new.note)\n    ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, note = excluded.note;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_details_sync AFTER INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_details_sync()",
                    "CREATE FUNCTION public.details_orders_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;\n    UPDATE public.orders SET amount = new.amount, note = new.note WHERE id = new.id;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER details_orders_sync AFTER INSERT OR UPDATE ON public.details FOR EACH ROW EXECUTE FUNCTION public.details_orders_sync()",
                ),
                (
                    "DROP TRIGGER orders_details_sync ON public.orders",
                    "DROP FUNCTION public.orders_details_sync()",
                    "DROP TRIGGER details_orders_sync ON public.details",
                    "DROP FUNCTION public.details_orders_sync()",
                    "DROP TABLE public.details",
                ),
                (),
                "before",
            ),
            (
                "fill_details",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nINSERT INTO public.details (id, amount, note) SELECT id, amount, note FROM public.orders ON CONFLICT DO NOTHING",
                ),
                ("SELECT 1",),
                (
                    "SELECT NOT EXISTS (SELECT FROM public.orders t WHERE NOT EXISTS (SELECT FROM public.details n WHERE n.id = t.id))",
                ),
                "before",
            ),
            (
                "drop_orders_amount_note",
                "the new code knows details alone; undoing it makes amount, note again, from there",
                (
                    "DROP TRIGGER orders_details_sync ON public.orders",
                    "DROP FUNCTION public.orders_details_sync()",
                    "DROP TRIGGER details_orders_sync ON public.details",
                    "DROP FUNCTION public.details_orders_sync()",
                    "ALTER TABLE public.orders DROP COLUMN amount, DROP COLUMN note",
                ),
                (
                    "ALTER TABLE public.orders ADD COLUMN amount integer",
                    "ALTER TABLE public.orders ALTER COLUMN amount SET DEFAULT 0",
                    "CREATE INDEX CONCURRENTLY orders_amount_idx ON public.orders USING btree (amount) WHERE (amount > 3)",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_check CHECK ((amount > 0)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_check",
                    'ALTER TABLE public.orders ADD COLUMN note text COLLATE pg_catalog."C"',
                    "CREATE FUNCTION public.orders_details_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;\n    INSERT INTO public.details (id, amount, note) VALUES (new.id, new.amount, new.note)\n    ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, note = excluded.note;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_details_sync AFTER INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_details_sync()",
                    "CREATE FUNCTION public.details_orders_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;\n    UPDATE public.orders SET amount = new.amount, note = new.note WHERE id = new.id;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER details_orders_sync AFTER INSERT OR UPDATE ON public.details FOR EACH ROW EXECUTE FUNCTION public.details_orders_sync()",
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders t SET amount = n.amount, note = n.note FROM public.details n WHERE n.id = t.id",
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_note_key ON public.orders (note) INCLUDE (id) NULLS NOT DISTINCT",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_key UNIQUE USING INDEX orders_note_key DEFERRABLE",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_ref FOREIGN KEY (note) REFERENCES notes(id) NOT VALID",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_present CHECK (amount IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_present",
                    "ALTER TABLE public.orders ALTER COLUMN amount SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_present",
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
