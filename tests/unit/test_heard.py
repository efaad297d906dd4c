"""What is kept of a child's standard error."""

import pytest

from pgwindlass.heard import FIRST, TAIL, Heard

pytestmark = pytest.mark.unit


def kept(*lines: str) -> list[str]:
    heard = Heard()
    heard.extend(f"{line}\n".encode() for line in lines)
    return bytes(heard).decode().splitlines()


def test_a_short_text_is_kept_whole() -> None:
    assert kept("pg_dump: error: no", "more") == ["pg_dump: error: no", "more"]


def test_the_first_errors_stay_before_the_end() -> None:
    query = [f"line {number} of the query" for number in range(40)]

    lines = kept("working", "pg_dump: error: query failed: FATAL:  terminating connection", *query)

    assert lines == ["pg_dump: error: query failed: FATAL:  terminating connection", *query[-TAIL:]]


@pytest.mark.parametrize("word", ["ERROR", "FATAL", "PANIC", "error", "fatal"])
def test_an_error_is_known_by_its_word(word: str) -> None:
    assert kept(f"{word}: it", *"abcdefghijklm")[0] == f"{word}: it"


def test_a_word_within_another_or_without_its_colon_is_none() -> None:
    assert kept("terror: it", "error it", *"abcdefghijklm") == list("defghijklm")


def test_only_so_many_errors_are_kept_and_each_once() -> None:
    errors = [f"error: {number}" for number in range(FIRST + TAIL + 2)]

    assert kept(*errors) == [*errors[:FIRST], *errors[-TAIL:]]
    assert kept(*errors[:FIRST]) == errors[:FIRST]


def test_blank_lines_are_none() -> None:
    assert kept("error: a", "", "  ", "b") == ["error: a", "b"]
