"""Which recipe a finding names, with the statement's own names."""

import pytest

from pgwindlass.lint.pointers import foreign_key, of_squawk, recipe
from pgwindlass.parser import tree
from tests.unit.lint.rewriting import HEAD, catalog_of, step_of

pytestmark = pytest.mark.unit


def test_a_call_is_as_a_shell_takes_it() -> None:
    call = recipe("change-type", ("my app", "t"), "c", type="", using="it's")

    assert call == (
        "invoke create --recipe change-type --table 'my app.t' --column c --using 'it'\"'\"'s'"
    )


@pytest.mark.parametrize(
    ("rule", "sql", "expected"),
    [
        (
            "renaming-column",
            "alter table o rename column a to z",
            "invoke create --recipe rename-column --table public.o --column a --to z",
        ),
        (
            "ban-drop-column",
            'alter table o add x int, drop b, drop column if exists "B c"',
            "invoke create --recipe drop-column --table public.o --column b; "
            "invoke create --recipe drop-column --table public.o --column 'B c'",
        ),
        ("renaming-column", "alter table o rename to z", ""),
        ("renaming-column", "alter table o add x int", ""),
        ("ban-drop-column", "drop table o", ""),
        ("ban-drop-table", "drop table o", ""),
        ("renaming-table", "alter table o rename to z", ""),
    ],
)
def test_what_squawk_says_of_has_its_recipe(rule: str, sql: str, expected: str) -> None:
    assert of_squawk(step_of(sql), rule) == expected


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ("(a) references p", "--column a --references public.p"),
        ("(a) references s.p (n)", "--column a --references 's.p(n)'"),
        ("(a, b) references p", None),
    ],
)
def test_a_foreign_key_of_one_column_has_its_recipe(references: str, expected: str | None) -> None:
    step = step_of(f"alter table o add foreign key {references}", f"{HEAD} create table p (n int);")
    (cmd,) = tree.commands(step.statement.node)
    call = foreign_key(("public", "o"), getattr(cmd, "def").constraint, catalog_of())

    head = "invoke create --recipe add-foreign-key --table public.o "
    assert call == (f"{head}{expected}" if expected else "")
