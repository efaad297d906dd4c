"""What an error is about."""

import pytest

from pgwindlass.backfill.poison import key_text, kind_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        (None, "lost"),
        ("57P01", "lost"),
        ("55P03", "lock"),
        ("40P01", "lock"),
        ("57014", "time"),
        ("22P02", "row"),
        ("23505", "row"),
        ("P0001", "row"),
        ("21000", "row"),
        ("42703", "statement"),
        ("42501", "statement"),
        ("53100", "statement"),
    ],
)
def test_only_an_error_of_a_row_is_looked_for_in_rows(sqlstate: str | None, kind: str) -> None:
    assert kind_of(sqlstate) == kind


def test_a_key_is_written_with_its_columns() -> None:
    assert key_text(("id",), ("17",)) == "id = 17"
    assert key_text(("a", "b"), ("1", "x")) == "a = 1, b = x"
