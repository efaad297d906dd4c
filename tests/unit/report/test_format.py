"""How numbers, sizes and times are written for people, and documents for machines."""

import pytest

from pgwindlass.report.format import as_json, duration, human, seconds
from pgwindlass.secret import Secret
from tests.unit.examples import table_size

pytestmark = pytest.mark.unit


def test_a_document_is_json_with_sorted_keys_and_without_secrets() -> None:
    Secret("format-secret-1")

    text = as_json({"z": table_size("öffentlich.t"), "a": "format-secret-1"})

    assert text == (
        "{\n"
        '  "a": "***",\n'
        '  "z": {\n'
        '    "name": "öffentlich.t",\n'
        '    "rows": 7,\n'
        '    "size": 2500000\n'
        "  }\n"
        "}"
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0.0 s"), (0.04, "0.0 s"), (1.26, "1.3 s"), (3600, "3600.0 s")]
)
def test_seconds_have_one_decimal(value: float, shown: str) -> None:
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_900, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (2_540_000_000, "2.5 GB"),
        (1_000_000_000_000, "1.0 TB"),
        (2_500_000_000_000_000, "2500.0 TB"),
    ],
)
def test_a_size_has_the_largest_unit_that_is_less(size: int, shown: str) -> None:
    assert human(size) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 ms"),
        (0.0126, "13 ms"),
        (0.999, "999 ms"),
        (1, "1.0 s"),
        (4.24, "4.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (110, "1 min 50 s"),
        (119.7, "2 min 0 s"),
        (200, "3 min 20 s"),
        (3661, "61 min 1 s"),
    ],
)
def test_a_short_time_has_the_unit_that_people_say(value: float, shown: str) -> None:
    assert duration(value) == shown
