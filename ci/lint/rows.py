"""Statements that change rows: which leave out none of a table, and which run functions."""

import re
from collections.abc import Iterator

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import ColumnRef, DeleteStmt, MergeStmt, SubLink, UpdateStmt

from ..parser.effects import KNOWN_FUNCTIONS
from ..parser.split import Statement
from ..parser.tree import Node
from . import names, proofs, rules
from .catalog import Catalog, CatalogTable, Key
from .rule import Remark

HIDDEN = {
    "do_stmt": "what a DO block does is not in its text",
    "call_stmt": "what a procedure does is not in its CALL",
    "execute_stmt": "what a prepared statement does is not in its EXECUTE",
}
CHANGING = re.compile(r"\b(update|delete|merge)\b", re.IGNORECASE)
DML = frozenset({"insert_stmt", "select_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
# They run their functions now; what only defines something for later does not.
RUNS = DML | {"create_table_as_stmt", "refresh_mat_view_stmt", "copy_stmt", "declare_cursor_stmt"}
FEW = 1000  # rows of a VALUES list, above which even that is work


def changes(statement: Statement) -> Iterator[Node]:
    """Yield each UPDATE, DELETE and MERGE of a statement, those within a WITH too."""
    kind, node = statement.kind, statement.node
    if kind in ("update_stmt", "delete_stmt", "merge_stmt"):
        yield node
    # Walking the tree of a large INSERT takes seconds.
    if kind in RUNS and CHANGING.search(statement.sql):
        for type_ in (UpdateStmt, DeleteStmt, MergeStmt):
            yield from (change for change in find_nodes(node, type_) if change is not node)


def every_row(statement: Statement, catalog: Catalog) -> Iterator[Remark]:
    """Say of which tables a statement may change every row."""
    tables: set[Key] = set()
    for change in changes(statement):
        key = names.key_of(change.relation, catalog)
        if key in tables or not change.relation.relname:
            continue
        if _all_rows(change, catalog.tables.get(key)):
            tables.add(key)
            members = catalog.family(key) if change.relation.inh else (key,)
            yield rules.EVERY_ROW.says(*members, table=key[1])


def _all_rows(change: Node, table: CatalogTable | None) -> bool:
    if isinstance(change, MergeStmt):
        return _merges_all(change, table)
    own = {str(change.relation.relname), str(change.relation.alias.aliasname)} - {""}
    others = change.from_clause if isinstance(change, UpdateStmt) else change.using_clause
    if not change.HasField("where_clause"):
        return True
    return not _restricts(change.where_clause, own, table, joined=bool(others))


def _merges_all(change: Node, table: CatalogTable | None) -> bool:
    """Tell whether a MERGE changes whatever matches: rows that it only inserts are new ones."""
    if change.source_relation.WhichOneof("node") == "range_subselect" and (
        change.source_relation.range_subselect.subquery.select_stmt.values_lists
    ):
        return False
    own = {str(change.relation.relname), str(change.relation.alias.aliasname)} - {""}
    if _restricts(change.join_condition, own, table, joined=True):
        return False
    return any(
        pg_query_pb2.CmdType.Name(clause.merge_when_clause.command_type)
        in ("CMD_UPDATE", "CMD_DELETE")
        and not (
            clause.merge_when_clause.HasField("condition")
            and _restricts(clause.merge_when_clause.condition, own, table, joined=True)
        )
        for clause in change.merge_when_clauses
    )


def _restricts(node: Node, own: set[str], table: CatalogTable | None, *, joined: bool) -> bool:
    """Tell whether a condition may leave rows of the table out, by more than a join alone."""
    kind = node.WhichOneof("node")
    if kind == "bool_expr":
        word = pg_query_pb2.BoolExprType.Name(node.bool_expr.boolop)
        parts = [_restricts(part, own, table, joined=joined) for part in node.bool_expr.args]
        if word == "NOT_EXPR":
            return not proofs.mentions_no_column(node.bool_expr.args[0])
        return any(parts) if word == "AND_EXPR" else all(parts)
    if kind == "null_test":
        is_not = pg_query_pb2.NullTestType.Name(node.null_test.nulltesttype) == "IS_NOT_NULL"
        name = proofs.column(node.null_test.arg)
        return not (is_not and table is not None and proofs.never_null(table, name))
    if proofs.mentions_no_column(node):
        return _may_be_false(node)
    if kind != "a_expr":
        return True
    left, right = node.a_expr.lexpr, node.a_expr.rexpr
    if _reference(left) and _reference(left) == _reference(right):
        return False
    return not (joined and _is_join(left, right, own))


def _may_be_false(node: Node) -> bool:
    """Tell whether a condition without a column is false, or may be: a function, a subquery."""
    if node.WhichOneof("node") == "a_const":
        return proofs.value(node) == "false"
    if node.WhichOneof("node") == "a_expr":
        left, right = proofs.value(node.a_expr.lexpr), proofs.value(node.a_expr.rexpr)
        if left is not None and right is not None:
            return left != right
    return bool(names.calls(node)) or any(True for _ in find_nodes(node, SubLink))


def _reference(node: Node) -> tuple[str, ...]:
    if node.WhichOneof("node") != "column_ref":
        return ()
    return names.texts(node.column_ref.fields)


def _is_join(left: Node, right: Node, own: set[str]) -> bool:
    """Tell whether a comparison has a column of another table on one side, and one on the other."""
    sides = [
        [names.texts(item.fields) for item in find_nodes(side, ColumnRef)] or [_reference(side)]
        for side in (left, right)
    ]
    if not all(any(parts for parts in side) for side in sides):
        return False
    qualified = [{parts[-2] for parts in side if len(parts) > 1} for side in sides]
    return bool(qualified[0] ^ qualified[1]) and bool((qualified[0] | qualified[1]) - own)


def hidden(statement: Statement, catalog: Catalog) -> str:
    """Say what of a statement's work its text does not show; empty where it shows everything."""
    kind, node = statement.kind, statement.node
    if kind in HIDDEN:
        return HIDDEN[kind]
    if kind not in RUNS or "(" not in statement.sql or _only_values(kind, node):
        return ""
    for parts in names.calls(node):
        if _unseen(parts, catalog, selected=kind == "select_stmt"):
            return f"what the function {parts[-1]} does is not in its call"
    return ""


def _only_values(kind: str, node: Node) -> bool:
    """Tell whether this is an INSERT of so many values that to look through them takes seconds."""
    return kind == "insert_stmt" and len(node.select_stmt.select_stmt.values_lists) > FEW


def _unseen(parts: tuple[str, ...], catalog: Catalog, *, selected: bool) -> bool:
    """Tell whether a function may write: in a SELECT each that is not the server's own."""
    function = catalog.function(parts)
    if function is not None:
        return not function.builtin and (selected or function.writes)
    if catalog.live:
        return selected  # an unknown one is created by what no text shows
    known = parts[-1] in KNOWN_FUNCTIONS or parts[-1].startswith("pg_")
    return selected and not known
