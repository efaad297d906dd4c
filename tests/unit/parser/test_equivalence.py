"""Two wordings of one definition are alike; two definitions are not."""

import pytest

from pgwindlass.parser.equivalence import equivalent, meaning

pytestmark = pytest.mark.unit


def check(expression: str) -> str:
    return f"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c CHECK ({expression});"


def index(expression: str) -> str:
    return f"CREATE INDEX i ON public.t USING btree ({expression});"


def function(body: str, defaults: str = "") -> str:
    return f"CREATE FUNCTION public.f({defaults}) RETURNS integer\n    AS $$ {body} $$;"


def table(*elements: str) -> str:
    return "CREATE TABLE public.t (\n    " + ",\n    ".join(elements) + "\n);"


BEFORE = check("((role)::text = ANY ((ARRAY['a'::character varying, y])::text[]))")
AFTER = check("((role)::text = ANY (ARRAY[('a'::character varying)::text, (y)::text]))")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BEFORE, AFTER),
        (BEFORE, f"{BEFORE[:-2].replace('CHECK (', 'check ((')}));"),
        (
            check("x = (ARRAY[ARRAY['a'::text]])::code[]"),
            check("x = ARRAY[ARRAY[('a'::text)::code]]"),
        ),
        # A check that was written while the column was a text.
        (AFTER, check("((role)::text = ANY (ARRAY['a'::text, (y)::text]))")),
        (check("a > 0"), check("(a > 0)")),
        (check("a > 0"), check("(a\n  > 0)") + "\n\n-- a comment\n"),
        (check("((a + b) + c) > 0"), check("a + b + c > 0")),
        ("café \udce9", "café \udce9"),
    ],
)
def test_the_same_in_other_words_is_alike(one: str, other: str) -> None:
    assert equivalent(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BEFORE, AFTER.replace("'a'", "'b'")),
        (BEFORE, AFTER.replace("(y)::text", "y")),
        (BEFORE, AFTER.replace("('a'::character varying)::text", "'a'::character varying")),
        (check("x = (ARRAY['a'])::text[]"), check("x = ARRAY['a']")),
        (check("x = ARRAY[]::text[]"), check("x = ARRAY[]::integer[]")),
        (check("(a + b) * c > 0"), check("a + (b * c) > 0")),
        (check("(a OR b) AND c"), check("a OR (b AND c)")),
        (check("a > 0"), check("a >= 0")),
        (check("x = '(a)'"), check("x = 'a'")),
        (check("x = 'a::text'"), check("x = 'a'")),
        (check("x = 'a'"), check("x = 'A'")),
        (check("n / (2)::numeric > 0"), check("n / 2 > 0")),
        (check("d > ('now'::text)::date"), check("d > 'now'::date")),
        (check("x = ('ab'::character varying(1))::text"), check("x = 'ab'::text")),
        (index("(a)::text"), index("a")),
        (index("lower((a)::text)"), index("lower(a)")),
        (index("((a + b) * c)"), index("(a + (b * c))")),
        (index("a"), index("a").replace(";", " WHERE (a > 0);")),
        (index("a, b"), index("b, a")),
        (function("select a::int + 1"), function("select a + 1")),
        (function("select '1'::int"), function("select '1'::bigint")),
        (function("select (a + b) * c"), function("select a + b * c")),
        (function("select a"), function("select  a")),
        (function("select 1", "a integer DEFAULT 1"), function("select 1", "a integer DEFAULT 2")),
        (table("a integer", "b integer"), table("b integer", "a integer")),
        (table("a timestamp(3) without time zone"), table("a timestamp(6) without time zone")),
        (table("a integer DEFAULT 1"), table("a integer DEFAULT '1'::integer")),
        (
            "GRANT SELECT ON TABLE t TO a;\nGRANT SELECT ON TABLE t TO b;",
            "GRANT SELECT ON TABLE t TO b;\nGRANT SELECT ON TABLE t TO a;",
        ),
        ("-- what a missing definition is compared with", ""),
        ("no SQL (a)", "no SQL a"),
        ("café \udce9", "café \udcea"),
        (check(" || ".join("a" * 100)), check(" || ".join("a" * 99 + "b"))),
    ],
)
def test_what_says_something_else_is_not_alike(one: str, other: str) -> None:
    assert not equivalent(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (table("a integer", "b text"), table("b text", "a integer"), True),
        (table("a integer", "b text"), table("b text", "a bigint"), False),
        (table("a integer", "b text"), table("a integer"), False),
        (
            table("role text", BEFORE[BEFORE.index("CHECK") : -1]),
            table(AFTER[AFTER.index("CHECK") : -1], "role text"),
            True,
        ),
        ("CREATE TYPE p AS (a integer, b text);", "CREATE TYPE p AS (b text, a integer);", True),
        ("CREATE TYPE m AS ENUM ('a', 'b');", "CREATE TYPE m AS ENUM ('b', 'a');", False),
        ("CREATE VIEW v AS SELECT a, b FROM t;", "CREATE VIEW v AS SELECT b, a FROM t;", False),
        (index("a, b"), index("b, a"), False),
        (function("x;\n y;"), function("y;\n x;"), False),
        (
            "GRANT SELECT ON TABLE t TO a;\nGRANT SELECT ON TABLE t TO b;",
            "GRANT SELECT ON TABLE t TO b;\nGRANT SELECT ON TABLE t TO a;",
            True,
        ),
    ],
)
def test_columns_and_statements_alone_may_stand_in_any_order(
    one: str, other: str, expected: bool
) -> None:
    assert equivalent(one, other, any_order=True) is expected


def test_a_meaning_is_equal_for_what_is_alike_and_can_be_kept_in_a_set() -> None:
    assert len({meaning(BEFORE), meaning(AFTER)}) == 1
    assert len({meaning(BEFORE), meaning(check("a > 0"))}) == 2


@pytest.mark.parametrize("text", ["no SQL (a)", "", "-- a comment", "café \udce9"])
def test_the_meaning_of_what_is_no_statement_is_its_text(text: str) -> None:
    assert meaning(text) == text


def test_the_order_of_statements_counts_unless_it_is_said_not_to() -> None:
    one, other = "select 1; select 2;", "select 2; select 1;"

    assert meaning(one) != meaning(other)
    assert meaning(one, any_order=True) == meaning(other, any_order=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # A string's two casts are one where neither has a length.
        (check("x = ('a'::character varying)::text"), check("x = 'a'::text")),
        (check("x = ('a'::text)::character varying"), check("x = 'a'::character varying")),
        (
            check("x = ('a'::pg_catalog.text)::text"),
            check("x = 'a'::text"),
        ),
    ],
)
def test_two_casts_of_a_string_are_one(one: str, other: str) -> None:
    assert equivalent(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (check("x = ('1'::text)::integer"), check("x = '1'::integer")),
        (check("x = ('1'::integer)::text"), check("x = '1'::text")),
        (check("x = ('a'::text)::character varying(1)"), check("x = 'a'::character varying(1)")),
        (check("x = (y::character varying)::text"), check("x = y::text")),
        (check("x = ('{a}'::text[])::text"), check("x = '{a}'::text")),
        (check("x = (1::text)::character varying"), check("x = 1::character varying")),
    ],
)
def test_other_casts_stay_two(one: str, other: str) -> None:
    assert not equivalent(one, other)


def test_a_nested_array_is_cast_element_by_element() -> None:
    whole = check("x = (ARRAY[ARRAY['a', 'b'], ARRAY['c', 'd']])::text[]")
    each = check("x = ARRAY[ARRAY['a'::text, 'b'::text], ARRAY['c'::text, 'd'::text]]")

    assert equivalent(whole, each)


def test_an_array_that_is_cast_to_what_is_no_array_stays() -> None:
    assert not equivalent(check("x = (ARRAY['a'])::code"), check("x = ARRAY['a'::code]"))


def test_the_columns_of_a_table_within_a_schema_may_stand_in_any_order_too() -> None:
    schema = "CREATE SCHEMA s CREATE TABLE t ({});"

    assert equivalent(schema.format("a int, b int"), schema.format("b int, a int"), any_order=True)
