"""A column that is never NULL, while the old code does not know it. Pure."""

from ..lint.parts import NOT_NULL, about, backfill, short
from ..lint.quoting import alter, quoted, shown_key
from . import expressions
from .order import Order
from .parts import function, none_left, not_null, trigger, without
from .shape import Key, Shape
from .stage import Stage


def stages(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return one migration for a constant; else the column, its values, and their proof.

    Raises:
        ConfigError: an option is missing, or is not what it should be.

    """
    column, kind = order.require("column", "region"), order.require("type", "text")
    value = expressions.read(order, "value", order.require("value", "\"'eu'\""))
    order.require_new(shape, column)
    unknown = [name for name in expressions.columns(value) if name not in shape.columns]
    if unknown:
        raise order.cannot(f"--value: {shown_key(shape.key)} has no column {unknown[0]}")
    text = expressions.plain(value)
    if expressions.is_constant(value):
        return (_at_once(shape.key, column, kind, text),)
    if expressions.columns(value):
        return _computed(order, shape, column, kind, expressions.of_row(value, "new"), text)
    return _by_default(shape.key, column, kind, text)


def _at_once(key: Key, column: str, kind: str, value: str) -> Stage:
    name = quoted(column)
    return Stage(
        about=f"add {key[1]} {column}",
        why="a constant default is kept once, and no row is written",
        sql=(alter(key, f"ADD COLUMN {name} {kind} NOT NULL DEFAULT {value}"),),
        rollback=(alter(key, f"DROP COLUMN {name}"),),
        verify=(about(NOT_NULL, key, column),),
    )


def _by_default(key: Key, column: str, kind: str, value: str) -> tuple[Stage, ...]:
    name = quoted(column)
    added = Stage(
        about=f"add {key[1]} {column}",
        why="the default is for new rows alone: no row is written",
        sql=(
            alter(key, f"ADD COLUMN {name} {kind}"),
            alter(key, f"ALTER COLUMN {name} SET DEFAULT {value}"),
        ),
        rollback=(alter(key, f"DROP COLUMN {name}"),),
    )
    return (added, _filled(key, column, value), *not_null(key, column))


def _computed(
    order: Order, shape: Shape, column: str, kind: str, of_new: str, value: str
) -> tuple[Stage, ...]:
    key, name = shape.key, quoted(column)
    sync = short(f"{key[1]}_{column}_fill")
    order.require_free(shape, sync)
    body = f"BEGIN\n    IF new.{name} IS NULL THEN new.{name} := {of_new}; END IF;\n"
    made = (
        function(key, sync, f"{body}    RETURN new;\nEND"),
        trigger(key, sync, "BEFORE INSERT OR UPDATE"),
    )
    added = Stage(
        about=f"add {key[1]} {column}",
        why="a trigger fills it for the old code",
        sql=(alter(key, f"ADD COLUMN {name} {kind}"), *made),
        rollback=(*without(key, sync), alter(key, f"DROP COLUMN {name}")),
    )
    dropped = Stage(
        about=f"drop {sync}",
        why="the new code gives the value itself",
        sql=without(key, sync),
        rollback=made,
        phase="after",
    )
    return (added, _filled(key, column, value), *not_null(key, column), dropped)


def _filled(key: Key, column: str, value: str) -> Stage:
    name = quoted(column)
    update = f"UPDATE {shown_key(key)} SET {name} = {value} WHERE {name} IS NULL"
    return Stage(
        about=f"fill {key[1]} {column}",
        why="in batches",
        sql=(backfill(key, update),),
        rollback=("SELECT 1",),
        verify=(none_left(key, f"{name} IS NULL"),),
    )
