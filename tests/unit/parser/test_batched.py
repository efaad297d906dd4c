"""Where a backfill is in its file."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser.file import SqlFile, parse

pytestmark = pytest.mark.unit

BACKFILL = "-- windlass: backfill table=t\nupdate t set a = 1;\n"


def read(text: str) -> SqlFile:
    return parse(Path("a.sql"), text)


def test_what_is_before_the_batches_is_one_transaction() -> None:
    file = read(f"-- windlass: phase=after\ncreate table z ();\nselect 1;\n{BACKFILL}{BACKFILL}")

    assert file.together == 2
    assert not file.transactional
    assert [statement.line for statement in file.backfills] == [5, 7]
    assert [statement.backfill is None for statement in file.statements] == [
        True,
        True,
        False,
        False,
    ]


def test_a_file_with_transaction_off_has_them_anywhere() -> None:
    file = read(f"-- windlass: transaction=off\nselect 1;\n{BACKFILL}vacuum;")

    assert file.together == 0
    assert len(file.backfills) == 1


def test_a_file_without_them_is_as_it_was() -> None:
    file = read("select 1; select 2;")
    assert (file.together, file.backfills, file.transactional) == (0, (), True)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (f"{BACKFILL}select 1;", 3, "this statement is behind a backfill (line 2)"),
        (
            f"create index concurrently i on t (a);\n{BACKFILL}",
            1,
            "this statement cannot run in a transaction, and the file has a backfill (line 3)",
        ),
        (
            f"set search_path = app;\n{BACKFILL}",
            1,
            "a setting does not reach the batches, each of which is a transaction (line 3)",
        ),
    ],
)
def test_what_would_run_elsewhere_than_it_stands_is_refused(
    text: str, line: int, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert caught.value.what == f"a.sql:{line}: {problem}"
    assert caught.value.next_step == (
        "give it a migration of its own; a backfill is the last in its file"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("select 1;\n-- windlass: backfill table=t", 2),
        (f"-- windlass: backfill table=t\n{BACKFILL}", 2),
    ],
)
def test_a_directive_without_a_statement_of_its_own_is_refused(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert caught.value.what == (
        f"a.sql:{line}: no statement of its own is below this backfill directive"
    )
    assert caught.value.next_step == "write it above an UPDATE, a DELETE or an INSERT … SELECT"


def test_a_begin_around_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot run in a transaction"):
        read(f"begin;\n{BACKFILL}commit;")
