"""A length of time as people write it."""

import re

import pytest

from pgwindlass.config.duration import Duration

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("0s", 0),
        ("5s", 5),
        ("1.5s", 1.5),
        ("5m", 300),
        ("24h", 86400),
        ("7d", 604800),
        ("0.5d", 43200),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert Duration.parse(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5S", "-5s", "5.s", "5s 3ms", "5w", 5, None])
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    expected = f'"{text}" is not a duration; expected one such as 500ms, 5s, 5m or 24h'

    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Duration.parse(text)


def test_a_duration_is_ten_years_at_most() -> None:
    assert Duration.parse("3650d").seconds == 3650 * 86400
    with pytest.raises(ValueError, match=r'^"3651d" is longer than 3650d, the longest$'):
        Duration.parse("3651d")


@pytest.mark.parametrize("text", ["9" * 70 + "d", "x" * 70])
def test_of_a_long_text_the_beginning_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'"{text[:60]}… (')):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0005, "0.5ms"),
        (0.2, "200ms"),
        (0.999, "999ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (59, "59s"),
        (60, "1m"),
        (61, "61s"),
        (90, "90s"),
        (300, "5m"),
        (3600, "1h"),
        (5400, "90m"),
        (86400, "1d"),
        (90000, "25h"),
        (604800, "7d"),
    ],
)
def test_a_duration_is_shown_in_the_largest_unit_that_needs_no_fraction(
    seconds: float, shown: str
) -> None:
    assert repr(Duration(seconds)) == shown
    assert str(Duration(seconds)) == shown
    assert Duration.parse(shown) == Duration(seconds)


def test_durations_are_equal_where_they_last_equally_long() -> None:
    assert Duration.parse("60s") == Duration.parse("1m")
    assert len({Duration.parse("60s"), Duration.parse("1m")}) == 1
    assert Duration(1) != Duration(2)
    assert hash(Duration(1)) != hash(Duration(2))
    assert Duration(1) != 1
