"""A migration file is split, checked and refused as the server and the runner need it."""

from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.errors import ConfigError
from pgwindlass.parser.file import Allowed, checksum_of, normalise, parse, require_one_way

pytestmark = pytest.mark.unit

PATH = Path("migrations/20260801_000000_a.sql")


def kinds(text: str) -> list[str]:
    return [statement.kind for statement in parse(PATH, text).statements]


def test_the_outer_begin_and_commit_are_the_runners_own() -> None:
    file = parse(PATH, "BEGIN;\ncreate table t (i int);\nselect 1;\nCOMMIT;\n")

    assert [s.sql for s in file.statements] == ["create table t (i int)", "select 1"]
    assert [s.line for s in file.statements] == [2, 3]
    assert file.transactional


OWNED = (
    "remove the line; lock: in deploy.yml sets how long a statement may wait, and -- windlass: "
    "lock_timeout=2s in the head of the file for this file alone"
)
TOGETHER = "the file; the script and its history row must commit together"
ONE_TRANSACTION = (
    "keep one BEGIN at the start and one COMMIT at the end, or none; split the file where two "
    "transactions are meant"
)
ALONE = (
    "give it a migration of its own, or write -- windlass: transaction=off when every statement "
    "may be found half done"
)
DIRECTIVES = (
    "known are: transaction=off, phase=before, phase=after, lock_timeout=2s, "
    "statement_timeout=10m, allow RULE REASON, irreversible REASON, "
    "backfill table=T [key=INDEX] [batch=500ms] [on_error=skip] [as=job]"
)


@pytest.mark.parametrize(
    ("text", "what", "next_step"),
    [
        (
            "select 1;\nCOMMIT;\nselect 2;\n",
            f"2: COMMIT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "BEGIN;\nselect 1;\n",
            f"1: BEGIN without a COMMIT at the end of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        ("begin", f"1: BEGIN without a COMMIT at the end of {TOGETHER}", ONE_TRANSACTION),
        (
            "BEGIN;\nselect 1;\nSAVEPOINT a;\nCOMMIT;\n",
            f"3: SAVEPOINT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "begin;\nselect 1;\ncommit;\nbegin;\nselect 2;\n",
            f"3: COMMIT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "begin;\nselect 1;\ncommit;\nselect 2;",
            f"3: COMMIT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "begin;\nbegin;\nselect 1;\ncommit;",
            f"2: BEGIN in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "begin;\nselect 1;\ncommit and chain;",
            f"3: COMMIT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "-- windlass: transaction=off\nbegin;\nselect 1;\ncommit;",
            f"4: COMMIT in the middle of {TOGETHER}",
            ONE_TRANSACTION,
        ),
        (
            "set lock_timeout = '1s';",
            "1: the file sets lock_timeout, which the runner owns",
            OWNED,
        ),
        ("select 1;\nreset all;", "2: the file sets every setting, which the runner owns", OWNED),
        ("selec 2;", '1: syntax error at or near "selec" (column 1)', None),
        (
            "copy t to stdout;",
            "1: COPY … TO stdout does not run here",
            "take the statement out",
        ),
        (
            "copy t from stdin;\n",
            "1: COPY … FROM stdin does not run here",
            "write INSERT statements",
        ),
        (
            "create index concurrently on t (a);",
            "1: an index built concurrently needs a name: after a run that was cut off, the next "
            "one looks for it",
            "write CREATE INDEX CONCURRENTLY name ON …",
        ),
        (
            "\nbegin;\ncreate index concurrently i on t (a);\ncommit;",
            "2: BEGIN … COMMIT around a statement that cannot run in a transaction",
            "take the BEGIN and the COMMIT out",
        ),
        (
            "begin read only;\nselect 1;\ncommit;",
            "1: READ ONLY, and the history row must be written",
            "take READ ONLY out",
        ),
        (
            "select 1;\n-- windlass: phase=after\nselect 2;",
            "2: this directive is for the whole file, and is below its first statement",
            "move it to the head of the file",
        ),
        (
            "insert into t values (1);\nvacuum t;",
            "2: this statement cannot run in a transaction, and the file has another one that "
            "should not be found half done (line 1)",
            ALONE,
        ),
        (
            "-- windlass: phase=later\nselect 1;",
            '1: unknown directive "phase=later"',
            DIRECTIVES,
        ),
        (
            "\n-- windlass: phase=before phases=after\nselect 1;",
            '2: unknown directive "phases=after"',
            DIRECTIVES,
        ),
        ("-- windlass: transaction\nselect 1;", '1: unknown directive "transaction"', DIRECTIVES),
        (
            "-- windlass: allow truncate\ntruncate t;",
            "1: allow truncate has no reason",
            "write why: -- windlass: allow truncate REASON",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(
    text: str, what: str, next_step: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(PATH, text)

    assert caught.value.what == f"{PATH}:{what}"
    assert next_step is None or caught.value.next_step == next_step
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("key", ["lock_timeout", "statement_timeout"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("fast", '{key}: "fast" is not a duration; expected one such as 500ms, 5s, 5m or 24h'),
        ("0s", "{key}=0s would wait for ever"),
    ],
)
def test_a_timeout_that_is_none_is_refused(key: str, value: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(PATH, f"-- windlass: {key}={value}\nselect 1;")

    assert caught.value.what == f"{PATH}: {what.format(key=key)}"
    repair = f"-- windlass: {key}=2s"
    assert caught.value.next_step == (repair if value == "fast" else f"give it an end: {repair}")


def test_the_directives_of_a_head_are_for_the_whole_file() -> None:
    file = parse(
        PATH,
        "-- windlass: phase=after transaction=off\n"
        "  --windlass:lock_timeout=2s\n"
        "-- windlass: statement_timeout=10m\n"
        "select 1;",
    )

    assert (file.phase, file.transactional) == ("after", False)
    assert (file.lock_timeout, file.statement_timeout) == (Duration(2), Duration(600))
    assert file.path == PATH
    assert file.text.endswith("select 1;")


def test_a_file_says_why_nothing_undoes_it() -> None:
    file = parse(PATH, "-- windlass: irreversible an enum loses no value\nselect 1;")

    assert file.irreversible == "an enum loses no value"
    require_one_way(file, None)
    with pytest.raises(ConfigError, match="says that it is irreversible, and has a rollback"):
        require_one_way(file, "")
    with pytest.raises(ConfigError, match="irreversible has no reason"):
        parse(PATH, "-- windlass: irreversible\nselect 1;")


def test_without_directives_a_file_runs_before_the_restart_in_a_transaction() -> None:
    file = parse(PATH, "-- windlass: phase=before\nselect 1;")

    assert (file.phase, file.transactional) == ("before", True)
    assert (file.lock_timeout, file.statement_timeout, file.begin) == (None, None, "")
    assert file.allowed == ()


def test_a_short_timeout_is_one() -> None:
    assert parse(PATH, "-- windlass: lock_timeout=1ms\nselect 1;").lock_timeout == Duration(0.001)


def test_an_allowance_is_for_the_next_statement_and_in_the_head_for_the_file() -> None:
    text = (
        "-- windlass: allow every-row it is small\n"
        "select 1;\n"
        "-- windlass: allow truncate é  it is a cache \n"
        "-- why\n"
        "truncate t;\n"
        "-- windlass: allow cluster nothing below\n"
    )

    assert parse(PATH, text).allowed == (
        Allowed("every-row", "it is small", 1, 0),
        Allowed("truncate", "é  it is a cache", 3, 5),
        Allowed("cluster", "nothing below", 6, 0),
    )


def test_an_allowance_in_a_file_without_statements_is_for_the_file() -> None:
    assert parse(PATH, "-- windlass: allow truncate why\n").allowed == (
        Allowed("truncate", "why", 1, 0),
    )


@pytest.mark.parametrize(
    ("allowed", "covered"),
    [
        (Allowed("truncate", "why", 1, 0), True),
        (Allowed("truncate", "why", 1, 7), True),
        (Allowed("truncate", "why", 1, 8), False),
        (Allowed("cluster", "why", 1, 0), False),
        (Allowed("cluster", "why", 1, 7), False),
    ],
)
def test_an_allowance_covers_its_rule_and_its_statement(allowed: Allowed, covered: bool) -> None:
    assert allowed.covers("truncate", 7) is covered


def test_the_functions_of_a_file_are_those_it_calls_outside_of_inserts() -> None:
    file = parse(PATH, "select a(1), s.b();\ninsert into t values (c());\nselect d;")

    assert file.functions() == {"a", "b"}


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
    ("raw", "text"),
    [
        (b"a\nb", "a\nb"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"\xef\xbb\xbfa\xc3\xa9", "aé"),
        (b"", ""),
    ],
)
def test_a_text_has_line_feeds_and_no_byte_order_mark(raw: bytes, text: str) -> None:
    assert normalise(raw, PATH) == text


@pytest.mark.parametrize(
    ("raw", "what", "next_step"),
    [
        (b"\xff", "1: not UTF-8: byte 0xff", "save the file as UTF-8"),
        (b"select 1;\r\n\r'\xc3\x28';\n", "3: not UTF-8: byte 0xc3", "save the file as UTF-8"),
        (b"a\x0a\x0b\x00\n", "2: holds a NUL byte", "remove it"),
        (b"\0", "1: holds a NUL byte", "remove it"),
        (b"a\n\0\n\0", "2: holds a NUL byte", "remove it"),
    ],
)
def test_bytes_that_are_no_text_are_refused(raw: bytes, what: str, next_step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        normalise(raw, PATH)

    assert caught.value.what == f"{PATH}:{what}"
    assert caught.value.next_step == next_step


def test_a_checksum_is_a_sha_256_with_its_name() -> None:
    assert checksum_of("é") == (
        "sha256:4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
    )


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


@pytest.mark.parametrize(
    "text",
    [
        "select 1; -- windlass: phase=after\nselect 2;",
        "select 1\n;-- windlass: phase=after\nselect 2;",
    ],
)
def test_a_directive_stands_in_a_line_of_its_own(text: str) -> None:
    assert parse(PATH, text).phase == "before"


def test_a_file_of_directives_alone_has_them() -> None:
    file = parse(PATH, "\n-- windlass: phase=after\n")

    assert (file.phase, file.statements) == ("after", ())


def test_the_value_of_a_directive_begins_at_its_first_equals_sign() -> None:
    with pytest.raises(ConfigError, match='lock_timeout: "1s=2s" is not a duration'):
        parse(PATH, "-- windlass: lock_timeout=1s=2s\nselect 1;")


def test_a_begin_and_a_commit_alone_are_no_statement() -> None:
    assert parse(PATH, "begin;\ncommit;").statements == ()
