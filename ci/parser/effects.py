"""What a script does to tables, columns and values, as far as its text shows. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import DeleteStmt, MergeStmt, RangeVar, UpdateStmt

from . import tree
from .split import Statement
from .tree import Node

# adds, drops: a table or column. inserts, deletes: rows. changes: values. hides: not in its text.
Does = Literal["adds", "drops", "retypes", "inserts", "deletes", "changes", "hides"]

# Functions of the server's that people call in migrations, and that only return something.
KNOWN_FUNCTIONS = frozenset(
    {
        "setval",
        "nextval",
        "currval",
        "now",
        "count",
        "coalesce",
        "set_config",
        "current_setting",
        "max",
        "min",
        "sum",
        "bool_and",
        "bool_or",
        "to_regclass",
        "gen_random_uuid",
        "format",
    }
)
HIDDEN = frozenset({"do_stmt", "call_stmt", "execute_stmt"})
DML = frozenset({"insert_stmt", "select_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
WRITES = re.compile(r"\b(update|delete|merge)\b", re.IGNORECASE)
# What a cascade reaches is not in the text.
CASCADES = frozenset({"OBJECT_SCHEMA", "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_EXTENSION"})
UNBOUNDED = frozenset({"text", "varchar"})
Using = Literal["", "cast", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that a statement does.

    table: as the text names it, with its schema where that stands there.
    column: empty: the whole table, or every column.
    optional: only where it is not there: IF NOT EXISTS.
    becomes: the new type of a column.
    using: how its values are converted: "text", as they are or by way of text; "cast", by casts
        alone; empty: in another way.
    """

    does: Does
    table: str = ""
    column: str = ""
    optional: bool = False
    becomes: str = ""
    using: Using = ""


def effects_of(statements: Iterable[Statement]) -> tuple[Effect, ...]:
    """Return what statements do, in their order."""
    return tuple(effect for statement in statements for effect in _of(statement))


def _of(statement: Statement) -> Iterator[Effect]:
    kind, node = statement.kind, statement.node
    if kind in HIDDEN:
        yield Effect(does="hides")
    elif kind == "alter_table_stmt":
        yield from _alterations(node)
    elif kind == "drop_stmt":
        yield from _drops(node)
    elif kind == "truncate_stmt":
        yield from (Effect(does="deletes", table=_name(r.range_var)) for r in node.relations)
    elif kind == "drop_owned_stmt":
        yield Effect(does="hides")
    elif kind in ("create_stmt", "create_table_as_stmt"):
        relation = node.relation if kind == "create_stmt" else node.into.rel
        optional = bool(node.if_not_exists)
        yield Effect(does="adds", table=_name(relation), optional=optional)
    else:
        yield from _rows(statement)


def _rows(statement: Statement) -> Iterator[Effect]:
    """Yield what INSERT, COPY, SELECT, UPDATE, DELETE and MERGE do, also inside of a WITH."""
    kind, node = statement.kind, statement.node
    if kind == "insert_stmt":
        yield from _inserted(node)
    elif kind == "copy_stmt" and node.HasField("relation"):
        yield Effect(does="inserts", table=_name(node.relation))
    elif kind == "select_stmt":
        yield from _selected(node)
    elif kind == "update_stmt":
        yield from _changes(_name(node.relation), node.target_list)
    elif kind == "delete_stmt":
        yield Effect(does="deletes", table=_name(node.relation))
    elif kind == "merge_stmt":
        yield from _merged(node)
    if kind in DML:
        yield from _nested(statement)


def _inserted(node: Node) -> Iterator[Effect]:
    yield Effect(does="inserts", table=_name(node.relation))
    yield from _changes(_name(node.relation), node.on_conflict_clause.target_list)


def _selected(node: Node) -> Iterator[Effect]:
    if node.into_clause.HasField("rel"):
        yield Effect(does="adds", table=_name(node.into_clause.rel))
    if any(not _is_known(name) for name in tree.functions(node)):
        yield Effect(does="hides")


def _nested(statement: Statement) -> Iterator[Effect]:
    if not WRITES.search(statement.sql):  # walking the tree of a large INSERT takes seconds
        return
    node = statement.node
    for update in find_nodes(node, UpdateStmt):
        if update is not node:
            yield from _changes(_name(update.relation), update.target_list)
    for delete in find_nodes(node, DeleteStmt):
        if delete is not node:
            yield Effect(does="deletes", table=_name(delete.relation))
    for merge in find_nodes(node, MergeStmt):
        if merge is not node:
            yield from _merged(merge)


def _merged(node: Node) -> Iterator[Effect]:
    yield Effect(does="deletes", table=_name(node.relation))
    yield Effect(does="changes", table=_name(node.relation))


def _changes(table: str, targets: Iterable[Node]) -> Iterator[Effect]:
    names = {str(target.res_target.name) for target in targets}
    yield from (Effect(does="changes", table=table, column=name) for name in sorted(names))


def _is_known(function: str) -> bool:
    return function in KNOWN_FUNCTIONS or function.startswith("pg_")


def _alterations(node: Node) -> Iterator[Effect]:
    table = _name(node.relation)
    for cmd in tree.commands(node):
        subtype, definition = tree.subtype(cmd), getattr(cmd, "def")
        if subtype == "AT_AddColumn":
            name, optional = str(definition.column_def.colname), bool(cmd.missing_ok)
            yield Effect(does="adds", table=table, column=name, optional=optional)
        elif subtype == "AT_DropColumn":
            yield Effect(does="drops", table=table, column=str(cmd.name))
        elif subtype == "AT_AlterColumnType":
            column = definition.column_def
            becomes = str(column.type_name.names[-1].string.sval)
            using = _using(column.raw_default)
            yield Effect(
                does="retypes", table=table, column=str(cmd.name), becomes=becomes, using=using
            )


def _using(expression: Node) -> Using:
    """Return how USING converts a value."""
    using: Using = "text"
    while expression.WhichOneof("node") == "type_cast":
        cast = expression.type_cast.type_name
        if cast.typmods:
            return ""
        if str(cast.names[-1].string.sval) not in UNBOUNDED:
            using = "cast"
        expression = expression.type_cast.arg
    return using if expression.WhichOneof("node") in (None, "column_ref") else ""


def _drops(node: Node) -> Iterator[Effect]:
    kind = str(pg_query_pb2.ObjectType.Name(node.remove_type))
    if kind == "OBJECT_TABLE":
        for item in node.objects:
            names = [str(part.string.sval) for part in item.list.items]
            yield Effect(does="drops", table=".".join(names[-2:]))
    elif kind in CASCADES and node.behavior == pg_query_pb2.DropBehavior.DROP_CASCADE:
        yield Effect(does="hides")


def _name(relation: RangeVar) -> str:
    return ".".join(part for part in (str(relation.schemaname), str(relation.relname)) if part)
