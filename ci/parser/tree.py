"""What a parsed statement is: may it run in a transaction, is it harmless, what it touches.

Pure questions to the tree of postgast, PostgreSQL's own parser, which `split` calls.
"""

import re
from typing import Any

from postgast import deparse, find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import FuncCall, RangeVar

Node = Any  # a protobuf message of postgast's, which come without type information

# Statements that the server refuses inside a transaction block, by node; the concurrent forms are
# found by their flags below. Source: PreventInTransactionBlock's callers in utility.c.
AUTOCOMMIT_NODES = frozenset(
    {
        "alter_system_stmt",
        "createdb_stmt",
        "dropdb_stmt",
        "create_table_space_stmt",
        "drop_table_space_stmt",
        "create_subscription_stmt",
        "drop_subscription_stmt",
    }
)

# The runner owns these: a file that sets them would undo what keeps bystanders from waiting.
OWNED_SETTINGS = frozenset(
    {
        "lock_timeout",
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_timeout",
        "standard_conforming_strings",
    }
)

HARMLESS_NODES = frozenset({"variable_set_stmt", "variable_show_stmt", "comment_stmt"})
TABLE_KINDS = frozenset({"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"})


def subtype(cmd: Node) -> str:
    """Return what one command of an ALTER TABLE does: AT_AddColumn, …"""
    return str(pg_query_pb2.AlterTableType.Name(cmd.subtype))


def commands(node: Node) -> list[Any]:
    """Return the commands of an ALTER TABLE."""
    return [cmd.alter_table_cmd for cmd in node.cmds]


def is_concurrent(kind: str, node: Node) -> bool:
    """Tell whether this is one of the CONCURRENTLY forms, which wait long and block no session."""
    if kind in ("index_stmt", "drop_stmt"):
        return bool(node.concurrent)
    if kind == "reindex_stmt":
        return "concurrently" in {param.def_elem.defname for param in node.params}
    if kind == "alter_table_stmt":
        return any(
            cmd.HasField("def") and getattr(cmd, "def").partition_cmd.concurrent
            for cmd in commands(node)
        )
    return False


def is_autocommit(kind: str, node: Node) -> bool:
    """Tell whether the server refuses the statement inside a transaction block."""
    if kind in AUTOCOMMIT_NODES or is_concurrent(kind, node):
        return True
    if kind == "vacuum_stmt":
        return bool(node.is_vacuumcmd)  # ANALYZE shares the node, and may run anywhere
    if kind == "reindex_stmt":
        return not node.HasField("relation")  # SCHEMA, DATABASE, SYSTEM
    return kind == "cluster_stmt" and not node.HasField("relation")


def is_harmless(kind: str, node: Node) -> bool:
    """Tell whether the statement may stay done although one behind it in the file failed.

    An application does not see it: a setting, a comment, statistics, a constraint checked, or
    something created or dropped that the file itself allows to be there, or gone, before.
    """
    if kind in HARMLESS_NODES or kind == "vacuum_stmt":
        return True
    if kind == "drop_stmt":
        return bool(node.missing_ok)
    if kind == "alter_table_stmt":
        return all(
            subtype(cmd) == "AT_ValidateConstraint" or cmd.missing_ok for cmd in commands(node)
        )
    return getattr(node, "if_not_exists", False) is True


def owned_setting(kind: str, node: Node, sql: str) -> str:
    """Return the setting of the runner's that a statement would change; empty where none."""
    if kind == "discard_stmt":
        return "every setting"
    if kind == "variable_set_stmt":
        if node.kind == pg_query_pb2.VariableSetKind.VAR_RESET_ALL:
            return "every setting"
        return str(node.name) if node.name in OWNED_SETTINGS else ""
    if "set_config" not in sql.lower():  # walking the tree of a large INSERT takes seconds
        return ""
    for call in find_nodes(node, FuncCall):
        names = [part.string.sval for part in call.funcname]
        if names and names[-1] == "set_config" and call.args:
            setting = str(call.args[0].a_const.sval.sval).lower()
            if setting in OWNED_SETTINGS:
                return setting
    return ""


def sets_the_session(kind: str, node: Node) -> bool:
    """Tell whether a setting would outlive the transaction: SET without LOCAL."""
    return kind == "variable_set_stmt" and not node.is_local


def sets_the_role(kind: str, node: Node) -> bool:
    """Tell whether a statement goes on as another role."""
    return kind == "variable_set_stmt" and node.name in ("role", "session_authorization")


def tables(kind: str, node: Node) -> frozenset[str]:
    """Return the tables and views a statement names, without their schemas."""
    names = {str(var.relname) for var in find_nodes(node, RangeVar) if var.relname}
    if kind == "drop_stmt" and _object(node) in TABLE_KINDS:
        names |= dropped_names(node)
    return frozenset(names)


def relations(node: Node) -> frozenset[tuple[str, str]]:
    """Return the tables and views that a tree names, each with its schema, empty where it has none.

    Those that a DROP drops are not among them.
    """
    return frozenset((str(var.schemaname), str(var.relname)) for var in find_nodes(node, RangeVar))


def dropped_tables(node: Node) -> frozenset[str]:
    """Return the tables that a DROP drops, without their schemas; none where it drops others."""
    return dropped_names(node) if _object(node) == "OBJECT_TABLE" else frozenset()


def _object(node: Node) -> str:
    return str(pg_query_pb2.ObjectType.Name(node.remove_type))


def dropped_names(node: Node) -> frozenset[str]:
    """Return what a DROP drops, without schemas."""
    return frozenset(
        str(item.list.items[-1].string.sval) for item in node.objects if item.list.items
    )


def functions(node: Node) -> tuple[str, ...]:
    """Return the names of the functions a statement calls, without schemas, in its order."""
    calls = find_nodes(node, FuncCall)
    return tuple(str(call.funcname[-1].string.sval) for call in calls if call.funcname)


def transaction(kind: str, node: Node) -> str:
    """Return BEGIN or COMMIT where a statement is a plain one of these, else an empty text."""
    if kind != "transaction_stmt" or node.chain:
        return ""
    name = str(pg_query_pb2.TransactionStmtKind.Name(node.kind))
    words = {
        "TRANS_STMT_BEGIN": "BEGIN",
        "TRANS_STMT_START": "BEGIN",
        "TRANS_STMT_COMMIT": "COMMIT",
    }
    return words.get(name, "")


def modes(begin: Node) -> str:
    """Return the transaction modes that a BEGIN asks for: ISOLATION LEVEL SERIALIZABLE, …"""
    tree = pg_query_pb2.ParseResult()
    tree.stmts.add().stmt.transaction_stmt.CopyFrom(begin)
    return re.sub(r"^(BEGIN|START TRANSACTION) ?", "", str(deparse(tree)))


def expression(node: Node) -> str:
    """Return an expression as SQL; empty where there is none."""
    if node.WhichOneof("node") is None:
        return ""
    parsed = pg_query_pb2.ParseResult()
    target = parsed.stmts.add().stmt.select_stmt.target_list.add()
    target.res_target.val.CopyFrom(node)
    return str(deparse(parsed)).removeprefix("SELECT ")


def type_name(node: Node) -> str:
    """Return a type as SQL: varchar(5), numeric(10, 2)[]."""
    parsed = pg_query_pb2.ParseResult()
    cast = parsed.stmts.add().stmt.select_stmt.target_list.add().res_target.val.type_cast
    cast.arg.a_const.isnull = True
    cast.type_name.CopyFrom(node)
    return str(deparse(parsed)).removeprefix("SELECT NULL::")


def bound(node: Node) -> str:
    """Return a partition's bound as SQL: FOR VALUES FROM (1) TO (2), DEFAULT."""
    parsed = pg_query_pb2.ParseResult()
    created = parsed.stmts.add().stmt.create_stmt
    created.relation.relname, created.relation.inh, created.relation.relpersistence = "t", True, "p"
    created.inh_relations.add().range_var.CopyFrom(created.relation)
    created.partbound.CopyFrom(node)
    return str(deparse(parsed)).removeprefix("CREATE TABLE t PARTITION OF t ")


def sql(kind: str, node: Node) -> str:
    """Return a statement as SQL, from its tree."""
    parsed = pg_query_pb2.ParseResult()
    getattr(parsed.stmts.add().stmt, kind).CopyFrom(node)
    return str(deparse(parsed))
