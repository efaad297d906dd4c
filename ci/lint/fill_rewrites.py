"""What to write instead of a statement that gives every row a value at once. Pure.

The rows get it in batches (docs/backfills.md), which need a primary key to go along.
"""

from pathlib import Path

from ..errors import ConfigError
from ..parser import tree
from ..parser.file import parse
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import CatalogTable
from .parts import NOTHING_TO_UNDO, alter_with, backfill, batched, short
from .quoting import alter, literal, quoted, shown_key
from .rewrites import not_null_scripts
from .rule import Script, Subject

_NO_PATH = Path("part.sql")
CHANGES = ("update_stmt", "delete_stmt")
NULLS = frozenset({"CONSTR_NOTNULL", "CONSTR_NULL"})


def every_row(subject: Subject) -> tuple[Script, ...]:
    """Return the statement in batches; nothing where the parser cannot split it faithfully."""
    statement, catalog = subject.step.statement, subject.step.before
    if statement.kind not in CHANGES:
        return ()
    key = names.key_of(statement.node.relation, catalog)
    if not _has_key(catalog.tables.get(key)):
        return ()
    own = (str(statement.node.relation.schemaname), str(statement.node.relation.relname))
    text = batched(shown_key(own) if own[0] else quoted(own[1]), statement.sql)
    try:
        parse(_NO_PATH, f"{text};")
    except ConfigError:
        return ()
    return (Script(f"backfill_{key[1]}", (text,), None),)


def volatile_default(subject: Subject) -> tuple[Script, ...]:
    """Return ADD COLUMN and SET DEFAULT, which write no row, and then a backfill."""
    definition = getattr(subject.cmd, "def").column_def
    defaults = [
        tree.expression(item.constraint.raw_expr)
        for item in definition.constraints
        if names.contype(item.constraint) == "CONSTR_DEFAULT"
    ]
    if len(defaults) != 1:
        return ()
    return _filled(subject, defaults[0], before=(), after=())


def serial(subject: Subject) -> tuple[Script, ...]:
    """Return the sequence, the column with it as default, and then a backfill."""
    key = names.key_of(subject.step.statement.node.relation, subject.step.before)
    definition = getattr(subject.cmd, "def").column_def
    column, type_ = str(definition.colname), names.texts(definition.type_name.names)[-1]
    sequence = (key[0], short(named(key[1], (column,), "seq")))
    shown = shown_key(sequence)
    return _filled(
        subject,
        f"nextval({literal(shown)}::regclass)",
        before=(f"CREATE SEQUENCE {shown} AS {INTEGERS[names.SERIAL[type_]]}",),
        after=(f"ALTER SEQUENCE {shown} OWNED BY {shown_key(key)}.{quoted(column)}",),
    )


INTEGERS = {"int2": "smallint", "int4": "integer", "int8": "bigint"}


def _filled(
    subject: Subject, value: str, *, before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[Script, ...]:
    """Return the column with a default for new rows, then the value in those that are there."""
    catalog, cmd = subject.step.before, subject.cmd
    key = names.key_of(subject.step.statement.node.relation, catalog)
    definition = getattr(cmd, "def").column_def
    kinds = {names.contype(item.constraint) for item in definition.constraints}
    table = catalog.tables.get(key)
    if kinds - NULLS - {"CONSTR_DEFAULT"} or cmd.missing_ok or not _has_key(table):
        return ()
    column, parts = str(definition.colname), names.texts(definition.type_name.names)
    shown = quoted(column)
    added = Script(
        f"add_{column}",
        (
            *before,
            alter_with(subject, _plain(cmd, parts)),
            alter(key, f"ALTER COLUMN {shown} SET DEFAULT {value}"),
            *after,
        ),
        (alter(key, f"DROP COLUMN {shown}"),),
    )
    update = f"UPDATE {shown_key(key)} SET {shown} = {value} WHERE {shown} IS NULL"  # noqa: S608  # quoted
    filled = Script(f"fill_{column}", (backfill(key, update),), NOTHING_TO_UNDO)
    required = "CONSTR_NOTNULL" in kinds or parts[-1] in names.SERIAL
    return (added, filled, *(not_null_scripts(subject, key, column) if required else ()))


def _plain(cmd: Node, parts: tuple[str, ...]) -> Node:
    """Return ADD COLUMN with the type alone; of a serial with the integer beneath it."""
    plain = type(cmd)()
    plain.CopyFrom(cmd)
    definition = getattr(plain, "def").column_def
    del definition.constraints[:]
    if parts[-1] in names.SERIAL:
        del definition.type_name.names[:]
        for name in ("pg_catalog", names.SERIAL[parts[-1]]):
            definition.type_name.names.add().string.sval = name
    return plain


def _has_key(table: CatalogTable | None) -> bool:
    return table is not None and any(item.kind == "primary" for item in table.constraints)
