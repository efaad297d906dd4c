"""The fingerprint of a schema: what a plan begins from, and what a backup holds."""

import hashlib
from collections.abc import Iterable

import psycopg

from .history_table import HistoryTable, excluded

# Everything a person would call the schema, a line each, but for our own tables and what belongs
# to an extension. Deparsed with an empty search_path, so that it reads the same in every session.
FINGERPRINT = r"""
    with ours as (
        select oid, nspname from pg_catalog.pg_namespace
        where nspname !~ '^pg_' and nspname not in ('information_schema', 'windlass')
    ), relation as (
        select c.oid, n.nspname, c.relname, c.relkind
        from pg_catalog.pg_class c join ours n on n.oid = c.relnamespace
        where not exists (select from pg_catalog.pg_depend d
                          where d.objid = c.oid and d.deptype = 'e')/*EXCLUDED*/
    )
    select pg_catalog.format('relation %I.%I %s', nspname, relname, relkind) from relation
    union all
    select pg_catalog.format('column %I.%I.%I %s %s %s %s %s', r.nspname, r.relname, a.attname,
               pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
    from relation r join pg_catalog.pg_attribute a on a.attrelid = r.oid
    left join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped and r.relkind not in ('i', 'I', 'S')
    union all
    select pg_catalog.format('constraint %I.%I %I %s', r.nspname, r.relname, c.conname,
               pg_catalog.pg_get_constraintdef(c.oid))
    from relation r join pg_catalog.pg_constraint c on c.conrelid = r.oid
    union all
    select pg_catalog.format('index %s %s', pg_catalog.pg_get_indexdef(i.indexrelid), i.indisvalid)
    from relation r join pg_catalog.pg_index i on i.indrelid = r.oid
    union all
    select pg_catalog.format('view %I.%I %s', nspname, relname, pg_catalog.pg_get_viewdef(oid))
    from relation where relkind in ('v', 'm')
    union all
    select pg_catalog.format('trigger %s %s', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)
    from relation r join pg_catalog.pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
    union all
    select pg_catalog.format('policy %I.%I %I %s %s', r.nspname, r.relname, p.polname,
               pg_catalog.pg_get_expr(p.polqual, p.polrelid),
               pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
    from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
    union all
    select pg_catalog.format('function %s', pg_catalog.pg_get_functiondef(p.oid))
    from pg_catalog.pg_proc p join ours n on n.oid = p.pronamespace
    where p.prokind in ('f', 'p')
      and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select pg_catalog.format('enum %I.%I %s', n.nspname, t.typname,
               (select pg_catalog.string_agg(e.enumlabel, ',' order by e.enumsortorder)
                from pg_catalog.pg_enum e where e.enumtypid = t.oid))
    from pg_catalog.pg_type t join ours n on n.oid = t.typnamespace where t.typtype = 'e'
    union all
    select pg_catalog.format('domain %I.%I %s %s', n.nspname, t.typname,
               pg_catalog.format_type(t.typbasetype, t.typtypmod), t.typnotnull)
    from pg_catalog.pg_type t join ours n on n.oid = t.typnamespace where t.typtype = 'd'
"""


def read_lines(connection: psycopg.Connection, history: Iterable[HistoryTable]) -> tuple[str, ...]:
    """Return the schema, a line for each thing in it, sorted; without the tables of the history.

    In a transaction of the caller's, which it leaves with an empty search_path.
    """
    connection.execute("set local search_path = ''")
    query = FINGERPRINT.replace("/*EXCLUDED*/", excluded(history))
    rows = connection.execute(query.encode()).fetchall()
    return tuple(sorted(row[0] for row in rows))


def of(lines: tuple[str, ...]) -> str:
    """Return the fingerprint of these lines: the 64 hex digits of their SHA-256."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
