"""A migration file is split, checked and refused as the server and the runner need it."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser.file import normalise, parse

PATH = Path("migrations/20260801_000000_a.sql")


def kinds(text: str) -> list[str]:
    return [statement.kind for statement in parse(PATH, text).statements]


def test_the_outer_begin_and_commit_are_the_runners_own() -> None:
    file = parse(PATH, "BEGIN;\ncreate table t (i int);\nselect 1;\nCOMMIT;\n")

    assert [s.sql for s in file.statements] == ["create table t (i int)", "select 1"]
    assert [s.line for s in file.statements] == [2, 3]
    assert file.transactional


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("select 1;\nCOMMIT;\nselect 2;\n", 2, "COMMIT in the middle of the file"),
        ("BEGIN;\nselect 1;\n", 1, "BEGIN without a COMMIT at the end"),
        ("BEGIN;\nselect 1;\nSAVEPOINT a;\nCOMMIT;\n", 3, "SAVEPOINT in the middle"),
        ("set lock_timeout = '1s';", 1, "the file sets lock_timeout, which the runner owns"),
        ("set local statement_timeout = 0;", 1, "the file sets statement_timeout"),
        ("\\d users\n", 1, 'syntax error at or near "\\"'),
        ("select 1;\nselec 2;\n", 2, 'syntax error at or near "selec"'),
        ("select 'é';\nselec 2;\n", 2, 'syntax error at or near "selec"'),
        ("reset lock_timeout;", 1, "the file sets lock_timeout"),
        ("select 1;\nreset all;", 2, "the file sets every setting"),
        ("discard all;", 1, "the file sets every setting"),
        ("select set_config('lock_timeout', '0', false);", 1, "the file sets lock_timeout"),
        ("copy t to stdout;", 1, "COPY … TO stdout does not run here"),
        ("create index concurrently on t (a);", 1, "an index built concurrently needs a name"),
        (
            "begin;\ncreate index concurrently i on t (a);\ncommit;",
            1,
            "BEGIN … COMMIT around a statement that cannot run in a transaction",
        ),
        ("begin read only;\nselect 1;\ncommit;", 1, "READ ONLY, and the history row must be"),
        (
            "select 1;\n-- windlass: phase=after\nselect 2;",
            2,
            "this directive is for the whole file, and is below its first statement",
        ),
        ("insert into t values (1);\nvacuum t;", 2, "should not be found half done (line 1)"),
        ("copy t from stdin;\n", 1, "COPY … FROM stdin does not run here"),
        ("copy t from stdin;\n1\t2\n\\.\n", 2, "syntax error"),
        ("select 1;\nvacuum;\n", 2, "this statement cannot run in a transaction"),
        ("-- windlass: phase=later\nselect 1;", 1, 'unknown directive "phase=later"'),
        ("-- windlass: allow truncate\ntruncate t;", 1, "allow truncate has no reason"),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(PATH, text)

    assert caught.value.what.startswith(f"{PATH}:{line}: ")
    assert words in caught.value.what
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "statement",
    [
        "create index concurrently i on t (a)",
        "drop index concurrently if exists i",
        "reindex index concurrently i",
        "reindex database d",
        "vacuum t",
        "alter table t detach partition p concurrently",
        "alter system set work_mem = '1MB'",
        "create database d",
    ],
)
def test_statements_that_need_autocommit_are_found_without_a_directive(statement: str) -> None:
    assert not parse(PATH, statement).transactional


@pytest.mark.parametrize(
    "statement", ["create index i on t (a)", "analyze t", "drop index i", "reindex index i"]
)
def test_their_plain_forms_run_in_a_transaction(statement: str) -> None:
    assert parse(PATH, statement).transactional


def test_nasty_sql_is_split_where_the_server_would() -> None:
    text = (
        "create function f() returns int language sql begin atomic select 1; select 2; end;\n"
        "do $a$ begin perform 1; raise notice '$$;'; end $a$;\n"
        "/* a /* nested; */ comment; */ select 'it''s; fine', E'\\';', \"semi;colon\" from t;\n"
    )

    assert kinds(text) == ["create_function_stmt", "do_stmt", "select_stmt"]


def test_line_ends_and_byte_order_mark_do_not_change_the_checksum() -> None:
    unix = normalise(b"select 1;\nselect 2;\n", PATH)
    windows = normalise(b"\xef\xbb\xbfselect 1;\r\nselect 2;\r\n", PATH)

    assert parse(PATH, unix).checksum == parse(PATH, windows).checksum
    assert parse(PATH, unix).checksum.startswith("sha256:")


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"select 1;\nselect '\xff';\n", ":2: not UTF-8: byte 0xff"), (b"a\n\0", ":2: holds a NUL")],
)
def test_bytes_that_are_no_text_are_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        normalise(raw, PATH)


@pytest.mark.parametrize(
    "text",
    [
        "set local search_path = app;\ncreate index concurrently i on t (a);\nanalyze t;",
        "create table if not exists t (a int);\ncreate index concurrently i on t (a);",
        "drop index if exists j;\ncreate index concurrently i on t (a);",
        "alter table t validate constraint c;\nvacuum t;",
        "comment on table t is 'x';\ncreate index concurrently i on t (a);",
    ],
)
def test_what_is_harmless_half_way_may_stand_beside_a_concurrent_build(text: str) -> None:
    assert not parse(PATH, text).transactional


def test_the_tables_of_a_file_are_those_it_names() -> None:
    file = parse(
        PATH,
        "alter table app.a add column b int references o (id);\ndrop table x, y;\n"
        "create index i on t (n);\ninsert into s select * from f join g using (n);\n"
        "drop function z();",
    )

    assert file.tables() == {"a", "o", "x", "y", "t", "s", "f", "g"}


def test_the_modes_of_the_outer_begin_are_kept() -> None:
    text = "begin isolation level serializable, deferrable;\nselect 1;\ncommit;"

    assert parse(PATH, text).begin == "ISOLATION LEVEL SERIALIZABLE, DEFERRABLE"


def test_what_only_looks_like_a_directive_is_none() -> None:
    text = "/*\n-- windlass: transaction=off\n*/\nselect '\n-- windlass: phase=after\n';"

    file = parse(PATH, text)

    assert (file.transactional, file.phase) == (True, "before")


def test_what_is_nested_too_deeply_for_the_parser_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested more deeply"):
        parse(tmp_path / "a.sql", "select " + " || ".join(["'a'"] * 200) + ";")
