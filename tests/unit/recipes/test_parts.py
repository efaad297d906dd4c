"""Statements that several recipes write."""

import pytest

from pgwindlass.recipes import parts

pytestmark = pytest.mark.unit
KEY = ("sales", "Order")


def test_a_trigger_has_a_function_of_its_name() -> None:
    assert parts.function(KEY, "f", "BODY") == (
        "CREATE FUNCTION sales.f() RETURNS trigger LANGUAGE plpgsql AS $sync$\nBODY\n$sync$"
    )
    assert parts.trigger(KEY, "f", "BEFORE INSERT") == (
        'CREATE TRIGGER f BEFORE INSERT ON sales."Order" FOR EACH ROW EXECUTE FUNCTION sales.f()'
    )
    assert parts.without(KEY, "f", of=("sales", "b")) == (
        "DROP TRIGGER f ON sales.b",
        "DROP FUNCTION sales.f()",
    )


def test_what_is_not_lasting_is_not_verified_later() -> None:
    for lasting in (True, False):
        _, second = parts.validated(KEY, "c", "CHECK (a > 0)", lasting=lasting)
        assert bool(second.verify) is lasting
    assert parts.none_left(KEY, "a IS NULL") == (
        'SELECT NOT EXISTS (SELECT FROM sales."Order" WHERE a IS NULL)'
    )
