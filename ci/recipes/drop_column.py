"""A column goes when no code asks for it any more. Pure."""

from ..lint.parts import about, backfill
from ..lint.quoting import alter, quoted, shown_key
from . import expressions
from .order import Order
from .parts import not_null_check
from .restored import again, restorable
from .shape import Shape
from .stage import Stage

GONE = (
    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute "
    "WHERE attrelid = RELATION AND attname = NAME)"
)


def stages(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return what lets the new code leave the column out, and behind the restart the drop.

    Raises:
        ConfigError: an option is missing, or something depends on the column.

    """
    name = order.require("column", "legacy_flag")
    column = order.column_of(shape, name)
    restorable(order, shape, name)
    key = shape.key
    first: tuple[Stage, ...] = ()
    if column.not_null and not column.default:
        first = (_optional(order, shape, name),)
    kept = "" if column.default or not column.not_null else " (without NOT NULL, as it is then)"
    dropped = Stage(
        about=f"drop {key[1]} {name}",
        why=f"its values are in the backup alone; undoing it makes the column again{kept}",
        sql=(alter(key, f"DROP COLUMN {quoted(name)}"),),
        rollback=again(shape, name, not_null=False),
        phase="after",
        verify=(about(GONE, key, name),),
    )
    return (*first, dropped)


def _optional(order: Order, shape: Shape, name: str) -> Stage:
    """Let rows be without it; undone, they get the value that was given for that."""
    key, quote = shape.key, quoted(name)
    value = expressions.read(order, "value", order.require("value", "\"''\""))
    text = expressions.plain(value)
    update = f"UPDATE {shown_key(key)} SET {quote} = {text} WHERE {quote} IS NULL"
    check, added = not_null_check(key, name)
    return Stage(
        about=f"optional {key[1]} {name}",
        why="the new code does not write it",
        sql=(alter(key, f"ALTER COLUMN {quote} DROP NOT NULL"),),
        rollback=(
            alter(key, f"ALTER COLUMN {quote} SET DEFAULT {text}"),
            backfill(key, update),
            added,
            alter(key, f"VALIDATE CONSTRAINT {quoted(check)}"),
            alter(key, f"ALTER COLUMN {quote} SET NOT NULL"),
            alter(key, f"DROP CONSTRAINT {quoted(check)}"),
            alter(key, f"ALTER COLUMN {quote} DROP DEFAULT"),
        ),
    )
