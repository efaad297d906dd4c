"""Reads a table as a recipe needs it. Catalogs alone."""

from pathlib import Path

import psycopg

from ..errors import ConfigError
from ..parser.split import split
from .shape import Column, Constraint, Index, Key, Shape

FIND = """
    select n.nspname::text, c.relname::text, c.relkind::text, c.oid,
           exists (select from pg_catalog.pg_inherits i
                   where i.inhrelid = c.oid or i.inhparent = c.oid)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = %(name)s and c.relkind in ('r', 'p')
      and n.nspname = any (%(schemas)s::text[])
    order by pg_catalog.array_position(%(schemas)s::text[], n.nspname::text) limit 1
"""
COLUMNS = """
    select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
           coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),
           case when a.attcollation <> t.typcollation
                then (select pg_catalog.quote_ident(n.nspname) || '.'
                             || pg_catalog.quote_ident(o.collname)
                      from pg_catalog.pg_collation o
                      join pg_catalog.pg_namespace n on n.oid = o.collnamespace
                      where o.oid = a.attcollation) else '' end,
           a.attidentity <> '', a.attgenerated <> '',
           coalesce((select s.objid::pg_catalog.regclass::text from pg_catalog.pg_depend s
                     join pg_catalog.pg_class q on q.oid = s.objid and q.relkind = 'S'
                     where s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                       and s.refobjid = a.attrelid and s.refobjsubid = a.attnum limit 1), ''),
           array(select distinct pg_catalog.pg_describe_object(p.classid, p.objid, p.objsubid)
                 from pg_catalog.pg_depend p
                 where p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                   and p.refobjid = a.attrelid and p.refobjsubid = a.attnum
                   and p.classid not in ('pg_catalog.pg_class'::pg_catalog.regclass,
                                         'pg_catalog.pg_constraint'::pg_catalog.regclass)
                   and not (p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                            and p.objid in (select oid from pg_catalog.pg_attrdef
                                            where adrelid = a.attrelid and adnum = a.attnum))
                 order by 1)
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
INDEXES = """
    select c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid),
           array(select distinct a.attname::text from pg_catalog.pg_depend d
                 join pg_catalog.pg_attribute a
                   on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                   and d.objid = i.indexrelid and d.refobjid = i.indrelid and d.refobjsubid > 0),
           coalesce((select a.attname::text from pg_catalog.pg_attribute a
                     where a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                       and i.indkey[0] <> 0), '')
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid = %s and not exists (
        select from pg_catalog.pg_constraint k
        where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
    order by 1
"""
CONSTRAINTS = """
    select k.conname::text, k.contype::text, pg_catalog.pg_get_constraintdef(k.oid),
           array(select a.attname::text
                 from pg_catalog.unnest(k.conkey) with ordinality as key (number, place)
                 join pg_catalog.pg_attribute a
                   on a.attrelid = k.conrelid and a.attnum = key.number order by key.place),
           k.convalidated
    from pg_catalog.pg_constraint k
    where k.conrelid = %s and k.contype in ('c', 'f', 'p', 'u', 'x') order by k.contype desc, 1
"""
REFERRING = """
    select a.attname::text, array_agg(k.conrelid::pg_catalog.regclass::text || '.' || k.conname)
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = any (k.confkey)
    where k.confrelid = %s and k.contype = 'f' group by 1
"""
TAKEN = """
    select c.relname::text from pg_catalog.pg_class c
    where c.relnamespace = %(schema)s::pg_catalog.regnamespace
    union select p.proname::text from pg_catalog.pg_proc p
    where p.pronamespace = %(schema)s::pg_catalog.regnamespace
"""


def read_shape(
    connection: psycopg.Connection, table: str, search_path: tuple[str, ...] = ("public",)
) -> Shape:
    """Return a table as the database has it.

    Args:
        connection: to the database, in a transaction of the caller's.
        table: as SQL names it: orders, sales.orders, "Order".
        search_path: where a name without a schema is looked for.

    Raises:
        ConfigError: there is no such table.

    """
    schemas, name = _named(table, search_path)
    row = connection.execute(FIND.encode(), {"name": name, "schemas": list(schemas)}).fetchone()
    if row is None:
        raise ConfigError(
            f"--table {table}: there is no such table in {', '.join(schemas)}",
            next_step="name it with its schema, as SQL writes it: --table sales.orders",
        )
    key: Key = (row[0], row[1])
    oid = row[3]
    return Shape(
        key=key,
        kind=row[2],
        inherits=row[4],
        columns={
            each[0]: Column(
                type=each[1],
                not_null=each[2],
                default="" if each[6] else each[3],
                collation=each[4],
                identity=each[5],
                generated=each[6],
                sequence=each[7],
                uses=tuple(each[8]),
            )
            for each in connection.execute(COLUMNS.encode(), (oid,)).fetchall()
        },
        indexes={
            each[0]: Index(definition=each[1], columns=tuple(each[2]), leads=each[3])
            for each in connection.execute(INDEXES.encode(), (oid,)).fetchall()
        },
        constraints={
            each[0]: Constraint(
                kind=each[1], definition=each[2], columns=tuple(each[3]), validated=each[4]
            )
            for each in connection.execute(CONSTRAINTS.encode(), (oid,)).fetchall()
        },
        referring={
            each[0]: tuple(each[1])
            for each in connection.execute(REFERRING.encode(), (oid,)).fetchall()
        },
        taken=frozenset(
            each[0]
            for each in connection.execute(
                TAKEN.encode(), {"schema": '"' + key[0].replace('"', '""') + '"'}
            ).fetchall()
        ),
    )


def _named(table: str, search_path: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the schemas in which a name may be, and the name."""
    (statement,) = split(Path("table.sql"), f"TABLE {table}")
    relation = statement.node.from_clause[0].range_var
    schema, name = str(relation.schemaname), str(relation.relname)
    return ((schema,) if schema else search_path), name
