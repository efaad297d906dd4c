"""What a CHECK proves of rows that pass it: that a column holds no NULL, a partition's bound. Pure.

A CHECK lets a row pass where its expression is NULL, so that only what it says in as many words
counts: `predicate_implied_by` of the server, weakly.
"""

from collections.abc import Iterable

import postgast
from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import ColumnRef

from ..parser.tree import Node
from .catalog import CatalogTable, Partitioning

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}


def expression(text: str) -> Node | None:
    """Return the tree of an expression; None where it cannot be read."""
    if not text:
        return None
    try:
        parsed = postgast.parse(f"select {text}")
    except postgast.PgQueryError:
        return None
    return parsed.stmts[0].stmt.select_stmt.target_list[0].res_target.val


def not_null(node: Node | None) -> frozenset[str]:
    """Return the columns that cannot hold NULL where an expression is true or NULL."""
    if node is None:
        return frozenset()
    kind = node.WhichOneof("node")
    if kind == "null_test":
        is_not = pg_query_pb2.NullTestType.Name(node.null_test.nulltesttype) == "IS_NOT_NULL"
        name = column(node.null_test.arg)
        return frozenset({name}) if is_not and name else frozenset()
    if kind != "bool_expr":
        return frozenset()
    parts = [not_null(part) for part in node.bool_expr.args]
    word = pg_query_pb2.BoolExprType.Name(node.bool_expr.boolop)
    if word == "AND_EXPR":
        return frozenset().union(*parts)
    return frozenset.intersection(*parts) if word == "OR_EXPR" else frozenset()


def column(node: Node) -> str:
    """Return the name of a plain column; empty where it is something else."""
    if node.WhichOneof("node") == "type_cast":
        return column(node.type_cast.arg)
    if node.WhichOneof("node") != "column_ref":
        return ""
    last = node.column_ref.fields[-1]
    return str(last.string.sval) if last.WhichOneof("node") == "string" else ""


def never_null(table: CatalogTable, name: str) -> bool:
    """Tell whether no row of a table can hold NULL in a column, so that nothing need be read."""
    if name not in table.columns:
        return False
    return table.columns[name].not_null or any(
        name in not_null(expression(check.expression))
        for check in table.constraints
        if check.kind == "check" and check.validated
    )


def proves_bound(table: CatalogTable, bound: Node, by: Partitioning | None) -> bool:
    """Tell whether checks of a table prove that every row of it lies within a partition's bound.

    Of ranges and lists over plain columns alone; what it cannot judge is not proven.
    """
    if by is None or bound.is_default or "" in by.columns or by.strategy not in ("r", "l"):
        return False
    trees = [
        tree
        for check in table.constraints
        if check.kind == "check" and check.validated
        if (tree := expression(check.expression)) is not None
    ]
    stated = {clause for tree in trees for clause in clauses(tree)}
    if by.strategy == "l":
        return _in_list(table, bound, by.columns[0], trees)
    if len(by.columns) != 1 or not never_null(table, by.columns[0]):
        return False
    name = by.columns[0]
    lower, upper = value(bound.lowerdatums[0]), value(bound.upperdatums[0])
    return (lower is None or (name, ">=", lower) in stated) and (
        upper is None or (name, "<", upper) in stated
    )


def clauses(node: Node) -> Iterable[tuple[str, str, str]]:
    """Yield what an expression compares, all of which holds: (column, operator, value as text)."""
    kind = node.WhichOneof("node")
    if kind == "bool_expr":
        if pg_query_pb2.BoolExprType.Name(node.bool_expr.boolop) == "AND_EXPR":
            for part in node.bool_expr.args:
                yield from clauses(part)
    elif kind == "a_expr" and node.a_expr.name:
        operator = str(node.a_expr.name[-1].string.sval)
        left, right = node.a_expr.lexpr, node.a_expr.rexpr
        if operator in FLIPPED:
            if column(left) and (constant := value(right)) is not None:
                yield column(left), operator, constant
            elif column(right) and (constant := value(left)) is not None:
                yield column(right), FLIPPED[operator], constant


def _in_list(table: CatalogTable, bound: Node, name: str, trees: list[Node]) -> bool:
    wanted = {value(item) for item in bound.listdatums}
    if None in wanted or not never_null(table, name):
        return False
    return any(values <= wanted for tree in trees for values in _values_of(tree, name))


def _values_of(node: Node, name: str) -> Iterable[set[str | None]]:
    """Yield each set of values to which an expression keeps a column."""
    kind = node.WhichOneof("node")
    if kind == "bool_expr":
        word = pg_query_pb2.BoolExprType.Name(node.bool_expr.boolop)
        parts = [list(_values_of(part, name)) for part in node.bool_expr.args]
        if word == "AND_EXPR":
            yield from (values for part in parts for values in part)
        elif word == "OR_EXPR" and all(parts):
            yield set().union(*(part[0] for part in parts))
    elif kind == "a_expr" and column(node.a_expr.lexpr) == name:
        operator, right = str(node.a_expr.name[-1].string.sval), node.a_expr.rexpr
        if operator == "=" and right.WhichOneof("node") == "list":
            yield {value(item) for item in right.list.items}
        elif operator == "=" and right.WhichOneof("node") == "a_array_expr":
            yield {value(item) for item in right.a_array_expr.elements}
        elif operator == "=":
            yield {value(right)}


def value(node: Node) -> str | None:
    """Return a constant as text, whatever it is cast to; None: MINVALUE, or no constant."""
    kind = node.WhichOneof("node")
    if kind == "type_cast":
        return value(node.type_cast.arg)
    if kind != "a_const":
        return None
    constant = node.a_const
    which = constant.WhichOneof("val")
    if which == "ival":
        return str(constant.ival.ival)
    if which in ("sval", "fval"):
        return str(getattr(constant, which).sval if which == "sval" else constant.fval.fval)
    return str(constant.boolval.boolval).lower() if which == "boolval" else None


def mentions_no_column(node: Node) -> bool:
    """Tell whether an expression is the same for every row."""
    if node.WhichOneof("node") == "column_ref":
        return False
    return not any(True for _ in find_nodes(node, ColumnRef))


def mentioned(text: str) -> frozenset[str]:
    """Return the columns that an expression names."""
    parsed = expression(text)
    if parsed is None:
        return frozenset()
    if parsed.WhichOneof("node") == "column_ref":
        return frozenset({column(parsed)})
    references = find_nodes(parsed, ColumnRef)
    return frozenset(str(reference.fields[-1].string.sval) for reference in references)
