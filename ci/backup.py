"""Take a backup, list backups, prove one, restore one. Where it is kept is the store's business.

A backup is one pg_dump archive and a manifest, written last: without it there is no backup.
"""

import hashlib
import re
import shlex
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, LiteralString
from urllib.parse import quote

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from ci import process
from ci.clients import Clients, find_clients
from ci.database import Database, read_target
from ci.errors import ChildFailed, LockTimeout, Refused, StepFailed, StoreFailed
from ci.model import Manifest, Part, Target
from ci.secret import Secret, redact
from ci.stores import Store

Progress = Callable[[int, "int | None"], None]  # bytes done, bytes in all where that is known
Depth = Literal["checksum", "rows"]
TableName = tuple[str, str]  # schema and table, not quoted

DUMP, MANIFEST = "dump.pgc", "manifest.json"
LOCK_WAIT = "30s"  # of our session per LOCK statement, and of pg_dump
LOCKED_AT_ONCE = 100  # tables per LOCK statement: few round trips, and a short statement
ATTEMPTS = 5  # to lock all tables while others create and drop some
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

HOLDERS = """
select pg_catalog.string_agg(distinct pg_catalog.format('%s: process %s (%s)',
           l.relation::pg_catalog.regclass, a.pid, a.application_name), '; ')
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.granted and l.mode = 'AccessExclusiveLock' and l.locktype = 'relation'
  and l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
  and l.relation::bigint >= 16384
"""

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

NOT_KEPT = "no backup was kept: no manifest, no archive; the database is unchanged"
REMEDIES: dict[type[psycopg.Error], str] = {
    pg.InsufficientPrivilege: (
        "grant pg_read_all_data (and BYPASSRLS where tables have row security) to this user"
    ),
    pg.OutOfMemory: "raise max_locks_per_transaction on the server: a dump locks every table",
    pg.LockNotAvailable: "start again when the statement that holds the table has ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a proof read back. `tables` and `rows` are 0 where only the checksum was compared."""

    depth: Depth
    seconds: float
    tables: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore whose row counts equal the manifest's."""

    database: str
    seconds: float
    tables: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    schema: str
    name: str
    has_rows: bool  # a partitioned table has none of its own
    condition: str  # a WHERE clause that an extension registered; else empty
    key: str  # quoted, as pg_dump names it


@dataclass(slots=True)
class _Meter:
    """Hashes and measures a stream while it passes."""

    progress: Progress
    total: int | None = None
    size: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.sha256.update(chunk)
            self.size += len(chunk)
            self.progress(self.size, self.total)
            yield chunk


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
        with _asking(NOT_KEPT), database.connect("backup") as connection:
            target = read_target(connection)
            key = _key(environment, target.database, began, deployment)
            clients = find_clients(target.server_version, tls=connection.pgconn.ssl_in_use)
            snapshot, tables = _hold_snapshot(connection)
            rows = _count(connection, tables)
            chunks = _dump(connection, database, dump_command(clients, snapshot=snapshot))
            stored.append(_store(store, key + DUMP, chunks, _size(connection), _Meter(progress)))
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


def _hold_snapshot(connection: psycopg.Connection) -> tuple[str, tuple[_Table, ...]]:
    """Lock every table, then take and export the snapshot; both last until the transaction ends."""
    # Row security would hide rows from us silently; off, it is an error, as it is for pg_dump.
    connection.execute("set row_security = off")
    connection.execute(sql.SQL("set lock_timeout = {}").format(LOCK_WAIT))
    if connection.info.server_version >= 170000:
        connection.execute("set transaction_timeout = 0")
    for _ in range(ATTEMPTS):
        # Listed outside of the transaction: its snapshot must be taken after its locks.
        tables = _tables(connection)
        connection.execute("begin isolation level repeatable read, read only")
        try:
            _lock(connection, tables)
            snapshot = _one(connection, "select pg_catalog.pg_export_snapshot()")
            if _tables(connection) == tables:
                return str(snapshot), tables
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            pass  # dropped since it was listed
        connection.rollback()
    raise StepFailed(
        f"tables were created or dropped during each of {ATTEMPTS} attempts to lock all of them",
        state=NOT_KEPT,
        next_step="start again when whatever creates tables has ended",
    )


def _tables(connection: psycopg.Connection) -> tuple[_Table, ...]:
    with connection.cursor(row_factory=class_row(_Table)) as cursor:
        return tuple(cursor.execute(TABLES).fetchall())


def _lock(connection: psycopg.Connection, tables: tuple[_Table, ...]) -> None:
    for start in range(0, len(tables), LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(
            sql.SQL("only {}").format(sql.Identifier(table.schema, table.name))
            for table in tables[start : start + LOCKED_AT_ONCE]
        )
        try:
            connection.execute(sql.SQL("lock table {} in access share mode").format(names))
        except pg.LockNotAvailable as error:
            connection.rollback()
            held = redact(str(_one(connection, HOLDERS) or "nobody any more"))
            raise LockTimeout(
                f"a table stayed locked by others for {LOCK_WAIT}; held now by {held}",
                state=NOT_KEPT,
                next_step=REMEDIES[pg.LockNotAvailable],
            ) from error


def _count(connection: psycopg.Connection, tables: tuple[_Table, ...]) -> dict[str, int]:
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
        counted[table.key] = counted.get(table.key, 0) + int(str(_one(connection, query)))
    return counted


def _size(connection: psycopg.Connection) -> int:
    """Return the database's bytes: an upper bound of a compressed dump (8 × where measured)."""
    query = "select pg_catalog.pg_database_size(pg_catalog.current_database())"
    return int(str(_one(connection, query)))


def _one(connection: psycopg.Connection, query: LiteralString | sql.Composed) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


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
    store: Store, key: str, chunks: Generator[bytes, None, None], expected_bytes: int, meter: _Meter
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


def manifests(
    store: Store, *, environment: str, database: str | None = None
) -> tuple[Manifest, ...]:
    """Return the environment's backups, newest first; what has no manifest is none.

    Raises:
        StoreFailed: a manifest is none that can be read; it names the key.

    """
    prefix = f"{environment}/" if database is None else f"{environment}/{_quoted(database)}/"
    keys = [key for key in store.keys(prefix) if key.endswith(f"/{MANIFEST}")]
    found = [_read_manifest(store, key) for key in keys]
    return tuple(
        sorted(found, key=lambda manifest: (manifest.taken_at, manifest.key), reverse=True)
    )


def _read_manifest(store: Store, key: str) -> Manifest:
    content = b"".join(store.read(key))
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad_manifest(store, key, str(error)) from error
    if manifest.key + MANIFEST != key:
        raise _bad_manifest(store, key, f"it describes {manifest.key}")
    return manifest


def _bad_manifest(store: Store, key: str, why: str) -> StoreFailed:
    return StoreFailed(
        f"{store.address(key)} is no manifest that can be read: {why}",
        state="nothing was changed; this backup cannot be trusted, the others can",
        next_step="look at the file; move the backup's folder away if it is beyond repair",
    )


def find(store: Store, *, environment: str, which: str) -> Manifest:
    """Return the backup with this id or key, or the newest one for "latest".

    Raises:
        StepFailed: there is none, or there are several; it lists the ids there are.

    """
    known = manifests(store, environment=environment)
    if which == "latest" and known:
        return known[0]
    fitting = [one for one in known if which.rstrip("/") in (one.id, one.key.rstrip("/"))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        what = f'{len(fitting)} backups of {environment} have the id "{which}"'
        listed = ", ".join(one.key for one in fitting)
    else:
        what = f'{environment} has no backup "{which}"' if known else f"{environment} has no backup"
        listed = ", ".join(one.id for one in known)
    next_step = f"name one of: {listed}" if listed else f"invoke backup --env {environment}"
    raise StepFailed(what, state="nothing was changed", next_step=next_step)


def verify(
    manifest: Manifest,
    store: Store,
    *,
    depth: Depth,
    clients: Clients | None,
    progress: Progress,
) -> Verified:
    """Read a backup back, in one pass, and compare it with its manifest.

    Args:
        manifest: which one.
        store: where it is.
        depth: "checksum" compares size and SHA-256; "rows" also decodes the archive, which
            needs no server, and compares each table's rows with the snapshot's.
        clients: whose pg_restore decodes; None: looked for.
        progress: called with (bytes read, bytes in all).

    Raises:
        StepFailed: something differs; it says what was expected and what was found.

    """
    began = time.monotonic()
    part = _archive(manifest)
    meter = _Meter(progress, part.size)
    source = meter.passing(store.read(part.key))
    counted: dict[TableName, int] = {}
    if depth == "rows":
        clients = clients or find_clients(manifest.server_version)
        counted = _decode(source, clients, lambda: _check_archive(part, meter, store))
    for _ in source:  # pg_restore may stop reading before the end
        pass
    _check_archive(part, meter, store)
    if depth == "rows":
        expected = _by_plain_name(manifest.row_counts)
        extra = {name: 0 for name in counted if name not in expected}
        _check_rows(
            {**expected, **extra}, counted, store.address(part.key),
            state="the archive is as it was written, but it is not the database: do not rely on it",
        )  # fmt: skip
    return Verified(
        depth=depth,
        seconds=time.monotonic() - began,
        tables=len(counted),
        rows=sum(counted.values()),
    )


def _archive(manifest: Manifest) -> Part:
    if len(manifest.parts) != 1:
        raise StepFailed(
            f"the backup {manifest.key} has {len(manifest.parts)} parts; expected 1",
            state="nothing was changed",
            next_step="use the version of this package that wrote it",
        )
    return manifest.parts[0]


def _check_archive(part: Part, meter: _Meter, store: Store) -> None:
    got = meter.sha256.hexdigest()
    if (meter.size, got) == (part.size, part.sha256):
        return
    raise StepFailed(
        f"{store.address(part.key)} is damaged: expected {part.size} bytes with SHA-256 "
        f"{part.sha256}, got {meter.size} bytes with {got}",
        state="this backup cannot be used; nothing was changed",
        next_step="take another one (invoke backup), and find out what changed this one",
    )


def _decode(
    source: Iterator[bytes], clients: Clients, check: Callable[[], None]
) -> dict[TableName, int]:
    """Return the rows of each table in the archive."""
    # Data alone: a function's text may hold a line that looks like COPY … FROM stdin.
    command = (str(clients.pg_restore), "--section=data", "--file=-")
    counter = RowCounter()
    try:
        for chunk in process.pipe(command, source):
            counter.feed(chunk)
    except ChildFailed:
        for _ in source:
            pass
        check()  # a damaged archive is the better explanation
        raise
    return counter.finish()


END = b"\n\\.\n"
NAME = rb'(?:"(?:[^"]|"")+"|[^". (]+)'
HEADER = re.compile(
    rb"COPY (" + NAME + rb")\.(" + NAME + rb")(?: \(.*\))?\s+FROM stdin;\n", re.DOTALL
)
QUALIFIED = re.compile(rb"(" + NAME + rb")\.(" + NAME + rb")", re.DOTALL)
CLIENT_ENCODING = re.compile(rb"SET client_encoding = '([^']+)';\n")


class RowCounter:
    """Counts the rows of each COPY block in the script that pg_restore prints.

    Newlines are counted blockwise: line by line, Python took 80 % of a proof's CPU time.
    """

    def __init__(self) -> None:
        self.counts: dict[TableName, int] = {}
        self._rest = b""
        self._table: TableName | None = None
        self._encoding = "utf-8"

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the script, cut anywhere."""
        buffer, at, going = self._rest + chunk, 0, True
        while going:
            step = self._script if self._table is None else self._rows
            buffer, at, going = step(buffer, at)
        self._rest = buffer[at:]

    def finish(self) -> dict[TableName, int]:
        """Return the rows by table; an unfinished block is an error."""
        if self._table is not None:
            raise StepFailed(
                f"the data of {'.'.join(self._table)} has no end in what pg_restore printed",
                state="the archive cannot be trusted",
                next_step="take another backup: invoke backup",
            )
        return self.counts

    def _rows(self, buffer: bytes, at: int) -> tuple[bytes, int, bool]:
        # `at` is on the newline before the first row not yet looked at, or within 3 bytes of it.
        assert self._table is not None  # noqa: S101  # how feed chooses this method
        end = buffer.find(END, at)
        if end >= 0:
            self.counts[self._table] += buffer.count(b"\n", at, end + 1)
            self._table = None
            return buffer, end + len(END), True
        # The end may be cut in two: its first bytes stay, uncounted.
        keep = max(at, len(buffer) - (len(END) - 1))
        self.counts[self._table] += buffer.count(b"\n", at, keep)
        return buffer, keep, False

    def _script(self, buffer: bytes, at: int) -> tuple[bytes, int, bool]:
        end = buffer.find(b"\n", at)
        if end < 0:
            return buffer, at, False
        if not buffer.startswith((b"COPY ", b"SET client_encoding"), at):
            return buffer, end + 1, True
        line = buffer[at : end + 1]
        while line.count(b'"') % 2:  # a quoted name may hold a line end
            end = buffer.find(b"\n", end + 1)
            if end < 0:
                return buffer, at, False
            line = buffer[at : end + 1]
        if found := CLIENT_ENCODING.fullmatch(line):
            self._encoding = _codec(found[1].decode())
        elif found := HEADER.fullmatch(line):
            self._table = _unquoted(found[1], found[2], self._encoding)
            # Less one: the header's own newline is counted with the first row's.
            self.counts[self._table] = self.counts.get(self._table, 0) - 1
            return buffer, end, True
        return buffer, end + 1, True


def _codec(encoding: str) -> str:
    """Return Python's name of a PostgreSQL encoding; those not listed are the same."""
    if encoding.startswith("WIN"):
        return encoding.replace("WIN", "cp")
    return {"KOI8R": "koi8_r", "KOI8U": "koi8_u", "SQL_ASCII": "utf-8", "UHC": "cp949"}.get(
        encoding, encoding.replace("ISO_8859_", "iso8859_")
    )


def _unquoted(schema: bytes, table: bytes, encoding: str = "utf-8") -> TableName:
    def plain(name: bytes) -> str:
        if name.startswith(b'"'):
            name = name[1:-1].replace(b'""', b'"')
        return name.decode(encoding, errors="surrogateescape")

    return plain(schema), plain(table)


def _by_plain_name(counts: Iterable[tuple[str, int]]) -> dict[TableName, int]:
    """Return counts by plain names: which ones are quoted differs between major versions."""
    found: dict[TableName, int] = {}
    for name, rows in counts:
        match = QUALIFIED.fullmatch(name.encode(errors="surrogateescape"))
        if match is None:
            raise StepFailed(
                f'"{name}" in the row counts is no SCHEMA.TABLE',
                state="this backup cannot be proven; nothing was changed",
                next_step="take another one: invoke backup",
            )
        found[_unquoted(match[1], match[2])] = rows
    return found


def _check_rows(
    expected: Mapping[TableName, int], got: Mapping[TableName, int], where: str, *, state: str
) -> None:
    wrong = [
        f"{'.'.join(name)}: expected {rows} rows, got {got.get(name, 'no such table')}"
        for name, rows in sorted(expected.items())
        if got.get(name) != rows
    ]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise StepFailed(
            f"{where} differs from the snapshot: {'; '.join(wrong[:SHOWN])}{more}",
            state=state,
            next_step="take another backup (invoke backup), and keep this one for a look",
        )


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
    part = _archive(manifest)
    with _asking("nothing was restored"), target.connect("restore") as connection:
        found = read_target(connection)
        _require_empty(connection, found)
        clients = clients or find_clients(found.server_version, tls=connection.pgconn.ssl_in_use)
    meter = _Meter(progress, part.size)
    source = _held_back(
        meter.passing(store.read(part.key)), lambda: _check_archive(part, meter, store)
    )
    _load(source, clients, target, found.database)
    counted = _count_restored(target)
    expected = _by_plain_name(manifest.row_counts)
    _check_rows(
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
    first = _one(connection, ANYTHING_IN_IT)
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
        _asking("restored, but not compared with the snapshot"),
        target.connect("restore") as connection,
    ):
        connection.execute("set row_security = off")
        connection.execute("begin isolation level repeatable read, read only")
        counted = _count(connection, _tables(connection))
    return _by_plain_name(counted.items())


def create_database(admin: Database, name: str) -> Database:
    """Create an empty database with the encoding and locale of `admin`'s, and return it.

    Raises:
        Refused: there is one of this name already.
        StepFailed: the server did not create it, for lack of rights for example.

    """
    with _asking("no database was created"), admin.connect("restore") as connection:
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


@contextmanager
def _asking(state: str) -> Iterator[None]:
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
