"""A migration file as text: header, statements with their lines, what may run in a transaction.

The one module that knows postgast, PostgreSQL's own parser. The dialect is what the server takes:
psql's meta-commands, variables and inline COPY data are refused, with the line.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import postgast

from ci.errors import ConfigError
from ci.model import Phase

DIRECTIVE = re.compile(r"^\s*--\s*windlass:\s*(.*)$")
ALLOW = re.compile(r"allow\s+([a-z-]+)\s*(.*)")
EXPECT_NONE = re.compile(r"--\s*expect:\s*none\s*$", re.MULTILINE)

# Statements that the server refuses inside a transaction block, by node; the concurrent forms are
# found by their flags below. Source: PreventInTransactionBlock's callers in utility.c.
AUTOCOMMIT_NODES = frozenset({
    "alter_system_stmt", "createdb_stmt", "dropdb_stmt", "create_table_space_stmt",
    "drop_table_space_stmt", "create_subscription_stmt", "drop_subscription_stmt",
})  # fmt: skip

# The runner owns these: a file that sets them would undo what keeps bystanders from waiting.
OWNED_SETTINGS = frozenset({
    "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout",
    "transaction_timeout", "standard_conforming_strings",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `sql` is what the server gets, `line` where it starts (1-based)."""

    sql: str
    line: int
    kind: str  # the parser's node name: index_stmt, alter_table_stmt, …
    node: Any  # a protobuf message without type information
    transactional: bool
    expects_none: bool  # `-- expect: none` stands before it


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A parsed file. `statements` leaves out the outer BEGIN and COMMIT: the runner has its own."""

    path: Path
    text: str
    checksum: str
    phase: Phase
    transactional: bool
    allowed: tuple[tuple[str, str], ...]  # (lint rule, reason)
    statements: tuple[Statement, ...]


def normalise(raw: bytes, path: Path) -> str:
    """Return the text with LF line ends and without byte-order mark; what checksums are made of.

    Raises:
        ConfigError: it is not UTF-8, or holds a NUL, which no statement can.

    """
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8: byte 0x{raw[error.start]:02x}",
            next_step="save the file as UTF-8",
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError(f"{path}:{line}: holds a NUL byte", next_step="remove it")
    return text


def checksum_of(text: str) -> str:
    """Return the checksum of a normalised text, with the algorithm's name."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def parse(path: Path, text: str) -> SqlFile:
    """Return the parsed file.

    Raises:
        ConfigError: it is no SQL the server takes, or mixes what cannot run together; with line.

    """
    directives, allowed = _directives(path, text)
    statements = _unwrap(path, _statements(path, text), off=directives.get("transaction") == "off")
    for statement in statements:
        _refuse_owned(path, statement)
    transactional = _transactional(path, statements, directives)
    return SqlFile(
        path=path,
        text=text,
        checksum=checksum_of(text),
        phase="after" if directives.get("phase") == "after" else "before",
        transactional=transactional,
        allowed=allowed,
        statements=statements,
    )


def _directives(path: Path, text: str) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    values = {"transaction": ("off",), "phase": ("before", "after")}
    found: dict[str, str] = {}
    allowed: list[tuple[str, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        match = DIRECTIVE.match(line)
        if match is None:
            continue
        if allow := ALLOW.fullmatch(match[1].strip()):
            if not allow[2]:
                raise ConfigError(
                    f"{path}:{number}: allow {allow[1]} has no reason",
                    next_step=f"write why: -- windlass: allow {allow[1]} REASON",
                )
            allowed.append((allow[1], allow[2]))
            continue
        for pair in match[1].split():
            key, _, value = pair.partition("=")
            if value not in values.get(key, ()):
                raise ConfigError(
                    f'{path}:{number}: unknown directive "{pair}"',
                    next_step="known are: transaction=off, phase=before, phase=after, "
                    "allow RULE REASON",
                )
            found[key] = value
    return found, tuple(allowed)


def _statements(path: Path, text: str) -> tuple[Statement, ...]:
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError as error:
        raise _syntax_error(path, text, error) from None
    raw, end, found = text.encode(), 0, []
    for item in tree.stmts:
        start = item.stmt_location
        before = raw[end:start].decode()
        end = start + item.stmt_len if item.stmt_len else len(raw)
        kind = str(item.stmt.WhichOneof("node"))
        node = getattr(item.stmt, kind)
        found.append(
            Statement(
                sql=raw[start:end].decode().strip(),
                line=raw[:start].count(b"\n") + 1,
                kind=kind,
                node=node,
                transactional=not _autocommit(kind, node),
                expects_none=bool(EXPECT_NONE.search(before)),
            )
        )
    return tuple(found)


def _syntax_error(path: Path, text: str, error: postgast.PgQueryError) -> ConfigError:
    at = max(error.cursorpos - 1, 0)  # 1-based, in characters
    line = text[:at].count("\n") + 1
    rest = text[at:]
    hint = "mend the statement; the dialect is the server's own SQL"
    if rest.startswith("\\"):
        hint = "psql's meta-commands do not run here: write the SQL they stand for"
    elif rest.startswith(":"):
        hint = "psql's :variables do not run here: write the value"
    elif re.search(r"from\s+stdin\b", text[:at], re.IGNORECASE):
        hint = "COPY … FROM stdin data does not run here: write INSERT statements"
    return ConfigError(f"{path}:{line}: {error.message}", next_step=hint)


def _autocommit(kind: str, node: Any) -> bool:  # noqa: ANN401  # a protobuf message
    if kind in AUTOCOMMIT_NODES:
        return True
    if kind in ("index_stmt", "drop_stmt"):
        return bool(node.concurrent)
    if kind == "vacuum_stmt":
        return bool(node.is_vacuumcmd)  # ANALYZE shares the node, and may run anywhere
    if kind == "reindex_stmt":
        named = {param.def_elem.defname for param in node.params}
        return "concurrently" in named or not node.HasField("relation")  # SCHEMA, DATABASE, SYSTEM
    if kind == "alter_table_stmt":
        return any(
            cmd.alter_table_cmd.HasField("def")
            and getattr(cmd.alter_table_cmd, "def").partition_cmd.concurrent
            for cmd in node.cmds
        )
    return kind == "cluster_stmt" and not node.HasField("relation")


def _unwrap(path: Path, statements: tuple[Statement, ...], *, off: bool) -> tuple[Statement, ...]:
    """Take the outer BEGIN … COMMIT off; refuse a transaction command anywhere else."""
    kinds = [_transaction_kind(s) for s in statements]
    if not off and len(kinds) >= 2 and kinds[0] == "BEGIN" and kinds[-1] == "COMMIT":
        statements, kinds = statements[1:-1], kinds[1:-1]
    for statement, kind in zip(statements, kinds, strict=True):
        if kind:
            raise ConfigError(
                f"{path}:{statement.line}: {statement.sql.split()[0].upper()} in the middle of "
                "the file; the script and its history row must commit together",
                next_step="keep one BEGIN at the start and one COMMIT at the end, or none; "
                "split the file where two transactions are meant",
            )
    return statements


def _transaction_kind(statement: Statement) -> str:
    if statement.kind != "transaction_stmt":
        return ""
    first = statement.sql.split()[0].upper()
    return {"START": "BEGIN", "END": "COMMIT"}.get(first, first)


def _refuse_owned(path: Path, statement: Statement) -> None:
    if statement.kind == "variable_set_stmt" and statement.node.name in OWNED_SETTINGS:
        raise ConfigError(
            f"{path}:{statement.line}: the file sets {statement.node.name}, which the runner owns",
            next_step="remove the line; lock: in deploy.yml sets how long a statement may wait",
        )
    if statement.kind == "copy_stmt" and statement.node.is_from and not statement.node.filename:
        raise ConfigError(
            f"{path}:{statement.line}: COPY … FROM stdin does not run here",
            next_step="write INSERT statements",
        )


def _transactional(
    path: Path, statements: tuple[Statement, ...], directives: dict[str, str]
) -> bool:
    if directives.get("transaction") == "off":
        return False
    outside = [s for s in statements if not s.transactional]
    if outside and len(statements) > len(outside):
        raise ConfigError(
            f"{path}:{outside[0].line}: this statement cannot run in a transaction, and others "
            "stand beside it",
            next_step="give it a migration of its own, or write -- windlass: transaction=off "
            "when every statement may be found half done",
        )
    return not outside
