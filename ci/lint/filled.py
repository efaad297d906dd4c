"""What to write instead of a statement that gives every row a value: the same in batches. Pure.

The column comes without its value; what the running code inserts gets one by a default or a
trigger; a backfill gives one to the rows of before; NOT NULL is proven at the end.
"""

from postgast import find_nodes
from postgast.pg_query_pb2 import ColumnRef

from ..errors import ConfigError
from ..parser import tree
from ..parser.backfill import Backfill, require_splittable
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import Catalog, CatalogTable, Key
from .parts import NOTHING_TO_UNDO, alter_with, batched, short
from .quoting import alter, literal, quoted, shown_key
from .rewrites import not_null_scripts
from .rule import Script, Subject

# Of the columns of a key that a backfill takes; source: `TYPES` of backfill/keys.py.
KEY_TYPES = frozenset(
    {"int2", "int4", "int8", "numeric", "uuid", "text", "varchar", "date", "timestamp"}
) | {"timestamptz"}
# What a column may have besides its value, so that its road is known.
PLAIN = frozenset({"CONSTR_NULL", "CONSTR_NOTNULL"})


def every_row(subject: Subject) -> tuple[Script, ...]:
    """Return the statement below a backfill directive; nothing where it cannot be split."""
    statement, catalog = subject.step.statement, subject.step.before
    if statement.kind not in ("update_stmt", "delete_stmt"):
        return ()
    relation = statement.node.relation
    key = names.key_of(relation, catalog)
    if not has_ranges(catalog, key, only=not relation.inh):
        return ()
    table = shown_key(key) if relation.schemaname else quoted(key[1])
    file = subject.step.file.path
    try:
        split = require_splittable(
            file, statement.line, statement.kind, statement.node, Backfill(table=table, line=1)
        )
    except ConfigError:
        return ()
    if split.columns_set & {*primary_key(catalog.tables[key])}:
        return ()
    return (Script(f"fill_{key[1]}", (batched(table, statement.sql),), None),)


def primary_key(table: CatalogTable) -> tuple[str, ...]:
    """Return the columns of the primary key; none where there is none."""
    return next((item.columns for item in table.constraints if item.kind == "primary"), ())


def has_ranges(catalog: Catalog, key: Key, *, only: bool = False) -> bool:
    """Tell whether a backfill can go through a table by its primary key.

    only: without the tables that inherit from it, whose rows its key does not order.
    """
    table = catalog.tables.get(key)
    if table is None or (table.kind == "r" and catalog.children(key) and not only):
        return False
    columns = [table.columns.get(name) for name in primary_key(table)]
    return bool(columns) and all(
        column is not None and column.type in KEY_TYPES for column in columns
    )


def default(subject: Subject) -> tuple[Script, ...]:
    """Return the column, its default for new rows alone, and a backfill of the others."""
    key, definition = _definition(subject)
    if not _is_plain(subject, definition, "CONSTR_DEFAULT"):
        return ()
    column = str(definition.colname)
    value = tree.expression(_constraint(definition, "CONSTR_DEFAULT").raw_expr)
    return (
        Script(
            f"add_{column}",
            (
                alter_with(subject, _bare(subject.cmd)),
                alter(key, f"ALTER COLUMN {quoted(column)} SET DEFAULT {value}"),
            ),
            (alter(key, f"DROP COLUMN {quoted(column)}"),),
        ),
        _fill(key, column, "DEFAULT"),
        *_proven(subject, key, definition),
    )


def serial(subject: Subject) -> tuple[Script, ...]:
    """Return what serial stands for: a sequence, a default, a backfill, and NOT NULL."""
    key, definition = _definition(subject)
    if not _is_plain(subject, definition):
        return ()
    column = str(definition.colname)
    kind = names.SERIAL[names.texts(definition.type_name.names)[-1]]
    sequence = (key[0], short(named(key[1], (column,), "seq")))
    owner = f"ALTER SEQUENCE {shown_key(sequence)} OWNED BY {shown_key(key)}.{quoted(column)}"
    added = _numbered(subject, sequence, kind)
    return (
        added._replace(sql=(*added.sql, owner), rollback=added.rollback and added.rollback[:1]),
        _fill(key, column, "DEFAULT"),
        *not_null_scripts(subject, key, column),
    )


def identity(subject: Subject) -> tuple[Script, ...]:
    """Return a column that a sequence numbers, a backfill, NOT NULL, and then the identity.

    The identity goes on where the sequence is, which goes.
    """
    key, definition = _definition(subject)
    constraint = _constraint(definition, "CONSTR_IDENTITY")
    if not _is_plain(subject, definition, "CONSTR_IDENTITY") or constraint.options:
        return ()
    column = str(definition.colname)
    kind = names.type_of(definition.type_name, subject.step.before)
    sequence = (key[0], short(named(key[1], (column,), "numbers")))
    added = _numbered(subject, sequence, kind)
    return (
        added,
        _fill(key, column, "DEFAULT"),
        *not_null_scripts(subject, key, column),
        _identified(key, column, sequence, kind, always=constraint.generated_when == "a"),
    )


def _identified(key: Key, column: str, sequence: Key, kind: str, *, always: bool) -> Script:
    """Return the file that gives a numbered column its identity, and back."""
    numbers, table = shown_key(sequence), shown_key(key)
    own = f"pg_catalog.pg_get_serial_sequence({literal(table)}, {literal(column)})"
    changed = f"ALTER COLUMN {quoted(column)}"
    word = "ALWAYS" if always else "BY DEFAULT"
    regclass = f"{literal(numbers)}::pg_catalog.regclass"
    return Script(
        f"identity_{column}",
        (
            alter(key, f"{changed} DROP DEFAULT"),
            alter(key, f"{changed} ADD GENERATED {word} AS IDENTITY"),
            f"SELECT pg_catalog.setval({own}, pg_catalog.nextval({regclass}), false)",
            f"DROP SEQUENCE {numbers}",
        ),
        (
            f"CREATE SEQUENCE {numbers} AS {kind}",
            f"SELECT pg_catalog.setval({regclass}, pg_catalog.nextval({own}), false)",
            alter(key, f"{changed} DROP IDENTITY"),
            alter(key, f"{changed} SET DEFAULT pg_catalog.nextval({regclass})"),
        ),
        (
            "SELECT attidentity <> '' FROM pg_catalog.pg_attribute "
            f"WHERE attrelid = {literal(table)}::pg_catalog.regclass "
            f"AND attname = {literal(column)}",
        ),
    )


def _numbered(subject: Subject, sequence: Key, kind: str) -> Script:
    """Return the file with a column whose new rows a sequence numbers."""
    key, definition = _definition(subject)
    column = str(definition.colname)
    plain = _bare(subject.cmd)
    typed = getattr(plain, "def").column_def.type_name
    del typed.names[:]
    typed.names.add().string.sval = "pg_catalog"
    typed.names.add().string.sval = kind
    numbers = shown_key(sequence)
    next_ = f"pg_catalog.nextval({literal(numbers)}::pg_catalog.regclass)"
    return Script(
        f"add_{column}",
        (
            f"CREATE SEQUENCE {numbers} AS {kind}",
            alter_with(subject, plain),
            alter(key, f"ALTER COLUMN {quoted(column)} SET DEFAULT {next_}"),
        ),
        (alter(key, f"DROP COLUMN {quoted(column)}"), f"DROP SEQUENCE {numbers}"),
    )


def generated(subject: Subject) -> tuple[Script, ...]:
    """Return a column that a trigger computes, and a backfill.

    It stays a column with a trigger: none becomes GENERATED without being written anew.
    """
    if tree.subtype(subject.cmd) != "AT_AddColumn":
        return ()
    key, definition = _definition(subject)
    if not _is_plain(subject, definition, "CONSTR_GENERATED"):
        return ()
    column = str(definition.colname)
    expression = _constraint(definition, "CONSTR_GENERATED").raw_expr
    # The name is the last of all: triggers fire by their names, and those may set what it reads.
    name = short(f"zz_{named(key[1], (column,), 'value')}")
    function, table = shown_key((key[0], name)), shown_key(key)
    body = f"BEGIN NEW.{quoted(column)} := {_of_new(expression)}; RETURN NEW; END"
    return (
        Script(
            f"add_{column}",
            (
                alter_with(subject, _bare(subject.cmd)),
                f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {literal(body)}",
                f"CREATE TRIGGER {quoted(name)} BEFORE INSERT OR UPDATE ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION {function}()",
            ),
            (
                f"DROP TRIGGER {quoted(name)} ON {table}",
                f"DROP FUNCTION {function}()",
                alter(key, f"DROP COLUMN {quoted(column)}"),
            ),
        ),
        _fill(key, column, tree.expression(expression)),
        *_proven(subject, key, definition),
    )


def _of_new(expression: Node) -> str:
    """Return an expression with the columns of the row that a trigger has."""
    changed = type(expression)()
    changed.CopyFrom(expression)
    for reference in _references(changed):
        name = names.texts(reference.fields)[-1]
        del reference.fields[:]
        reference.fields.add().string.sval = "new"
        reference.fields.add().string.sval = name
    return tree.expression(changed)


def _references(node: Node) -> list[Node]:
    """Return the references to columns below a node, itself too."""
    own = [node.column_ref] if node.WhichOneof("node") == "column_ref" else []
    return [*own, *(each for each in find_nodes(node, ColumnRef) if each not in own)]


def _fill(key: Key, column: str, value: str) -> Script:
    table, name = shown_key(key), quoted(column)
    update = f"UPDATE {table} SET {name} = {value} WHERE {name} IS NULL"
    return Script(f"fill_{column}", (batched(table, update),), NOTHING_TO_UNDO)


def _proven(subject: Subject, key: Key, definition: Node) -> list[Script]:
    """Return what makes the column NOT NULL, where the statement does."""
    if "CONSTR_NOTNULL" not in _kinds(definition):
        return []
    return not_null_scripts(subject, key, str(definition.colname))


def _definition(subject: Subject) -> tuple[Key, Node]:
    key = names.key_of(subject.step.statement.node.relation, subject.step.before)
    return key, getattr(subject.cmd, "def").column_def


def _kinds(definition: Node) -> set[str]:
    return {names.contype(item.constraint) for item in definition.constraints}


def _is_plain(subject: Subject, definition: Node, *values: str) -> bool:
    """Tell whether the column has this value alone, and the table can be filled in batches."""
    key, _ = _definition(subject)
    node = subject.step.statement.node
    return _kinds(definition) <= PLAIN | set(values) and has_ranges(
        subject.step.before, key, only=not node.relation.inh
    )


def _constraint(definition: Node, kind: str) -> Node:
    return next(
        item.constraint for item in definition.constraints if names.contype(item.constraint) == kind
    )


def _bare(cmd: Node) -> Node:
    """Return ADD COLUMN with the name and the type alone."""
    bare = type(cmd)()
    bare.CopyFrom(cmd)
    bare.missing_ok = False
    del getattr(bare, "def").column_def.constraints[:]
    return bare
