"""Statements that change rows: which leave out none of a table, and which run functions."""

import re
from collections.abc import Iterable, Iterator

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import (
    ColumnRef,
    DeleteStmt,
    MergeStmt,
    SelectStmt,
    SubLink,
    UpdateStmt,
)

from ..parser import tree
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
LOCKING = re.compile(r"\bfor\s+(no\s+key\s+)?(update|share)\b", re.IGNORECASE)
# FOR KEY SHARE keeps out only who changes the key.
LOCKS_ROWS = frozenset({"LCS_FORUPDATE", "LCS_FORNOKEYUPDATE", "LCS_FORSHARE"})
DML = frozenset({"insert_stmt", "select_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
# They run their functions now; what only defines something for later does not.
RUNS = DML | {"create_table_as_stmt", "refresh_mat_view_stmt", "copy_stmt", "declare_cursor_stmt"}
SAME = frozenset({"=", ">=", "<="})  # what holds of a value and itself
FEW = 1000  # rows of a VALUES list, above which even that is work


def changes(statement: Statement) -> Iterator[Node]:
    """Yield each UPDATE, DELETE and MERGE of a statement, those within a WITH too."""
    kind, node = statement.kind, statement.node
    if kind in ("update_stmt", "delete_stmt", "merge_stmt"):
        yield node
    # Walking the tree of a large INSERT takes seconds.
    if runs(kind, node) and CHANGING.search(statement.sql):
        for type_ in (UpdateStmt, DeleteStmt, MergeStmt):
            yield from (change for change in find_nodes(node, type_) if change is not node)


def runs(kind: str, node: Node) -> bool:
    """Tell whether a statement is carried out now: EXPLAIN with ANALYZE too."""
    if kind != "explain_stmt":
        return kind in RUNS
    return any(is_on(item.def_elem) for item in node.options if item.def_elem.defname == "analyze")


def is_on(option: Node) -> bool:
    """Tell whether an option in parentheses is on: `(FULL)`, `(FULL true)`, not `(FULL 0)`."""
    if not option.HasField("arg"):
        return True
    value = option.arg
    if value.WhichOneof("node") == "integer":
        return bool(value.integer.ival)
    return str(value.string.sval).lower() not in ("false", "off")


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
            yield rules.EVERY_ROW.says(*members, verb="change", table=key[1])
    if statement.kind == "insert_stmt" and _upserts_all(statement.node):
        key = names.key_of(statement.node.relation, catalog)
        yield rules.EVERY_ROW.says(key, verb="change", table=key[1])
    for relation in _locked_whole(statement):
        key = names.key_of(relation, catalog)
        if key in catalog.tables or not catalog.live:  # else the name of a WITH, or a view
            yield rules.EVERY_ROW.says(key, verb="lock", table=key[1])


def _upserts_all(insert: Node) -> bool:
    """Tell whether an INSERT … SELECT without a condition changes the rows that it meets."""
    conflict, select = insert.on_conflict_clause, insert.select_stmt.select_stmt
    return (
        conflict.action == pg_query_pb2.OnConflictAction.ONCONFLICT_UPDATE
        and not conflict.HasField("where_clause")
        and bool(whole_tables(select))
    )


def whole_tables(select: Node) -> list[Node]:
    """Return the tables of FROM of which a SELECT by itself reads every row."""
    if select.HasField("where_clause") or select.HasField("limit_count"):
        return []
    return [item.range_var for item in select.from_clause if item.HasField("range_var")]


def _locked_whole(statement: Statement) -> Iterator[Node]:
    """Yield the tables of which a SELECT locks every row until the end of the transaction."""
    if not runs(statement.kind, statement.node) or not LOCKING.search(statement.sql):
        return
    for select in find_nodes(statement.node, SelectStmt):
        strengths = {
            pg_query_pb2.LockClauseStrength.Name(item.locking_clause.strength)
            for item in select.locking_clause
        }
        if strengths & LOCKS_ROWS:
            yield from whole_tables(select)


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
        return _combines(node.bool_expr, own, table, joined=joined)
    if kind == "null_test":
        is_not = pg_query_pb2.NullTestType.Name(node.null_test.nulltesttype) == "IS_NOT_NULL"
        name = proofs.column(node.null_test.arg)
        return not (is_not and table is not None and proofs.never_null(table, name))
    if kind == "sub_link":
        return not _of_itself(node.sub_link, own)
    if proofs.mentions_no_column(node):
        return _may_be_false(node)
    return kind != "a_expr" or _compares(node.a_expr, own, joined=joined)


def _combines(node: Node, own: set[str], table: CatalogTable | None, *, joined: bool) -> bool:
    """Tell whether AND, OR or NOT of conditions may leave rows out."""
    word = pg_query_pb2.BoolExprType.Name(node.boolop)
    parts = [_restricts(part, own, table, joined=joined) for part in node.args]
    if word == "NOT_EXPR":
        return not proofs.mentions_no_column(node.args[0])
    if word == "OR_EXPR":
        return all(parts) and not _either_null(node.args)
    return any(parts)


def _compares(node: Node, own: set[str], *, joined: bool) -> bool:
    """Tell whether a comparison may be false, by more than a join alone."""
    left, right = node.lexpr, node.rexpr
    operator = pg_query_pb2.A_Expr_Kind.Name(node.kind) == "AEXPR_OP"
    if operator and names.texts(node.name)[-1] in SAME and left.WhichOneof("node") is not None:
        return tree.expression(left) != tree.expression(right) and not (
            joined and _is_join(left, right, own)
        )
    return not (joined and _is_join(left, right, own))


def _either_null(parts: Iterable[Node]) -> bool:
    """Tell whether alternatives are that a column is NULL, and that it is not."""
    tests = [part.null_test for part in parts if part.WhichOneof("node") == "null_test"]
    kinds: dict[str, set[int]] = {}
    for test in tests:
        kinds.setdefault(proofs.column(test.arg), set()).add(test.nulltesttype)
    return any(name and len(values) > 1 for name, values in kinds.items())


def _of_itself(link: Node, own: set[str]) -> bool:
    """Tell whether `column IN (SELECT column FROM the table)` is a row's own value."""
    select = link.subselect.select_stmt
    tables, column = whole_tables(select), proofs.column(link.testexpr)
    if len(select.from_clause) != 1 or len(tables) != 1 or select.group_clause:
        return False
    targets = [proofs.column(item.res_target.val) for item in select.target_list]
    return bool(column) and str(tables[0].relname) in own and targets == [column]


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
    if not runs(kind, node) or "(" not in statement.sql or _only_values(kind, node):
        return ""
    for parts in names.calls(node):
        if _unseen(parts, catalog, selected=kind in ("select_stmt", "explain_stmt")):
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
