"""One snapshot of a whole database, its tables locked, for several pg_dumps to read from."""

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ..database import fingerprint
from ..database.errors import REMEDIES, one_value
from ..database.history_table import HistoryTable
from ..errors import LockTimeout, StepFailed
from ..postgres.throwaway import EXTENSIONS, OWNERS, ROLES
from ..secret import redact
from .stream import NOT_KEPT
from .tables import DumpedTable, read_tables

LOCK_WAIT = "30s"  # of our session per LOCK statement, and of pg_dump
LOCKED_AT_ONCE = 100  # tables per LOCK statement: few round trips, and a short statement
ATTEMPTS = 5  # to lock all tables while others create and drop some
HOLDERS = """
select pg_catalog.string_agg(distinct pg_catalog.format('%s: process %s (%s)',
           l.relation::pg_catalog.regclass, a.pid, a.application_name), '; ')
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.granted and l.mode = 'AccessExclusiveLock' and l.locktype = 'relation'
  and l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
  and l.relation::bigint >= 16384
"""
SIZES = """
select n.nspname, c.relname, pg_catalog.pg_table_size(c.oid)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
FACTS = """
select pg_catalog.pg_database_size(pg_catalog.current_database()),
       case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
            else pg_catalog.pg_current_wal_lsn() end::text,
       pg_catalog.current_setting('server_encoding')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a transaction sees that lasts as long as its connection; every table is locked."""

    name: str  # as pg_dump --snapshot takes it
    tables: tuple[DumpedTable, ...]
    sizes: dict[tuple[str, str], int]  # (schema, table) -> bytes without indexes
    database_size: int
    lsn: str
    encoding: str
    extensions: tuple[tuple[str, str], ...]
    roles: tuple[str, ...]
    owners: tuple[str, ...]
    schema_fingerprint: str  # "": the schema was changed while the snapshot was taken


def hold(
    connection: psycopg.Connection,
    history: tuple[HistoryTable, ...] = (),
    *,
    schema_fingerprint: str = "",
) -> Snapshot:
    """Lock every table, then take and export the snapshot; both last until the transaction ends.

    `schema_fingerprint` is what somebody has just read under the deployment lock; read here if "".

    TRUNCATE and rewriting ALTER TABLE are not MVCC-safe: they would make a table look empty to an
    older snapshot, without an error. So the locks come first, and stay. `history` are the tables
    that are no part of the schema's fingerprint.

    Raises:
        LockTimeout: a table stayed locked by others; it says by whom.
        StepFailed: others created and dropped tables all the time.

    """
    # Row security would hide rows silently; off, it is an error, as it is for pg_dump.
    connection.execute("set row_security = off")
    connection.execute(sql.SQL("set lock_timeout = {}").format(LOCK_WAIT))
    if connection.info.server_version >= 170000:
        connection.execute("set transaction_timeout = 0")
    for _ in range(ATTEMPTS):
        # Listed outside of the transaction: its snapshot must be taken after its locks.
        tables = read_tables(connection)
        before = schema_fingerprint or _fingerprint(connection, history)
        connection.execute("begin isolation level repeatable read, read only")
        try:
            _lock_tables(connection, tables)
            name = one_value(connection, "select pg_catalog.pg_export_snapshot()")
            if read_tables(connection) == tables:
                # The server describes a function as it is now, whatever the snapshot: what is the
                # same before and after it was taken is the same in it.
                known = before if before and before == _fingerprint(connection, history) else ""
                return _described(connection, str(name), tables, known)
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            pass  # dropped since it was listed
        connection.rollback()
    raise StepFailed(
        f"tables were created or dropped during each of {ATTEMPTS} attempts to lock all of them",
        state=NOT_KEPT,
        next_step="start again when whatever creates tables has ended",
    )


def _fingerprint(connection: psycopg.Connection, history: tuple[HistoryTable, ...]) -> str:
    """Return the schema's fingerprint; empty where others drop or hold a view at this moment."""
    try:
        with connection.transaction():
            return fingerprint.of(fingerprint.read_lines(connection, history))
    except (pg.InternalError_, pg.LockNotAvailable):
        return ""


def _described(
    connection: psycopg.Connection,
    name: str,
    tables: tuple[DumpedTable, ...],
    schema_fingerprint: str,
) -> Snapshot:
    size, lsn, encoding = _query(connection, FACTS)[0]
    return Snapshot(
        name=name,
        tables=tables,
        sizes={(schema, table): size for schema, table, size in _query(connection, SIZES)},
        database_size=size,
        lsn=lsn,
        encoding=encoding,
        extensions=tuple((name, version) for name, version in _query(connection, EXTENSIONS)),
        roles=tuple(row[0] for row in _query(connection, ROLES)),
        owners=tuple(row[0] for row in _query(connection, OWNERS)),
        schema_fingerprint=schema_fingerprint,
    )


def _query(connection: psycopg.Connection, query: LiteralString) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _lock_tables(connection: psycopg.Connection, tables: tuple[DumpedTable, ...]) -> None:
    for start in range(0, len(tables), LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(
            sql.SQL("only {}").format(sql.Identifier(table.schema, table.name))
            for table in tables[start : start + LOCKED_AT_ONCE]
        )
        try:
            connection.execute(sql.SQL("lock table {} in access share mode").format(names))
        except pg.LockNotAvailable as error:
            connection.rollback()
            held = redact(str(one_value(connection, HOLDERS) or "no session"))
            raise LockTimeout(
                f"a table stayed locked by others for {LOCK_WAIT}; held now by {held}",
                state=NOT_KEPT,
                next_step=REMEDIES[pg.LockNotAvailable],
            ) from error
