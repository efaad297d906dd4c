"""What a check of a pull request found: every text whole."""

from typing import Any

import pytest

from pgwindlass.model import PullRequestCheck
from pgwindlass.report.check import LIMIT, check_markdown, check_text, verdict
from tests.unit.examples import A, B, checked, finding

pytestmark = pytest.mark.unit

WHERE = "main (c0ffeec0ffee) with its 3 migrations"


def check(**more: Any) -> PullRequestCheck:
    given: dict[str, Any] = {
        "base": "main",
        "commit": "c0ffee" * 6,
        "applied": 3,
        "server": "PostgreSQL 16.14",
        "problems": (),
        "findings": (),
        "migrations": (checked(),),
    }
    return PullRequestCheck(**(given | more))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (check(), f"passed: 1 new on {WHERE}, on PostgreSQL 16.14"),
        (check(problems=("p",)), f"FAILED: 1 new on {WHERE}, on PostgreSQL 16.14"),
        (check(findings=(finding(),)), f"passed: 1 new on {WHERE}, on PostgreSQL 16.14"),
        (
            check(findings=(finding(level="error"),)),
            f"FAILED: 1 new on {WHERE}, on PostgreSQL 16.14",
        ),
        (
            check(migrations=(checked(), checked(problem="p"))),
            f"FAILED: 2 new on {WHERE}, on PostgreSQL 16.14",
        ),
        (check(migrations=()), f"no new migration beside {WHERE}"),
        (
            check(migrations=(), problems=("p",)),
            f"FAILED: 0 new on {WHERE}, on PostgreSQL 16.14",
        ),
    ],
)
def test_the_verdict_is_one_line(found: PullRequestCheck, line: str) -> None:
    assert verdict(found) == line


def test_the_text_has_the_order_the_migrations_the_findings_and_the_verdict() -> None:
    found = check(
        problems=("a is older than b",),
        findings=(finding(),),
        migrations=(
            checked(title="orders"),
            checked(name=B, rollback=False),
            checked(name="c", problem="it failed"),
        ),
    )

    assert check_text(found) == (
        "order: a is older than b\n"
        f"{A} orders  up, down, up\n"
        f"{B}  up; no rollback script, which UAT and production ask for\n"
        "c  it failed\n"
        "migrations/a.sql:3: warning: writes [add-serial]\n"
        f"FAILED: 3 new on {WHERE}, on PostgreSQL 16.14"
    )


def test_the_comment_of_a_change_that_passes() -> None:
    assert check_markdown(check()) == (
        "### ✅ Migrations\n\n"
        f"passed: 1 new on {WHERE}, on PostgreSQL 16.14\n\n"
        "| migration | runs | result | time |\n"
        "| --- | --- | --- | --- |\n"
        f"| `{A}` | before the restart, in a transaction | ✅ up, down, up | 250 ms |\n"
        f"\n<details><summary>SQL of {A}</summary>\n\n"
        "~~~~~~sql\ncreate table orders ();\n~~~~~~\n</details>\n"
    )


def test_the_comment_of_a_change_that_fails() -> None:
    found = check(
        problems=("a | b", "<c> & d"),
        findings=(finding(), finding(line=9)),
        migrations=(
            checked(
                title="x|y",
                phase="after",
                transactional=False,
                problem="line one\nline two",
                sql="~~~~~~",
            ),
            checked(name=B),
        ),
    )

    assert check_markdown(found) == (
        "### ❌ Migrations\n\n"
        f"FAILED: 2 new on {WHERE}, on PostgreSQL 16.14\n\n"
        "- ❌ a \\| b\n"
        "- ❌ &lt;c> &amp; d\n\n"
        "| migration | runs | result | time |\n"
        "| --- | --- | --- | --- |\n"
        f"| `{A} x\\|y` | after the restart, statement by statement | ❌ line one line two "
        "| 250 ms |\n"
        f"| `{B}` | before the restart, in a transaction | ✅ up, down, up | 250 ms |\n\n"
        "- migrations/a.sql:3: warning: writes [add-serial]\n"
        "- migrations/a.sql:9: warning: writes [add-serial]\n"
        f"\n<details><summary>SQL of {A} x\\|y</summary>\n\n~~~~~~sql\n~\n~~~~~~\n</details>\n"
        f"\n<details><summary>SQL of {B}</summary>\n\n"
        "~~~~~~sql\ncreate table orders ();\n~~~~~~\n</details>\n"
    )


def test_a_change_without_migrations_is_two_lines() -> None:
    assert check_markdown(check(migrations=())) == (
        f"### ✅ Migrations\n\nno new migration beside {WHERE}\n"
    )


@pytest.mark.parametrize(("count", "more"), [(30, ""), (31, "1 more"), (33, "3 more")])
def test_thirty_of_each_are_shown(count: int, more: str) -> None:
    texts = tuple(f"p{number}" for number in range(count))
    note = f"\n… and {more}; the job's log has all\n"

    found = check_markdown(
        check(
            problems=texts,
            findings=tuple(finding(message=text) for text in texts),
            migrations=tuple(checked(name=text, sql="x") for text in texts),
        )
    )

    assert found.count("\n- ❌ p") == 30
    assert found.count("\n| `p") == 30
    assert found.count("\n- migrations/a.sql") == 30
    assert found.count(note) == (3 if more else 0)
    assert found.count("… and") == (3 if more else 0)


@pytest.mark.parametrize(("length", "kept"), [(500, 500), (501, 500)])
def test_five_hundred_characters_of_a_text_are_shown(length: int, kept: int) -> None:
    found = check_markdown(check(migrations=(), problems=("x" * (length - 2),)))

    assert f"- ❌ {'x' * (kept - 2)}\n" in found


def test_sql_that_does_not_fit_is_counted() -> None:
    migrations = tuple(checked(name=name, sql="x" * 25_000) for name in "abcd")

    found = check_markdown(check(migrations=migrations))

    assert found.count("<summary>") == 2
    assert found.endswith("\nThe SQL of 2 migrations is too long for a comment.\n")
    assert len(found) < LIMIT


def test_what_fits_stands_behind_what_does_not() -> None:
    migrations = (checked(name="large", sql="x" * LIMIT), checked(name="small"))

    found = check_markdown(check(migrations=migrations))

    assert "SQL of small" in found
    assert found.endswith("\nThe SQL of 1 migrations is too long for a comment.\n")


@pytest.mark.parametrize(("room", "fits"), [(100, True), (99, False)])
def test_a_hundred_characters_stay_for_what_is_said_of_the_rest(room: int, fits: bool) -> None:
    bare = len(check_markdown(check(migrations=(checked(sql=""),))))
    migration = checked(sql="x" * (LIMIT - bare - room))

    found = check_markdown(check(migrations=(migration,)))

    assert ("<summary>" in found) is fits
