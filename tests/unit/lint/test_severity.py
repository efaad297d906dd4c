"""How grave a finding is: by the table's real size, and by what a rehearsal saw."""

import pytest

from pgwindlass.lint.severity import LARGE, SMALL, counted, errors, graded, listed, unknown
from pgwindlass.model import Finding, Traced
from tests.unit.examples import changed, finding, rehearsal, rehearsed, traced

pytestmark = pytest.mark.unit


def one(found: Finding, seen: tuple[Traced, ...] | None = None) -> tuple[str, str]:
    """Return level and message of a finding once it was graded."""
    (result,) = graded([found], rehearsal(rehearsed(*seen)) if seen is not None else None)
    return result.level, result.message


@pytest.mark.parametrize(
    ("size", "level", "message"),
    [
        (SMALL - 1, "note", "writes (public.t is small: about 7 rows, 10.0 MB)"),
        (SMALL, "warning", "writes (public.t: about 7 rows, 10.0 MB)"),
        (LARGE, "warning", "writes (public.t: about 7 rows, 1,000.0 MB)"),
        (LARGE + 1, "error", "writes (public.t is large: about 7 rows, 1,000.0 MB)"),
    ],
)
def test_what_works_on_every_row_is_as_grave_as_its_table_is_large(
    size: int, level: str, message: str
) -> None:
    assert one(finding(relation="public.t", size=size, rows=7)) == (level, message)


def test_the_limits_are_ten_megabytes_and_one_gigabyte() -> None:
    assert (SMALL, LARGE) == (10_000_000, 1_000_000_000)


@pytest.mark.parametrize(
    ("rows", "shown"),
    [(-1, "5.0 MB"), (0, "about 0 rows, 5.0 MB"), (1234, "about 1,234 rows, 5.0 MB")],
)
def test_rows_are_told_where_the_table_was_analysed(rows: int, shown: str) -> None:
    _, message = one(finding(relation="public.t", rows=rows, size=5_000_000))

    assert message == f"writes (public.t is small: {shown})"


@pytest.mark.parametrize(
    "found",
    [
        finding(does="", size=1),
        finding(size=-1),
        finding(level="error", size=1),
        finding(counted="on a table of its own", size=LARGE + 1),
    ],
)
def test_what_has_nothing_to_do_with_a_size_stays_as_it_is(found: Finding) -> None:
    assert one(found) == (found.level, "writes")


def test_a_note_about_every_row_of_a_large_table_is_an_error() -> None:
    level, _ = one(finding(level="note", size=LARGE + 1))

    assert level == "error"


def test_a_note_about_a_table_of_middle_size_stays_one() -> None:
    level, _ = one(finding(level="note", size=SMALL))

    assert level == "note"


def test_a_table_without_a_known_schema_is_named_as_it_stands() -> None:
    assert one(finding(size=5))[1] == "writes (t is small: 0.0 MB)"


@pytest.mark.parametrize(
    ("does", "seen", "worked"),
    [
        ("rewrite", {}, False),
        ("rewrite", {"rewrites": ("public.t",)}, True),
        ("scan", {"scans": (("public.t", 7),)}, True),
        ("scan", {"indexes": ("public.i",)}, True),
        ("scan", {"rows_changed": 7}, False),
        ("rows", {"rows_changed": 0, "scans": (("public.t", 7),)}, False),
        ("rows", {"rows_changed": 1}, True),
    ],
)
def test_what_the_copy_saw_nothing_of_is_a_note(
    does: str, seen: dict[str, object], worked: bool
) -> None:
    level, message = one(finding(does=does, size=LARGE + 1), seen=(traced(**seen),))

    assert level == ("error" if worked else "note")
    assert (message == "writes (the rehearsal saw none of this work)") is not worked


def test_another_statement_of_the_rehearsal_says_nothing_of_this_one() -> None:
    elsewhere = traced(where="migrations/a.sql:3")

    assert one(finding(), seen=(elsewhere,)) == ("warning", "writes")


def test_what_is_unknown_is_a_note_once_it_ran_in_the_rehearsal() -> None:
    found = finding(level="unknown", does="")

    assert one(found, seen=(traced(),)) == ("note", "writes (it ran in the rehearsal)")
    assert one(found, seen=()) == ("unknown", "writes")
    assert one(changed(found, size=LARGE + 1)) == ("unknown", "writes")


def test_the_gravest_is_first_and_then_by_file_and_line() -> None:
    found = [
        finding(level="note", does="", file="a"),
        finding(level="warning", does="", file="b", line=2),
        finding(level="warning", does="", file="b", line=1),
        finding(level="warning", does="", file="a", line=3),
        finding(level="error", does="", file="z"),
        finding(level="unknown", does="", file="z"),
    ]

    assert [(f.level, f.file, f.line) for f in graded(found, None)] == [
        ("error", "z", 3),
        ("unknown", "z", 3),
        ("warning", "a", 3),
        ("warning", "b", 1),
        ("warning", "b", 2),
        ("note", "a", 3),
    ]


def test_unknown_are_those_that_only_a_rehearsal_can_show() -> None:
    found = (finding(), finding(level="unknown"), finding(level="error"))

    assert unknown(found) == (found[1],)


def test_errors_are_those_that_end_a_deployment() -> None:
    found = (finding(), finding(level="error"), finding(level="unknown"))

    assert errors(found) == (found[1],)


def test_of_two_statements_on_a_line_either_may_have_worked() -> None:
    both = (traced(), traced(rewrites=("public.t",)))

    assert one(finding(size=LARGE + 1), seen=both)[0] == "error"
    assert one(finding(size=LARGE + 1), seen=both[::-1])[0] == "error"


def test_what_is_not_listed_is_counted_by_its_reason() -> None:
    found = (finding(), finding(counted="b"), finding(counted="a"), finding(counted="b"))

    assert listed(found) == (found[0],)
    assert counted(found) == "1 a; 2 b"
    assert counted(found[:1]) == ""
