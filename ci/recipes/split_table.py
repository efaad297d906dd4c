"""Columns move into a table of their own, one row for each; both are kept equal meanwhile. Pure."""

from ..lint.parts import backfill, short
from ..lint.quoting import alter, quoted, shown_key
from .order import Order
from .parts import function, not_null_check, trigger, without
from .restored import again, definition, restorable
from .shape import Key, Shape
from .stage import Stage

THERE = """\
BEGIN
    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;
    INSERT INTO {table} ({all}) VALUES ({values})
    ON CONFLICT ({key}) DO UPDATE SET {excluded};
    RETURN new;
END"""
BACK = """\
BEGIN
    IF pg_catalog.pg_trigger_depth() > 1 THEN RETURN new; END IF;
    UPDATE {table} SET {assigned} WHERE {same};
    RETURN new;
END"""


def stages(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return the table with its triggers, its rows, and behind the restart the drop of the columns.

    Raises:
        ConfigError: an option is missing, the table has no primary key, or something depends on
            a column.

    """
    order.require("column", "street,city")
    to = order.require("to", "addresses")
    moved, key, primary = order.columns, shape.key, shape.primary
    if not primary:
        raise order.cannot(f"{shown_key(key)} has no primary key, by which its rows are known")
    for name in moved:
        restorable(order, shape, name)
    there = (key[0], to)
    forth, back = short(f"{key[1]}_{to}_sync"), short(f"{to}_{key[1]}_sync")
    order.require_free(shape, to, f"{to}_pkey", forth, back)
    made = _triggers(key, there, primary, moved, forth, back)
    first = Stage(
        about=f"create {to}",
        why="triggers keep both tables equal, whichever is written",
        sql=(_table(shape, there, primary, moved), *made),
        rollback=(
            *without(key, forth),
            *without(key, back, of=there),
            f"DROP TABLE {shown_key(there)}",
        ),
    )
    names = ", ".join(map(quoted, (*primary, *moved)))
    copied = f"INSERT INTO {shown_key(there)} ({names}) SELECT {names} FROM {shown_key(key)} "
    copied += "ON CONFLICT DO NOTHING"
    same = " AND ".join(f"n.{quoted(c)} = t.{quoted(c)}" for c in primary)
    missing = f"SELECT FROM {shown_key(there)} n WHERE {same}"
    filled = Stage(
        about=f"fill {to}",
        why="in batches",
        sql=(backfill(key, copied),),
        rollback=("SELECT 1",),
        verify=(
            f"SELECT NOT EXISTS (SELECT FROM {shown_key(key)} t WHERE NOT EXISTS ({missing}))",
        ),
    )
    return first, filled, _last(shape, there, moved, made, forth, back)


def _table(shape: Shape, there: Key, primary: tuple[str, ...], moved: tuple[str, ...]) -> str:
    columns = [
        f"{quoted(name)} {definition(shape.columns[name])}"
        f"{' NOT NULL' if shape.columns[name].not_null else ''}"
        for name in (*primary, *moved)
    ]
    keys = ", ".join(map(quoted, primary))
    references = f"REFERENCES {shown_key(shape.key)} ({keys}) ON DELETE CASCADE"
    foreign = f"FOREIGN KEY ({keys}) {references} DEFERRABLE INITIALLY DEFERRED"
    return (
        f"CREATE TABLE {shown_key(there)} (\n    "
        + ",\n    ".join([*columns, f"PRIMARY KEY ({keys})", foreign])
        + "\n)"
    )


def _triggers(
    key: Key, there: Key, primary: tuple[str, ...], moved: tuple[str, ...], forth: str, back: str
) -> tuple[str, ...]:
    every = (*primary, *moved)
    to_there = THERE.format(
        table=shown_key(there),
        all=", ".join(map(quoted, every)),
        values=", ".join(f"new.{quoted(name)}" for name in every),
        key=", ".join(map(quoted, primary)),
        excluded=", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in moved),
    )
    to_here = BACK.format(
        table=shown_key(key),
        assigned=", ".join(f"{quoted(name)} = new.{quoted(name)}" for name in moved),
        same=" AND ".join(f"{quoted(name)} = new.{quoted(name)}" for name in primary),
    )
    return (
        function(key, forth, to_there),
        trigger(key, forth, "AFTER INSERT OR UPDATE"),
        function(key, back, to_here),
        trigger(key, back, "AFTER INSERT OR UPDATE", of=there),
    )


def _last(
    shape: Shape, there: Key, moved: tuple[str, ...], made: tuple[str, ...], forth: str, back: str
) -> Stage:
    key = shape.key
    own = ", ".join(quoted(name) for name in moved)
    dropped = ", ".join(f"DROP COLUMN {quoted(name)}" for name in moved)
    assigned = ", ".join(f"{quoted(name)} = n.{quoted(name)}" for name in moved)
    same = " AND ".join(f"n.{quoted(c)} = t.{quoted(c)}" for c in shape.primary)
    update = f"UPDATE {shown_key(key)} t SET {assigned} FROM {shown_key(there)} n WHERE {same}"
    restored: list[str] = []
    for number, name in enumerate(moved, 1):
        filled = (*made, backfill(key, update)) if number == len(moved) else ()
        restored += again(shape, name, not_null=False, filled=filled)
    for name in moved:
        if shape.columns[name].not_null:
            restored += _not_null(key, name)
    return Stage(
        about=f"drop {key[1]} {' '.join(moved)}",
        why=f"the new code knows {there[1]} alone; undoing it makes {own} again, from there",
        sql=(*without(key, forth), *without(key, back, of=there), alter(key, dropped)),
        rollback=tuple(restored),
        phase="after",
    )


def _not_null(key: Key, name: str) -> tuple[str, ...]:
    check, added = not_null_check(key, name)
    return (
        added,
        alter(key, f"VALIDATE CONSTRAINT {quoted(check)}"),
        alter(key, f"ALTER COLUMN {quoted(name)} SET NOT NULL"),
        alter(key, f"DROP CONSTRAINT {quoted(check)}"),
    )
