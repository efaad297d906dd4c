"""What the live database is right now: identity, history, and a fingerprint of its schema."""

import hashlib
from collections.abc import Iterable

import psycopg

from ci import leftovers
from ci.database import Database, read_target
from ci.engines import Engine
from ci.model import Facts, TableSize
from ci.wording import plain

# Everything a person would call the schema, a line each, but for our own tables and what belongs
# to an extension. Deparsed with an empty search_path, so that it reads the same in every session.
FINGERPRINT = r"""
    with ours as (
        select oid, nspname from pg_catalog.pg_namespace
        where nspname !~ '^pg_' and nspname not in ('information_schema', 'windlass')
    ), relation as (
        select c.oid, n.nspname, c.relname, c.relkind
        from pg_catalog.pg_class c join ours n on n.oid = c.relnamespace
        where not (n.nspname = 'public' and c.relname like 'schema_migrations%')
          and c.relname not like '\_prisma\_migrations%'
          and not exists (select from pg_catalog.pg_depend d
                          where d.objid = c.oid and d.deptype = 'e')
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


# A partitioned table has no rows of its own: those of its partitions count.
SIZES = """
    select pg_catalog.format('%%I.%%I', n.nspname, c.relname),
           coalesce((select pg_catalog.sum(greatest(p.reltuples, 0))::bigint
                     from pg_catalog.pg_partition_tree(c.oid) t
                     join pg_catalog.pg_class p on p.oid = t.relid
                     where t.isleaf and c.relkind = 'p'), c.reltuples::bigint),
           coalesce((select pg_catalog.sum(pg_catalog.pg_total_relation_size(t.relid))::bigint
                     from pg_catalog.pg_partition_tree(c.oid) t where c.relkind = 'p'),
                    pg_catalog.pg_total_relation_size(c.oid))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = any (%s) and c.relkind in ('r', 'p', 'm')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
    order by 1
"""
LONGEST = 200  # characters of a line of the schema that a plan keeps


def take_facts(database: Database, engine: Engine) -> Facts:
    """Return the facts of one moment. Read-only."""

    def read(connection: psycopg.Connection) -> Facts:
        with connection.transaction():
            lines = _lines(connection)
            return Facts(
                target=read_target(connection),
                history=engine.history(connection),
                partials=engine.partials(connection),
                failed=engine.failed(connection),
                leftovers=leftovers.read(connection),
                schema_fingerprint=_hash(lines),
                schema=tuple(_short(line) for line in lines),
            )

    return database.read("facts", read)


def read_likeness(connection: psycopg.Connection) -> frozenset[str]:
    """Return the schema's lines as a dump and a restore leave them, for a database and its copy.

    The server words some expressions anew on the way. In a transaction of the caller's.
    """
    return frozenset(plain(line) for line in _lines(connection))


def _lines(connection: psycopg.Connection) -> list[str]:
    connection.execute("set local search_path = ''")
    return sorted(row[0] for row in connection.execute(FINGERPRINT.encode()).fetchall())


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _short(line: str) -> str:
    """Return a line for people; of a long one, such as a function, its beginning and its hash."""
    if len(line) <= LONGEST:
        return line
    digest = hashlib.sha256(line.encode()).hexdigest()[:12]
    return f"{' '.join(line[:LONGEST].split())}… ({digest})"


def read_sizes(connection: psycopg.Connection, names: Iterable[str]) -> tuple[TableSize, ...]:
    """Return the sizes of the tables of these names, whatever their schema, by name."""
    found = connection.execute(SIZES.encode(), [sorted(names)]).fetchall()
    return tuple(TableSize(name=name, rows=rows, size=size) for name, rows, size in found)
