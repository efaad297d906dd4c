"""Restore a backup into an empty database: all of it or nothing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ci import process
from ci.backup.proving import archive_of, by_plain_name, check_archive, check_rows
from ci.backup.shared import Meter, Progress, TableName, asking, count_rows, one_value, read_tables
from ci.clients import Clients, find_clients
from ci.database import Database, read_target
from ci.errors import ChildFailed, Refused, StepFailed
from ci.model import Manifest, Target
from ci.secret import Secret
from ci.stores import Store

ANYTHING_IN_IT = """
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
        and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e')
order by 1 limit 1
"""
LOCALE = """
select pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype,
       pg_catalog.to_jsonb(d) ->> 'datlocprovider',
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale')
from pg_catalog.pg_database d where datname = pg_catalog.current_database()
"""
PROVIDERS = {"i": "icu", "b": "builtin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore whose row counts equal the manifest's."""

    database: str
    seconds: float
    tables: int
    rows: int


def restore(
    manifest: Manifest,
    store: Store,
    target: Database,
    *,
    clients: Clients | None,
    progress: Progress,
) -> Restored:
    """Restore a backup into an empty database, in one transaction: all of it or nothing.

    The archive's last bytes are held back until its SHA-256 is known to be right, so that a
    damaged one cannot be committed.

    Args:
        manifest: which one.
        store: where it is.
        target: an empty database; never the live one.
        clients: whose pg_restore; None: looked for, by the target server's version.
        progress: called with (bytes read, bytes in all).

    Raises:
        Refused: the target has a table, a view or a sequence.
        StepFailed: it is not restored, or its row counts differ from the snapshot's.

    """
    began = time.monotonic()
    part = archive_of(manifest)
    with asking("nothing was restored"), target.connect("restore") as connection:
        found = read_target(connection)
        _require_empty(connection, found)
        clients = clients or find_clients(found.server_version, tls=connection.pgconn.ssl_in_use)
    meter = Meter(progress, part.size)
    source = _held_back(
        meter.passing(store.read(part.key)), lambda: check_archive(part, meter, store)
    )
    _load(source, clients, target, found.database)
    counted = _count_restored(target)
    expected = by_plain_name(manifest.row_counts)
    check_rows(
        expected, counted, f"the database {found.database}",
        state=f"{found.database} holds what was restored; the live database is unchanged",
    )  # fmt: skip
    return Restored(
        database=found.database,
        seconds=time.monotonic() - began,
        tables=len(expected),
        rows=sum(expected.values()),
    )


def _require_empty(connection: psycopg.Connection, found: Target) -> None:
    first = one_value(connection, ANYTHING_IN_IT)
    if first is not None:
        raise Refused(
            f"the database {found.database} is not empty: it has {first}",
            next_step="restore into a new database, compare, then swap the two by renaming",
        )


def _held_back(chunks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield the chunks, the last one only after `check`."""
    held: bytes | None = None
    for chunk in chunks:
        if held is not None:
            yield held
        held = chunk
    check()
    if held is not None:
        yield held


def _load(source: Iterator[bytes], clients: Clients, target: Database, dbname: str) -> None:
    command = (
        str(clients.pg_restore),
        "--exit-on-error",
        "--no-owner",
        "--single-transaction",
        "--no-password",
        # As a parameter: a bare name with "=" in it would be read as a connection string.
        f"--dbname={make_conninfo(dbname=dbname)}",
    )
    env = target.environment() | {"PGAPPNAME": f"windlass/{target.deployment_id}/restore"}
    state = f"nothing was restored: the transaction was rolled back, {dbname} is empty"
    try:
        for _ in process.pipe(command, source, env=env):
            pass
    except ChildFailed as error:
        raise ChildFailed(
            error.what, state=state,
            next_step="create the role or extension it misses, or try invoke backup.verify",
            code=error.code, stderr=error.stderr,
        ) from error  # fmt: skip
    except StepFailed as error:
        raise type(error)(error.what, state=state, next_step=error.next_step) from error


def _count_restored(target: Database) -> dict[TableName, int]:
    with (
        asking("restored, but not compared with the snapshot"),
        target.connect("restore") as connection,
    ):
        connection.execute("set row_security = off")
        connection.execute("begin isolation level repeatable read, read only")
        counted = count_rows(connection, read_tables(connection))
    return by_plain_name(counted.items())


def create_database(admin: Database, name: str) -> Database:
    """Create an empty database with the encoding and locale of `admin`'s, and return it.

    Raises:
        Refused: there is one of this name already.
        StepFailed: the server did not create it, for lack of rights for example.

    """
    with asking("no database was created"), admin.connect("restore") as connection:
        row = connection.execute(LOCALE).fetchone()
        if row is None:
            raise AssertionError("current_database() is not in pg_database")
        statement = _create_statement(name, row)
        try:
            connection.execute(statement)
        except pg.DuplicateDatabase as error:
            raise Refused(
                f"there is a database {name} already",
                next_step="choose another name, or drop it if nobody needs it",
            ) from error
    url = make_conninfo(admin.url.reveal(), dbname=name)
    return Database(url=Secret(url), deployment_id=admin.deployment_id)


def _create_statement(
    name: str, locale: tuple[str, str, str, str | None, str | None]
) -> sql.Composed:
    encoding, collate, ctype, provider, provider_locale = locale
    # template0: what somebody once added to template1 would clash with the archive.
    statement = sql.SQL(
        "create database {} template template0 encoding {} lc_collate {} lc_ctype {}"
    ).format(sql.Identifier(name), encoding, collate, ctype)
    if provider in PROVIDERS and provider_locale is not None:
        kind = PROVIDERS[provider]
        statement += sql.SQL(" locale_provider {} {} {}").format(
            sql.Identifier(kind), sql.Identifier(f"{kind}_locale"), provider_locale
        )
    return statement
