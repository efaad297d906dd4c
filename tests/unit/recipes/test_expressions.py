"""Expressions that a person gives."""

import pytest

from pgwindlass.recipes import expressions
from tests.unit.recipes.examples import order

pytestmark = pytest.mark.unit
ORDER = order("add-not-null-column")


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("1", True),
        ("-1", True),
        ("'a'::text", True),
        ("1 + 2", True),
        ("amount", False),
        ("now()", False),
        ("current_date", False),
        ("(select 1)", False),
    ],
)
def test_a_constant_is_the_same_for_every_row(text: str, constant: bool) -> None:
    assert expressions.is_constant(expressions.read(ORDER, "value", text)) is constant


def test_its_columns_become_those_of_one_row() -> None:
    tree = expressions.read(ORDER, "value", 'amount + "Old" * orders.rate')

    assert expressions.columns(tree) == ("amount", "Old", "rate")
    assert expressions.of_row(tree, "new") == 'new.amount + (new."Old" * new.rate)'
    assert expressions.plain(tree) == 'amount + ("Old" * orders.rate)'
