"""What a file's statements do together: locks kept while others work, tables locked at once."""

from collections.abc import Iterator

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import A_Const

from ..parser import tree
from ..parser.file import SqlFile
from ..parser.split import Statement
from . import rules
from .rules import Remark

# Statements that may take long on existing rows.
SLOW = frozenset({"update_stmt", "delete_stmt", "insert_stmt", "index_stmt", "merge_stmt"})
# What holds its table's strongest lock, or one that keeps writers out, until the end; DROP TABLE
# too. Source: "Explicit Locking" in the documentation, ACCESS EXCLUSIVE and SHARE ROW EXCLUSIVE.
LOCKS = frozenset({"alter_table_stmt", "rename_stmt", "create_trig_stmt"})
# Alterations that take a weaker lock than everybody's (AlterTableGetLockLevel in tablecmds.c).
WEAK = frozenset(
    {
        "AT_ValidateConstraint",
        "AT_SetStatistics",
        "AT_SetRelOptions",
        "AT_ResetRelOptions",
        "AT_AttachPartition",
        "AT_ClusterOn",
        "AT_DropCluster",
        "AT_SetOptions",
        "AT_ResetOptions",
    }
)


def created(file: SqlFile) -> frozenset[str]:
    """Return the tables that a file creates; one that may already exist does not count."""
    return frozenset(
        str(relation.relname)
        for statement in file.statements
        if statement.kind in ("create_stmt", "create_table_as_stmt")
        and not statement.node.if_not_exists
        for relation in (
            [statement.node.relation]
            if statement.kind == "create_stmt"
            else [statement.node.into.rel]
        )
    )


def transaction_remarks(
    statement: Statement, file: SqlFile, created: frozenset[str]
) -> Iterator[Remark]:
    """Say what is wrong with a statement at its place in the file."""
    if statement.kind == "create_stmt":
        yield from _new_table(statement, created)
    if statement.kind == "alter_table_stmt":
        yield from _attached(statement, created)
    if not file.transactional and statement not in file.statements[: file.together]:
        return
    before = file.statements[: file.statements.index(statement)]
    yield from _enum(statement, before)
    locked = {name: earlier for earlier in before for name in _locked(earlier, created)}
    if statement.kind in SLOW and locked and not _within(statement, created):
        first = next(iter(locked.values()))
        yield rules.WORK_UNDER_LOCK.says(line=str(first.line))
    new_locks = _locked(statement, created) - locked.keys()
    if new_locks and locked:
        locking, holding = ", ".join(sorted(new_locks)), ", ".join(sorted(locked))
        yield rules.SEVERAL_TABLES.says(these=locking, those=holding)


def _locked(statement: Statement, created: frozenset[str]) -> frozenset[str]:
    """Return the tables that a statement locks against the application, if they existed before."""
    node = statement.node
    if statement.kind == "drop_stmt":
        return tree.dropped_tables(node) - created
    if statement.kind not in LOCKS:
        return frozenset()
    if statement.kind == "alter_table_stmt" and all(
        tree.subtype(cmd) in WEAK for cmd in tree.commands(node)
    ):
        return frozenset()
    name = str(node.relation.relname)
    return frozenset({name}) - created if name else frozenset()


def _within(statement: Statement, created: frozenset[str]) -> bool:
    """Tell whether a statement works only on a table that the file creates, or on given values."""
    node = statement.node
    if str(node.relation.relname) in created:
        return True
    return statement.kind == "insert_stmt" and bool(node.select_stmt.select_stmt.values_lists)


def _new_table(statement: Statement, created: frozenset[str]) -> Iterator[Remark]:
    node = statement.node
    if node.HasField("partbound"):
        parent = node.inh_relations[0].range_var.relname
        if str(parent) not in created:
            yield rules.PARTITION_OF.says(parent=str(parent))
    for name in _referred(node):
        if name not in created and name != str(node.relation.relname):
            yield rules.REFERENCES_LOCKS.says(table=name)


def _referred(node: tree.Node) -> list[str]:
    constraints = [
        constraint
        for element in node.table_elts
        for constraint in (
            *(item.constraint for item in element.column_def.constraints),
            element.constraint,
        )
    ]
    return sorted(
        {
            str(constraint.pktable.relname)
            for constraint in constraints
            if pg_query_pb2.ConstrType.Name(constraint.contype) == "CONSTR_FOREIGN"
        }
    )


def _attached(statement: Statement, created: frozenset[str]) -> Iterator[Remark]:
    for cmd in tree.commands(statement.node):
        if tree.subtype(cmd) != "AT_AttachPartition":
            continue
        child = str(getattr(cmd, "def").partition_cmd.name.relname)
        if child not in created:
            yield rules.ATTACH_SCAN.says(partition=child)


def _enum(statement: Statement, before: tuple[Statement, ...]) -> Iterator[Remark]:
    """Say where a value is used in the transaction that adds it, which the server refuses."""
    added = {
        str(s.node.new_val): s for s in before if s.kind == "alter_enum_stmt" and not s.node.old_val
    }
    if not added or statement.kind == "alter_enum_stmt":
        return
    used = {str(const.sval.sval) for const in find_nodes(statement.node, A_Const)}
    for value in sorted(added.keys() & used):
        yield rules.ENUM_USED_AT_ONCE.says(value=value, line=str(added[value].line))
