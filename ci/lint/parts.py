"""Parts of what to write instead: names, statements, and what verifies them. Pure."""

from postgast import pg_query_pb2

from ..parser import tree
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import CatalogTable, Key
from .quoting import alter, literal, quoted, shown_key
from .rule import Script, Subject

NOTHING_TO_UNDO = ("SELECT 1",)
LONGEST = 63  # bytes of a name
VALID = "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = RELATION"
PARTITION = "SELECT relispartition FROM pg_catalog.pg_class WHERE oid = RELATION"
VALIDATED = (
    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = RELATION AND conname = NAME"
)
NOT_NULL = (
    "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = RELATION AND attname = NAME"
)


def short(name: str) -> str:
    """Return a name that is no longer than the server lets it be."""
    return name.encode()[:LONGEST].decode(errors="ignore")


def concurrently(definition: str) -> str:
    """Return an index's definition, as the server gives it, as a build that blocks no writer."""
    start, keyword, rest = definition.partition(" INDEX ")
    return f"{start}{keyword}CONCURRENTLY {rest}"


def backfill(key: Key, statement: str) -> str:
    """Return a statement that runs in batches; it names its table with the schema."""
    return batched(shown_key(key), statement)


def batched(table: str, statement: str) -> str:
    """Return a statement that runs in batches; `table` as it names it, in quotes where needed."""
    return f"-- windlass: backfill table={table}\n{statement}"


def validated(key: Key, name: str, clause: str) -> tuple[Script, ...]:
    """Return two files: `clause`, which adds a constraint NOT VALID, and its VALIDATE."""
    dropped = (alter(key, f"DROP CONSTRAINT {quoted(name)}"),)
    return (
        Script(f"add_{name}", (alter(key, clause),), dropped),
        Script(
            f"validate_{name}",
            (alter(key, f"VALIDATE CONSTRAINT {quoted(name)}"),),
            NOTHING_TO_UNDO,
            (about(VALIDATED, key, name),),
        ),
    )


def constraint_of(subject: Subject) -> tuple[Key, Node]:
    """Return the table, and the constraint that a command adds."""
    key = names.key_of(subject.step.statement.node.relation, subject.step.before)
    return key, getattr(subject.cmd, "def").constraint


def constraint_name(key: Key, table: CatalogTable | None, constraint: Node) -> str:
    """Return a constraint's name, its own or as the server would give it."""
    if constraint.conname:
        return str(constraint.conname)
    kind = names.contype(constraint)
    endings = {"CONSTR_FOREIGN": "fkey", "CONSTR_CHECK": "check", "CONSTR_PRIMARY": "pkey"}
    columns = names.texts(constraint.fk_attrs if kind == "CONSTR_FOREIGN" else constraint.keys)
    name = short(
        named(key[1], () if kind == "CONSTR_PRIMARY" else columns, endings.get(kind, "key"))
    )
    taken = table is not None and (table.constraint(name) or name in table.indexes)
    return f"{short(name)[: LONGEST - 1]}1" if taken else name


def constraint_text(key: Key, constraint: Node) -> str:
    """Return ADD CONSTRAINT … as SQL."""
    parsed = pg_query_pb2.ParseResult()
    node = parsed.stmts.add().stmt.alter_table_stmt
    node.relation.schemaname, node.relation.relname = key
    node.relation.inh, node.relation.relpersistence = True, "p"
    node.objtype = pg_query_pb2.ObjectType.OBJECT_TABLE
    cmd = node.cmds.add().alter_table_cmd
    cmd.subtype = pg_query_pb2.AlterTableType.AT_AddConstraint
    cmd.behavior = pg_query_pb2.DropBehavior.DROP_RESTRICT
    getattr(cmd, "def").constraint.CopyFrom(constraint)
    text = tree.sql("alter_table_stmt", node)
    return text[text.index("ADD CONSTRAINT") :]


def alter_with(subject: Subject, *cmds: Node) -> str:
    """Return the ALTER TABLE with these commands alone."""
    node = type(subject.step.statement.node)()
    node.CopyFrom(subject.step.statement.node)
    del node.cmds[:]
    for cmd in cmds:
        node.cmds.add().alter_table_cmd.CopyFrom(cmd)
    return tree.sql("alter_table_stmt", node)


def regclass(key: Key) -> str:
    """Return a relation as a constant of the type regclass."""
    return f"{literal(shown_key(key))}::pg_catalog.regclass"


def valid_index(key: Key) -> str:
    """Return a query that is true where an index is valid."""
    return about(VALID, key)


def is_partition(key: Key) -> str:
    """Return a query that is true where a table is a partition."""
    return about(PARTITION, key)


def about(query: str, key: Key, name: str = "") -> str:
    """Return a query of a relation, and of what has a name in it."""
    return query.replace("RELATION", regclass(key)).replace("NAME", literal(name))
