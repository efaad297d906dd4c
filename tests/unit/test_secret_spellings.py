"""A secret is found however a program writes it: encoded, broken over lines, among what is unseen.

And where nobody told us a password, by the place in which SQL, libpq or a URL has one.
"""

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest

from pgwindlass import secret
from pgwindlass.secret import redact, redact_to, remember

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_known", set())


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        ("https://user-1:pass-word@host", b"user-1:pass-word"),
        ("https://user%401:pass%20word@host", b"user@1:pass word"),
        ("https://us:pass8@host", b"us:pass8"),
        ("redis://:pass-word@host", b":pass-word"),
    ],
)
def test_user_and_password_of_a_url_are_taken_out_as_a_header_has_them(
    url: str, pair: bytes
) -> None:
    remember(url)

    assert redact(f"Basic {base64.b64encode(pair).decode()}").rstrip("=") == "Basic ***"


def test_a_user_without_a_password_is_no_header() -> None:
    remember("https://user-name-1@host")
    header = base64.b64encode(b"user-name-1:").decode()

    assert redact(f"Basic {header}") == f"Basic {header}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("of-php/1", "of-php\\/1"),
        ("of<go>and&1", "of\\u003cgo\\u003eand\\u00261"),
        ("it's<net>&1", "it\\u0027s\\u003cnet\\u003e\\u00261"),
        ("it's<go>&1", "it's\\u003cgo\\u003e\\u00261"),
        ("é/1234567", "\\u00e9\\/1234567"),
        ("it's-sql-1", "it''s-sql-1"),
        ("it's-libpq-1", "it\\'s-libpq-1"),
        ("it's\\e-1234", "it''s\\\\e-1234"),
        ("of bytes é", "of bytes \\xc3\\xa9"),
        ("two words/1", "two+words%2F1"),
        ("two words/1", "two%20words/1"),
        ("two words/1", "two%2520words%252F1"),
        ("two words/1", "two%20words%2f1"),
        ("a<b>'c'\"d\"", "a&lt;b&gt;'c'\"d\""),
        ("a<b>'c'\"d\"", "a&lt;b&gt;&#x27;c&#x27;&quot;d&quot;"),
        ("a<b>'c'\"d\"", "a&lt;b&gt;&#39;c&#39;&#34;d&#34;"),
        ("a<b>'c'\"d\"", "a&lt;b&gt;&apos;c&apos;&quot;d&quot;"),
        ("in-hexadecimal", b"in-hexadecimal".hex()),
        ("in-hexadecimal", b"in-hexadecimal".hex().upper()),
        ("~~~~of-url??>", base64.urlsafe_b64encode(b"~~~~of-url??>").decode().rstrip("=")),
        ("???of-url???", quote(base64.b64encode(b"???of-url???").decode(), safe="")),
        ("nine-8W-W", base64.b64encode(b"nine-8W-W").decode()),
    ],
)
def test_a_secret_is_found_as_programs_write_it(value: str, written: str) -> None:
    assert written != value
    remember(value)

    assert redact(f"x {written} y") == "x *** y"


@pytest.mark.parametrize("value", ["of-a-text", "of-a-text1", "of-a-text12"])
@pytest.mark.parametrize(("before", "head"), [(0, 0), (1, 2), (2, 3)])
def test_a_secret_in_the_middle_of_a_base64_text_is_taken_out(
    value: str, before: int, head: int
) -> None:
    """Of the characters that it shares with its neighbours, nothing tells what it is."""
    remember(value)
    text = base64.b64encode(b"k" * before + value.encode() + b"kkkkkk").decode()
    last = (before + len(value)) * 8 // 6

    assert redact(text) == f"{text[:head]}***{text[last:]}"


def test_a_value_that_is_no_text_is_taken_out_all_the_same() -> None:
    """So Python has a byte of a variable that is not UTF-8."""
    remember("half-a-\udc80-character")
    remember("https://user:half-a-\udc80-password@host")

    assert redact("x half-a-\udc80-character y") == "x *** y"
    assert redact("x half-a-\udc80-password y") == "x *** y"


GAPS = {
    "a zero-width space": "\u200b",
    "a soft hyphen": "\u00ad",
    "a colour": "\x1b[1;31m",
    "a title": "\x1b]0;title\x07",
    "a NUL": "\x00",
    "two of them": "\u2060\x1b[0m",
}


@pytest.mark.parametrize("gap", GAPS.values(), ids=GAPS)
def test_a_value_is_found_with_something_unseen_in_it(gap: str) -> None:
    remember("8-chars!")
    remember("7chars!")

    assert redact(f"x 8-ch{gap}ars! y") == "x *** y"
    assert redact(f"x 7ch{gap}ars! y") == f"x 7ch{gap}ars! y"


def test_of_values_with_gaps_the_longest_is_taken_out_first() -> None:
    remember("zz-suffix-1")
    remember("and-a-zz-suffix-1")

    assert redact("x and-a-zz-suf\u200bfix-1 y") == "x *** y"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a token: 0123-of-two-lines\n  -4567 end", "a token: *** end"),
        ("a token: 0123-of-two-lines\n  -4567\n", "a token: ***\n"),
        ("a token: 0123-of-two-line\r\n\ts-4567 end", "a token: *** end"),
        ("0123-of-two-\n\nlines-4567", "0123-of-two-\n\nlines-4567"),
        ("a token: 0123-of-two-lines -4567 end", "a token: 0123-of-two-lines -4567 end"),
    ],
)
def test_a_value_is_found_across_the_end_of_a_line(text: str, shown: str) -> None:
    remember("0123-of-two-lines-4567")

    assert redact(text) == shown


def test_a_value_is_found_over_three_lines() -> None:
    remember("first-of-three-X1second-of-three-2third-of-three-3")

    text = "key: first-of-three-X1\nsecond-of-three-2\nthird-of-three-3 end"

    assert redact(text) == "key: *** end"


def test_a_line_that_ends_in_a_letter_of_the_value_is_joined_whole() -> None:
    remember("0123456789-of-linesX-4567")

    assert redact("token: 0123456789-of-linesX\n-4567 end") == "token: *** end"
    assert redact("token: 0123456789-of-lines\nX-4567 end") == "token: *** end"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alter role r password 'pw'", "alter role r password '***'"),
        ("ALTER ROLE r PASSWORD E'p\\'w'", "ALTER ROLE r PASSWORD E'***'"),
        ("create role r password 'it''s'", "create role r password '***'"),
        ("create role r password $a$pw$a$", "create role r password $a$***$a$"),
        ("execute 'alter role r password ''pw'''", "execute 'alter role r password ''***'''"),
        ("\"alter role r password \\'pw\\'\"", "\"alter role r password \\'***\\'\""),
        ("execute 'alter role r password ''' || secret", None),
        ("the password of r", None),
        ("host=h PASSWORD=pw user=u", "host=h PASSWORD=*** user=u"),
        ("host=h sslpassword='p w' user=u", "host=h sslpassword=*** user=u"),
        ("host=h password=${PGPASSWORD}", None),
        ("the host h, and no pass word", None),
        ("at postgresql://u:pw@h/d it", "at postgresql://u:***@h/d it"),
        ("at postgresql://u:${PW}@h/d it", None),
        ("at postgresql://h/d, u:pw@d", None),
        ("mail to u:pw@h", None),
    ],
)
def test_a_password_that_nobody_told_us_is_taken_out_by_its_place(
    text: str, shown: str | None
) -> None:
    assert redact(text) == (text if shown is None else shown)


def test_a_beginning_is_no_longer_than_was_asked_for() -> None:
    assert redact_to("x" * 100, 100) == "x" * 100
    assert redact_to("x" * 101, 100) == "x" * 100 + "… (1 more characters)"
    assert redact_to("x" * 2000, 0) == "… (2,000 more characters)"


@pytest.mark.parametrize("known", [0, 5])
def test_a_beginning_that_shrinks_ends_with_no_half_of_a_secret(known: int) -> None:
    remember("across-the-cut-1")
    window = 100 + 4 * 16  # more than is read of the text
    front = "across-the-cut-1" * known

    for gap in range(0, window, 5):
        text = redact_to(front + "x" * gap + "across-the-cut-1" + "y" * 200, 100)
        assert "acr" not in text, gap


Write = Callable[[str], str]


@pytest.mark.parametrize("write", [str, str.upper], ids=["as it is", "in capitals"])
def test_a_hexadecimal_key_is_found_in_either_case(write: Write) -> None:
    remember("0123456789abcdef0123456789abcdef")

    assert redact(f"key {write('0123456789abcdef0123456789abcdef')} end") == "key *** end"
    assert redact(f"key {write('0123456789abcdef')} end") == f"key {write('0123456789abcdef')} end"
