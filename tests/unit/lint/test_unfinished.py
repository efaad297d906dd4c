"""What a set of migrations begins, and none of them finishes."""

from pathlib import Path

import pytest

from pgwindlass.lint.catalog import NOTHING
from pgwindlass.lint.forward import steps
from pgwindlass.lint.unfinished import unfinished
from pgwindlass.parser.file import parse

pytestmark = pytest.mark.unit

CHECK = "alter table t add constraint c check (i > 0) not valid;"
NAMELESS = "alter table t add check (i > 0) not valid;"
OFF = "alter table t disable trigger loud;"


def found(*texts: str) -> list[tuple[str, int, str]]:
    files = [parse(Path(f"{n}.sql"), text) for n, text in enumerate(texts)]
    return [
        (str(path), begun.statement.line, begun.remark.rule.id)
        for path, several in unfinished(steps(files, NOTHING)).items()
        for begun in several
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("select 1;", f"select 1;\n{CHECK}"), [("1.sql", 2, "not-valid-constraint")]),
        ((CHECK, "alter table public.t validate constraint c;"), []),
        (
            (CHECK, "alter table app.t validate constraint c;"),
            [("0.sql", 1, "not-valid-constraint")],
        ),
        (
            (
                "alter table t add constraint n not null a not valid;",
                "alter table t validate constraint n;",
            ),
            [],
        ),
        (("alter table t add constraint c check (i > 0) not enforced;",), []),
        (
            (CHECK, "alter table t validate constraint other;"),
            [("0.sql", 1, "not-valid-constraint")],
        ),
        ((CHECK, "alter table u validate constraint c;"), [("0.sql", 1, "not-valid-constraint")]),
        ((CHECK, "alter table t drop constraint c;"), []),
        ((CHECK, "drop table t;"), []),
        ((NAMELESS, "alter table t validate constraint t_i_check;"), []),
        ((NAMELESS,), [("0.sql", 1, "not-valid-constraint")]),
        ((OFF,), [("0.sql", 1, "disabled-trigger")]),
        ((OFF, "alter table t enable trigger loud;"), []),
        ((OFF, "alter table t enable trigger all;"), []),
        ((f"{OFF} update t set i = 1; alter table t enable always trigger loud;",), []),
        (("alter table t disable trigger all;",), [("0.sql", 1, "disabled-trigger")]),
        (("alter table t disable trigger user;",), [("0.sql", 1, "disabled-trigger")]),
        ((OFF, "alter table t enable row level security;"), [("0.sql", 1, "disabled-trigger")]),
        ((OFF, "alter table t disable trigger loud;"), [("1.sql", 1, "disabled-trigger")]),
        ((OFF, "drop table t;"), []),
        (("alter table t disable trigger all; alter table t enable trigger all;",), []),
        (
            ("alter table t disable trigger all; alter table t enable trigger loud;",),
            [("0.sql", 1, "disabled-trigger")],
        ),
        (
            ("alter table t disable trigger user;", "alter table t enable replica trigger loud;"),
            [("0.sql", 1, "disabled-trigger")],
        ),
        (
            ("alter table t disable trigger all; alter table t enable trigger user;",),
            [("0.sql", 1, "disabled-trigger")],
        ),
        (("alter table t disable trigger user; alter table t enable trigger user;",), []),
        (("alter table t disable trigger user; alter table t enable trigger all;",), []),
        ((OFF, "alter table t enable trigger user;"), []),
        (("alter table t add constraint c check (i > 0);",), []),
        (("alter table t validate constraint c;", CHECK), [("1.sql", 1, "not-valid-constraint")]),
    ],
)
def test_what_is_begun_and_not_finished_is_named_where_it_begins(
    texts: tuple[str, ...], expected: list[tuple[str, int, str]]
) -> None:
    assert found(*texts) == expected


def test_what_has_no_name_is_told_by_its_table() -> None:
    ((begun,),) = unfinished(steps([parse(Path("a.sql"), NAMELESS)], NOTHING)).values()

    assert begun.remark.message.startswith("a constraint of t stays NOT VALID")


@pytest.mark.parametrize(
    ("text", "named"),
    [(OFF, "loud"), ("alter table t disable trigger user;", "every trigger of t")],
)
def test_a_trigger_is_told_by_its_name_or_all_by_their_table(text: str, named: str) -> None:
    ((begun,),) = unfinished(steps([parse(Path("a.sql"), text)], NOTHING)).values()

    assert named in begun.remark.message and "None" not in begun.remark.message
