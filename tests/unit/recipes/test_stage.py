"""The files of one migration of a recipe."""

import pytest

from pgwindlass.recipes.stage import Stage

pytestmark = pytest.mark.unit
STAGE = Stage(about="add Orders.Total__ sum!", why="why", sql=("A", "B"), rollback=("C",))


def stage(*sql: str, **more: object) -> Stage:
    return Stage(about="a", why="why", sql=sql, rollback=("SELECT 1",), **more)  # type: ignore[arg-type]  # of each kind


def test_a_name_is_lower_case_and_no_longer_than_eighty() -> None:
    assert stage("SELECT 1").name == "a"
    assert STAGE.name == "add_orders_total_sum"
    assert len(Stage(about="x" * 100, why="", sql=(), rollback=()).name) == 80


def test_the_head_says_what_it_is_and_its_directives() -> None:
    made = stage(
        "SELECT 1", phase="after", allows=(("long-lock", "it is short"),), verify=("SELECT true",)
    )

    assert made.files("n") == (
        "-- Migration: n\n-- Description: why\n-- windlass: phase=after\n"
        "-- windlass: allow long-lock it is short\n\nSELECT 1;\n",
        "-- Rollback: n\n\nSELECT 1;\n",
        "-- Verify: n\n\nSELECT true;\n",
    )
    assert stage("SELECT 1").files("n")[2] is None


@pytest.mark.parametrize(
    ("sql", "alone"),
    [
        (("SELECT 1", "SELECT 2"), False),
        (("CREATE INDEX CONCURRENTLY i ON t (a)",), True),
        (("SELECT 1", "-- windlass: backfill table=t\nUPDATE t SET a = 1"), False),
        (("-- windlass: backfill table=t\nUPDATE t SET a = 1", "SELECT 1"), True),
    ],
)
def test_what_cannot_be_one_transaction_runs_one_by_one(sql: tuple[str, ...], alone: bool) -> None:
    text = stage(*sql).files("n")[0]

    assert ("-- windlass: transaction=off\n\n" in text) is alone
    assert text.endswith(f"\n{sql[0]};\n" if len(sql) == 1 else f"\n{sql[0]};\n\n{sql[1]};\n")
