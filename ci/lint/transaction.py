"""What a file's statements do together: locks kept while others work, tables locked at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import A_Const, FuncCall, RangeVar, SelectStmt, TypeName

from ..parser import tree
from ..parser.tree import Node
from . import names, proofs, rows, rules, table_rules
from .catalog import Catalog, CatalogTable, Key
from .forward import Step
from .rule import Remark

# Statements that may take long on existing rows.
SLOW = frozenset(
    {"update_stmt", "delete_stmt", "insert_stmt", "index_stmt", "merge_stmt", "select_stmt"}
    | {"create_table_as_stmt", "refresh_mat_view_stmt", "copy_stmt", "reindex_stmt"}
    | {"explain_stmt"}
)
# What holds its table's strongest lock, or one that keeps writers out, until the end; DROP too.
# Source: "Explicit Locking" in the documentation, SHARE, SHARE ROW EXCLUSIVE, ACCESS EXCLUSIVE.
LOCKS = frozenset(
    {"alter_table_stmt", "rename_stmt", "create_trig_stmt", "alter_object_schema_stmt"}
    | {"alter_owner_stmt", "rule_stmt", "lock_stmt", "truncate_stmt", "index_stmt"}
)
# Of LOCK TABLE, those that keep writers out: SHARE and above (lockdefs.h).
OUT = frozenset({5, 6, 7, 8})
POLICIES = frozenset({"create_policy_stmt", "alter_policy_stmt"})
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
# Of these a DROP locks the table, whose name stands before theirs.
ON_A_TABLE = frozenset({"OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"})


@dataclass(frozen=True, slots=True)
class Held:
    """What a file's transaction keeps until its end: by the lines of its statements.

    locked: tables that serve, locked against the application.
    changed: the first statement that changed rows of a table that serves; 0: none did.
    values: of an enum, added in this transaction, and of which type, where that is known.
    """

    locked: Mapping[Key, int] = field(default_factory=dict)
    changed: int = 0
    values: Mapping[str, tuple[int, Key | None]] = field(default_factory=dict)
    made: frozenset[Key] = frozenset()

    def after(self, step: Step) -> "Held":
        """Return what is kept behind one more statement."""
        line = step.statement.line
        made = self.made | (step.after.enums.keys() - step.before.enums.keys())
        return Held(
            locked={**dict.fromkeys(locks(step), line), **self.locked},
            changed=self.changed or (line if _changes_rows(step) else 0),
            values={**self.values, **_added_value(step, made)},
            made=made,
        )


def transaction_remarks(step: Step, held: Held, remarks: Iterable[Remark]) -> Iterator[Remark]:
    """Say what is wrong with a statement at its place in the file.

    Args:
        step: the statement.
        held: by those of the same file that run before it.
        remarks: what is said of it already; what reads or writes every row is work.

    """
    statement = step.statement
    if statement.kind == "create_stmt":
        yield from _new_table(step)
    if statement.kind == "alter_table_stmt":
        yield from _validates_under_own_lock(step)
    file = step.file
    if not file.transactional and statement not in file.statements[: file.together]:
        return
    yield from _enum(step, held)
    works, locked = is_work(step, remarks), held.locked
    new_locks = locks(step) - locked.keys()
    if works and locked:
        yield rules.WORK_UNDER_LOCK.says(*works, line=str(min(locked.values())))
    elif new_locks and locked:
        these, those = (", ".join(sorted({name for _, name in k})) for k in (new_locks, locked))
        yield rules.SEVERAL_TABLES.says(*sorted(new_locks), these=these, those=those)
    elif new_locks and held.changed:
        keys = sorted(new_locks)
        yield rules.LOCK_AFTER_WORK.says(*keys, table=keys[0][1], line=str(held.changed))


def locks(step: Step) -> frozenset[Key]:
    """Return the tables that a statement locks against the application, if they serve."""
    keys = frozenset(_locked(step))
    return frozenset(key for key in keys if not step.before.is_made(key))


def _locked(step: Step) -> Iterator[Key]:
    kind, node, catalog = step.statement.kind, step.statement.node, step.before
    if kind == "drop_stmt":
        yield from _dropped(node, catalog)
    elif kind in POLICIES:
        yield names.key_of(node.table, catalog)
    elif kind == "truncate_stmt" or (kind == "lock_stmt" and node.mode in OUT):
        yield from (names.key_of(item.range_var, catalog) for item in node.relations)
    elif kind == "alter_table_stmt":
        if node.objtype == pg_query_pb2.ObjectType.OBJECT_TABLE and not all(
            tree.subtype(cmd) in WEAK for cmd in tree.commands(node)
        ):
            yield names.key_of(node.relation, catalog)
    elif (
        kind in LOCKS - {"lock_stmt"}
        and node.relation.relname
        and not getattr(node, "concurrent", False)
    ):
        objects = ("OBJECT_TABLE", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER")
        of_index = kind == "rename_stmt" and (
            pg_query_pb2.ObjectType.Name(node.rename_type) not in objects
        )
        if not of_index:
            yield names.key_of(node.relation, catalog)


def _dropped(node: Node, catalog: Catalog) -> Iterator[Key]:
    kind = str(pg_query_pb2.ObjectType.Name(node.remove_type))
    for item in node.objects:
        parts = names.texts(item.list.items)
        if kind in ON_A_TABLE:
            parts = parts[:-1]
        elif kind != "OBJECT_TABLE":
            continue
        if parts:
            key = catalog.key(parts[-2] if len(parts) > 1 else "", parts[-1])
            if not (catalog.live and node.missing_ok and key not in catalog.tables):
                yield key


def is_work(step: Step, remarks: Iterable[Remark]) -> tuple[Key, ...]:
    """Return the tables of rows on which a statement may work for long; none where it does not."""
    for remark in remarks:
        if remark.does and any(not step.before.is_made(key) for key in remark.works):
            return remark.works
    statement, catalog = step.statement, step.before
    if statement.kind == "alter_table_stmt":
        subtypes = {tree.subtype(cmd) for cmd in tree.commands(statement.node)}
        key = names.key_of(statement.node.relation, catalog)
        validates = "AT_ValidateConstraint" in subtypes and not catalog.is_made(key)
        return (key,) if validates and catalog.size_of([key]).size != 0 else ()
    if statement.kind not in SLOW or _is_quick(step):
        return ()
    keys = {names.key_of(item, catalog) for item in find_nodes(statement.node, RangeVar)}
    return tuple(
        sorted(key for key in keys if not catalog.is_made(key) and _is_table(catalog, key))
    )


def _is_table(catalog: Catalog, key: Key) -> bool:
    """Tell whether a name may be a table's: with a catalog the name of a WITH is none."""
    return key in catalog.tables or not catalog.live


def _is_quick(step: Step) -> bool:
    """Tell whether a statement gives its rows itself, or reads none."""
    kind, node = step.statement.kind, step.statement.node
    if kind == "insert_stmt":
        select = node.select_stmt.select_stmt
        return bool(select.values_lists) or not (select.from_clause or node.HasField("with_clause"))
    if kind == "copy_stmt":
        return not node.is_from
    if kind == "explain_stmt" and not rows.runs(kind, node):
        return True
    if kind in ("select_stmt", "explain_stmt"):
        makes = kind == "select_stmt" and node.into_clause.HasField("rel")
        return not (makes or list(rows.changes(step.statement)) or _reads_all(step))
    return kind == "index_stmt" and bool(node.concurrent)


def _reads_all(step: Step) -> bool:
    """Tell whether a query reads every row of a table: not the end of an index alone."""
    catalog = step.before
    for select in find_nodes(step.statement.node, SelectStmt):
        for relation in rows.whole_tables(select):
            key = names.key_of(relation, catalog)
            if key in catalog.tables and not _is_end(select, catalog.tables[key]):
                return not catalog.is_made(key)
    return False


def _is_end(select: Node, table: CatalogTable) -> bool:
    """Tell whether a query gives the least or greatest value of a column that leads an index."""
    firsts = {index.columns[:1] for index in table.indexes.values() if index.whole and index.valid}
    calls = [call for target in select.target_list for call in find_nodes(target, FuncCall)]
    columns = {
        (proofs.column(argument),)
        for call in calls
        if names.texts(call.funcname)[-1] in ("min", "max")
        for argument in call.args
    }
    return bool(columns) and columns <= firsts


def _changes_rows(step: Step) -> bool:
    """Tell whether a statement keeps rows of a table that serves locked until the end."""
    for change in rows.changes(step.statement):
        if not step.before.is_made(names.key_of(change.relation, step.before)):
            return True
    return False


def _validates_under_own_lock(step: Step) -> Iterator[Remark]:
    """Say where VALIDATE reads every row beside a command that takes the strongest lock."""
    subtypes = {tree.subtype(cmd) for cmd in tree.commands(step.statement.node)}
    key = names.key_of(step.statement.node.relation, step.before)
    if "AT_ValidateConstraint" in subtypes and subtypes - WEAK and not step.before.is_made(key):
        yield rules.WORK_UNDER_LOCK.says(key, line=str(step.statement.line))


def _new_table(step: Step) -> Iterator[Remark]:
    node, catalog = step.statement.node, step.before
    key = names.new_key(node.relation, catalog)
    if node.if_not_exists and key in catalog.tables:
        return
    if node.HasField("partbound"):
        parent = names.key_of(node.inh_relations[0].range_var, catalog)
        yield table_rules.PARTITION_OF.says(parent, parent=parent[1])
    for refers in sorted({names.key_of(item, catalog) for item in _referred(node)}):
        if refers != key:
            yield rules.REFERENCES_LOCKS.says(refers, table=refers[1])


def _referred(node: Node) -> list[Node]:
    constraints = [
        constraint
        for element in node.table_elts
        for constraint in (
            *(item.constraint for item in element.column_def.constraints),
            element.constraint,
        )
    ]
    return [item.pktable for item in constraints if names.contype(item) == "CONSTR_FOREIGN"]


def _added_value(step: Step, made: frozenset[Key]) -> dict[str, tuple[int, Key | None]]:
    """Return the value that a statement adds to an enum which is older than the transaction."""
    node, catalog = step.statement.node, step.before
    if step.statement.kind != "alter_enum_stmt" or node.old_val:
        return {}
    key = catalog.type_key(names.texts(node.type_name), catalog.enums)
    # Before 17 the server refuses the value also where the transaction has made the type.
    usable = key in made and not 0 < catalog.major < 17
    return {} if usable else {str(node.new_val): (step.statement.line, key)}


def _enum(step: Step, held: Held) -> Iterator[Remark]:
    """Say where a value is used in the transaction that adds it, which the server refuses."""
    if not held.values or step.statement.kind == "alter_enum_stmt":
        return
    used = {str(const.sval.sval) for const in find_nodes(step.statement.node, A_Const)}
    for value in sorted(held.values.keys() & used):
        line, key = held.values[value]
        if key is None or _may_be_of(step, key):
            yield rules.ENUM_USED_AT_ONCE.says(value=value, line=str(line))


def _may_be_of(step: Step, key: Key) -> bool:
    """Tell whether a statement has to do with a type: by a cast, or by a column of a table."""
    catalog, name = step.after, ".".join(key)
    casts = find_nodes(step.statement.node, TypeName)
    if any(catalog.type_key(names.texts(c.names), catalog.enums) == key for c in casts):
        return True
    tables = [names.key_of(item, catalog) for item in find_nodes(step.statement.node, RangeVar)]
    return any(
        key_ not in catalog.tables
        or not catalog.tables[key_].columns
        or any(column.type == name for column in catalog.tables[key_].columns.values())
        for key_ in tables
    )
