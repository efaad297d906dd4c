"""A text as statements: postgast finds where each begins and ends, in bytes; people count lines."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2

from ..errors import ConfigError, Place
from .backfill import Backfill
from .depth import too_deep
from .tree import is_autocommit, is_concurrent

EXPECT = re.compile(r"--[ \t]*expect:[ \t]*(?:(none)|(\d+)[ \t]+rows?)[ \t]*$", re.MULTILINE)
ANY_EXPECT = re.compile(r"--[ \t]*expect:.*$", re.MULTILINE)
BLANKS = " \t\n\r\f\v"  # the server's; Python's would take a no-break space off a name
SHOWN = 120  # characters of a parser's message: it quotes the rest of a file
COMMENTS = frozenset({pg_query_pb2.Token.SQL_COMMENT, pg_query_pb2.Token.C_COMMENT})
COPY_DATA = re.compile(r"\bcopy\b[^;]*\bfrom\s+stdin\b[^;]*;", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `sql` is what the server gets, `line` where it starts (1-based)."""

    sql: str
    line: int
    kind: str  # the parser's node name: index_stmt, alter_table_stmt, …
    node: Any  # a protobuf message without type information
    transactional: bool
    concurrent: bool = False  # one of the CONCURRENTLY forms
    expects: int | None = (
        None  # rows, of a verify statement: `-- expect: none`, `-- expect: 3 rows`
    )
    backfill: Backfill | None = None  # runs in batches, each a transaction of its own


def split(path: Path, text: str) -> tuple[Statement, ...]:
    """Return the statements of a text.

    Raises:
        ConfigError: it is no SQL the server takes; with line and column.

    """
    if line := too_deep(text):
        raise _nested(Place(str(path), line))
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError as error:
        tree = _without_comments(path, text, error)
    except DecodeError:
        raise _nested(Place(str(path))) from None
    raw, end, line, statements = text.encode(), 0, 1, []
    for item in tree.stmts:
        start = item.stmt_location
        before = raw[end:start].decode()
        line += before.count("\n")
        end = start + item.stmt_len if item.stmt_len else len(raw)
        kind = str(item.stmt.WhichOneof("node"))
        node = getattr(item.stmt, kind)
        statements.append(
            Statement(
                sql=raw[start:end].decode().strip(BLANKS),
                line=line,
                kind=kind,
                node=node,
                transactional=not is_autocommit(kind, node),
                concurrent=is_concurrent(kind, node),
                expects=_expects(path, before, line),
            )
        )
        line += raw[start:end].count(b"\n")
    return tuple(statements)


def _nested(place: Place) -> ConfigError:
    return ConfigError(
        "an expression is nested more deeply than the parser's messages can be",
        place=place,
        next_step="break it up: some fifty operators or brackets in one another are too many",
    )


def _expects(path: Path, before: str, line: int) -> int | None:
    """Return how many rows the comment between two statements expects; None where it says none."""
    matches = list(ANY_EXPECT.finditer(before))
    if not matches:
        return None
    match = EXPECT.fullmatch(matches[-1][0].rstrip())
    if match is None:
        at = line - before[matches[-1].start() :].count("\n")
        raise ConfigError(
            f'"{matches[-1][0].strip()}" is no expectation',
            place=Place(str(path), at),
            next_step="write -- expect: none, or -- expect: 3 rows; without it rows must be true",
        )
    return 0 if match[1] else int(match[2])


def comments(text: str) -> list[tuple[int, int]]:
    """Return where the comments are, in bytes; none where the text cannot be scanned."""
    try:
        tokens = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return []
    return [(token.start, token.end) for token in tokens if token.token in COMMENTS]


def _without_comments(
    path: Path, text: str, error: postgast.PgQueryError
) -> pg_query_pb2.ParseResult:
    """Parse once more with blanks for comments, byte for byte.

    postgast's grammar refuses a comment in places where the server takes one, such as between NOT
    and IN (libpg_query, issue 365). Where that was not the cause, the first error is raised.
    """
    raw = bytearray(text.encode())
    for start, end in comments(text):
        raw[start:end] = bytes(b if b == ord("\n") else ord(" ") for b in raw[start:end])
    blanked = raw.decode()
    try:
        return postgast.parse(blanked)
    except postgast.PgQueryError as second:
        clear = len(blanked) == len(text)  # else its position counts other characters
        raise _syntax_error(path, text, second if clear else error) from None


def _syntax_error(path: Path, text: str, error: postgast.PgQueryError) -> ConfigError:
    at = max(error.cursorpos - 1, 0)  # 1-based, in characters
    line = text[:at].count("\n") + 1
    begin = text.rfind("\n", 0, at) + 1
    hint = "mend the statement; the dialect is the server's own SQL"
    copy = COPY_DATA.search(text[:at])
    if copy is not None and not _in_a_comment(text, copy.start()):
        hint = "COPY … FROM stdin data does not run here: write INSERT statements"
    elif text[at:].startswith("\\") and error.message.startswith("syntax error"):
        hint = "psql's meta-commands do not run here: write the SQL they run"
    elif text[at:].startswith(":"):
        hint = "psql's :variables do not run here: write the value"
    message = error.message.splitlines()[0]
    message = message if len(message) <= SHOWN else message[:SHOWN] + "…"
    return ConfigError(
        f"{message} (column {at - begin + 1})", place=Place(str(path), line), next_step=hint
    )


def _in_a_comment(text: str, character: int) -> bool:
    at = len(text[:character].encode())
    return any(start <= at < end for start, end in comments(text))
