"""Two forms of one definition: the server prints some otherwise after a dump and a restore.

`x in ('a', 'b')` on a varchar is stored as `(x)::text = any ((array['a'::character varying,
…])::text[])`, and read back from there as `(x)::text = any (array[('a'::character
varying)::text, …])`: the server takes the cast of an ARRAY[…] for a cast of each element. So the
trees of its own parser are compared, with such casts written in one way, and nothing else. Pure.

Source: transformTypeCast in parse_expr.c. Of what tests/test_wording.py sends through pg_dump and
pg_restore, nothing else is printed otherwise on PostgreSQL 13 to 18 (`make matrix`).
"""

from collections.abc import Hashable
from typing import Any

import postgast
from google.protobuf.message import DecodeError, Message
from postgast import pg_query_pb2

from .depth import too_deep

Node = Any  # a protobuf message of postgast's, which come without type information

# Numbers that give positions in the text.
PLACES = frozenset(
    {
        "location",
        "name_location",
        "stmt_location",
        "stmt_len",
        "list_start",
        "list_end",
        "rexpr_list_start",
        "rexpr_list_end",
    }
)
COLUMNS = frozenset({("CreateStmt", "table_elts"), ("CompositeTypeStmt", "coldeflist")})
# A string is the same in each of these, where the type has no length.
STRINGS = frozenset({("text",), ("pg_catalog", "text"), ("pg_catalog", "varchar")})


def equivalent(text: str, other: str, *, any_order: bool = False) -> bool:
    """Tell whether two definitions mean the same, however the server prints them.

    Args:
        text: SQL as pg_dump prints it, one statement or several.
        other: likewise.
        any_order: the columns of a table or composite type may have another order, and so may
            the statements.

    """
    return text == other or meaning(text, any_order=any_order) == meaning(
        other, any_order=any_order
    )


def meaning(text: str, *, any_order: bool = False) -> Hashable:
    """Return a value that is equal for two equivalent definitions; see there.

    The body of a function is a string to the parser, and so equal to itself alone. That goes for
    the whole of a text without a statement, and of one that it does not take: what is no SQL, no
    UTF-8, or nested by more than about 45 levels.
    """
    if too_deep(text):
        return text
    try:
        statements = postgast.parse(text).stmts
    except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
        return text
    for statement in statements:
        _write_one_way(statement, any_order)
    encoded = [_bytes(statement) for statement in statements]
    return tuple(sorted(encoded) if any_order else encoded) or text


def _bytes(node: Node) -> bytes:
    return bytes(node.SerializeToString(deterministic=True))


def _write_one_way(node: Node, any_order: bool) -> None:
    """Change a tree in place until only what it says is left."""
    if isinstance(node, pg_query_pb2.Node) and node.WhichOneof("node") == "type_cast":
        _write_cast(node)
    for field, value in node.ListFields():
        if field.is_repeated:
            for item in value:
                _write_one_way(item, any_order)
            if any_order and (node.DESCRIPTOR.name, field.name) in COLUMNS:
                value.sort(key=_bytes)
        elif isinstance(value, Message):
            _write_one_way(value, any_order)
        elif field.name in PLACES and isinstance(value, int):
            node.ClearField(field.name)


def _write_cast(node: Node) -> None:
    """Write the cast of an array as one of each element, and a string's two casts as one."""
    cast, inner = node.type_cast, node.type_cast.arg
    if (
        inner.HasField("a_array_expr")
        and inner.a_array_expr.elements
        and cast.type_name.array_bounds
    ):
        array = pg_query_pb2.A_ArrayExpr()
        for element in inner.a_array_expr.elements:
            element_cast = array.elements.add().type_cast
            element_cast.arg.CopyFrom(element)
            element_cast.type_name.CopyFrom(cast.type_name)
            if not element.HasField("a_array_expr"):  # one within another is of the same type
                element_cast.type_name.ClearField("array_bounds")
        node.a_array_expr.CopyFrom(array)
    elif _is_string(cast) and inner.HasField("type_cast") and _is_string(inner.type_cast):
        text = inner.type_cast.arg
        if text.HasField("a_const") and text.a_const.HasField("sval"):
            inner.CopyFrom(pg_query_pb2.Node.FromString(_bytes(text)))


def _is_string(cast: Node) -> bool:
    """Tell whether a cast is to text or varchar without a length."""
    name = cast.type_name
    plain = not name.typmods and not name.array_bounds
    return plain and tuple(part.string.sval for part in name.names) in STRINGS
