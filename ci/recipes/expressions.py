"""Expressions that a person gives, read by PostgreSQL's own parser. Pure."""

from pathlib import Path

from postgast import find_nodes, pg_query_pb2

from ..errors import ConfigError
from ..parser import tree
from ..parser.split import split
from ..parser.tree import Node
from .order import Order

_NO_PATH = Path("recipe.sql")


def read(order: Order, option: str, text: str) -> Node:
    """Return the tree of one expression.

    Raises:
        ConfigError: it is none.

    """
    try:
        parsed = split(_NO_PATH, f"SELECT ({text})")
    except ConfigError as error:
        raise order.cannot(f"--{option} {text}: no expression of SQL: {error.message}") from error
    targets = list(parsed[0].node.target_list) if len(parsed) == 1 else []
    if len(targets) != 1 or _others(parsed[0].node):
        raise order.cannot(f"--{option} {text}: expected one expression of SQL")
    value: Node = targets[0].res_target.val
    return value


def _others(select: Node) -> bool:
    """Tell whether a SELECT has more than what it selects."""
    names = {descriptor.name for descriptor, _ in select.ListFields()}
    return bool(names - {"target_list", "limit_option", "op"})


def is_constant(expression: Node) -> bool:
    """Tell whether it is the same for every row, so that adding a column with it reads none."""
    parts = (pg_query_pb2.ColumnRef, pg_query_pb2.FuncCall, pg_query_pb2.SubLink)
    holder = pg_query_pb2.Node()
    holder.CopyFrom(expression)
    return not any(
        list(find_nodes(holder, kind)) for kind in (*parts, pg_query_pb2.SQLValueFunction)
    )


def columns(expression: Node) -> tuple[str, ...]:
    """Return the columns that it names."""
    return tuple(
        str(ref.fields[-1].string.sval)
        for ref in find_nodes(expression, pg_query_pb2.ColumnRef)
        if ref.fields
    )


def of_row(expression: Node, row: str) -> str:
    """Return it as SQL with each column of one row: `NEW` in a trigger."""
    copied = pg_query_pb2.Node()
    copied.CopyFrom(expression)
    for ref in find_nodes(copied, pg_query_pb2.ColumnRef):
        name = str(ref.fields[-1].string.sval)
        del ref.fields[:]
        ref.fields.add().string.sval = row
        ref.fields.add().string.sval = name
    return tree.expression(copied).replace(f'"{row}".', f"{row}.")


def plain(expression: Node) -> str:
    """Return it as SQL."""
    return tree.expression(expression)
