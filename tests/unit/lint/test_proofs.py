"""What a CHECK proves of rows that pass it."""

from pathlib import Path

import pytest

from pgwindlass.lint import proofs
from pgwindlass.lint.catalog import (
    CatalogColumn,
    CatalogConstraint,
    CatalogTable,
    Partitioning,
)
from pgwindlass.parser import tree
from pgwindlass.parser.split import split

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a is not null", {"a"}),
        ("(a IS NOT NULL) AND (a > 0)", {"a"}),
        ("a is not null and b is not null", {"a", "b"}),
        ("a is not null or b is not null", set()),
        ("(a is not null and b > 0) or (a is not null and b < 0)", {"a"}),
        ("(a is not null) is not null", set()),
        ("(a is not null) = b", set()),
        ("not (a is not null)", set()),
        ("not (a is null)", set()),  # it does, and the server does not see it
        ("a is null", set()),
        ("a > 0", set()),  # NULL passes
        ("a <> '(a IS NOT NULL)'", set()),
        ("case when b then a is not null end", set()),
        ("", set()),
        ("this is no expression", set()),
    ],
)
def test_a_check_proves_what_it_says_in_as_many_words(text: str, columns: set[str]) -> None:
    assert proofs.not_null(proofs.expression(text)) == columns


def table(*checks: tuple[str, bool], not_null: bool = False) -> CatalogTable:
    return CatalogTable(
        columns={"a": CatalogColumn("int4", not_null=not_null), "b": CatalogColumn("int4")},
        constraints=tuple(
            CatalogConstraint(f"c{number}", "check", validated=validated, expression=text)
            for number, (text, validated) in enumerate(checks)
        ),
    )


@pytest.mark.parametrize(
    ("known", "never"),
    [
        (table(), False),
        (table(not_null=True), True),
        (table(("a is not null", True)), True),
        (table(("a is not null", False)), False),
        (table(("b is not null", True)), False),
        (CatalogTable(), False),
    ],
)
def test_a_column_is_never_null_by_its_own_or_by_a_validated_check(
    known: CatalogTable, never: bool
) -> None:
    assert proofs.never_null(known, "a") is never


def proven(bound: str, checks: str, by: Partitioning | None, *, valid: bool = True) -> bool:
    (statement,) = split(Path("a.sql"), f"alter table p attach partition q {bound}")
    (cmd,) = tree.commands(statement.node)
    node = getattr(cmd, "def").partition_cmd.bound
    return proofs.proves_bound(table((checks, valid)), node, by)


RANGE, LIST = Partitioning("r", ("a",)), Partitioning("l", ("a",))
TEN = "for values from (1) to (10)"


@pytest.mark.parametrize(
    ("bound", "checks", "by", "holds"),
    [
        (TEN, "a is not null and a >= 1 and a < 10", RANGE, True),
        (TEN, "a is not null and 1 <= a and 10 > a", RANGE, True),
        (TEN, "a is not null and a >= '1'::int and a < 10", RANGE, True),
        (TEN, "a >= 1 and a < 10", RANGE, False),  # NULL passes
        (TEN, "a is not null and a >= 1", RANGE, False),
        (TEN, "a is not null and a >= 2 and a < 11", RANGE, False),
        (TEN, "a is not null and (a >= 1 or a < 10)", RANGE, False),
        ("for values from (minvalue) to (10)", "a is not null and a < 10", RANGE, True),
        ("for values from (1) to (maxvalue)", "a is not null and a >= 1", RANGE, True),
        ("default", "a is not null", RANGE, False),
        (TEN, "a is not null and a >= 1 and a < 10", None, False),
        (TEN, "a is not null and a >= 1 and a < 10", Partitioning("r", ("",)), False),
        ("for values in (1, 2)", "a is not null and a = 1", LIST, True),
        ("for values in (1, 2)", "a is not null and a in (1, 2)", LIST, True),
        ("for values in (1, 2)", "a is not null and a = any (array[2, 1])", LIST, True),
        ("for values in (1, 2)", "a is not null and (a = 1 or a = 2)", LIST, True),
        ("for values in (1, 2)", "a is not null and a in (1, 3)", LIST, False),
        ("for values in (1, 2)", "a in (1, 2)", LIST, False),
        ("for values in (1, null)", "a is not null and a in (1)", LIST, False),
    ],
)
def test_a_bound_is_proven_by_checks_that_say_it(
    bound: str, checks: str, by: Partitioning | None, holds: bool
) -> None:
    assert proven(bound, checks, by) is holds
    assert not proven(bound, checks, by, valid=False)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a", {"a"}),
        ("t.a > b", {"a", "b"}),
        ("lower(a) = 'b'", {"a"}),
        ("1 = 1", set()),
        ("", set()),
    ],
)
def test_the_columns_of_an_expression(text: str, columns: set[str]) -> None:
    assert proofs.mentioned(text) == columns
