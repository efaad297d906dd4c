"""A statement of a backfill with a range of its key, through the parser's tree. Pure.

The tree gets the range as one more condition and is written out again; what was written is parsed,
and must be that tree. Else it is refused: no text is sent that the parser reads otherwise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2

from ..errors import ConfigError, Place
from .backfill import Split
from .equivalence import PLACES
from .split import Statement

Node = Any  # a protobuf message of postgast's, which come without type information


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A column of the key, and its type in pg_catalog: int8, uuid, text, timestamptz, …"""

    name: str
    type: str


def quoted(name: str) -> str:
    """Return a name as SQL has it, in quotes."""
    return '"' + name.replace('"', '""') + '"'


def condition(split: Split, key: tuple[KeyColumn, ...], *, lower: bool) -> str:
    """Return the range as SQL: above $1…, where `lower`, and up to the parameters behind.

    Values are given as text and cast, which no type here loses anything by.
    """
    columns = [f"{quoted(split.alias)}.{quoted(column.name)}" for column in key]
    first = f"{_row(columns)} operator(pg_catalog.>) {_row(_values(key, 0))} and " if lower else ""
    behind = _values(key, len(key) if lower else 0)
    return f"{first}{_row(columns)} operator(pg_catalog.<=) {_row(behind)}"


def _values(key: tuple[KeyColumn, ...], before: int) -> list[str]:
    return [
        f"${number}::pg_catalog.text::pg_catalog.{quoted(column.type)}"
        for number, column in enumerate(key, start=before + 1)
    ]


def _row(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"row({', '.join(parts)})"


def ranged(
    path: Path, statement: Statement, split: Split, key: tuple[KeyColumn, ...], *, lower: bool
) -> str:
    """Return the statement with a range of its key.

    Args:
        path: of the file, for messages.
        statement: what is split.
        split: where the range goes in it.
        key: the columns of the key, in their order.
        lower: whether the range has a lower bound, which is not in it; $1… are its values.

    Raises:
        ConfigError: the parser would not read it as it was meant.

    """
    asked = _parsed(f"select where {condition(split, key, lower=lower)}")
    added = asked.stmts[0].stmt.select_stmt.where_clause
    parsed = _parsed(statement.sql)
    node = getattr(parsed.stmts[0].stmt, statement.kind)
    holder = node.select_stmt.select_stmt if statement.kind == "insert_stmt" else node
    both = pg_query_pb2.Node()
    both.bool_expr.boolop = pg_query_pb2.BoolExprType.AND_EXPR
    before = [holder.where_clause] if holder.HasField("where_clause") else []
    both.bool_expr.args.extend([added, *before])
    if len(both.bool_expr.args) == 1:
        both = pg_query_pb2.Node.FromString(added.SerializeToString())
    holder.where_clause.CopyFrom(both)
    text = str(postgast.deparse(parsed))
    if _bytes(_parsed(text)) != _bytes(parsed):
        raise ConfigError(
            "this statement cannot be split into batches: the parser does not read it back as it "
            "wrote it",
            place=Place(str(path), statement.line),
            next_step="write it in a simpler form",
        )
    return text


def _parsed(text: str) -> Node:
    return postgast.parse(text)


def _bytes(tree: Node) -> bytes:
    """Return what a tree says: without positions, and each chain of ANDs as one."""
    copy = pg_query_pb2.ParseResult.FromString(tree.SerializeToString())
    _plain(copy)
    return bytes(copy.SerializeToString(deterministic=True))


def _plain(node: Node) -> None:
    if isinstance(node, pg_query_pb2.Node) and _is_and(node):
        flat = list(_chain(node))
        del node.bool_expr.args[:]
        node.bool_expr.args.extend(flat)
    for field, value in node.ListFields():
        if field.name in PLACES and isinstance(value, int):
            node.ClearField(field.name)
        elif isinstance(value, Message):
            _plain(value)
        elif field.message_type is not None:
            for item in value:
                _plain(item)


def _chain(node: Node) -> list[Node]:
    """Return the conditions of a chain of ANDs, however it is nested; copies."""
    if not _is_and(node):
        return [pg_query_pb2.Node.FromString(node.SerializeToString())]
    return [each for arg in node.bool_expr.args for each in _chain(arg)]


def _is_and(node: Node) -> bool:
    and_ = pg_query_pb2.BoolExprType.AND_EXPR
    return node.WhichOneof("node") == "bool_expr" and bool(node.bool_expr.boolop == and_)
