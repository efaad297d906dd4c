"""Two wordings of one expression are alike; two expressions are not."""

import pytest

from ci.wording import alike

BEFORE = "CHECK (((role)::text = ANY ((ARRAY['a'::character varying, 'b'::varchar])::text[])))"
AFTER = "CHECK (((role)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::varchar)::text])))"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BEFORE, AFTER),
        ("default 'x'::text", "default 'x'::character varying(20)"),
        ("CHECK (a > 0)", "CHECK ((a > 0))"),
        ("'a'::public.\"Mood\"", "'a'::mood"),
        ("x::timestamp(3) without time zone", "x"),
        ("WHERE  (a\n  = 1)", "WHERE (a = 1)"),
    ],
)
def test_casts_brackets_and_blanks_move(one: str, other: str) -> None:
    assert alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BEFORE, AFTER.replace("'b'", "'c'")),
        ("default 'a'", "default 'A'"),
        ("default '(a)'", "default 'a'"),
        ("default 'a::text'", "default 'a'"),
        ("default 'it''s (a)'", "default 'it''s a'"),
        ("CHECK (a > 0)", "CHECK (a >= 0)"),
        ("ab c", "a bc"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX i ON t (a) WHERE (b)"),
        ("a timestamp(3) without time zone", "a timestamp(6) without time zone"),
    ],
)
def test_what_says_something_else_is_not_alike(one: str, other: str) -> None:
    assert not alike(one, other)
