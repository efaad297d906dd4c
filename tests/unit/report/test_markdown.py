"""A summary's Markdown: no text from outside is any, and what is too long is left out."""

import pytest

from pgwindlass.report.markdown import (
    CELL,
    DROPPED,
    LIMIT,
    ROWS,
    SPARE,
    TEXT,
    Section,
    code,
    facts,
    fence,
    head,
    rendered,
    table,
)
from pgwindlass.secret import Secret

pytestmark = pytest.mark.unit

FACTS = "|  |  |\n| --- | --- |\n"


def block(content: str) -> str:
    return f"```\n{content}\n```\n\n"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain text", "`plain text`"),
        (7, "`7`"),
        ("", "–"),
        (" \n ", "–"),
        ("two\n  lines\r\n", "`two lines`"),
        ("a|b", "<code>a&#124;b</code>"),
        ("`x` é", "<code>&#96;x&#96; é</code>"),
        ("a\\", "<code>a&#92;</code>"),
        ("a\x07`b", "<code>a&#96;b</code>"),
        ("a\x7fb", "<code>a&#127;b</code>"),
        ("a\u202eb", "`a<U+202E>b`"),
        ("a\u00adb", "`a<U+00AD>b`"),
    ],
)
def test_a_text_from_outside_is_a_code_span(given: object, shown: str) -> None:
    assert code(given) == shown


def test_a_code_span_is_no_longer_than_a_cell_and_holds_no_secret() -> None:
    Secret("summary-secret-1")

    assert code("x" * CELL) == f"`{'x' * CELL}`"
    assert code("x" * (CELL + 1)) == f"`{'x' * (CELL - 1)}…`"
    assert code("a summary-secret-1 b") == "`a *** b`"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb", "```\na\nb\n```"),
        ("a\r\nb\tc", "```\na\n\nb\tc\n```"),
        ("a ``` b", "````\na ``` b\n````"),
        ("`````", "``````\n`````\n``````"),
        ("a ` b", "```\na ` b\n```"),
        ("a\x07b\x1f", "```\nab\n```"),
        ("\u200b", "```\n<U+200B>\n```"),
    ],
)
def test_a_block_of_code_ends_where_it_should(given: str, shown: str) -> None:
    assert fence(given) == shown


def test_a_block_of_code_has_a_language_and_no_secret() -> None:
    Secret("fence-secret-1")

    assert fence("select 'fence-secret-1'", "sql") == "```sql\nselect '***'\n```"


def test_a_table_has_a_title_a_header_and_rows() -> None:
    found = table(("a", "b"), [("1", "2"), ("3", "4")], title="#### T", noun="things")

    assert found == Section(
        "#### T\n\n| a | b |\n| --- | --- |\n",
        ("| 1 | 2 |\n", "| 3 | 4 |\n"),
        "\n",
        noun="things",
    )
    assert table(("a",), []) == Section("| a |\n| --- |\n", (), "\n")


def test_facts_without_a_value_are_left_out() -> None:
    found = facts(("a", 0), ("b", ""), ("c", None), ("d", "x|y"), title="T")

    assert rendered([found]) == (f"T\n\n{FACTS}| a | `0` |\n| d | <code>x&#124;y</code> |\n\n")


def test_the_head_says_what_it_was_how_it_went_and_what_to_do() -> None:
    assert head("T", "it went well", "invoke status").head == (
        f"### T\n\n{block('it went well')}Next:\n\n{block('invoke status')}"
    )
    assert head("T", "it went well").head == f"### T\n\n{block('it went well')}"


@pytest.mark.parametrize("left", [0, 1, 500])
def test_a_long_verdict_and_next_step_are_cut(left: int) -> None:
    more = f"\n… {left} more characters are in the log" if left else ""
    shown = block(f"{'x' * TEXT}{more}")

    found = head("T", "x" * (TEXT + left), "x" * (TEXT + left)).head

    assert found == f"### T\n\n{shown}Next:\n\n{shown}"


@pytest.mark.parametrize(("count", "left"), [(ROWS, 0), (ROWS + 1, 1), (ROWS + 50, 50)])
def test_a_hundred_rows_of_a_section_are_shown(count: int, left: int) -> None:
    section = Section("h\n", tuple(f"r{at}\n" for at in range(count)), "f\n", "things")

    shown = rendered([section])

    assert shown.startswith("h\nr0\n")
    assert f"r{ROWS - 1}\nf\n" in shown
    assert shown.endswith(
        f"f\n{left} more things left out here; the log has them.\n\n" if left else "f\n"
    )


def test_a_section_without_room_is_left_out_whole_and_counted() -> None:
    sections = [Section("fits\n"), Section("x" * 2000), Section("y" * 2000), Section("too\n")]

    assert rendered(sections, 1000) == (
        "fits\ntoo\n2 parts of this summary are left out; the log has them.\n"
    )
    assert rendered([Section("x" * 2000)], 0) == ""
    assert rendered([Section("x" * 2000)], len(DROPPED) + 4) == DROPPED.format(1)
    assert rendered([Section("x" * 2000)], len(DROPPED) + 3) == ""
    assert rendered([]) == ""


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (1, False)])
def test_a_section_fits_with_what_may_be_said_of_its_rows(spare: int, fits: bool) -> None:
    left_out = "\n1 things left out here; the log has them.\n"
    section = Section("é" * 500, ("row\n",), "foot\n", "things")
    needed = 1000 + len("foot\n") + len(left_out) + len(DROPPED) + 4

    shown = rendered([section], needed - spare)

    assert shown == (
        f"{'é' * 500}foot\n1 more things left out here; the log has them.\n\n"
        if fits
        else DROPPED.format(1)
    )


@pytest.mark.parametrize(("spare", "rows"), [(0, 2), (1, 1)])
def test_rows_leave_room_to_the_sections_behind_them(spare: int, rows: int) -> None:
    section = Section("h\n", ("é" * 50, "é" * 50), "f\n", "things")
    room = len("h\n") + 200 + len("f\n") + SPARE + len(DROPPED) + 4

    shown = rendered([section], room - spare)

    assert shown.count("é") == 50 * rows


def test_a_summary_has_a_limit_by_default() -> None:
    assert rendered([Section("x" * (LIMIT + 1))]) == DROPPED.format(1)
    assert LIMIT == 200 * 1024
