"""The tables whose rows a dump holds, by the names that `pg_dump` gives them."""

import re
import threading
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from ..database.errors import one_value

TOGETHER = 20  # tables that are counted before their indexes' locks are given back
TableName = tuple[str, str]  # schema and table, not quoted
# Every table whose rows pg_dump writes, by the name it writes them under:
# - materialised views are left out: they are refreshed by the restore, not stored;
# - an extension's tables only where it registered them (pg_extension_config_dump), and then the
#   rows it registered;
# - partitions one by one, but those hashed by an enum under their root, as pg_dump writes them:
#   an enum's hash differs from server to server, and so does the partition a row belongs to.
TABLES = """
with configured as (
    select pg_catalog.unnest(extconfig) as oid, pg_catalog.unnest(extcondition) as condition
    from pg_catalog.pg_extension
)
select n.nspname as schema, c.relname as name, c.relkind = 'r' as has_rows,
       coalesce(configured.condition, '') as condition,
       configured.oid is not null as registered,
       coalesce(
           (select pg_catalog.format('%I.%I', rn.nspname, r.relname)
            from pg_catalog.pg_class r
            join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
            where c.relispartition and r.oid = pg_catalog.pg_partition_root(c.oid)
              and exists (
                  select from pg_catalog.pg_partition_ancestors(c.oid) a
                  join pg_catalog.pg_partitioned_table p on p.partrelid = a.relid
                  join pg_catalog.pg_opclass o on o.oid = any (p.partclass)
                  where p.partstrat = 'h' and o.opcname = 'enum_ops')),
           pg_catalog.format('%I.%I', n.nspname, c.relname)) as key
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join configured on configured.oid = c.oid
where c.relkind in ('r', 'p') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and (configured.oid is not null or not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
        and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'))
order by n.nspname, c.relname
"""


NAME = rb'(?:"(?:[^"]|"")+"|[^". (]+)'
QUALIFIED = re.compile(rb"(" + NAME + rb")\.(" + NAME + rb")", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedTable:
    """A table whose rows a dump holds."""

    schema: str
    name: str
    has_rows: bool  # a partitioned table has none of its own
    condition: str  # a WHERE clause that an extension registered; else empty
    registered: bool  # by an extension
    key: str  # quoted, as pg_dump names it

    @property
    def alone(self) -> bool:
        """Whether its rows can be dumped apart from all others, under its own name."""
        parts = QUALIFIED.fullmatch(self.key.encode())
        assert parts is not None  # noqa: S101  # the server quoted it
        return (
            self.has_rows
            and not self.registered
            and unquoted(parts[1], parts[2]) == (self.schema, self.name)
        )


def unquoted(schema: bytes, table: bytes, encoding: str = "utf-8") -> TableName:
    """Return the plain name of a table whose parts are quoted where they must be."""

    def plain(name: bytes) -> str:
        if name.startswith(b'"'):
            name = name[1:-1].replace(b'""', b'"')
        return name.decode(encoding, errors="surrogateescape")

    return plain(schema), plain(table)


def read_tables(connection: psycopg.Connection) -> tuple[DumpedTable, ...]:
    """Return every table whose rows a dump writes."""
    with connection.cursor(row_factory=class_row(DumpedTable)) as cursor:
        return tuple(cursor.execute(TABLES).fetchall())


def count_rows(
    connection: psycopg.Connection,
    tables: tuple[DumpedTable, ...],
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Return the exact number of rows by key, as this transaction sees them, or some at `stop`.

    A count locks the table's indexes too, until its transaction ends. Their locks are given back
    behind every few tables: the server has slots for so many and no more.
    """
    counted: dict[str, int] = {}
    having = [table for table in tables if table.has_rows]
    for start in range(0, len(having), TOGETHER):
        with connection.transaction(force_rollback=True):
            for table in having[start : start + TOGETHER]:
                if stop is not None and stop.is_set():
                    return counted
                rows = _count(connection, table)
                counted[table.key] = counted.get(table.key, 0) + rows
    return counted


def _count(connection: psycopg.Connection, table: DumpedTable) -> int:
    query = sql.SQL("select pg_catalog.count(*) from only {} {}").format(
        sql.Identifier(table.schema, table.name),
        # As pg_dump does: a condition is SQL, written by the extension's author.
        sql.SQL(table.condition),
    )
    return int(str(one_value(connection, query)))
