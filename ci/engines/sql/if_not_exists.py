"""IF NOT EXISTS without the lock: does what a statement creates already exist, and is it the same?

The server takes its lock first and looks afterwards, so that a statement with nothing to do makes
other sessions wait; and it looks at the name alone. Here the catalog is asked first. What the
statement wants is created as a temporary shadow (`shadow`), and the server's definitions of both
are compared.
"""

from collections.abc import Callable
from typing import Any

import postgast
import psycopg
from postgast import pg_query_pb2
from psycopg import sql

from ...errors import Place, StepFailed
from ...parser import tree
from ...parser.split import Statement
from ...parser.tree import Node
from .shadow import (
    SHADOW,
    Incomparable,
    as_original,
    copied,
    create_shadow,
    describe_table,
    fetch_one,
    indexdef,
    shadow_of,
    wanted_index,
    wanted_table,
)

TABLE = """
    select c.oid, n.nspname, c.relname from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = pg_catalog.to_regclass(%s)::pg_catalog.oid
"""
CREATED_IN = "select coalesce(nullif(%s, ''), pg_catalog.current_schema())"
NAMED = """
    select c.oid, c.relkind::text, coalesce(i.indisvalid and i.indisready, true)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    where n.nspname = %s and c.relname = %s
"""
FOREIGN_KEYS = """
    select (select pg_catalog.string_agg(a.attname, ',' order by k.n)
            from pg_catalog.unnest(c.conkey) with ordinality k (attnum, n)
            join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum),
           r.relname::text
    from pg_catalog.pg_constraint c join pg_catalog.pg_class r on r.oid = c.confrelid
    where c.conrelid = %s::pg_catalog.oid and c.contype = 'f'
"""
SEQUENCE = """
    select pg_catalog.format('%%s start %%s increment %%s minvalue %%s maxvalue %%s cache %%s%%s',
               seqtypid::pg_catalog.regtype, seqstart, seqincrement, seqmin, seqmax, seqcache,
               case when seqcycle then ' cycle' else '' end)
    from pg_catalog.pg_sequence where seqrelid = %s::pg_catalog.oid
"""
ENUM = """
    select exists (select from pg_catalog.pg_enum
                   where enumtypid = pg_catalog.to_regtype(%s)::pg_catalog.oid and enumlabel = %s)
"""

HAS_CONSTRAINT = """
    select exists (select from pg_catalog.pg_constraint
                   where conrelid = %s::pg_catalog.oid and conname = %s)
"""
HAS_SCHEMA = "select exists (select from pg_catalog.pg_namespace where nspname = %s)"
EXTENSION = "select extversion from pg_catalog.pg_extension where extname = %s"
VIEW = "select pg_catalog.pg_get_viewdef(%s::pg_catalog.oid)"


class Differs(Exception):
    """Something of that name exists, and is something else."""


def already_exists(connection: psycopg.Connection, statement: Statement, *, place: Place) -> str:
    """Return what already exists, where the statement has nothing to do; empty where it has.

    What cannot be compared counts as absent: the statement then runs as written.

    Raises:
        StepFailed: something of that name exists and is not what the statement would create.

    """
    look = _LOOKS.get(statement.kind)
    if look is None:
        return ""
    try:
        with connection.transaction(force_rollback=True):
            return look(connection, statement.node)
    except Differs as difference:
        raise StepFailed(
            str(difference),
            place=place,
            state="this statement did not run",
            next_step="correct the file, or change what exists in a migration of its own",
        ) from None
    except Incomparable:
        return ""


def same_index(connection: psycopg.Connection, statement: Statement) -> bool | None:
    """Tell whether the index of that name is the one a statement builds; None where none exists.

    Validity is not asked: what a killed build left is the same index, and invalid.

    Raises:
        Incomparable: the server could not say what the statement builds.

    """
    with connection.transaction(force_rollback=True):
        index = _index(connection, statement.node)
        if index is None:
            return None
        oid, schema, table, _ = index
        return wanted_index(connection, statement.node, schema, table) == indexdef(connection, oid)


def _create_index(connection: psycopg.Connection, node: Node) -> str:
    index = _index(connection, node) if node.if_not_exists else None
    if index is None:
        return ""
    oid, schema, table, valid = index
    wanted = wanted_index(connection, node, schema, table)
    existing = indexdef(connection, oid)
    if wanted != existing:
        raise Differs(
            f"an index of that name already exists, as {existing}; the file wants {wanted}"
        )
    if not valid and node.concurrent:
        return ""  # what a killed build left: the build drops it and begins anew
    if not valid:
        raise Differs(f"the index {node.idxname} already exists, and is invalid: drop it first")
    return f"the index {node.idxname} already exists"


def _create_table(connection: psycopg.Connection, node: Node) -> str:
    schema = fetch_one(connection, CREATED_IN, node.relation.schemaname)
    relation = (
        fetch_one(connection, NAMED, schema, node.relation.relname) if node.if_not_exists else None
    )
    if (
        not relation
        or node.inh_relations
        or node.HasField("partspec")
        or node.HasField("partbound")
    ):
        return ""
    name = node.relation.relname
    if relation[1] not in ("r", "p"):
        raise Differs(f"{name} already exists, and is not a table")
    parsed, shadow = copied("create_stmt", node)
    shadow.relation.schemaname, shadow.if_not_exists, shadow.tablespacename = "pg_temp", False, ""
    foreign = [key for element in shadow.table_elts for key in _take_foreign_keys(element)]
    elements = [e for e in shadow.table_elts if _constraint(e) != "CONSTR_FOREIGN"]
    del shadow.table_elts[:]
    shadow.table_elts.extend(elements)
    wanted = wanted_table(connection, postgast.deparse(parsed), name, schema)
    existing = describe_table(connection, relation[0])
    difference = _column_difference(wanted[0], existing[0]) or _first_missing(
        wanted[1], existing[1]
    )
    keys = {tuple(row) for row in connection.execute(FOREIGN_KEYS, (relation[0],)).fetchall()}
    difference = (
        difference
        or _first_missing(set(foreign), keys)
        or _first_missing(keys, set(foreign), "extra")
    )
    difference = difference or _first_missing(existing[1], wanted[1], "extra")
    if difference:
        raise Differs(f"the table {name} already exists, and is another one: {difference}")
    return f"the table {name} already exists"


def _alter_table(connection: psycopg.Connection, node: Node) -> str:
    table = fetch_one(connection, TABLE, quoted(node.relation))
    if not table:
        return ""
    changes = tree.commands(node)
    outcomes = [
        _command(connection, cmd, table, node, number) for number, cmd in enumerate(changes)
    ]
    return "; ".join(outcomes) if all(outcomes) else ""


def _command(
    connection: psycopg.Connection, cmd: Node, table: tuple[int, str, str], alter: Node, number: int
) -> str:
    kind = tree.subtype(cmd) if cmd.missing_ok else ""
    columns, _ = describe_table(connection, table[0])
    if kind == "AT_AddColumn":
        name = getattr(cmd, "def").column_def.colname
        return _add_column(connection, name, table, alter, number) if name in columns else ""
    if kind == "AT_DropColumn" and cmd.name not in columns:
        return f"the column {cmd.name} is already gone"
    if kind == "AT_DropConstraint":
        exists = fetch_one(connection, HAS_CONSTRAINT, table[0], cmd.name)
        return "" if exists else f"the constraint {cmd.name} is already gone"
    return ""


def _add_column(
    connection: psycopg.Connection, name: str, table: tuple[int, str, str], alter: Node, number: int
) -> str:
    oid, schema, relname = table
    parsed, node = copied("alter_table_stmt", alter)
    only = node.cmds[number]
    element = getattr(only.alter_table_cmd, "def")
    only.alter_table_cmd.missing_ok = False
    foreign = set(_take_foreign_keys(element))
    del node.cmds[:]
    node.cmds.append(only)
    node.relation.schemaname, node.relation.relname, node.missing_ok = "pg_temp", relname, False
    with connection.transaction(force_rollback=True):
        shadow = shadow_of(connection, schema, relname)
        column = sql.Identifier(name)
        target = sql.Identifier("pg_temp", relname)
        create_shadow(connection, sql.SQL("alter table {} drop column {}").format(target, column))
        create_shadow(connection, postgast.deparse(parsed))
        columns, constraints = describe_table(connection, shadow)
    wanted = as_original(columns[name], schema)
    existing, checks = describe_table(connection, oid)
    if wanted != existing[name]:
        raise Differs(
            f"the column {relname}.{name} already exists, as {existing[name]}; the file wants "
            f"{wanted}"
        )
    keys = {tuple(row) for row in connection.execute(FOREIGN_KEYS, (oid,)).fetchall()}
    difference = _first_missing(
        {as_original(c, schema) for c in constraints}, checks
    ) or _first_missing(foreign, keys)
    if difference:
        raise Differs(f"the column {relname}.{name} already exists, and differs: {difference}")
    return f"the column {relname}.{name} already exists"


def _column_difference(wanted: dict[str, str], existing: dict[str, str]) -> str:
    for name in [*wanted, *existing]:
        if wanted.get(name) != existing.get(name):
            return (
                f"its column {name} is {existing.get(name, 'not there')}; the file wants "
                f"{wanted.get(name, 'no such column')}"
            )
    return ""


def _first_missing(wanted: set[Any], existing: set[Any], word: str = "missing") -> str:
    keys = sorted(str(_key(constraint)) for constraint in wanted - existing)
    return f"{word}: {keys[0]}" if keys else ""


def _key(constraint: object) -> object:
    if isinstance(constraint, tuple):
        return f"FOREIGN KEY ({constraint[0]}) REFERENCES {constraint[1]}"
    return constraint


def _constraint(element: Node) -> str:
    """Return the kind of a table constraint; empty for other elements."""
    if not element.HasField("constraint"):
        return ""
    return str(pg_query_pb2.ConstrType.Name(element.constraint.contype))


def _take_foreign_keys(element: Node) -> list[tuple[str, str]]:
    """Return the foreign keys of an element, and remove those of a column from it.

    A temporary table cannot refer to a lasting one, and a lasting shadow would lock it.
    """
    if _constraint(element) == "CONSTR_FOREIGN":
        columns = ",".join(part.string.sval for part in element.constraint.fk_attrs)
        return [(columns, element.constraint.pktable.relname)]
    if not element.HasField("column_def"):
        return []
    column = element.column_def
    kinds = [_constraint(constraint) for constraint in column.constraints]
    if "CONSTR_FOREIGN" not in kinds:
        return []
    foreign_keys = [
        (column.colname, constraint.constraint.pktable.relname)
        for constraint, kind in zip(column.constraints, kinds, strict=True)
        if kind == "CONSTR_FOREIGN"
    ]
    constraints = [
        constraint
        for constraint, kind in zip(column.constraints, kinds, strict=True)
        if kind != "CONSTR_FOREIGN" and not kind.startswith("CONSTR_ATTR")
    ]
    del column.constraints[:]
    column.constraints.extend(constraints)
    return foreign_keys


def _create_sequence(connection: psycopg.Connection, node: Node) -> str:
    schema = fetch_one(connection, CREATED_IN, node.sequence.schemaname)
    name = node.sequence.relname
    relation = fetch_one(connection, NAMED, schema, name) if node.if_not_exists else None
    if not relation:
        return ""
    if relation[1] != "S":
        raise Differs(f"{name} already exists, and is not a sequence")
    parsed, shadow = copied("create_seq_stmt", node)
    shadow.sequence.schemaname, shadow.if_not_exists = "pg_temp", False
    options = [option for option in shadow.options if option.def_elem.defname != "owned_by"]
    del shadow.options[:]
    shadow.options.extend(options)
    with connection.transaction(force_rollback=True):
        create_shadow(connection, postgast.deparse(parsed))
        wanted = fetch_one(connection, SEQUENCE, fetch_one(connection, SHADOW, name))
    existing = fetch_one(connection, SEQUENCE, relation[0])
    if wanted != existing:
        raise Differs(f"the sequence {name} already exists, as {existing}; the file wants {wanted}")
    return f"the sequence {name} already exists"


def _create_view(connection: psycopg.Connection, node: Node) -> str:
    into = node.into.rel
    is_view = node.objtype == pg_query_pb2.ObjectType.OBJECT_MATVIEW
    if not node.if_not_exists or not is_view or node.into.col_names:
        return ""
    schema = fetch_one(connection, CREATED_IN, into.schemaname)
    relation = fetch_one(connection, NAMED, schema, into.relname)
    if not relation:
        return ""
    if relation[1] != "m":
        raise Differs(f"{into.relname} already exists, and is not a materialized view")
    query = pg_query_pb2.ParseResult()
    query.stmts.add().stmt.select_stmt.CopyFrom(node.query.select_stmt)
    name = sql.Identifier("pg_temp", into.relname)
    with connection.transaction(force_rollback=True):
        beginning = sql.SQL("create temporary view {} as ").format(name).as_string(connection)
        create_shadow(connection, beginning + postgast.deparse(query))
        connection.execute("set local search_path = ''")
        wanted = fetch_one(connection, VIEW, fetch_one(connection, SHADOW, into.relname))
    connection.execute("set local search_path = ''")
    existing = fetch_one(connection, VIEW, relation[0])
    if wanted != existing:
        raise Differs(
            f"the materialized view {into.relname} already exists, as {' '.join(existing.split())}"
        )
    return f"the materialized view {into.relname} already exists"


def _create_schema(connection: psycopg.Connection, node: Node) -> str:
    exists = node.if_not_exists and fetch_one(connection, HAS_SCHEMA, node.schemaname)
    return f"the schema {node.schemaname} already exists" if exists else ""


def _create_extension(connection: psycopg.Connection, node: Node) -> str:
    version = fetch_one(connection, EXTENSION, node.extname) if node.if_not_exists else None
    if version is None:
        return ""
    for option in node.options:
        wanted = option.def_elem.arg.string.sval
        if option.def_elem.defname == "new_version" and wanted != version:
            raise Differs(
                f"the extension {node.extname} exists in version {version}; the file wants {wanted}"
            )
    return f"the extension {node.extname} already exists"


def _add_value(connection: psycopg.Connection, node: Node) -> str:
    names = ".".join('"' + part.string.sval.replace('"', '""') + '"' for part in node.type_name)
    exists = node.skip_if_new_val_exists and fetch_one(connection, ENUM, names, node.new_val)
    return f"the value {node.new_val} already exists" if exists else ""


_LOOKS: dict[str, Callable[[psycopg.Connection, Any], str]] = {
    "index_stmt": _create_index,
    "create_stmt": _create_table,
    "alter_table_stmt": _alter_table,
    "create_seq_stmt": _create_sequence,
    "create_table_as_stmt": _create_view,
    "create_schema_stmt": _create_schema,
    "create_extension_stmt": _create_extension,
    "alter_enum_stmt": _add_value,
}


def quoted(relation: Node) -> str:
    """Return a relation's name as the server reads it."""
    parts = [part for part in (relation.schemaname, relation.relname) if part]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _index(connection: psycopg.Connection, node: Node) -> tuple[int, str, str, bool] | None:
    """Return oid, schema, table and validity of the index that a statement names."""
    table = fetch_one(connection, TABLE, quoted(node.relation))
    relation = (
        fetch_one(connection, NAMED, table[1], node.idxname) if table and node.idxname else None
    )
    if not relation:
        return None
    if relation[1] not in ("i", "I"):
        raise Differs(f"{node.idxname} already exists, and is not an index")
    return relation[0], table[1], table[2], relation[2]
