"""What is dangerous in a migration's SQL, found on the parser's tree and in the catalog.

squawk says what it knows; here is what it is silent about. Rules of severity are `severity`'s.
"""

from collections.abc import Collection, Iterable, Iterator

from postgast import pg_query_pb2

from ..database.history_table import HistoryTable
from ..model import Finding
from ..parser import tree
from ..parser.effects import KNOWN_FUNCTIONS
from ..parser.file import SqlFile
from ..parser.split import Statement
from ..parser.tree import Node
from . import rules, squawk, transaction
from .catalog import Catalog
from .columns import added_column, altered_column
from .passwords import password_remarks
from .privilege import privilege_remarks
from .rules import RULES, Remark
from .unfinished import Begun, unfinished

# By the parser's name of a statement.
ERRORS = {
    "truncate_stmt": rules.TRUNCATE,
    "cluster_stmt": rules.CLUSTER,
    "alter_system_stmt": rules.ALTER_SYSTEM,
    "dropdb_stmt": rules.DROP_DATABASE,
    "drop_owned_stmt": rules.DROP_OWNED,
}
HIDDEN = {
    "do_stmt": "what a DO block does is not in its text",
    "call_stmt": "what a procedure does is not in its CALL",
    "execute_stmt": "what a prepared statement does is not in its EXECUTE",
}
# Alter-table subtypes (nodes/parsenodes.h) that copy the table under its strongest lock.
COPIES = {
    "AT_SetLogged": rules.SET_LOGGED,
    "AT_SetUnLogged": rules.SET_UNLOGGED,
    "AT_SetTableSpace": rules.SET_TABLESPACE,
    "AT_SetAccessMethod": rules.SET_ACCESS_METHOD,
}


def lint_files(
    files: Iterable[SqlFile], catalog: Catalog | None, history: Collection[HistoryTable]
) -> tuple[Finding, ...]:
    """Return the findings of files, in the order of their lines, less those they allow.

    An allowance that nothing here needs is a finding of its own. `history` has the tables that no
    migration may write to.
    """
    all_ = tuple(files)
    reported = squawk.squawk_findings(all_, catalog)
    left = unfinished(all_)
    return tuple(
        finding
        for file in all_
        for finding in _in_file(
            file, [*reported[file.path], *_left(left.get(file.path, ()))], catalog, history
        )
    )


def _left(begun: Iterable[Begun]) -> list[Finding]:
    """Return what a file begins, and no file finishes."""
    return [
        Finding(
            level=item.remark.rule.level,
            rule=item.remark.rule.id,
            file=str(item.file),
            line=item.statement.line,
            message=item.remark.message,
            statement=item.statement.line,
            table=squawk.table_of(item.statement),
        )
        for item in begun
    ]


def _in_file(
    file: SqlFile,
    reported: list[Finding],
    catalog: Catalog | None,
    history: Collection[HistoryTable],
) -> list[Finding]:
    created = transaction.created(file)
    results = [
        Finding(
            level=rule.level,
            rule=rule.id,
            file=str(file.path),
            line=statement.line,
            message=message,
            statement=statement.line,
            table=squawk.table_of(statement),
            does=does,
        )
        for statement in file.statements
        for rule, message, does in (
            *_remarks(statement, file, created, catalog),
            *privilege_remarks(statement, history),
        )
    ]
    results = [
        finding
        for finding in [*results, *reported]
        if not _harmless(finding, file, created, catalog)
    ]
    kept = [f for f in results if not any(a.covers(f.rule, f.statement) for a in file.allowed)]
    return sorted([*kept, *_stale(file, results, catalog)], key=lambda finding: finding.line)


def _harmless(
    finding: Finding, file: SqlFile, created: frozenset[str], catalog: Catalog | None
) -> bool:
    """Tell whether the table is the file's own, or the catalog knows better than squawk."""
    if finding.table and finding.table in created:
        return finding.level == "warning"
    if catalog is None or finding.table not in catalog.tables:
        return False
    statement = next((s for s in file.statements if s.line == finding.statement), None)
    if statement is None or statement.kind != "alter_table_stmt":
        return False
    table = catalog.tables[finding.table]
    commands = tree.commands(statement.node)
    return not altered_column(finding.rule, commands, table)


def _stale(file: SqlFile, results: Iterable[Finding], catalog: Catalog | None) -> Iterator[Finding]:
    later = {rule.id for rule in RULES.values() if rule.later or (rule.catalog and catalog is None)}
    for allowed in file.allowed:
        needed = any(allowed.covers(finding.rule, finding.statement) for finding in results)
        if not needed and allowed.rule not in later:
            yield Finding(
                level=rules.STALE_ALLOW.level,
                rule=rules.STALE_ALLOW.id,
                file=str(file.path),
                line=allowed.line,
                message=rules.STALE_ALLOW.says(rule=allowed.rule).message,
            )


def _remarks(
    statement: Statement, file: SqlFile, created: frozenset[str], catalog: Catalog | None
) -> Iterator[Remark]:
    kind, node = statement.kind, statement.node
    yield from password_remarks(statement)
    if kind in ERRORS:
        yield ERRORS[kind].says()
    elif hidden := _hidden(kind, node, catalog):
        yield rules.OPAQUE.says(why=hidden)
    elif kind == "alter_table_stmt":
        yield from _alterations(node, created, catalog)
    else:
        batches = statement.backfill is not None
        yield from _others(kind, node, catalog, batches=batches)
    yield from transaction.transaction_remarks(statement, file, created)


def _hidden(kind: str, node: Node, catalog: Catalog | None) -> str:
    """Say what of a statement's work its text does not show; empty where it shows everything."""
    if kind in HIDDEN:
        return HIDDEN[kind]
    if kind != "select_stmt":
        return ""
    for name in tree.functions(node):
        if catalog is None:
            known = name in KNOWN_FUNCTIONS or name.startswith("pg_")
        else:
            # An unknown one is created by a migration before.
            known = name in catalog.functions and catalog.functions[name].builtin
        if not known:
            return f"what the function {name} does is not in its call"
    return ""


def _others(kind: str, node: Node, catalog: Catalog | None, *, batches: bool) -> Iterator[Remark]:
    if kind == "lock_stmt":
        yield rules.LOCK_TABLE.says()
    elif kind == "vacuum_stmt" and any(o.def_elem.defname == "full" for o in node.options):
        yield rules.VACUUM_FULL.says()
    elif kind == "refresh_mat_view_stmt" and not node.concurrent:
        yield rules.REFRESH_LOCKS.says()
    elif kind in ("update_stmt", "delete_stmt") and not (node.HasField("where_clause") or batches):
        yield rules.EVERY_ROW.says()
    elif kind == "alter_domain_stmt":
        yield from _domain(node)
    elif kind == "index_stmt" and node.concurrent and catalog is not None:
        table = catalog.tables.get(str(node.relation.relname))
        if table is not None and table.kind == "p":
            yield rules.CONCURRENTLY_ON_PARTITIONED.says()


def _domain(node: Node) -> Iterator[Remark]:
    constraint = getattr(node, "def").constraint
    if node.subtype == "O" or (node.subtype == "C" and not constraint.skip_validation):
        yield rules.DOMAIN_SCAN.says()


def _alterations(node: Node, created: frozenset[str], catalog: Catalog | None) -> Iterator[Remark]:
    name = str(node.relation.relname)
    if name in created:
        return
    table = catalog.tables.get(name) if catalog else None
    for cmd in tree.commands(node):
        subtype = tree.subtype(cmd)
        if subtype in COPIES:
            yield COPIES[subtype].says()
        elif subtype == "AT_AddColumn":
            yield from added_column(getattr(cmd, "def").column_def, catalog)
        elif subtype == "AT_AddIdentity":
            yield Remark(rules.ADD_IDENTITY, "locks the table while its sequence is created", "")
        elif subtype == "AT_AddConstraint" and table is not None and catalog is not None:
            yield from _constraint(getattr(cmd, "def").constraint, node, catalog)


def _constraint(node: Node, statement: Node, catalog: Catalog) -> Iterator[Remark]:
    table = catalog.tables[str(statement.relation.relname)]
    kind = pg_query_pb2.ConstrType.Name(node.contype)
    if kind == "CONSTR_PRIMARY" and node.indexname:
        keys = table.indexes.get(str(node.indexname), ())
        if any(not table.columns[key].never_null for key in keys if key in table.columns):
            yield rules.PRIMARY_KEY_SCAN.says()
    if kind == "CONSTR_FOREIGN":
        columns = tuple(str(column.string.sval) for column in node.fk_attrs)
        if not any(keys[: len(columns)] == columns for keys in table.indexes.values()):
            yield rules.FOREIGN_KEY_NO_INDEX.says(columns=", ".join(columns))
