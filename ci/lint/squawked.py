"""What the catalog and the statement say of squawk's findings: whose they are, which harm nobody.

Pure.
"""

from postgast import pg_query_pb2

from ..parser import tree
from . import names
from .altered import KINDS
from .catalog import Key
from .forward import Step

# Nothing outside of the database goes by the name of these.
NAMELESS = frozenset({"OBJECT_INDEX", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_RULE"})
# They guarantee something to no other row: an UPSERT or a foreign key may need the others.
ALONE = frozenset({"check", "not null"})


def named(step: Step) -> tuple[Key, ...]:
    """Return the tables that a statement changes or drops."""
    kind, node, catalog = step.statement.kind, step.statement.node, step.before
    if kind == "drop_stmt" and tree.dropped_tables(node):
        parts = [names.texts(item.list.items) for item in node.objects]
        return tuple(catalog.key(p[-2] if len(p) > 1 else "", p[-1]) for p in parts)
    table = pg_query_pb2.ObjectType.OBJECT_TABLE
    types = {
        "alter_table_stmt": ("objtype",),
        "rename_stmt": ("rename_type", "relation_type"),
        "alter_object_schema_stmt": ("object_type",),
    }
    if any(getattr(node, type_) == table for type_ in types.get(kind, ())):
        return (names.key_of(node.relation, catalog),)
    return ()


def is_harmless(step: Step, rule: str) -> bool:
    """Tell whether what squawk says of a statement breaks nothing, by the catalog or its text."""
    node = step.statement.node
    if rule == "renaming-object" and step.statement.kind == "rename_stmt":
        return str(pg_query_pb2.ObjectType.Name(node.rename_type)) in NAMELESS
    if step.statement.kind != "alter_table_stmt":
        return False
    if rule == "ban-alter-identity":
        return all(
            getattr(cmd, "def").constraint.generated_when == "d"
            for cmd in tree.commands(node)
            if "Identity" in tree.subtype(cmd)
        )
    return rule == "ban-drop-constraint" and _replaced_or_alone(step)


def _replaced_or_alone(step: Step) -> bool:
    """Tell whether each constraint that goes is a CHECK, or comes again in the same statement."""
    cmds = tree.commands(step.statement.node)
    table = step.before.tables.get(names.key_of(step.statement.node.relation, step.before))
    added = {
        KINDS.get(names.contype(getattr(cmd, "def").constraint))
        for cmd in cmds
        if tree.subtype(cmd) == "AT_AddConstraint"
    }
    for cmd in cmds:
        if tree.subtype(cmd) == "AT_DropConstraint":
            constraint = table.constraint(str(cmd.name)) if table is not None else None
            if constraint is None or constraint.kind not in ALONE | added:
                return False
    return True
