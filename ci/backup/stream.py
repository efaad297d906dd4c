"""What taking, proving and restoring a backup share: the tables, their rows, the passing stream."""

import hashlib
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import class_row

from ..errors import StepFailed
from ..secret import redact

Progress = Callable[[int, "int | None"], None]  # bytes done, bytes in all where that is known
TableName = tuple[str, str]  # schema and table, not quoted
MANIFEST = "manifest.json"
NOT_KEPT = "no backup was kept: no manifest, no archive; the database is unchanged"
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
REMEDIES: dict[type[psycopg.Error], str] = {
    pg.InsufficientPrivilege: (
        "grant pg_read_all_data (and BYPASSRLS where tables have row security) to this user"
    ),
    pg.OutOfMemory: "raise max_locks_per_transaction on the server: a dump locks every table",
    pg.LockNotAvailable: "start again when the statement that holds the table has ended",
}


NAME = rb'(?:"(?:[^"]|"")+"|[^". (]+)'
QUALIFIED = re.compile(rb"(" + NAME + rb")\.(" + NAME + rb")", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
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


class Together:
    """Adds up the progress of several streams; called from their threads."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self.progress, self.total = progress, total
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Progress:
        """Return the progress of one of them."""

        def one(done: int, _total: int | None) -> None:
            with self._lock:
                self._done[name] = done
                everything = sum(self._done.values())
                # An estimate that was too low is none any more.
                low = self.total is not None and everything > self.total
                self.progress(everything, None if low else self.total)

        return one


@dataclass(slots=True)
class Meter:
    """Hashes and measures a stream while it passes."""

    progress: Progress
    total: int | None = None
    size: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def passing(self, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Yield the chunks as they are, each hashed and counted; closed, it closes their source."""
        try:
            for chunk in chunks:
                self.sha256.update(chunk)
                self.size += len(chunk)
                self.progress(self.size, self.total)
                yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()


def unquoted(schema: bytes, table: bytes, encoding: str = "utf-8") -> TableName:
    """Return the plain name of a table whose parts are quoted where they must be."""

    def plain(name: bytes) -> str:
        if name.startswith(b'"'):
            name = name[1:-1].replace(b'""', b'"')
        return name.decode(encoding, errors="surrogateescape")

    return plain(schema), plain(table)


def read_tables(connection: psycopg.Connection) -> tuple[Table, ...]:
    """Return every table whose rows a dump writes."""
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return tuple(cursor.execute(TABLES).fetchall())


def count_rows(
    connection: psycopg.Connection,
    tables: tuple[Table, ...],
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Return the exact number of rows by key, as this transaction sees them, or some at `stop`."""
    counted: dict[str, int] = {}
    for table in tables:
        if stop is not None and stop.is_set():
            return counted
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
