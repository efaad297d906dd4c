"""SQL whose splitting is a trap: what a migration does is what PostgreSQL's own psql does.

Every text of the corpus is applied by the real program to one database and by the real psql to
another; then pg_dump, with the data, must say the same of both. The corpus is in nasty_sql.py.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgwindlass.database.connection import Database
from pgwindlass.errors import ConfigError
from pgwindlass.parser.file import SqlFile, normalise, parse
from tests.fix_postgres import Server
from tests.kit import Project, tables
from tests.nasty_sql import CASES, LEAVES_NOTHING

pytestmark = pytest.mark.sampled(2)

NAME = "20260801_000000_a"
PATH = Path(f"migrations/{NAME}.sql")
DATABASES = ("nasty_windlass", "nasty_psql")
LEFT_OUT = ("-N", "windlass", "-T", "public.schema_migrations")  # the runner's own


@dataclass(frozen=True)
class Outcome:
    """What `windlass migrate` and psql left of the corpus: pg_dump's entries by their titles."""

    windlass: dict[str, str]
    psql: dict[str, str]


def psql(server: Server, url: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a file as one transaction by the server's own client."""
    return subprocess.run(
        [server.binaries / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f", file, url],
        env={**os.environ, "PGCLIENTENCODING": "UTF8", "PGTZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def dumped(server: Server, url: str) -> dict[str, str]:
    """Return what pg_dump says of a database, data included, by the title of each entry."""
    text = subprocess.run(
        [server.binaries / "pg_dump", *LEFT_OUT, url], capture_output=True, check=True
    ).stdout.decode()
    text = re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)
    title = r"^--\n-- (?:Data for )?Name: (.*; Type: .*; Schema: .*)\n--\n"
    parts = re.split(title, text, flags=re.MULTILINE)
    return {"head": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def of(case: str, entries: dict[str, str]) -> dict[str, str]:
    """Return the entries that name a case's objects, in the title or right behind it."""
    name = re.compile(rf"(?<![a-z_]){case}(?![a-z])")
    return {title: body for title, body in entries.items() if name.search(title + body[:500])}


def parsed(text: str) -> SqlFile:
    return parse(PATH, normalise(text.encode(), PATH))


@pytest.fixture(scope="module")
def outcome(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """Apply the whole corpus, once by each of the two."""
    server = servers(16)
    ours, theirs = (server.url(name) for name in DATABASES)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    project = Project(tmp_path_factory.mktemp("nasty") / "p", ours)
    for number, (case, text) in enumerate(CASES.items()):
        project.migration(f"20260801_{number:06d}_{case}", text)
        file = project.home / f"migrations/20260801_{number:06d}_{case}.sql"
        by_psql = psql(server, theirs, file)
        assert by_psql.returncode == 0, f"psql does not take {case}: {by_psql.stderr}"

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 0, ran.err[-2000:]
    yield Outcome(dumped(server, ours), dumped(server, theirs))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("case", CASES)
def test_a_migration_does_what_psql_does_with_its_text(outcome: Outcome, case: str) -> None:
    ours, theirs = of(case, outcome.windlass), of(case, outcome.psql)

    assert ours == theirs
    assert (theirs == {}) == (case in LEAVES_NOTHING)


def test_the_corpus_leaves_nothing_that_belongs_to_no_case(outcome: Outcome) -> None:
    both = (outcome.windlass, outcome.psql)

    ours, theirs = (
        {k: v for k, v in entries.items() if not any(of(case, {k: v}) for case in CASES)}
        for entries in both
    )

    assert ours == theirs
    assert set(theirs) == {"head"}


@pytest.mark.unit
@pytest.mark.parametrize("case", CASES)
def test_each_statement_stands_at_the_line_it_is_said_to_begin_at(case: str) -> None:
    file = parsed(CASES[case])
    lines = file.text.split("\n")

    for statement in file.statements:
        assert statement.sql.split("\n")[0] in lines[statement.line - 1]


@pytest.mark.unit
def test_a_file_of_all_cases_is_split_as_each_alone() -> None:
    texts = [text for case, text in CASES.items() if not case.startswith("outer_")]

    together = parsed("\n;\n".join(text.removeprefix("\ufeff") for text in texts)).statements

    alone = [statement.sql for text in texts for statement in parsed(text).statements]
    assert [statement.sql for statement in together] == alone
    assert len(alone) > 2_150


@pytest.mark.parametrize(
    "text",
    [
        "select 'a' -- it's; between\n  'b'",
        "select 'a'\n-- between\n-- the two\n'b'",
        "select U&'!0061' /* ; */ uescape '!'",
        "select U&'!0061' uescape -- ;\n'!'",
        "select 1 where 1 not /* ; */ in (2)",
        "select 1 where 1 not -- ;\n between 2 and 3",
        "select 'a' not /* ; */ like 'b' or 'a' not /* ; */ ilike 'b'",
        "select 'a' not /* ; */ similar to 'b'",
        "select 1 order by 1 nulls /* ; */ first",
        "select 1 order by 1 nulls -- ;\n last",
        "select '10:00'::time with /* ; */ time zone, '10:00'::time without -- ;\n time zone",
        "select * from unnest(array[1]) with /* ; */ ordinality",
        "select 1 is /* ; */ not /* ; */ null and not /* ; */ true",
        "with x as not /* ; */ materialized (select 1 /* ; */) select -- ;\n * from x",
    ],
)
def test_a_comment_may_stand_wherever_the_server_takes_one(server16: Server, text: str) -> None:
    with psycopg.connect(server16.url()) as connection:
        connection.execute(text.encode())

    assert [statement.sql for statement in parsed(f"{text};\nselect 1;").statements] == [
        text,
        "select 1",
    ]


def test_a_continued_string_keeps_its_escapes_where_psql_loses_them(server16: Server) -> None:
    text = "select E'a'\n'\\';'"
    with psycopg.connect(server16.url()) as connection:
        assert connection.execute(text.encode()).fetchall() == [("a';",)]

    assert [statement.sql for statement in parsed(f"{text};\nselect 2;").statements] == [
        text,
        "select 2",
    ]


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        "begin/* ; */;\nselect 1;\ncommit;",
        "begin--;\n;\nselect 1;\nend/**/transaction--;\n;",
        "/* ; */begin;--\nselect 1;/**/commit/* ; */",
        "start/**/transaction;\nselect 1;\ncommit/**/and/**/no/**/chain",
    ],
)
def test_a_comment_may_touch_the_outer_begin_and_commit(text: str) -> None:
    assert [statement.sql for statement in parsed(text).statements] == ["select 1"]


@pytest.mark.unit
def test_a_directive_is_a_comment_and_not_a_line_inside_something_else() -> None:
    body = "create function f() returns text language sql as $$\n-- windlass: what\nselect 'a' $$"
    text = f"/*\n-- windlass: transaction=off\n*/\n{body};\nselect '\n-- windlass: phase=after\n';"

    file = parsed(text)

    assert file.transactional
    assert file.phase == "before"
    assert [statement.line for statement in file.statements] == [4, 7]


@pytest.mark.unit
def test_line_ends_of_windows_in_a_string_are_one_character_wherever_it_was_checked_out() -> None:
    windows = parsed("select 'a\r\nb', $$\r\n;\r\n$$;\r\nselect 2;")

    assert [statement.sql for statement in windows.statements] == [
        "select 'a\nb', $$\n;\n$$",
        "select 2",
    ]


@pytest.mark.parametrize(
    ("begin", "level"),
    [
        ("begin isolation level serializable;", "serializable"),
        ("begin; set transaction isolation level repeatable read;", "repeatable read"),
        ("start transaction read only;", "of a transaction that makes no table"),
    ],
)
def test_what_the_outer_begin_asks_for_holds_or_is_refused(
    tmp_path: Path, database16: Database, begin: str, level: str
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration(
        NAME, f"{begin} create table t as select current_setting('transaction_isolation'); end;"
    )

    ran = project.run("migrate", "--env", "dev")

    if ran.code:
        assert f"{PATH}:1: " in ran.error()[0]
    else:
        with psycopg.connect(project.url) as connection:
            assert connection.execute("table t").fetchall() == [(level,)]


def test_what_a_dry_run_prints_is_sql_that_psql_takes(
    tmp_path: Path, server16: Server, database16: Database
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration("20260101_000000_first", "")
    assert project.run("migrate", "--env", "dev").code == 0
    project.migration(NAME, "create table a (i int) -- it's\n;\ncreate table b (i int) -- ; end")

    dry = project.run("migrate", "--env", "dev", "--dry-run")
    (tmp_path / "dry.sql").write_text(dry.out)
    by_psql = psql(server16, project.url, tmp_path / "dry.sql")

    assert by_psql.returncode == 0, by_psql.stderr
    assert tables(project.url) == {"a", "b", "schema_migrations"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "select '🦄', 'é';\nselect\n '日本;語' as 名,\n '👩\u200d👧' || nothing;\n",
            4,
            '"nothing"',
        ),
        ("\ufeffselect 1;\r\nselect\r\n  '%s',\r\n  nothing;\r\n", 4, '"nothing"'),
        ("-- é\r/* ;\r*/ select 1;\rselect\r  nothing;\r", 5, '"nothing"'),
        ("select '🦄';\n/* ;\n*/ select 1 % 0;\n", 3, "division by zero"),
        (
            "select '🦄';\ncreate function f() returns int language sql as $$\n"
            "  select 'é';\n  selec 1;\n$$;\n",
            4,
            'syntax error at or near "selec"',
        ),
    ],
)
def test_what_the_server_refuses_is_found_at_its_line(
    tmp_path: Path, database16: Database, text: str, line: int, words: str
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration(NAME, text)

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 1
    assert ran.error()[0].startswith(f"✗ migrate: {PATH}:{line}: ")
    assert words in ran.error()[0]


META = "psql's meta-commands do not run here"
VARIABLE = "psql's :variables do not run here"
COPY = "write INSERT statements"
TRANSACTION = "split the file where two transactions are meant"
MEND = "mend the statement"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "line", "words", "next_step"),
    [
        ("select 1;\nselect 'open;\n", 2, "unterminated quoted string", MEND),
        ("select 1;\nselect E'open\\';\n", 2, "unterminated quoted string", MEND),
        ('select 1;\n\nselect "open;\n', 3, "unterminated quoted identifier", MEND),
        ("select 1;\ndo $a$ begin end $b$;\n", 2, "unterminated dollar-quoted string", MEND),
        ("select 1;\n/* a /* b */ ;\n", 2, "unterminated /* comment", MEND),
        ("select B'1;\n", 1, "unterminated bit string literal", MEND),
        ("select 1;\nselect U&'\\zzzz';\n", 2, "invalid Unicode escape (column 11)", MEND),
        ("\\i other.sql\n", 1, 'at or near "\\" (column 1)', META),
        ("select 1;\n\\set x 1\n", 2, 'at or near "\\" (column 1)', META),
        ("select 'é' as a \\gexec\n", 1, 'at or near "\\" (column 17)', META),
        ("select 1\\; select 2;\n", 1, 'at or near "\\" (column 9)', META),
        ("\\restrict a\nselect 1;\n", 1, 'at or near "\\" (column 1)', META),
        ("select 1;\nselect :var;\n", 2, 'at or near ":" (column 8)', VARIABLE),
        ("select '🦄',\n :'var';\n", 2, 'at or near ":" (column 2)', VARIABLE),
        ('select *\nfrom :"var";\n', 2, 'at or near ":" (column 6)', VARIABLE),
        ("copy t from stdin;\n1\t2\n\\.\n", 2, 'at or near "1" (column 1)', COPY),
        ("select 1;\ncopy t FROM\n stdin;\nа\tb\n\\.\n", 4, 'at or near "а" (column 1)', COPY),
        ("copy t from stdin;\n\\.\n", 2, 'at or near "\\" (column 1)', COPY),
        ("copy t from stdin;\nselect 1;\n", 1, "COPY … FROM stdin does not run here", COPY),
        (
            "select 1;\nCOPY t (a,b) FROM STDIN WITH (FORMAT csv);\n",
            2,
            "COPY … FROM stdin does not run here",
            COPY,
        ),
        ("copy t (a,b) from stdin with (format csv);\n1,2\n\\.\n", 2, "syntax error", COPY),
        ("select 1;\ncopy t to stdout;\n", 2, "COPY", ""),
        ("select 1;\ncopy (select 1) to stdout (format csv);\n", 2, "COPY", ""),
        ("-- copied from stdin\nselec 1;\n", 2, 'at or near "selec" (column 1)', MEND),
        (
            "begin;\nselect 1;\nROLLBACK;\nselect 2;\ncommit;\n",
            3,
            "ROLLBACK in the mid",
            TRANSACTION,
        ),
        ("begin;\nselect 1;\nrollback;\n", 3, "ROLLBACK", ""),
        ("begin;\nselect 1;\nabort work;\n", 3, "ABORT", ""),
        ("select 1;\nprepare transaction 'a';\n", 2, "PREPARE in the middle", TRANSACTION),
        ("begin;\nselect 1;\nprepare transaction 'a';\n", 3, "PREPARE", ""),
        ("begin;\nselect 1;\ncommit and chain;\nselect 2;\ncommit;\n", 3, "COMMIT", TRANSACTION),
        ("begin;\nselect 1;\ncommit and chain;\n", 3, "COMMIT", ""),
        ("begin;\nselect 1;\nend work and chain;\n", 3, "END", ""),
        ("begin;\nselect 1;\ncommit prepared 'a';\n", 3, "COMMIT", ""),
        ("begin;\nbegin;\nselect 1;\ncommit;\ncommit;\n", 2, "BEGIN in the middle", TRANSACTION),
        ("select 'é🦄日本', $é$;🦄$é$;\nselec 2;\n", 2, 'near "selec" (column 1)', MEND),
        ("/* 日本;\n語 */ select 'ß', selec from;\n", 2, 'near ";" (column 28)', MEND),
        ("-- 🦄🦄\n\n  select '🦄🦄' 🦄 🦄;\n", 3, 'near "🦄" (column 17)', MEND),
        ("\ufeff-- é\r\nselect 'é';\r\n\r\n selec;\r\n", 4, 'near "selec" (column 2)', MEND),
        ("select 1;\r-- é\rselec;\r", 3, 'near "selec" (column 1)', MEND),
        ("select 1;\n\ufeffselect 2;\n", 2, "syntax error at or near", MEND),
        (
            "create function f() returns int begin atomic\n select 'ß;';\n selec 2;\nend",
            3,
            'near "selec" (column 2)',
            MEND,
        ),
    ],
)
def test_what_the_server_would_not_take_is_refused_with_its_line(
    text: str, line: int, words: str, next_step: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)

    assert caught.value.what.startswith(f"{PATH}:{line}: ")
    assert words in caught.value.what
    assert next_step in caught.value.next_step
    assert caught.value.exit_code == 2


@pytest.mark.unit
@pytest.mark.parametrize("quote", ["'", '"', "$a$", "/*", "E'"])
def test_what_is_open_to_the_end_of_the_file_does_not_put_the_file_into_the_message(
    quote: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(f"select 1;\nselect {quote}open;\n" + "select 2;\n" * 1_000)

    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 300


@pytest.mark.unit
@pytest.mark.parametrize(
    ("raw", "line", "words"),
    [
        (b"select 1;\nselect '\0';\n", 2, "holds a NUL byte"),
        (b"\0", 1, "holds a NUL byte"),
        (b"select 1;\r\n\r\nselect 2; -- \0", 3, "holds a NUL byte"),
        (b"select 1;\nselect '\xff';\n", 2, "not UTF-8: byte 0xff"),
        ("-- a\n-- é\n".encode("latin-1"), 2, "not UTF-8: byte 0xe9"),
        ("select '–';".encode("cp1252"), 1, "not UTF-8: byte 0x96"),
        (b"select 1;\n\n-- \xc3", 3, "not UTF-8: byte 0xc3"),
        (b"-- \xed\xa0\xbe\xed\xb6\x84", 1, "not UTF-8: byte 0xed"),
        (b"-- a\n-- \xc0\x80", 2, "not UTF-8: byte 0xc0"),
        (b"select 1;\r\rselect '\xff';", 3, "not UTF-8: byte 0xff"),
        ("select 1;\n".encode("utf-16"), 1, "not UTF-8: byte 0xff"),
        ("\ufeffselect 1;\n".encode("utf-16-be"), 1, "not UTF-8: byte 0xfe"),
        ("select 1;\n".encode("utf-16-le"), 1, "holds a NUL byte"),
        ("select 1;\n".encode("utf-16-be"), 1, "holds a NUL byte"),
        ("select 1;\n".encode("utf-32"), 1, "not UTF-8: byte 0xff"),
    ],
)
def test_bytes_that_no_server_takes_are_refused_with_their_line(
    raw: bytes, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        normalise(raw, PATH)

    assert caught.value.what.startswith(f"{PATH}:{line}: ")
    assert words in caught.value.what
    assert caught.value.exit_code == 2
