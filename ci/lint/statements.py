"""What is dangerous in a migration's SQL, found on the parser's tree and in the catalog.

squawk says what it knows; here is what it is silent about. Rules of severity are `severity`'s.
"""

from collections.abc import Iterable, Iterator

from postgast import pg_query_pb2

from ..model import Effect, Finding, FindingLevel
from ..parser import tree
from ..parser.file import SqlFile
from ..parser.split import Statement
from ..parser.tree import Node
from . import squawk, transaction
from .catalog import Catalog
from .columns import added_column, altered_column

Said = tuple[FindingLevel, str, str, Effect]  # level, rule, message, what it does to every row
OPAQUE = "opaque"

ERRORS = {
    "truncate_stmt": ("truncate", "TRUNCATE deletes every row, and only the backup has them"),
    "cluster_stmt": ("cluster", "CLUSTER rewrites the table; nobody reads it meanwhile"),
    "alter_system_stmt": ("alter-system", "ALTER SYSTEM changes the server, not this database"),
    "dropdb_stmt": ("drop-database", "DROP DATABASE has no place in a migration"),
    "drop_owned_stmt": ("drop-owned", "DROP OWNED drops what nobody listed"),
}
HIDDEN = {
    "do_stmt": "what a DO block does is not in its text",
    "call_stmt": "what a procedure does is not in its CALL",
    "execute_stmt": "what a prepared statement does is not in its EXECUTE",
}
# Alter-table subtypes (nodes/parsenodes.h) that copy the table under its strongest lock.
COPIES = {
    "AT_SetLogged": "set-logged",
    "AT_SetUnLogged": "set-unlogged",
    "AT_SetTableSpace": "set-tablespace",
    "AT_SetAccessMethod": "set-access-method",
}
# Where no catalog is asked: those that people call in migrations, and that only return something.
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
# Rules that need the catalog: without one, an allowance of theirs is not known to be stale.
OF_THE_CATALOG = frozenset(
    {
        "add-column-domain",
        "concurrently-on-partitioned",
        "primary-key-scan",
        "foreign-key-no-index",
        "volatile-default",
    }
)
# Rules of the deployment, which it looks at later.
OF_THE_DEPLOYMENT = frozenset(
    {
        "invalid-index",
        "not-valid-constraint",
        "disabled-trigger",
        "detaching-partition",
        "long-lock",
    }
)


def findings(files: Iterable[SqlFile], catalog: Catalog | None) -> tuple[Finding, ...]:
    """Return the findings of files, in the order of their lines, less those they allow.

    An allowance that nothing here needs is a finding of its own.
    """
    all_ = tuple(files)
    said = squawk.findings(all_, catalog)
    return tuple(one for file in all_ for one in _in_file(file, said[file.path], catalog))


def _in_file(file: SqlFile, said: list[Finding], catalog: Catalog | None) -> list[Finding]:
    created = transaction.created(file)
    found = [
        Finding(
            level=level,
            rule=rule,
            file=str(file.path),
            line=statement.line,
            message=message,
            statement=statement.line,
            table=squawk.table_of(statement),
            does=does,
        )
        for statement in file.statements
        for level, rule, message, does in _of(statement, file, created, catalog)
    ]
    found = [one for one in [*found, *said] if not _harmless(one, file, created, catalog)]
    kept = [f for f in found if not any(a.covers(f.rule, f.statement) for a in file.allowed)]
    return sorted([*kept, *_stale(file, found, catalog)], key=lambda one: one.line)


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


def _stale(file: SqlFile, found: Iterable[Finding], catalog: Catalog | None) -> Iterator[Finding]:
    later = OF_THE_DEPLOYMENT | (frozenset() if catalog else OF_THE_CATALOG)
    for allowed in file.allowed:
        needed = any(allowed.covers(one.rule, one.statement) for one in found)
        if not needed and allowed.rule not in later:
            yield Finding(
                level="warning",
                rule="stale-allow",
                file=str(file.path),
                line=allowed.line,
                message=f"allows {allowed.rule}, which nothing here breaks: take it out",
            )


def _of(
    statement: Statement, file: SqlFile, created: frozenset[str], catalog: Catalog | None
) -> Iterator[Said]:
    kind, node = statement.kind, statement.node
    if kind in ERRORS:
        yield ("error", *ERRORS[kind], "")
    elif hidden := _hidden(kind, node, catalog):
        yield "unknown", OPAQUE, f"{hidden}: a rehearsal shows it", ""
    elif kind == "alter_table_stmt":
        yield from _alterations(node, created, catalog)
    else:
        yield from _others(kind, node, catalog)
    yield from transaction.findings(statement, file, created)


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
            # One that nobody knows yet is made by a migration before.
            known = name in catalog.functions and catalog.functions[name].builtin
        if not known:
            return f"what the function {name} does is not in its call"
    return ""


def _others(kind: str, node: Node, catalog: Catalog | None) -> Iterator[Said]:
    if kind == "lock_stmt":
        yield "warning", "lock-table", "LOCK TABLE makes the application wait", ""
    elif kind == "vacuum_stmt" and any(o.def_elem.defname == "full" for o in node.options):
        yield (
            "error",
            "vacuum-full",
            "VACUUM FULL rewrites the table; nobody reads it meanwhile",
            "",
        )
    elif kind == "refresh_mat_view_stmt" and not node.concurrent:
        yield (
            "warning",
            "refresh-locks",
            "nobody reads the view while it is refreshed: "
            "CONCURRENTLY lets them, with a unique index",
            "",
        )
    elif kind in ("update_stmt", "delete_stmt") and not node.HasField("where_clause"):
        yield (
            "warning",
            "every-row",
            "changes every row of the table in one transaction: do it in batches",
            "rows",
        )
    elif kind == "alter_domain_stmt":
        yield from _domain(node)
    elif kind == "index_stmt" and node.concurrent and catalog is not None:
        table = catalog.tables.get(str(node.relation.relname))
        if table is not None and table.kind == "p":
            yield (
                "error",
                "concurrently-on-partitioned",
                "the server refuses it on a partitioned "
                "table: build it ON ONLY the table, CONCURRENTLY on each partition, and attach",
                "",
            )


def _domain(node: Node) -> Iterator[Said]:
    constraint = getattr(node, "def").constraint
    if node.subtype == "O" or (node.subtype == "C" and not constraint.skip_validation):
        yield (
            "warning",
            "domain-scan",
            "reads every table that uses the domain, and holds up "
            "whoever writes to them: NOT VALID, then VALIDATE",
            "scan",
        )


def _alterations(node: Node, created: frozenset[str], catalog: Catalog | None) -> Iterator[Said]:
    name = str(node.relation.relname)
    if name in created:
        return
    table = catalog.tables.get(name) if catalog else None
    for cmd in tree.commands(node):
        subtype = tree.subtype(cmd)
        if subtype in COPIES:
            yield (
                "warning",
                COPIES[subtype],
                "copies the whole table under its strongest lock",
                "rewrite",
            )
        elif subtype == "AT_AddColumn":
            yield from added_column(getattr(cmd, "def").column_def, catalog)
        elif subtype == "AT_AddIdentity":
            yield "warning", "add-identity", "locks the table while its sequence is made", ""
        elif subtype == "AT_AddConstraint" and table is not None and catalog is not None:
            yield from _constraint(getattr(cmd, "def").constraint, node, catalog)


def _constraint(node: Node, statement: Node, catalog: Catalog) -> Iterator[Said]:
    table = catalog.tables[str(statement.relation.relname)]
    kind = pg_query_pb2.ConstrType.Name(node.contype)
    if kind == "CONSTR_PRIMARY" and node.indexname:
        keys = table.indexes.get(str(node.indexname), ())
        if any(not table.columns[key].never_null for key in keys if key in table.columns):
            yield (
                "warning",
                "primary-key-scan",
                "reads the whole table for NULLs under its "
                "strongest lock: SET NOT NULL behind a validated CHECK first",
                "scan",
            )
    if kind == "CONSTR_FOREIGN":
        columns = tuple(str(one.string.sval) for one in node.fk_attrs)
        if not any(keys[: len(columns)] == columns for keys in table.indexes.values()):
            yield (
                "warning",
                "foreign-key-no-index",
                f"no index begins with {', '.join(columns)}: "
                "every delete of a row that is referred to reads the whole table",
                "",
            )
