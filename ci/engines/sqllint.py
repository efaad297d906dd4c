"""What is dangerous in a migration's SQL, found on the parser's tree. No server is asked."""

from collections.abc import Iterator
from typing import Any

from ci.engines import Finding
from ci.engines.sqlfile import SqlFile
from ci.engines.sqlsplit import Statement

# Alter-table subtypes (nodes/parsenodes.h) and what to say of them.
_ALTERATIONS = {
    "AT_DropColumn": (
        "drop-column",
        "old code may still read the column: phase=after is its place",
    ),
    "AT_AlterColumnType": ("column-type", "rewrites the table unless the types share their form"),
    "AT_SetNotNull": ("set-not-null", "reads the whole table under its strongest lock"),
    "AT_AddIdentity": ("add-identity", "rewrites the table"),
    "AT_SetLogged": ("set-logged", "rewrites the table"),
    "AT_SetUnLogged": ("set-unlogged", "rewrites the table, and a crash empties it"),
    "AT_SetTableSpace": ("set-tablespace", "copies the table under its strongest lock"),
}

_ERRORS = {
    "truncate_stmt": ("truncate", "TRUNCATE deletes every row, and only the backup has them"),
    "cluster_stmt": ("cluster", "CLUSTER rewrites the table; nobody reads it meanwhile"),
    "alter_system_stmt": ("alter-system", "ALTER SYSTEM changes the server, not this database"),
    "dropdb_stmt": ("drop-database", "DROP DATABASE has no place in a migration"),
    "drop_owned_stmt": ("drop-owned", "DROP OWNED drops what nobody listed"),
}

_WARNINGS = {
    "rename_stmt": ("rename", "old code still uses the old name until the restart is over"),
    "do_stmt": ("opaque", "a DO block is not looked into"),
    "lock_stmt": ("lock-table", "LOCK TABLE makes the application wait"),
}


def findings(file: SqlFile) -> tuple[Finding, ...]:
    """Return the findings of a file, in the order of its lines, less those it allows."""
    allowed = {rule for rule, _ in file.allowed}
    created = {s.node.relation.relname for s in file.statements if s.kind == "create_stmt"}
    found = [
        Finding(level, rule, str(file.path), statement.line, message)
        for statement in file.statements
        for level, rule, message in _of(statement, file, created)
    ]
    return tuple(f for f in found if f.rule not in allowed)


def _of(statement: Statement, file: SqlFile, created: set[str]) -> Iterator[tuple[str, str, str]]:
    kind, node = statement.kind, statement.node
    if kind in _ERRORS:
        yield ("error", *_ERRORS[kind])
    if kind in _WARNINGS:
        yield ("warning", *_WARNINGS[kind])
    if kind == "vacuum_stmt" and any(o.def_elem.defname == "full" for o in node.options):
        yield "error", "vacuum-full", "VACUUM FULL rewrites the table; nobody reads it meanwhile"
    if kind == "index_stmt" and not node.concurrent and node.relation.relname not in created:
        yield (
            "warning",
            "index-blocks-writes",
            "nobody writes to the table while the index is built",
        )
    if kind in ("update_stmt", "delete_stmt") and not node.HasField("where_clause"):
        yield "warning", "every-row", "touches every row of the table in one transaction"
    if kind == "drop_stmt" and file.phase == "before" and _drops_table(node):
        yield "warning", "drop-table", "old code may still use it: phase=after is its place"
    if kind == "alter_table_stmt" and node.relation.relname not in created:
        yield from _alterations(node, file)


def _drops_table(node: Any) -> bool:  # noqa: ANN401  # a protobuf message
    return "OBJECT_TABLE" in str(node)


def _alterations(node: Any, file: SqlFile) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    for cmd in node.cmds:
        text = str(cmd)
        for subtype, (rule, message) in _ALTERATIONS.items():
            if f"subtype: {subtype}\n" not in text:
                continue
            if rule != "drop-column" or file.phase == "before":
                yield "warning", rule, message
        if "CONSTR_" in text and "skip_validation: true" not in text and _scans(text):
            yield "warning", "constraint-scan", "checks every row under a lock: add it NOT VALID"


def _scans(text: str) -> bool:
    added = "subtype: AT_AddConstraint\n" in text
    return added and ("CONSTR_CHECK" in text or "CONSTR_FOREIGN" in text)
