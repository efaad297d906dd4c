"""What the recipe writes, statement by statement."""

import pytest

from pgwindlass.recipes import stages
from tests.unit.recipes.examples import ORDERS, order, told

pytestmark = pytest.mark.unit

CASES = [
    (
        "change-type",
        {"column": "amount", "type": "bigint"},
        [
            (
                "add_orders_amount_new",
                "a trigger keeps amount_new and amount equal, whichever is written",
                (
                    "ALTER TABLE public.orders ADD COLUMN amount_new bigint",
                    "CREATE FUNCTION public.orders_amount_new_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.amount_new IS NOT NULL THEN new.amount := new.amount_new::int; ELSE new.amount_new := new.amount::bigint; END IF;\n    ELSIF new.amount_new IS DISTINCT FROM old.amount_new THEN new.amount := new.amount_new::int;\n    ELSIF new.amount IS DISTINCT FROM old.amount OR new.amount_new IS NULL THEN new.amount_new := new.amount::bigint;\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_amount_new_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_amount_new_sync()",
                ),
                (
                    "DROP TRIGGER orders_amount_new_sync ON public.orders",
                    "DROP FUNCTION public.orders_amount_new_sync()",
                    "ALTER TABLE public.orders DROP COLUMN amount_new",
                ),
                (),
                "before",
            ),
            (
                "fill_orders_amount_new",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET amount_new = amount::bigint WHERE amount_new IS NULL AND amount IS NOT NULL",
                ),
                ("SELECT 1",),
                (),
                "before",
            ),
            (
                "add_orders_amount_new_same",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_same CHECK ((amount_new IS NULL) = (amount IS NULL)) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_same",),
                (),
                "before",
            ),
            (
                "validate_orders_amount_new_same",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_new_same",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_same",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_same CHECK ((amount_new IS NULL) = (amount IS NULL)) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "index_orders_amount_new_idx",
                "built beside the writers",
                (
                    "CREATE INDEX CONCURRENTLY orders_amount_new_idx ON public.orders USING btree (amount_new) WHERE amount_new > 3",
                ),
                ("DROP INDEX CONCURRENTLY IF EXISTS public.orders_amount_new_idx",),
                (
                    "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_amount_new_idx'::pg_catalog.regclass",
                ),
                "before",
            ),
            (
                "add_orders_amount_new_check",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_check CHECK (amount_new > 0) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_check",),
                (),
                "before",
            ),
            (
                "validate_orders_amount_new_check",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_new_check",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_check",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_check CHECK (amount_new > 0) NOT VALID",
                ),
                (
                    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_amount_new_check'",
                ),
                "before",
            ),
            (
                "check_orders_amount_new",
                "from here on amount_new is never NULL; the rows are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_present CHECK (amount_new IS NOT NULL) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_present",),
                (),
                "before",
            ),
            (
                "validate_orders_amount_new",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_new_present",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_present",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_present CHECK (amount_new IS NOT NULL) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "not_null_orders_amount_new",
                "the CHECK has proven it: no row is read",
                (
                    "ALTER TABLE public.orders ALTER COLUMN amount_new SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_new_present",
                ),
                (
                    "ALTER TABLE public.orders ALTER COLUMN amount_new DROP NOT NULL",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_present CHECK (amount_new IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_new_present",
                ),
                (
                    "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'amount_new'",
                ),
                "before",
            ),
            (
                "drop_orders_amount",
                "the new code knows amount_new alone; undoing it makes amount from it",
                (
                    "DROP TRIGGER orders_amount_new_sync ON public.orders",
                    "DROP FUNCTION public.orders_amount_new_sync()",
                    "ALTER TABLE public.orders ALTER COLUMN amount_new SET DEFAULT CAST(0 AS bigint)",
                    "ALTER TABLE public.orders DROP COLUMN amount",
                ),
                (
                    "ALTER TABLE public.orders ALTER COLUMN amount_new DROP DEFAULT",
                    "ALTER TABLE public.orders ADD COLUMN amount integer",
                    "CREATE FUNCTION public.orders_amount_new_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.amount_new IS NOT NULL THEN new.amount := new.amount_new::int; ELSE new.amount_new := new.amount::bigint; END IF;\n    ELSIF new.amount_new IS DISTINCT FROM old.amount_new THEN new.amount := new.amount_new::int;\n    ELSIF new.amount IS DISTINCT FROM old.amount OR new.amount_new IS NULL THEN new.amount_new := new.amount::bigint;\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_amount_new_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_amount_new_sync()",
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET amount = amount_new::int WHERE amount IS NULL AND amount_new IS NOT NULL",
                    "ALTER TABLE public.orders ALTER COLUMN amount SET DEFAULT 0",
                    "CREATE INDEX CONCURRENTLY orders_amount_idx ON public.orders USING btree (amount) WHERE (amount > 3)",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_check CHECK ((amount > 0)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_check",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_present CHECK (amount IS NOT NULL) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_present",
                    "ALTER TABLE public.orders ALTER COLUMN amount SET NOT NULL",
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_amount_present",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_amount_new_same CHECK ((amount_new IS NULL) = (amount IS NULL)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_new_same",
                ),
                (),
                "after",
            ),
        ],
    ),
    (
        "rename-column",
        {"column": "note", "to": "remark"},
        [
            (
                "add_orders_remark",
                "a trigger keeps remark and note equal, whichever is written",
                (
                    'ALTER TABLE public.orders ADD COLUMN remark text COLLATE pg_catalog."C"',
                    "CREATE FUNCTION public.orders_remark_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.remark IS NOT NULL THEN new.note := new.remark; ELSE new.remark := new.note; END IF;\n    ELSIF new.remark IS DISTINCT FROM old.remark THEN new.note := new.remark;\n    ELSIF new.note IS DISTINCT FROM old.note OR new.remark IS NULL THEN new.remark := new.note;\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_remark_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_remark_sync()",
                ),
                (
                    "DROP TRIGGER orders_remark_sync ON public.orders",
                    "DROP FUNCTION public.orders_remark_sync()",
                    "ALTER TABLE public.orders DROP COLUMN remark",
                ),
                (),
                "before",
            ),
            (
                "fill_orders_remark",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET remark = note WHERE remark IS NULL AND note IS NOT NULL",
                ),
                ("SELECT 1",),
                (),
                "before",
            ),
            (
                "add_orders_remark_same",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_remark_same CHECK ((remark IS NULL) = (note IS NULL)) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_remark_same",),
                (),
                "before",
            ),
            (
                "validate_orders_remark_same",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_remark_same",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_remark_same",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_remark_same CHECK ((remark IS NULL) = (note IS NULL)) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "index_orders_remark_key",
                "built beside the writers",
                (
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_remark_key ON public.orders (remark) INCLUDE (id) NULLS NOT DISTINCT",
                ),
                ("DROP INDEX CONCURRENTLY IF EXISTS public.orders_remark_key",),
                (
                    "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_remark_key'::pg_catalog.regclass",
                ),
                "before",
            ),
            (
                "unique_orders_remark_key",
                "the index is there: no row is read",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_remark_key UNIQUE USING INDEX orders_remark_key DEFERRABLE",
                ),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_remark_key",
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_remark_key ON public.orders (remark) INCLUDE (id) NULLS NOT DISTINCT",
                ),
                (),
                "before",
            ),
            (
                "add_orders_remark_ref",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_remark_ref FOREIGN KEY (remark) REFERENCES notes (id) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_remark_ref",),
                (),
                "before",
            ),
            (
                "drop_orders_note",
                "the new code knows remark alone; undoing it makes note from it",
                (
                    "DROP TRIGGER orders_remark_sync ON public.orders",
                    "DROP FUNCTION public.orders_remark_sync()",
                    "ALTER TABLE public.orders DROP COLUMN note",
                ),
                (
                    'ALTER TABLE public.orders ADD COLUMN note text COLLATE pg_catalog."C"',
                    "CREATE FUNCTION public.orders_remark_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.remark IS NOT NULL THEN new.note := new.remark; ELSE new.remark := new.note; END IF;\n    ELSIF new.remark IS DISTINCT FROM old.remark THEN new.note := new.remark;\n    ELSIF new.note IS DISTINCT FROM old.note OR new.remark IS NULL THEN new.remark := new.note;\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_remark_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_remark_sync()",
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET note = remark WHERE note IS NULL AND remark IS NOT NULL",
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_note_key ON public.orders (note) INCLUDE (id) NULLS NOT DISTINCT",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_key UNIQUE USING INDEX orders_note_key DEFERRABLE",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_ref FOREIGN KEY (note) REFERENCES notes(id) NOT VALID",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_remark_same CHECK ((remark IS NULL) = (note IS NULL)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_remark_same",
                ),
                (),
                "after",
            ),
        ],
    ),
    (
        "change-type",
        {
            "column": "note",
            "type": "int",
            "to": "number",
            "using": "length(note)",
            "back": "repeat('x', number)",
        },
        [
            (
                "add_orders_number",
                "a trigger keeps number and note equal, whichever is written",
                (
                    "ALTER TABLE public.orders ADD COLUMN number int",
                    "CREATE FUNCTION public.orders_number_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.number IS NOT NULL THEN new.note := repeat('x', new.number); ELSE new.number := length(new.note); END IF;\n    ELSIF new.number IS DISTINCT FROM old.number THEN new.note := repeat('x', new.number);\n    ELSIF new.note IS DISTINCT FROM old.note OR new.number IS NULL THEN new.number := length(new.note);\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_number_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_number_sync()",
                ),
                (
                    "DROP TRIGGER orders_number_sync ON public.orders",
                    "DROP FUNCTION public.orders_number_sync()",
                    "ALTER TABLE public.orders DROP COLUMN number",
                ),
                (),
                "before",
            ),
            (
                "fill_orders_number",
                "in batches",
                (
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET number = length(note) WHERE number IS NULL AND note IS NOT NULL",
                ),
                ("SELECT 1",),
                (),
                "before",
            ),
            (
                "add_orders_number_same",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_number_same CHECK ((number IS NULL) = (note IS NULL)) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_number_same",),
                (),
                "before",
            ),
            (
                "validate_orders_number_same",
                "reads every row; nobody waits",
                ("ALTER TABLE public.orders VALIDATE CONSTRAINT orders_number_same",),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_number_same",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_number_same CHECK ((number IS NULL) = (note IS NULL)) NOT VALID",
                ),
                (),
                "before",
            ),
            (
                "index_orders_number_key",
                "built beside the writers",
                (
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_number_key ON public.orders (number) INCLUDE (id) NULLS NOT DISTINCT",
                ),
                ("DROP INDEX CONCURRENTLY IF EXISTS public.orders_number_key",),
                (
                    "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_number_key'::pg_catalog.regclass",
                ),
                "before",
            ),
            (
                "unique_orders_number_key",
                "the index is there: no row is read",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_number_key UNIQUE USING INDEX orders_number_key DEFERRABLE",
                ),
                (
                    "ALTER TABLE public.orders DROP CONSTRAINT orders_number_key",
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_number_key ON public.orders (number) INCLUDE (id) NULLS NOT DISTINCT",
                ),
                (),
                "before",
            ),
            (
                "add_orders_number_ref",
                "for new rows; those that are there are read by the next one",
                (
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_number_ref FOREIGN KEY (number) REFERENCES notes (id) NOT VALID",
                ),
                ("ALTER TABLE public.orders DROP CONSTRAINT orders_number_ref",),
                (),
                "before",
            ),
            (
                "drop_orders_note",
                "the new code knows number alone; undoing it makes note from it",
                (
                    "DROP TRIGGER orders_number_sync ON public.orders",
                    "DROP FUNCTION public.orders_number_sync()",
                    "ALTER TABLE public.orders DROP COLUMN note",
                ),
                (
                    'ALTER TABLE public.orders ADD COLUMN note text COLLATE pg_catalog."C"',
                    "CREATE FUNCTION public.orders_number_sync() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBEGIN\n    IF tg_op = 'INSERT' THEN\n        IF new.number IS NOT NULL THEN new.note := repeat('x', new.number); ELSE new.number := length(new.note); END IF;\n    ELSIF new.number IS DISTINCT FROM old.number THEN new.note := repeat('x', new.number);\n    ELSIF new.note IS DISTINCT FROM old.note OR new.number IS NULL THEN new.number := length(new.note);\n    END IF;\n    RETURN new;\nEND\n$sync$",
                    "CREATE TRIGGER orders_number_sync BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.orders_number_sync()",
                    "-- windlass: backfill table=public.orders\nUPDATE public.orders SET note = repeat('x', number) WHERE note IS NULL AND number IS NOT NULL",
                    "CREATE UNIQUE INDEX CONCURRENTLY orders_note_key ON public.orders (note) INCLUDE (id) NULLS NOT DISTINCT",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_key UNIQUE USING INDEX orders_note_key DEFERRABLE",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_note_ref FOREIGN KEY (note) REFERENCES notes(id) NOT VALID",
                    "ALTER TABLE public.orders ADD CONSTRAINT orders_number_same CHECK ((number IS NULL) = (note IS NULL)) NOT VALID",
                    "ALTER TABLE public.orders VALIDATE CONSTRAINT orders_number_same",
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
