"""What the parser's nodes call things: tables, types, columns, constraints. Pure."""

from collections.abc import Iterable

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import FuncCall

from ..parser.tree import Node
from .catalog import BUILTIN, TEMPORARY, Catalog, CatalogColumn, Key

SERIAL = {
    "serial": "int4",
    "serial4": "int4",
    "bigserial": "int8",
    "serial8": "int8",
    "smallserial": "int2",
    "serial2": "int2",
}
HEADER = 4  # bytes by which pg_attribute.atttypmod of varchar and numeric is more than is written
WITH_HEADER = frozenset({"varchar", "bpchar"})


def key_of(relation: Node, catalog: Catalog) -> Key:
    """Return which table a RangeVar means."""
    return catalog.key(str(relation.schemaname), str(relation.relname))


def new_key(relation: Node, catalog: Catalog) -> Key:
    """Return where a table is created."""
    if str(relation.relpersistence) == "t":
        return TEMPORARY, str(relation.relname)
    return str(relation.schemaname) or catalog.home, str(relation.relname)


def texts(items: Iterable[Node]) -> tuple[str, ...]:
    """Return a list of names."""
    return tuple(str(item.string.sval) for item in items)


def contype(constraint: Node) -> str:
    """Return what a constraint is: CONSTR_CHECK, …"""
    return str(pg_query_pb2.ConstrType.Name(constraint.contype))


def type_of(name: Node, catalog: Catalog) -> str:
    """Return a type as `CatalogColumn` has it."""
    parts = texts(name.names)
    if len(parts) == 1 and parts[0] in SERIAL:
        return SERIAL[parts[0]]
    key = catalog.type_key(parts, [*catalog.domains, *catalog.enums])
    if key is not None:
        return ".".join(key)
    last = f"_{parts[-1]}" if name.array_bounds else parts[-1]
    return last if len(parts) == 1 or parts[0] == BUILTIN else f"{parts[-2]}.{last}"


def modifier_of(name: Node) -> int:
    """Return a type's modifier as pg_attribute.atttypmod has it; -1: none is written."""
    values = [int(modifier.a_const.ival.ival) for modifier in name.typmods]
    last = texts(name.names)[-1]
    if not values:
        return -1
    if last == "interval":  # INTERVAL_TYPMOD: (fields << 16 | precision); no precision is 0xFFFF
        return values[0] << 16 | [*values[1:], 0xFFFF][0]
    if last == "numeric":
        # numerictypmodin: (precision << 16 | scale) + the header's size; a scale has 11 bits
        return (values[0] << 16 | ([*values[1:], 0][0] & 0x7FF)) + HEADER
    return values[0] + (HEADER if last in WITH_HEADER else 0)


def column_of(definition: Node, catalog: Catalog) -> CatalogColumn:
    """Return a new column, with the NOT NULL that is written with it."""
    name = definition.type_name
    kinds = {contype(item.constraint) for item in definition.constraints}
    serial = len(name.names) == 1 and texts(name.names)[0] in SERIAL
    return CatalogColumn(
        type_of(name, catalog),
        modifier_of(name),
        serial or bool(kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"}),
    )


def calls(node: Node) -> tuple[tuple[str, ...], ...]:
    """Return the names of the functions that a node calls, each with its schema if it stands there.

    In the order of the text.
    """
    return tuple(texts(call.funcname) for call in find_nodes(node, FuncCall))
