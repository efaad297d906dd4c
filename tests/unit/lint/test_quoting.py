"""Names and constants as SQL writes them."""

import pytest

from pgwindlass.lint.quoting import alter, literal, quoted, shown_key

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders", "orders"),
        ("_a1", "_a1"),
        ("Orders", '"Orders"'),
        ("1a", '"1a"'),
        ("user", '"user"'),
        ("order", '"order"'),
        ("verbose", '"verbose"'),
        ('a"b', '"a""b"'),
        ("", '""'),
        ("a b", '"a b"'),
    ],
)
def test_a_name(name: str, expected: str) -> None:
    assert quoted(name) == expected


def test_a_table_a_constant_and_an_alteration() -> None:
    assert shown_key(("public", "Orders")) == 'public."Orders"'
    assert literal("it's") == "'it''s'"
    assert alter(("s", "t"), "DROP COLUMN a") == "ALTER TABLE s.t DROP COLUMN a"
