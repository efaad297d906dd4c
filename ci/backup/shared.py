"""What taking, proving and restoring a backup share: the tables, their rows, the passing stream."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import class_row

from ci.errors import StepFailed
from ci.secret import redact

Progress = Callable[[int, "int | None"], None]  # bytes done, bytes in all where that is known
Depth = Literal["checksum", "rows"]
TableName = tuple[str, str]  # schema and table, not quoted
DUMP, MANIFEST = "dump.pgc", "manifest.json"
SHOWN = 5  # differences that an error lists
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
REMEDIES: dict[type[psycopg.Error], str] = {
    pg.InsufficientPrivilege: (
        "grant pg_read_all_data (and BYPASSRLS where tables have row security) to this user"
    ),
    pg.OutOfMemory: "raise max_locks_per_transaction on the server: a dump locks every table",
    pg.LockNotAvailable: "start again when the statement that holds the table has ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose rows a dump holds."""

    schema: str
    name: str
    has_rows: bool  # a partitioned table has none of its own
    condition: str  # a WHERE clause that an extension registered; else empty
    key: str  # quoted, as pg_dump names it


@dataclass(slots=True)
class Meter:
    """Hashes and measures a stream while it passes."""

    progress: Progress
    total: int | None = None
    size: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks as they are, each hashed and counted."""
        for chunk in chunks:
            self.sha256.update(chunk)
            self.size += len(chunk)
            self.progress(self.size, self.total)
            yield chunk


def read_tables(connection: psycopg.Connection) -> tuple[Table, ...]:
    """Return every table whose rows a dump writes."""
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return tuple(cursor.execute(TABLES).fetchall())


def count_rows(connection: psycopg.Connection, tables: tuple[Table, ...]) -> dict[str, int]:
    """Return the exact number of rows by key, as this transaction sees them."""
    counted: dict[str, int] = {}
    for table in tables:
        if not table.has_rows:
            continue
        query = sql.SQL("select pg_catalog.count(*) from only {} {}").format(
            sql.Identifier(table.schema, table.name),
            # As pg_dump does: a condition is SQL, written by whoever made the extension.
            sql.SQL(table.condition),
        )
        counted[table.key] = counted.get(table.key, 0) + int(str(one_value(connection, query)))
    return counted


def one_value(connection: psycopg.Connection, query: LiteralString | sql.Composed) -> object:
    """Return the first value of a query; None where it has no row."""
    row = connection.execute(query).fetchone()
    return row[0] if row else None


@contextmanager
def asking(state: str) -> Iterator[None]:
    """Translate what psycopg raises; `state` is what is true then."""
    try:
        yield
    except psycopg.Error as error:
        remedies = (text for kind, text in REMEDIES.items() if isinstance(error, kind))
        said = " ".join(str(error).split())
        raise StepFailed(
            redact(f"the database did not answer as it should: {said} ({error.sqlstate or 'cut'})"),
            state=state,
            next_step=next(remedies, "check the connection and the server's log, then start again"),
        ) from error
