"""What undoes a statement, where its text and the catalog say so. Pure."""

from collections.abc import Callable

from postgast import pg_query_pb2

from ..parser import tree
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import Catalog, Key
from .forward import index_name
from .quoting import alter, quoted, shown_key

Undone = tuple[str, ...] | None
NOTHING: tuple[str, ...] = ("SELECT 1",)


def of(kind: str, node: Node, catalog: Catalog) -> Undone:
    """Return the statements that undo one; None where they are not known."""
    return UNDONE[kind](node, catalog) if kind in UNDONE else None


def _table(node: Node, catalog: Catalog) -> Undone:
    return None if node.if_not_exists else _dropped("TABLE", names.new_key(node.relation, catalog))


def _table_as(node: Node, catalog: Catalog) -> Undone:
    word = "TABLE"
    if node.objtype == pg_query_pb2.ObjectType.OBJECT_MATVIEW:
        word = "MATERIALIZED VIEW"
    return None if node.if_not_exists else _dropped(word, names.new_key(node.into.rel, catalog))


def _dropped(word: str, key: Key) -> Undone:
    return (f"DROP {word} {shown_key(key)}",)


def _index(node: Node, catalog: Catalog) -> Undone:
    key = names.key_of(node.relation, catalog)
    word = "CONCURRENTLY " if node.concurrent else ""
    name = shown_key((key[0], index_name(key[1], node)))
    return None if node.if_not_exists else (f"DROP INDEX {word}{name}",)


def _trigger(node: Node, catalog: Catalog) -> Undone:
    table = shown_key(names.key_of(node.relation, catalog))
    return None if node.replace else (f"DROP TRIGGER {quoted(str(node.trigname))} ON {table}",)


def _view(node: Node, catalog: Catalog) -> Undone:
    return None if node.replace else _dropped("VIEW", names.new_key(node.view, catalog))


def _sequence(node: Node, catalog: Catalog) -> Undone:
    key = names.new_key(node.sequence, catalog)
    return None if node.if_not_exists else _dropped("SEQUENCE", key)


def _type(node: Node, catalog: Catalog) -> Undone:
    parts = names.texts(node.type_name)
    return _dropped("TYPE", (parts[-2] if len(parts) > 1 else catalog.home, parts[-1]))


def _unchanged(*_: object) -> Undone:
    return NOTHING


def _altered(node: Node, catalog: Catalog) -> Undone:
    key = names.key_of(node.relation, catalog)
    undone: list[str] = []
    for cmd in tree.commands(node):
        subtype = tree.subtype(cmd)
        text = COMMANDS[subtype](cmd, key) if subtype in COMMANDS else None
        if text is None:
            return None
        if text:
            undone.insert(0, alter(key, text))
    return tuple(undone) or NOTHING


def _added(cmd: Node, _: Key) -> str | None:
    name = quoted(str(getattr(cmd, "def").column_def.colname))
    return None if cmd.missing_ok else f"DROP COLUMN {name}"


def _constrained(cmd: Node, key: Key) -> str | None:
    node = getattr(cmd, "def").constraint
    kind = names.contype(node)
    endings = {
        "CONSTR_FOREIGN": ("fkey", node.fk_attrs),
        "CONSTR_UNIQUE": ("key", node.keys),
        "CONSTR_PRIMARY": ("pkey", ()),
    }
    if node.conname:
        return f"DROP CONSTRAINT {quoted(str(node.conname))}"
    if kind not in endings or node.indexname:
        return None
    ending, columns = endings[kind]
    return f"DROP CONSTRAINT {quoted(named(key[1], names.texts(columns), ending))}"


def _validated(*_: object) -> str | None:
    return ""


def _not_null(cmd: Node, _: Key) -> str | None:
    return f"ALTER COLUMN {quoted(str(cmd.name))} DROP NOT NULL"


def _nullable(cmd: Node, _: Key) -> str | None:
    return f"ALTER COLUMN {quoted(str(cmd.name))} SET NOT NULL"


COMMANDS: dict[str, Callable[[Node, Key], str | None]] = {
    "AT_AddColumn": _added,
    "AT_AddConstraint": _constrained,
    "AT_ValidateConstraint": _validated,
    "AT_SetNotNull": _not_null,
    "AT_DropNotNull": _nullable,
}
UNDONE: dict[str, Callable[[Node, Catalog], Undone]] = {
    "create_stmt": _table,
    "create_table_as_stmt": _table_as,
    "index_stmt": _index,
    "create_trig_stmt": _trigger,
    "view_stmt": _view,
    "create_seq_stmt": _sequence,
    "create_enum_stmt": _type,
    "comment_stmt": _unchanged,
    "vacuum_stmt": _unchanged,
    "reindex_stmt": _unchanged,
    "refresh_mat_view_stmt": _unchanged,
    "alter_table_stmt": _altered,
}
