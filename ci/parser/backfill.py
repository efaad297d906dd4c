"""The directive `backfill`, and which statements can be split by ranges of a key faithfully. Pure.

Faithful means: the batches together change what the statement alone would have changed, where
nobody else writes meanwhile. What the tree cannot show (triggers, functions that read the table)
is said in docs/migrations.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import Message
from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import (
    CommonTableExpr,
    CurrentOfExpr,
    FuncCall,
    ParamRef,
    RangeVar,
    SelectStmt,
    SubLink,
)

from ..config.duration import Duration
from ..config.sections import LONGEST_BATCH
from ..errors import ConfigError, Place

Node = Any  # a protobuf message of postgast's, which come without type information

DIRECTIVE = re.compile(r"backfill\b\s*(.*)")
FORM = "backfill table=T [key=INDEX] [batch=500ms] [on_error=skip] [as=job]"
NAME = r'(?:[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|"[^"\s]+")'
TABLE = re.compile(rf"(?:({NAME})\.)?({NAME})")
KINDS = frozenset({"update_stmt", "delete_stmt", "insert_stmt"})
# Source: the manual, "Aggregate Functions"; those of a project are asked of the catalog.
AGGREGATES = frozenset(
    [
        "any_value",
        "array_agg",
        "avg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "count",
        "every",
        "json_agg",
        "json_agg_strict",
        "json_arrayagg",
        "json_object_agg",
        "json_objectagg",
        "jsonb_agg",
        "jsonb_agg_strict",
        "jsonb_object_agg",
        "max",
        "min",
        "range_agg",
        "range_intersect_agg",
        "string_agg",
        "sum",
        "xmlagg",
        "corr",
        "covar_pop",
        "covar_samp",
        "regr_avgx",
        "regr_avgy",
        "regr_count",
        "regr_intercept",
        "regr_r2",
        "regr_slope",
        "regr_sxx",
        "regr_sxy",
        "regr_syy",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "variance",
        "var_pop",
        "var_samp",
        "mode",
        "percentile_cont",
        "percentile_disc",
    ]
)
# Of the SELECT that is split: clauses that are about all of its rows at once.
WHOLE = {
    "distinct_clause": "DISTINCT compares rows of different batches",
    "group_clause": "GROUP BY joins rows of different batches",
    "having_clause": "HAVING is about rows of different batches",
    "window_clause": "a window is over rows of different batches",
    "sort_clause": "ORDER BY is over rows of different batches",
    "limit_count": "LIMIT counts rows of all batches",
    "limit_offset": "OFFSET counts rows of all batches",
    "locking_clause": "FOR UPDATE would hold the locks of one batch alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What a directive asks for, of the statement below it."""

    table: str  # as written: error_events, or app.error_events
    line: int  # of the directive
    key: str = ""  # a unique index; empty: the primary key
    seconds: float | None = None  # that a batch should take; None: as deploy.yml says
    most: int | None = None  # rows of a batch
    on_error: Literal["stop", "skip"] = "stop"
    job: bool = False  # run by `invoke backfill.run`, not by the deployment

    @property
    def name(self) -> tuple[str, str]:
        """The schema (empty: by the search_path) and the table, as the catalog has them."""
        return _names(self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Where the ranges go: the table as the statement calls it, and what the catalog must say."""

    schema: str
    table: str
    only: bool  # ONLY: without the tables that inherit from it
    alias: str  # how its columns are qualified
    columns_set: frozenset[str]  # by an UPDATE: none of the key's may be
    functions: frozenset[str]  # of the SELECT's own level: none may be an aggregate


def _names(text: str) -> tuple[str, str]:
    match = TABLE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no name of a table')
    return _folded(match[1] or ""), _folded(match[2])


def _folded(name: str) -> str:
    return name[1:-1] if name.startswith('"') else name.lower()


def read_directive(path: Path, line: int, text: str) -> Backfill | None:
    """Return the directive; None where the words are another's.

    Raises:
        ConfigError: it names no table, or has a part that is unknown or no value of its kind.

    """
    match = DIRECTIVE.fullmatch(text)
    if match is None:
        return None
    values: dict[str, str] = {}
    for pair in match[1].split():
        key, equals, value = pair.partition("=")
        if key not in ("table", "key", "batch", "on_error", "as") or not equals or key in values:
            raise _wrong(path, line, f'unknown, or there twice: "{pair}"')
        values[key] = value
    for key, known in (("on_error", ("skip", "stop")), ("as", ("job",))):
        if values.get(key, known[0]) not in known:
            raise _wrong(path, line, f"{key}={values[key]}: expected {' or '.join(known)}")
    for key in ("table", "key"):
        if not TABLE.fullmatch(values.get(key, "" if key == "table" else "x")):
            raise _wrong(path, line, f'no name of {key}: "{values.get(key, "")}"')
    seconds, most = _batch(path, line, values.get("batch", ""))
    return Backfill(
        table=values["table"],
        line=line,
        key=values.get("key", ""),
        seconds=seconds,
        most=most,
        on_error="skip" if values.get("on_error") == "skip" else "stop",
        job="as" in values,
    )


def _batch(path: Path, line: int, text: str) -> tuple[float | None, int | None]:
    """Return how long a batch should take, and how many rows it may have."""
    if not text:
        return None, None
    if text.isascii() and text.isdecimal() and 0 < int(text) < 2**31:
        return None, int(text)
    try:
        seconds = Duration.parse(text).seconds
    except ValueError as error:
        raise _wrong(path, line, f"batch: {error}, or a number of rows") from None
    if not 0 < seconds <= LONGEST_BATCH:
        raise _wrong(path, line, f"batch={text}: expected above 0 and at most 60s")
    return seconds, None


def _wrong(path: Path, line: int, problem: str) -> ConfigError:
    return ConfigError(
        f"backfill: {problem}",
        place=Place(str(path), line),
        next_step=f"write -- windlass: {FORM}",
    )


def require_splittable(path: Path, line: int, kind: str, node: Node, asked: Backfill) -> Split:
    """Return where the ranges go in a statement.

    Args:
        path: of the file, for messages.
        line: where the statement begins, 1-based.
        kind: the parser's node name.
        node: the statement.
        asked: the directive above it.

    Raises:
        ConfigError: ranges would not do what the statement does; says why, with file and line.

    """
    place = Place(str(path), line)
    reason = _unsplittable(kind, node)
    select = node.select_stmt.select_stmt if kind == "insert_stmt" else None
    schema, table = asked.name
    if not reason:
        reason = _wrong_table(kind, node, schema, table)
    if not reason and select is not None:
        reason = _whole_select(select, node, table)
    if reason:
        raise ConfigError(
            f"this statement cannot be split into batches: {reason}",
            place=place,
            next_step="write it so that each row is changed by itself, or take the backfill "
            f"directive of line {asked.line} out",
        )
    var = node.relation if select is None else _in_from(select, table)
    return Split(
        schema=str(var.schemaname),
        table=str(var.relname),
        only=not var.inh,
        alias=str(var.alias.aliasname or var.relname),
        columns_set=_columns_set(node) if kind == "update_stmt" else frozenset(),
        functions=frozenset(_own_functions(select)) if select is not None else frozenset(),
    )


def _unsplittable(kind: str, node: Node) -> str:
    """Return what no statement of a backfill may have; empty where it has nothing of it."""
    if kind not in KINDS:
        return "it is no UPDATE, DELETE or INSERT … SELECT"
    if kind == "insert_stmt" and (reason := _no_select(node)):
        return reason
    if any(_writes(cte.ctequery) for cte in find_nodes(node, CommonTableExpr)):
        return "its WITH writes, and would do so once for each batch"
    if any(_arbitrary(select) for select in find_nodes(node, SelectStmt)):
        return "which rows a LIMIT without ORDER BY takes may differ from batch to batch"
    reasons = {
        "nobody reads what RETURNING returns": node.HasField("returning_clause"),
        "no batch has the cursor of WHERE CURRENT OF": any(find_nodes(node, CurrentOfExpr)),
        "it has parameters ($1), and nobody gives them values": any(find_nodes(node, ParamRef)),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _no_select(insert: Node) -> str:
    select = insert.select_stmt.select_stmt
    if select.op not in (pg_query_pb2.SetOperation.SETOP_NONE, 0):
        return "UNION, INTERSECT and EXCEPT are over rows of all batches"
    if select.values_lists or not select.from_clause:
        return "it has no SELECT … FROM that could be split"
    if insert.on_conflict_clause.action == pg_query_pb2.OnConflictAction.ONCONFLICT_UPDATE:
        return (
            "with ON CONFLICT DO UPDATE two batches may change one row, which one statement "
            "refuses to do"
        )
    return ""


def _arbitrary(select: Node) -> bool:
    bounded = select.HasField("limit_count") or select.HasField("limit_offset")
    return bool(bounded and not select.sort_clause)


def _writes(query: Node) -> bool:
    return str(query.WhichOneof("node")) != "select_stmt"


def _wrong_table(kind: str, node: Node, schema: str, table: str) -> str:
    """Return how the table of the directive is not the one that can be split."""
    if any(str(cte.ctename) == table for cte in find_nodes(node, CommonTableExpr)):
        return f"its WITH has a query named {table}, as the table of the backfill is"
    named = [var for var in find_nodes(node, RangeVar) if str(var.relname) == table]
    target = node.relation
    if kind != "insert_stmt" and str(target.relname) != table:
        return f"it changes {target.relname}, and the backfill is of {table}"
    if kind == "insert_stmt" and str(target.relname) == table:
        read = [var for var in named if str(var.schemaname) != str(target.schemaname)]
        if (
            not target.schemaname
            or len(read) < len(named) - 1
            or not all(v.schemaname for v in read)
        ):
            return f"it inserts into {table} itself, or may: a batch would read what one wrote"
        named = read
    return _wrong_name(named, schema, table)


def _wrong_name(named: list[Node], schema: str, table: str) -> str:
    if not named:
        return f"it does not read {table}, the table of the backfill"
    if len(named) > 1:
        return f"it names {table} more than once, and each batch would see the changes of others"
    own = str(named[0].schemaname)
    if schema and own != schema:
        return (
            f"it names {own + '.' if own else ''}{table}, and the backfill is of {schema}.{table}"
        )
    return ""


def _whole_select(select: Node, insert: Node, table: str) -> str:
    """Return what is about all rows of the SELECT at once."""
    for owner in (select, insert):
        if any(str(var.relname) == table for var in find_nodes(owner.with_clause, RangeVar)):
            return f"{table} is read inside of WITH"
    for field, reason in WHOLE.items():
        value = getattr(select, field)
        if value if not isinstance(value, Message) else select.HasField(field):
            return reason
    calls = list(_own_calls(select))
    if any(call.HasField("over") for call in calls):
        return "a window function is over rows of different batches"
    if any(_aggregates(call) for call in calls) or _outer_aggregate(select):
        return "an aggregate is over rows of different batches"
    if _in_from(select, table) is None:
        return (
            f"{table} must be in FROM itself, not in a subquery or TABLESAMPLE, nor on the side of "
            "an outer join that may be missing"
        )
    return ""


def _aggregates(call: Node) -> bool:
    special = call.agg_star or call.agg_distinct or call.agg_within_group or call.agg_order
    return bool(special) or call.HasField("agg_filter") or _function(call) in AGGREGATES


def _function(call: Node) -> str:
    return str(call.funcname[-1].string.sval)


def _own_calls(node: Node) -> Iterator[Node]:
    """Yield the function calls of a SELECT's own level: not those of its subqueries."""
    for field, value in node.ListFields():
        if not isinstance(value, Message) and not field.message_type:
            continue
        for part in value if field.is_repeated else (value,):
            inner = part
            if isinstance(part, pg_query_pb2.Node):
                inner = getattr(part, str(part.WhichOneof("node")))
            if isinstance(inner, FuncCall):
                yield inner
            if not isinstance(inner, SubLink | SelectStmt):
                yield from _own_calls(inner)


def _own_functions(select: Node) -> Iterator[str]:
    return (_function(call) for call in _own_calls(select))


def _outer_aggregate(select: Node) -> bool:
    """Tell whether a subquery of the target list may have an aggregate of the outer SELECT.

    It belongs to the level of its arguments: in `(SELECT max(t.x))`, to that of t. Source: the
    manual, "Aggregate Expressions".
    """
    for link in find_nodes(select, SubLink):
        inner = link.subselect.select_stmt
        names = {str(var.alias.aliasname or var.relname) for var in find_nodes(inner, RangeVar)}
        for call in find_nodes(inner, FuncCall):
            if not _aggregates(call):
                continue
            fields = [list(ref.fields) for ref in find_nodes(call, pg_query_pb2.ColumnRef)]
            qualified = [str(ref[-2].string.sval) for ref in fields if len(ref) > 1]
            outside = fields and all(name not in names for name in qualified)
            if outside and (len(qualified) == len(fields) or not inner.from_clause):
                return not any(item.HasField("range_subselect") for item in inner.from_clause)
    return False


def _in_from(select: Node, table: str) -> Node:
    """Return the table in FROM, where each row of it is in the result by itself; None elsewhere."""
    for item in select.from_clause:
        var = _preserved(item, table)
        if var is not None:
            return var
    return None


def _preserved(item: Node, table: str) -> Node:
    if item.HasField("range_var"):
        return item.range_var if str(item.range_var.relname) == table else None
    if not item.HasField("join_expr") or item.join_expr.HasField("alias"):
        return None
    join, kinds = item.join_expr, pg_query_pb2.JoinType
    sides = {
        kinds.JOIN_INNER: (join.larg, join.rarg),
        kinds.JOIN_LEFT: (join.larg,),
        kinds.JOIN_RIGHT: (join.rarg,),
    }.get(join.jointype, ())
    vars_ = (_preserved(side, table) for side in sides)
    return next((var for var in vars_ if var is not None), None)


def _columns_set(update: Node) -> frozenset[str]:
    return frozenset(str(target.res_target.name) for target in update.target_list)
