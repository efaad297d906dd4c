"""Take a backup: one pg_dump archive, and a manifest written last."""

import shlex
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import quote

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ci import process
from ci.backup.shared import (
    DUMP,
    MANIFEST,
    REMEDIES,
    Meter,
    Progress,
    Table,
    asking,
    count_rows,
    one_value,
    read_tables,
)
from ci.clients import Clients, find_clients
from ci.database import Database, read_target
from ci.errors import ChildFailed, LockTimeout, StepFailed, StoreFailed
from ci.model import Manifest, Part
from ci.secret import redact
from ci.stores import Store

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
NOT_KEPT = "no backup was kept: no manifest, no archive; the database is unchanged"


def dump_command(clients: Clients, *, snapshot: str) -> tuple[str, ...]:
    """Return the command that dumps to standard output; PG* variables say which database."""
    return (
        str(clients.pg_dump),
        "--format=custom",
        f"--compress={clients.compression}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        "--no-password",  # fails instead of asking a terminal nobody watches
    )


def take(  # noqa: PLR0913  # each is a different fact that the manifest needs
    database: Database,
    store: Store,
    *,
    environment: str,
    deployment: str,
    applied: tuple[str, ...],
    now: Callable[[], datetime],
    progress: Progress,
) -> Manifest:
    """Dump the database into the store and return the manifest, written last.

    Bounded memory, no temporary file. Every table is locked in ACCESS SHARE MODE from before the
    snapshot until the dump ends: TRUNCATE and rewriting ALTER TABLE are not MVCC-safe, and would
    make a table look empty to an older snapshot, without an error.

    Args:
        database: what to dump; its user must be allowed to read all of it.
        store: where to.
        environment: first element of the key.
        deployment: id, part of the key's last element.
        applied: names of the migrations the database has, newest last.
        now: the clock.
        progress: called with (bytes stored, None) after each chunk.

    Raises:
        StepFailed: no backup was kept. Also LockTimeout, StoreFailed, Unreachable, ChildFailed.

    """
    began = now()
    stored: list[Part] = []
    try:
        with asking(NOT_KEPT), database.connect("backup") as connection:
            target = read_target(connection)
            key = _key(environment, target.database, began, deployment)
            clients = find_clients(target.server_version, tls=connection.pgconn.ssl_in_use)
            # Ours alone: whoever backs this database up, or deploys to it, holds the lock.
            store.sweep(f"{environment}/{_quoted(target.database)}/")
            snapshot, tables = _hold_snapshot(connection)
            rows = count_rows(connection, tables)
            chunks = _dump(connection, database, dump_command(clients, snapshot=snapshot))
            stored.append(_store(store, key + DUMP, chunks, _size(connection), Meter(progress)))
        manifest = Manifest(
            key=key,
            environment=environment,
            database=target.database,
            system_identifier=target.system_identifier,
            deployment=deployment,
            taken_at=began.astimezone(UTC),
            seconds=(now() - began).total_seconds(),
            server_version=target.server_version,
            client_version=clients.version,
            parts=tuple(stored),
            row_counts=tuple(sorted(rows.items())),
            applied=applied,
            restore_command=_restore_command(store.address(key + DUMP)),
        )
        store.write(key + MANIFEST, [manifest.canonical()])
    except BaseException as error:
        for part in stored:
            _discard(store, part.key, error)
        raise
    return manifest


def _key(environment: str, database: str, taken_at: datetime, deployment: str) -> str:
    moment = taken_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    # A database or deployment may be called anything, also "a/b".
    return f"{environment}/{_quoted(database)}/{moment}-{_quoted(deployment)}/"


def _quoted(element: str) -> str:
    return quote(element, safe="")


def _hold_snapshot(connection: psycopg.Connection) -> tuple[str, tuple[Table, ...]]:
    """Lock every table, then take and export the snapshot; both last until the transaction ends."""
    # Row security would hide rows from us silently; off, it is an error, as it is for pg_dump.
    connection.execute("set row_security = off")
    connection.execute(sql.SQL("set lock_timeout = {}").format(LOCK_WAIT))
    if connection.info.server_version >= 170000:
        connection.execute("set transaction_timeout = 0")
    for _ in range(ATTEMPTS):
        # Listed outside of the transaction: its snapshot must be taken after its locks.
        tables = read_tables(connection)
        connection.execute("begin isolation level repeatable read, read only")
        try:
            _lock_tables(connection, tables)
            snapshot = one_value(connection, "select pg_catalog.pg_export_snapshot()")
            if read_tables(connection) == tables:
                return str(snapshot), tables
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            pass  # dropped since it was listed
        connection.rollback()
    raise StepFailed(
        f"tables were created or dropped during each of {ATTEMPTS} attempts to lock all of them",
        state=NOT_KEPT,
        next_step="start again when whatever creates tables has ended",
    )


def _lock_tables(connection: psycopg.Connection, tables: tuple[Table, ...]) -> None:
    for start in range(0, len(tables), LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(
            sql.SQL("only {}").format(sql.Identifier(table.schema, table.name))
            for table in tables[start : start + LOCKED_AT_ONCE]
        )
        try:
            connection.execute(sql.SQL("lock table {} in access share mode").format(names))
        except pg.LockNotAvailable as error:
            connection.rollback()
            held = redact(str(one_value(connection, HOLDERS) or "nobody any more"))
            raise LockTimeout(
                f"a table stayed locked by others for {LOCK_WAIT}; held now by {held}",
                state=NOT_KEPT,
                next_step=REMEDIES[pg.LockNotAvailable],
            ) from error


def _size(connection: psycopg.Connection) -> int:
    """Return the database's bytes: an upper bound of a compressed dump (8 × where measured)."""
    query = "select pg_catalog.pg_database_size(pg_catalog.current_database())"
    return int(str(one_value(connection, query)))


def _dump(
    connection: psycopg.Connection, database: Database, command: tuple[str, ...]
) -> Generator[bytes, None, None]:
    """Yield the archive; raises at its end where pg_dump failed or the locks were lost."""
    env = database.environment() | {"PGAPPNAME": f"windlass/{database.deployment_id}/backup"}
    try:
        yield from process.stream(command, env=env)
    except ChildFailed as error:
        raise ChildFailed(
            error.what, state=NOT_KEPT, next_step=error.next_step,
            code=error.code, stderr=error.stderr,
        ) from error  # fmt: skip
    # The transaction that holds the locks must have lasted as long as the dump.
    connection.execute("select 1")


def _store(
    store: Store, key: str, chunks: Generator[bytes, None, None], expected_bytes: int, meter: Meter
) -> Part:
    # Closed here, not by the garbage collector: a store that fails leaves pg_dump running.
    with closing(chunks):
        store.write(key, meter.passing(chunks), expected_bytes=expected_bytes)
    return Part(key=key, size=meter.size, sha256=meter.sha256.hexdigest())


def _restore_command(address: str) -> str:
    restore = "pg_restore --exit-on-error --no-owner --single-transaction --dbname=NEW_DATABASE"
    if address.startswith("s3://"):
        return f"aws s3 cp {shlex.quote(address)} - | {restore}"
    return f"{restore} {shlex.quote(address)}"


def _discard(store: Store, key: str, error: BaseException) -> None:
    """Remove an archive that will have no manifest. Best effort: it is no backup either way."""
    try:
        store.delete(key)
    except StoreFailed as second:
        error.add_note(f"{store.address(key)} remains, and counts for nothing: {second.what}")
