"""What stands instead of a statement that gives every row a value."""

import pytest

from pgwindlass.backfill.keys import TYPES
from pgwindlass.lint import filled
from pgwindlass.lint.rule import Rewriter, Script
from tests.unit.lint.rewriting import HEAD, rewritten, texts, undone

pytestmark = pytest.mark.unit

NOT_NULL = [
    "-- add_o_x_not_null",
    "ALTER TABLE public.o ADD CONSTRAINT o_x_not_null CHECK (x IS NOT NULL) NOT VALID",
    "-- validate_o_x_not_null",
    "ALTER TABLE public.o VALIDATE CONSTRAINT o_x_not_null",
    "-- set_x_not_null",
    "ALTER TABLE public.o ALTER COLUMN x SET NOT NULL",
    "ALTER TABLE public.o DROP CONSTRAINT o_x_not_null",
]
FILL = [
    "-- fill_x",
    "-- windlass: backfill table=public.o\nUPDATE public.o SET x = DEFAULT WHERE x IS NULL",
]
NEXT = "pg_catalog.nextval('public.o_x_numbers'::pg_catalog.regclass)"
OWN = "pg_catalog.pg_get_serial_sequence('public.o', 'x')"


def test_the_types_of_a_key_are_those_of_a_backfill() -> None:
    assert filled.KEY_TYPES == TYPES


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "update o set a = 1",
            Script("fill_o", ("-- windlass: backfill table=o\nupdate o set a = 1",), None),
        ),
        (
            "delete from public.o",
            Script("fill_o", ("-- windlass: backfill table=public.o\ndelete from public.o",), None),
        ),
        (
            "update only o p set b = 'x'",
            Script("fill_o", ("-- windlass: backfill table=o\nupdate only o p set b = 'x'",), None),
        ),
    ],
)
def test_every_row_is_changed_in_batches(sql: str, expected: Script) -> None:
    assert rewritten(filled.every_row, sql) == (expected,)


@pytest.mark.parametrize(
    ("sql", "stands"),
    [
        ("update o set id = id + 1", HEAD),  # the key itself
        ("update o set a = 1 returning id", HEAD),
        ("with g as (delete from o returning id) select 1 from g", HEAD),
        ("update gone set a = 1", HEAD),
        ("update o set a = 1", "create table o (a int);"),
        ("update o set a = 1", "create table o (id bytea primary key, a int);"),
        ("update o set a = 1", f"{HEAD} create table child () inherits (o);"),
    ],
)
def test_what_cannot_be_split_has_no_other_text(sql: str, stands: str) -> None:
    assert rewritten(filled.every_row, sql, stands) == ()


def test_of_a_table_with_children_only_itself_is_filled() -> None:
    stands = f"{HEAD} create table child () inherits (o);"

    assert len(rewritten(filled.every_row, "update only o set a = 1", stands)) == 1
    assert rewritten(filled.default, "alter table o add x float default random()", stands) == ()


def test_a_partitioned_table_is_filled_as_one() -> None:
    stands = (
        "create table o (id int primary key, a int) partition by range (id);"
        "create table o_1 partition of o for values from (1) to (9);"
    )

    (script,) = rewritten(filled.every_row, "update o set a = 1", stands)
    assert script.sql == ("-- windlass: backfill table=o\nupdate o set a = 1",)


def test_a_volatile_default_is_for_new_rows_and_a_backfill_for_the_others() -> None:
    scripts = rewritten(filled.default, "alter table o add column x float default random()")

    assert texts(scripts) == [
        "-- add_x",
        "ALTER TABLE o ADD COLUMN x double precision",
        "ALTER TABLE public.o ALTER COLUMN x SET DEFAULT random()",
        *FILL,
    ]
    assert undone(scripts) == [("ALTER TABLE public.o DROP COLUMN x",), ("SELECT 1",)]


def test_a_volatile_default_that_is_not_null_is_proven_at_the_end() -> None:
    sql = "alter table o add column if not exists x uuid not null default gen_random_uuid()"

    assert texts(rewritten(filled.default, sql)) == [
        "-- add_x",
        "ALTER TABLE o ADD COLUMN x uuid",
        "ALTER TABLE public.o ALTER COLUMN x SET DEFAULT gen_random_uuid()",
        *FILL,
        *NOT_NULL,
    ]


def test_serial_is_a_sequence_a_default_and_a_backfill() -> None:
    scripts = rewritten(filled.serial, "alter table o add x bigserial")

    assert texts(scripts) == [
        "-- add_x",
        "CREATE SEQUENCE public.o_x_seq AS int8",
        "ALTER TABLE o ADD COLUMN x bigint",
        "ALTER TABLE public.o ALTER COLUMN x SET DEFAULT "
        "pg_catalog.nextval('public.o_x_seq'::pg_catalog.regclass)",
        "ALTER SEQUENCE public.o_x_seq OWNED BY public.o.x",
        *FILL,
        *NOT_NULL,
    ]
    assert undone(scripts)[:2] == [("ALTER TABLE public.o DROP COLUMN x",), ("SELECT 1",)]


@pytest.mark.parametrize(("words", "shown"), [("by default", "BY DEFAULT"), ("always", "ALWAYS")])
def test_an_identity_goes_on_where_its_sequence_is(words: str, shown: str) -> None:
    sql = f"alter table o add x smallint generated {words} as identity"
    scripts = rewritten(filled.identity, sql)

    assert texts(scripts) == [
        "-- add_x",
        "CREATE SEQUENCE public.o_x_numbers AS int2",
        "ALTER TABLE o ADD COLUMN x smallint",
        f"ALTER TABLE public.o ALTER COLUMN x SET DEFAULT {NEXT}",
        *FILL,
        *NOT_NULL,
        "-- identity_x",
        "ALTER TABLE public.o ALTER COLUMN x DROP DEFAULT",
        f"ALTER TABLE public.o ALTER COLUMN x ADD GENERATED {shown} AS IDENTITY",
        f"SELECT pg_catalog.setval({OWN}, {NEXT}, false)",
        "DROP SEQUENCE public.o_x_numbers",
    ]
    assert undone(scripts)[0] == (
        "ALTER TABLE public.o DROP COLUMN x",
        "DROP SEQUENCE public.o_x_numbers",
    )
    assert undone(scripts)[-1] == (
        "CREATE SEQUENCE public.o_x_numbers AS int2",
        "SELECT pg_catalog.setval('public.o_x_numbers'::pg_catalog.regclass, "
        f"pg_catalog.nextval({OWN}), false)",
        "ALTER TABLE public.o ALTER COLUMN x DROP IDENTITY",
        f"ALTER TABLE public.o ALTER COLUMN x SET DEFAULT {NEXT}",
    )
    assert scripts[-1].verify == (
        "SELECT attidentity <> '' FROM pg_catalog.pg_attribute "
        "WHERE attrelid = 'public.o'::pg_catalog.regclass AND attname = 'x'",
    )


def test_a_generated_column_is_one_that_a_trigger_computes() -> None:
    sql = "alter table o add x text not null generated always as (b || 'it''s' || o.a) stored"
    scripts = rewritten(filled.generated, sql)

    assert texts(scripts) == [
        "-- add_x",
        "ALTER TABLE o ADD COLUMN x text",
        "CREATE FUNCTION public.zz_o_x_value() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.x := (new.b || ''it''''s'') || new.a; RETURN NEW; END'",
        "CREATE TRIGGER zz_o_x_value BEFORE INSERT OR UPDATE ON public.o "
        "FOR EACH ROW EXECUTE FUNCTION public.zz_o_x_value()",
        "-- fill_x",
        "-- windlass: backfill table=public.o\n"
        "UPDATE public.o SET x = (b || 'it''s') || o.a WHERE x IS NULL",
        *NOT_NULL,
    ]
    assert undone(scripts)[0] == (
        "DROP TRIGGER zz_o_x_value ON public.o",
        "DROP FUNCTION public.zz_o_x_value()",
        "ALTER TABLE public.o DROP COLUMN x",
    )


def test_a_generated_column_that_is_another_column() -> None:
    scripts = rewritten(filled.generated, "alter table o add x int generated always as (a) stored")

    assert scripts[0].sql[1].endswith("AS 'BEGIN NEW.x := new.a; RETURN NEW; END'")


@pytest.mark.parametrize(
    ("rewriter", "sql"),
    [
        (filled.default, "alter table o add x float default random() check (x > 0)"),
        (filled.default, "alter table o add x float unique default random()"),
        (filled.serial, "alter table o add x serial primary key"),
        (filled.identity, "alter table o add x int generated always as identity (start with 7)"),
        (filled.identity, "alter table o add x int generated always as identity unique"),
        (filled.generated, "alter table o add x int generated always as (a) stored unique"),
        (filled.generated, "alter table o alter a set expression as (c)"),
        (filled.default, "alter table gone add x float default random()"),
    ],
)
def test_what_is_more_than_a_value_has_no_other_text(rewriter: Rewriter, sql: str) -> None:
    assert rewritten(rewriter, sql) == ()
