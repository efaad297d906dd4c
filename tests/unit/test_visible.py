"""What does not show, or steers a terminal, is shown by its number."""

import json

import pytest

from pgwindlass.visible import as_json_escapes, in_one_line, shortened, visible

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\tand\nlines", "plain\tand\nlines"),
        ("a\r\nb", "a\nb"),
        ("safe\rover", "safe\\x0dover"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]8;;http://x\x07y", "\\x1b]8;;http://x\\x07y"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f\x08\x00", "\\x7f\\x08\\x00"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("é漢🙂", "é漢🙂"),
    ],
)
def test_a_text_is_shown_with_its_hidden_characters(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_name_is_on_one_line() -> None:
    assert in_one_line("a\nb\x1b") == "a\\nb\\x1b"


def test_a_long_text_ends_with_what_is_left_out() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc… (1 more characters)"
    assert shortened("abcd" * 1000, 3) == "abc… (3,997 more characters)"


def test_a_document_stays_the_same_document() -> None:
    text = "a\u202eb\x9b\U000e0041\x7f é\ud800"

    escaped = as_json_escapes(json.dumps({"a": text}, ensure_ascii=False))

    assert visible(escaped) == escaped
    assert json.loads(escaped) == {"a": text}
