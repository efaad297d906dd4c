"""Reads the catalog that lint judges by from a database, in one go: what the files name of it."""

from collections.abc import Iterable

import psycopg

from ..parser import tree
from ..parser.file import SqlFile
from .catalog import (
    BUILTIN,
    Catalog,
    CatalogColumn,
    CatalogConstraint,
    CatalogIndex,
    CatalogTable,
    ConstraintKind,
    Domain,
    Function,
    Key,
    Partitioning,
)
from .forward import body_writes

# Tables by name, or by the name of an index; tables that use a domain; and all that is below.
TABLES = """
with recursive named (oid) as (
    select coalesce(i.indrelid, c.oid)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    where c.relname = any (%(names)s) and c.relkind in ('r', 'p', 'm', 'i', 'I')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
  union
    select a.attrelid from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where t.typtype = 'd' and t.typname = any (%(names)s) and not a.attisdropped
), below (oid) as (
    select oid from named
  union
    select i.inhrelid from pg_catalog.pg_inherits i join below on i.inhparent = below.oid
)
select c.oid, n.nspname::text, c.relname::text, c.relkind::text,
       coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''),
       p.partstrat::text, array(
           select coalesce(a.attname::text, '')
           from pg_catalog.unnest(p.partattrs::pg_catalog.int2[]) with ordinality k (attnum, n)
           left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
           order by k.n),
       pg_catalog.pg_total_relation_size(c.oid), c.reltuples::bigint, array(
           select array[pn.nspname::text, pc.relname::text]
           from pg_catalog.pg_inherits i join pg_catalog.pg_class pc on pc.oid = i.inhparent
           join pg_catalog.pg_namespace pn on pn.oid = pc.relnamespace
           where i.inhrelid = c.oid order by i.inhseqno)
from below join pg_catalog.pg_class c using (oid)
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid
where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'windlass')
"""
# Since 18 NOT NULL is a constraint, which may be one that no row was checked against.
COLUMNS = """
select a.attrelid, a.attname::text,
       case when n.nspname = 'pg_catalog' then t.typname::text
            else pg_catalog.concat(n.nspname, '.', t.typname) end,
       a.atttypmod, a.attnotnull and not exists (
           select from pg_catalog.pg_constraint c
           where c.conrelid = a.attrelid and c.contype = 'n' and not c.convalidated
             and c.conkey[1] = a.attnum)
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where a.attrelid = any (%s) and a.attnum > 0 and not a.attisdropped order by 1, a.attnum
"""
CONSTRAINTS = """
select c.conrelid, c.conname::text, c.contype::text, array(
           select a.attname::text from pg_catalog.unnest(c.conkey) with ordinality k (attnum, n)
           join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
           order by k.n),
       c.convalidated, coalesce(pg_catalog.pg_get_expr(c.conbin, c.conrelid), ''),
       n.nspname::text, r.relname::text
from pg_catalog.pg_constraint c
left join pg_catalog.pg_class r on r.oid = c.confrelid
left join pg_catalog.pg_namespace n on n.oid = r.relnamespace
where c.conrelid = any (%s) and (c.contype in ('c', 'f', 'u', 'p', 'x')
  or c.contype = 'n' and not c.convalidated)
order by 1, 2
"""
INDEXES = """
select i.indrelid, c.relname::text, array(
           select coalesce(a.attname::text, '')
           from pg_catalog.unnest(i.indkey) with ordinality k (attnum, n)
           left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
           where k.n <= i.indnkeyatts order by k.n),
       i.indisunique, i.indisvalid, i.indpred is null and i.indexprs is null,
       pg_catalog.pg_get_indexdef(i.indexrelid)
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = any (%s) order by 1, 2
"""
DOMAINS = """
select n.nspname::text, t.typname::text, b.typname::text, t.typnotnull or exists (
           select from pg_catalog.pg_constraint c where c.contypid = t.oid)
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
join pg_catalog.pg_type b on b.oid = t.typbasetype
where t.typtype = 'd' and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'windlass')
"""
ENUMS = """
select n.nspname::text, t.typname::text
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'e' and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'windlass')
"""
FUNCTIONS = """
select n.nspname::text, p.proname::text, p.provolatile = 'v', l.lanname::text,
       pg_catalog.concat(p.prosrc, ' ', pg_catalog.pg_get_function_sqlbody(p.oid))
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where p.proname = any (%s)
"""
WITHOUT_SQL_BODIES = FUNCTIONS.replace(
    "pg_catalog.concat(p.prosrc, ' ', pg_catalog.pg_get_function_sqlbody(p.oid))", "p.prosrc"
)  # before 14
SCHEMAS = "select nspname::text from pg_catalog.pg_namespace where nspname = any (%s)"
AVAILABLE = "select name::text from pg_catalog.pg_available_extensions"
ConstraintRow = tuple[int, str, str, list[str], bool, str, str | None, str | None]
KINDS: dict[str, ConstraintKind] = {
    "c": "check",
    "f": "foreign",
    "u": "unique",
    "p": "primary",
    "x": "exclude",
    "n": "not null",
}


def read_catalog(
    connection: psycopg.Connection, files: Iterable[SqlFile], search_path: tuple[str, ...]
) -> Catalog:
    """Return what exists of what files name; in a transaction of the caller's, or none.

    `search_path` is that in which the files will run.
    """
    files = tuple(files)
    tables = _tables(connection, sorted(_names(files)))
    functions = sorted(frozenset[str]().union(*(file.functions() for file in files)))
    there = {name for (name,) in connection.execute(SCHEMAS, [list(search_path)])}
    return Catalog(
        major=connection.info.server_version // 10_000,
        live=True,
        search_path=tuple(name for name in search_path if name in there) or search_path,
        tables=tables,
        domains={
            (schema, name): Domain(base, constrained)
            for schema, name, base, constrained in connection.execute(DOMAINS.encode())
        },
        enums=dict.fromkeys(connection.execute(ENUMS.encode()), False),
        functions=_functions(connection, functions),
        extensions=_available(connection, files),
    )


def _names(files: tuple[SqlFile, ...]) -> set[str]:
    """Return every name by which files may mean a table, an index or a domain."""
    found: set[str] = set()
    for file in files:
        found |= file.tables()
        for statement in file.statements:
            if statement.kind == "drop_stmt":
                found |= tree.dropped_names(statement.node)
            elif statement.kind == "alter_domain_stmt":
                found.add(str(statement.node.type_name[-1].string.sval))
    return found


def _available(connection: psycopg.Connection, files: tuple[SqlFile, ...]) -> frozenset[str] | None:
    """Return the extensions that can be created; where no file creates one, nothing is asked."""
    if not any(s.kind == "create_extension_stmt" for file in files for s in file.statements):
        return None
    return frozenset(name for (name,) in connection.execute(AVAILABLE))


def _functions(connection: psycopg.Connection, names: list[str]) -> dict[Key, Function]:
    query = FUNCTIONS if connection.info.server_version >= 140_000 else WITHOUT_SQL_BODIES
    functions: dict[Key, Function] = {}
    for schema, name, volatile, language, body in connection.execute(query.encode(), [names]):
        builtin = schema == BUILTIN
        writes = volatile and not builtin and body_writes(language, body)
        other = functions.get((schema, name), Function(builtin, False, False))
        functions[schema, name] = Function(
            builtin, volatile or other.volatile, writes or other.writes
        )
    return functions


def _tables(connection: psycopg.Connection, names: list[str]) -> dict[Key, CatalogTable]:
    rows = connection.execute(TABLES.encode(), {"names": names}).fetchall()
    oids = [row[0] for row in rows]
    columns: dict[int, dict[str, CatalogColumn]] = {oid: {} for oid in oids}
    constraints: dict[int, list[CatalogConstraint]] = {oid: [] for oid in oids}
    indexes: dict[int, dict[str, CatalogIndex]] = {oid: {} for oid in oids}
    for oid, name, type_, modifier, not_null in connection.execute(COLUMNS.encode(), [oids]):
        columns[oid][name] = CatalogColumn(type_, modifier, not_null)
    for row in connection.execute(CONSTRAINTS.encode(), [oids]):
        constraints[row[0]].append(_constraint(row))
    for oid, name, keys, unique, valid, whole, text in connection.execute(INDEXES.encode(), [oids]):
        indexes[oid][name] = CatalogIndex(tuple(keys), unique, valid, whole, text)
    return {
        (schema, name): CatalogTable(
            kind=kind,
            columns=columns[oid],
            constraints=tuple(constraints[oid]),
            indexes=indexes[oid],
            parents=tuple((parent[0], parent[1]) for parent in parents),
            bound=bound,
            partitioning=Partitioning(strategy, tuple(keys)) if strategy else None,
            size=size,
            rows=rows_,
        )
        for oid, schema, name, kind, bound, strategy, keys, size, rows_, parents in rows
    }


def _constraint(row: ConstraintRow) -> CatalogConstraint:
    _, name, kind, columns, validated, expression, schema, table = row
    refers: Key | None = (schema, table) if schema is not None and table is not None else None
    return CatalogConstraint(name, KINDS[kind], tuple(columns), validated, expression, refers)
