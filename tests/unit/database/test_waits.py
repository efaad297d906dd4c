"""How long a transaction has made others wait, and when it must let go."""

import pytest

from pgwindlass.database.waits import (
    Awaits,
    Look,
    Reason,
    Tally,
    counted,
    overdrawn,
    reason_to_let_go,
    spent,
)

pytestmark = pytest.mark.unit


def look(at: float, *strong: str, waits: bool = True, transaction: str = "3/1") -> Look:
    return Look(at, transaction, waits, strong)


def after(*looks: Look) -> Tally:
    tally = Tally(0.0)
    for each in looks:
        tally = counted(tally, each)
    return tally


def test_waits_for_several_tables_add_up() -> None:
    assert after(look(0.25, "a"), look(0.5, "a", "b"), look(1.0, "b")) == Tally(
        1.0, "3/1", 1.0, {"a": 0.5, "b": 0.75}
    )


def test_what_is_held_while_nothing_is_waited_for_is_no_wait() -> None:
    assert after(look(0.5, "a", waits=False), look(0.75, "a")) == Tally(
        0.75, "3/1", 0.25, {"a": 0.75}
    )


def test_a_wait_counts_only_where_others_wait_for_us() -> None:
    assert after(look(0.5), look(1.0)) == Tally(1.0, "3/1", 0.0, {})


def test_another_transaction_begins_anew_and_a_table_does_not() -> None:
    tally = after(look(0.5, "a"), look(0.75, "a", transaction="3/2"))

    assert tally == Tally(0.75, "3/2", 0.25, {"a": 0.75})


@pytest.mark.parametrize(
    ("waited", "awaits", "left", "expected"),
    [
        (0.2, [], {}, None),
        (0.25, ["", ""], {}, "sum"),
        (0.0, ["", "lock"], {}, "circle"),
        (0.25, ["lock", "rows"], {"t": 0.0}, "rows"),
        (0.25, [], {"t": 0.5}, "budget"),
        (0.0, [], {"t": 1.0}, None),
        (0.0, [], {"u": 0.0}, None),
    ],
)
def test_it_lets_go_for_the_reason_that_says_the_most(
    waited: float, awaits: list[Awaits], left: dict[str, float], expected: Reason | None
) -> None:
    tally = Tally(2.0, "3/1", waited, {"t": 1.0})

    assert reason_to_let_go(tally, rung=0.2, awaits=awaits, left=left) == expected


def test_of_two_tables_over_their_budget_the_first_by_name_is_named() -> None:
    tally = Tally(2.0, "3/1", 0.0, {"a": 1.0, "b": 1.0, "c": 1.0})

    assert overdrawn(tally, {"c": 0.5, "b": 0.5, "a": 1.0}) == "b"
    assert overdrawn(tally, {"a": 1.0}) == ""


def test_a_budget_goes_on_over_all_tries() -> None:
    tally = Tally(2.0, "3/1", 0.0, {"a": 0.75, "b": 2.0})

    assert spent({"a": 1.0, "b": 1.0, "c": 1.0}, tally) == {"a": 0.25, "b": 0.0, "c": 1.0}
