"""A foreign key, with the index that it needs. Pure."""

import re

from ..lint.parts import short
from ..lint.quoting import quoted, shown_key
from .order import Order
from .parts import built, validated
from .shape import Shape
from .stage import Stage

NAME = r'(?:"[^"]+"|\w+)'
REFERENCES = re.compile(rf"\s*({NAME}(?:\.{NAME})?)\s*(?:\(\s*({NAME})\s*\))?\s*")


def stages(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return the index where none begins with the column, the constraint, and its VALIDATE.

    Raises:
        ConfigError: an option is missing, or is not what it should be.

    """
    column = order.require("column", "customer_id")
    order.column_of(shape, column)
    match = REFERENCES.fullmatch(order.require("references", "customers"))
    if match is None:
        raise order.cannot(f"--references {order.references}: expected TABLE or TABLE(COLUMN)")
    table, referred = match.groups()
    key = shape.key
    name = short(f"{key[1]}_{column}_fkey")
    if name in shape.constraints:
        raise order.cannot(f"{shown_key(key)} has a constraint {name} already")
    leading = {index.leads for index in shape.indexes.values()}
    leading |= {c.columns[0] for c in shape.constraints.values() if c.kind in "pu" and c.columns}
    index: tuple[Stage, ...] = ()
    if column not in leading:
        built_name = short(f"{key[1]}_{column}_idx")
        order.require_free(shape, built_name)
        definition = (
            f"CREATE INDEX CONCURRENTLY {quoted(built_name)} ON {shown_key(key)} ({quoted(column)})"
        )
        index = (built(key, built_name, definition),)
    of = f" ({referred})" if referred else ""
    clause = f"FOREIGN KEY ({quoted(column)}) REFERENCES {table}{of}"
    return (*index, *validated(key, name, clause))
