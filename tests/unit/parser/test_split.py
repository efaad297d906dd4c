"""A text as statements: where each begins and ends, what it expects, and why it is no SQL."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser.split import Statement, comments, split

pytestmark = pytest.mark.unit

PATH = Path("migrations/a.sql")


def lines(text: str) -> list[tuple[int, str]]:
    return [(statement.line, statement.sql) for statement in split(PATH, text)]


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        split(PATH, text)
    return caught.value.what, caught.value.next_step


MEND = "mend the statement; the dialect is the server's own SQL"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- a comment alone", []),
        ("select 1", [(1, "select 1")]),
        ("select 1;\n\nselect 2;\nselect 3", [(1, "select 1"), (3, "select 2"), (4, "select 3")]),
        ("\nselect 1", [(2, "select 1")]),
        ("select 1; select 2;", [(1, "select 1"), (1, "select 2")]),
        (
            "select\n1\n;\n\n  select 2",
            [(1, "select\n1"), (5, "select 2")],
        ),
        ("select 'é\nü';\nselect 'é'", [(1, "select 'é\nü'"), (3, "select 'é'")]),
        ("select 1 \t\f\v\r\n;", [(1, "select 1")]),
        ("-- é\n/* é\n */ select 1;\n-- é\nselect 2;", [(3, "select 1"), (5, "select 2")]),
    ],
)
def test_each_statement_has_its_text_and_its_line(
    text: str, expected: list[tuple[int, str]]
) -> None:
    assert lines(text) == expected


def test_a_no_break_space_belongs_to_a_name() -> None:
    ((_, sql),) = lines("select 1 as a\u00a0;")

    assert sql == "select 1 as a\u00a0"


@pytest.mark.parametrize(
    ("text", "kind", "transactional", "concurrent"),
    [
        ("select 1", "select_stmt", True, False),
        ("vacuum t", "vacuum_stmt", False, False),
        ("create index concurrently i on t (a)", "index_stmt", False, True),
    ],
)
def test_a_statement_says_what_it_is(
    text: str, kind: str, transactional: bool, concurrent: bool
) -> None:
    (statement,) = split(PATH, text)

    assert isinstance(statement, Statement)
    assert statement.kind == kind
    assert statement.transactional is transactional
    assert statement.concurrent is concurrent
    assert statement.expects is None


@pytest.mark.parametrize(
    ("comment", "expects"),
    [
        ("-- expect: none", 0),
        ("--expect:none  ", 0),
        ("-- \t expect: \t 3 \t rows\t", 3),
        ("-- expect: 1 row", 1),
        ("-- expect: 12 rows", 12),
        ("-- expects: nothing", None),
        ("", None),
    ],
)
def test_a_comment_above_a_statement_says_how_many_rows_it_expects(
    comment: str, expects: int | None
) -> None:
    first, second = split(PATH, f"select 0;\n{comment}\nselect 1;\n")

    assert first.expects is None
    assert second.expects == expects


def test_of_two_expectations_the_last_counts() -> None:
    (statement,) = split(PATH, "-- expect: 3 rows\n-- expect: none\n-- why\nselect 1;")

    assert statement.expects == 0


@pytest.mark.parametrize(
    "words", ["-- expect: three rows", "-- expect: 3", "-- expect:", "-- expect: 3 rows or more"]
)
def test_what_is_no_expectation_is_refused_with_its_line(words: str) -> None:
    assert refusal(f"select 0;\n\n{words} \n-- why\n\nselect 1;") == (
        f'migrations/a.sql:3: "{words}" is no expectation',
        "write -- expect: none, or -- expect: 3 rows; without it rows must be true",
    )


@pytest.mark.parametrize(
    ("text", "what", "next_step"),
    [
        (
            "select 1;\n  selec 2;",
            'migrations/a.sql:2: syntax error at or near "selec" (column 3)',
            MEND,
        ),
        ("selec", 'migrations/a.sql:1: syntax error at or near "selec" (column 1)', MEND),
        (
            "select 'é';\nselec 2;",
            'migrations/a.sql:2: syntax error at or near "selec" (column 1)',
            MEND,
        ),
        ("\nselec", 'migrations/a.sql:2: syntax error at or near "selec" (column 1)', MEND),
        (
            "-- why\ncopy t from stdin;\n1\t2\n",
            'migrations/a.sql:3: syntax error at or near "1" (column 1)',
            "COPY … FROM stdin data does not run here: write INSERT statements",
        ),
        (
            "/* why */copy t from stdin;\n1\t2\n",
            'migrations/a.sql:2: syntax error at or near "1" (column 1)',
            "COPY … FROM stdin data does not run here: write INSERT statements",
        ),
        (
            "select 1; -- é copy t from stdin;\nselec 1",
            'migrations/a.sql:2: syntax error at or near "selec" (column 1)',
            MEND,
        ),
        (
            "select 'open",
            'migrations/a.sql:1: unterminated quoted string at or near "\'open" (column 8)',
            MEND,
        ),
        (
            "select 1;\n\\d users\n",
            'migrations/a.sql:2: syntax error at or near "\\" (column 1)',
            "psql's meta-commands do not run here: write the SQL they run",
        ),
        (
            "select :name;",
            'migrations/a.sql:1: syntax error at or near ":" (column 8)',
            "psql's :variables do not run here: write the value",
        ),
        (
            "copy t from stdin;\n1\t2\n\\.\n",
            'migrations/a.sql:2: syntax error at or near "1" (column 1)',
            "COPY … FROM stdin data does not run here: write INSERT statements",
        ),
        (
            "COPY t (a)\nFROM  STDIN with csv;\nx,y\n",
            'migrations/a.sql:3: syntax error at or near "x" (column 1)',
            "COPY … FROM stdin data does not run here: write INSERT statements",
        ),
        (
            "/* é copy t from stdin; */ selec 1",
            'migrations/a.sql:1: syntax error at or near "selec" (column 28)',
            MEND,
        ),
    ],
)
def test_what_is_no_sql_is_refused_with_its_place_and_what_may_be_meant(
    text: str, what: str, next_step: str
) -> None:
    assert refusal(text) == (what, next_step)


@pytest.mark.parametrize(("length", "tail"), [(75, 'x"'), (76, "x…"), (500, "x…")])
def test_the_beginning_of_a_parsers_message_is_shown(length: int, tail: str) -> None:
    what, _ = refusal(f'select 1 from "{"x" * length}')

    message = what.removeprefix("migrations/a.sql:1: ").removesuffix(" (column 15)")
    assert message.startswith('unterminated quoted identifier at or near ""xxx')
    assert message.endswith(tail)
    assert len(message) == 120 + tail.endswith("…")


def test_a_comment_where_the_parser_takes_none_is_passed_over() -> None:
    text = "select 1 where 1 not -- é why\n in (2);\nselect 3"

    assert lines(text) == [(1, text.partition(";")[0]), (3, "select 3")]


def test_behind_such_a_comment_the_place_of_another_mistake_is_told() -> None:
    assert refusal("select 1 where 1 not -- why\n in (2);\nselec 3")[0] == (
        'migrations/a.sql:3: syntax error at or near "selec" (column 1)'
    )


def test_what_is_nested_too_deeply_is_refused() -> None:
    assert refusal("select " + " || ".join(["'a'"] * 200)) == (
        "migrations/a.sql: an expression is nested more deeply than the parser's messages can be",
        "break it up: some fifty operators or brackets in one another are too many",
    )


def test_comments_are_told_by_their_bytes() -> None:
    text = "-- é\nselect '-- no', /* é */ 1"

    assert comments(text) == [(0, 5), (22, 30)]
    assert comments("select 'open -- x") == []
    assert comments("select 1") == []
