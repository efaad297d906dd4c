"""Take a backup: one pg_dump archive or several of one snapshot, and a manifest written last."""

import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from .. import process
from ..config.duration import Duration
from ..config.sections import BackupsConfig
from ..database import markers
from ..database.children import child_name, judged
from ..database.connection import STREAMING, Database, is_pooled, read_target
from ..database.errors import asking
from ..database.history_table import HistoryTable
from ..errors import ChildFailed, Refused, StepFailed, Stopped, StoreFailed, Unreachable, changed
from ..model import Manifest, Part, Target
from ..plan.leftovers import ARCHIVE
from ..postgres.clients import Clients, find_clients
from ..stores import Store
from . import conclude, encryption, snapshot, toc
from .checkpoints import Checkpoints
from .shares import LEASE, Share, jobs_for, shares
from .snapshot import LOCK_WAIT
from .stream import LARGEST, NOT_KEPT, Meter, Progress, Together
from .tables import count_rows

COMPRESSES_TO = 0.25  # of the database's bytes, where no former backup tells; half of it, measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the caller knows of a backup to be taken.

    environment: first element of the key.
    deployment: id, part of the key's last element.
    applied: names of the migrations the database has, newest last.
    history: the tables that are no part of the schema's fingerprint.
    former: the newest backup of the same database, for the estimate; None: there is none.
    schema_fingerprint: what it was a moment ago, under the deployment lock; "": not read.
    """

    environment: str
    deployment: str
    applied: tuple[str, ...] = ()
    commit: str | None = None
    history: tuple[HistoryTable, ...] = ()
    former: Manifest | None = None
    schema_fingerprint: str = ""


def take(
    database: Database,
    store: Store,
    order: Order,
    config: BackupsConfig,
    *,
    now: Callable[[], datetime],
    progress: Progress,
) -> Manifest:
    """Dump the database into the store and return the manifest, written last.

    Bounded memory, no temporary file. Every table is locked in ACCESS SHARE MODE from before the
    snapshot until the last pg_dump ends, and the rows are counted in that snapshot meanwhile.

    Args:
        database: what to dump; its user must be allowed to read every table.
        store: where to.
        order: what the caller knows of the backup.
        config: how many dumps at once, the recipients, the tools.
        now: the clock.
        progress: called with (bytes stored, about how many there will be) after each chunk.

    Raises:
        Refused: the address is a pooler's.
        StepFailed: no backup was kept. Also LockTimeout, StoreFailed, Unreachable, ChildFailed.

    """
    began = now()
    recipients = config.encrypt.recipients if config.encrypt else ()
    if recipients:
        encryption.require_usable(recipients, None)
    written: list[Manifest] = []
    try:
        _take(database, store, order, config, began, now, progress, written)
    except StepFailed:
        if not written:
            raise  # a line that is lost behind the manifest takes nothing back
    return written[0]


def _take(  # noqa: PLR0913  # what `take` was given
    database: Database,
    store: Store,
    order: Order,
    config: BackupsConfig,
    began: datetime,
    now: Callable[[], datetime],
    progress: Progress,
    written: list[Manifest],
) -> None:
    """Do it; the manifest is in `written` as soon as the store has it."""
    recipients = config.encrypt.recipients if config.encrypt else ()
    with asking(NOT_KEPT), database.connect("backup") as connection:
        if is_pooled(connection):
            raise _pooler()
        target = read_target(connection)
        tls = connection.pgconn.ssl_in_use
        clients = find_clients(target.server_version, tls=tls, image=config.image)
        key = _key(order, target.database, began)
        # Ours alone: every backup of this database and every deployment to it holds the lock.
        store.sweep(folder(order.environment, target.database))
        with _announced(database, key) as announced:
            held = snapshot.hold(
                connection, order.history, schema_fingerprint=order.schema_fingerprint
            )
            store.require_time(_seconds(held, order.former))
            run = _DumpRun(
                database, store, clients, held, key, recipients, progress, config.no_progress
            )
            run.estimate = _estimate(held, order.former)
            try:
                rows = run.all(connection, config)
                # The transaction that holds the locks must have lasted as long as the dumps.
                connection.execute("select 1")
                manifest = _readable(_describe(run, order, target, rows, began, now()))
            except BaseException as error:
                _discard(run, announced, error)
                raise
            conclude.write(store, manifest, discard=partial(_discard, run, announced))
            written.append(manifest)


@dataclass(frozen=True)
class _Announced:
    """The announcement of the archives of a backup; `marker` is empty where there is none."""

    database: Database
    marker: str

    def clear(self) -> None:
        """Take it back: there is nothing left that nobody knows of."""
        if self.marker:
            with suppress(psycopg.Error, Unreachable):  # else the next run looks, and finds nothing
                markers.clear(self.database, self.marker)


@contextmanager
def _announced(database: Database, key: str) -> Iterator[_Announced]:
    """Announce the archives under this key until they have a manifest, where our role may.

    Behind a kill, or where they could not be removed, it stays: the next run looks there.
    """
    with ExitStack() as stack:
        try:
            held = markers.announced(database, ARCHIVE, {"key": key})
            marker = stack.enter_context(held)
        except markers.NotAnnounced:  # a role that only reads; doctor finds what it leaves
            marker = ""
        announced = _Announced(database, marker)
        yield announced
        announced.clear()


@dataclass
class _DumpRun:
    """The dumps of one backup, while they run."""

    database: Database
    store: Store
    clients: Clients
    held: snapshot.Snapshot
    key: str
    recipients: tuple[str, ...]
    progress: Progress
    no_progress: Duration
    estimate: int = 0
    stored: list[Part] = field(default_factory=list)
    entries: frozenset[str] = frozenset()
    stop: threading.Event = field(default_factory=threading.Event)

    def all(self, connection: psycopg.Connection, config: BackupsConfig) -> dict[str, int]:
        """Run every pg_dump at once, count the rows meanwhile, and return the counts."""
        jobs = jobs_for(self.held.database_size, config.jobs, os.cpu_count() or 1)
        portions = shares(self.held.tables, self.held.sizes, jobs)
        total_progress = Together(self.progress, self.estimate)
        work: list[Callable[[], frozenset[str]]] = [
            partial(self._dump, share, len(portions), total_progress) for share in portions
        ]
        if config.globals:
            work.append(partial(self._globals, total_progress))
        if len(portions) > 1:
            work.append(self._whole)
        # All at once: every pg_dump has its locks in the first second, before a waiting ALTER
        # could queue between one of them and a table that the coordinator has locked.
        with ThreadPoolExecutor(len(work), thread_name_prefix="dump") as pool:
            futures = [pool.submit(self._guarded, job) for job in work]
            try:
                rows = count_rows(connection, self.held.tables, self.stop)
                entries = self._results(futures)
            except BaseException:
                self.stop.set()
                raise
        if len(portions) > 1:
            self.entries = frozenset[str]().union(*entries[:-1])
            toc.require_whole(self.entries, entries[-1])
        return {name: count for name, count in rows.items() if name != ".".join(LEASE)}

    def _guarded(self, work: Callable[[], frozenset[str]]) -> frozenset[str]:
        try:
            return work()
        except BaseException:
            self.stop.set()
            raise

    def _results(self, futures: list[Future[frozenset[str]]]) -> list[frozenset[str]]:
        """Return what each returned, in order; the first one that failed is the error.

        One that was stopped for another's failure may be done before that other.
        """
        errors = [error for future in as_completed(futures) if (error := future.exception())]
        if errors:
            raise next((error for error in errors if not isinstance(error, Stopped)), errors[0])
        return [future.result() for future in futures]

    def _dump(self, share: Share, writers: int, total_progress: Together) -> frozenset[str]:
        """Store what one pg_dump writes, and return its table of contents if it is one of many."""
        limit = toc.HEAD + toc.HEAD_PER_TABLE * len(self.held.tables)
        head = toc.Head(limit if writers > 1 else 0)
        key = f"{self.key}{share.name}.pgc" + (".age" if self.recipients else "")
        # Closed here, not by the garbage collector: a store that fails leaves pg_dump running.
        with closing(self._stream(share.options)) as archive:
            part = self._store(key, head.passing(archive), share, writers, total_progress)
        self.stored.append(part)
        if writers == 1:
            return frozenset()
        address = self.store.address(key)
        return toc.entries(toc.listed_or_damaged(self.clients, bytes(head.content), address))

    def _store(
        self,
        key: str,
        chunks: Iterator[bytes],
        share: Share,
        writers: int,
        total_progress: Together,
    ) -> Part:
        noted = Checkpoints()
        meter = Meter(total_progress.of(key), checkpoints=noted)
        with closing(meter.passing(encryption.sealed(chunks, self.recipients))) as stored:
            try:
                self.store.write(key, stored, expected_bytes=share.size, writers=writers, once=True)
            except BaseException:
                self.stop.set()  # before the closing, which waits for the child
                raise
        return Part(
            key=key,
            size=meter.size,
            sha256=meter.sha256.hexdigest(),
            holds=share.holds,
            every=noted.every,
            checkpoints=tuple(noted.digests),
        )

    def _globals(self, total_progress: Together) -> frozenset[str]:
        """Store roles and tablespaces, without passwords."""
        key = f"{self.key}globals.sql" + (".age" if self.recipients else "")
        share = Share(name="globals", holds="globals", options=(), size=0)
        env = self._environment()
        command = self.clients.command(
            "pg_dumpall",
            "--globals-only",
            "--no-role-passwords",
            "--no-password",
            f"--dbname={make_conninfo(**STREAMING)}",
            f"--database={self.database.name}",
            env=env,
        )
        try:
            with closing(self._child(command, env)) as script:
                self.stored.append(self._store(key, script, share, 1, total_progress))
        except ChildFailed as error:
            remedy = "let this user read the roles, or write globals: false under backups"
            raise changed(error, state=NOT_KEPT, next_step=remedy) from error
        return frozenset()

    def _whole(self) -> frozenset[str]:
        """Return the table of contents of one dump of everything, ended before its first row."""
        options = shares(self.held.tables, self.held.sizes, 1)[0].options
        with closing(self._stream(options)) as archive:
            return toc.entries(toc.listing(self.clients, archive))

    def _stream(self, options: tuple[str, ...]) -> Generator[bytes, None, None]:
        env = self._environment()
        command = dump_command(self.clients, *options, snapshot=self.held.name, env=env)
        return self._child(command, env)

    def _child(
        self, command: tuple[str, ...], env: process.Environment
    ) -> Generator[bytes, None, None]:
        name, limit = str(env["PGAPPNAME"]), self.no_progress.seconds
        try:
            yield from process.stream(
                command,
                purpose=self.clients.purpose,
                env=env,
                stop=self.stop,
                judge=judged(self.database, name, limit),
            )
        except ChildFailed as error:
            raise changed(error, state=NOT_KEPT) from error

    def _environment(self) -> process.Environment:
        name = child_name(self.database, "backup")
        return self.database.environment(streaming=True) | {"PGAPPNAME": name}


def dump_command(
    clients: Clients, *options: str, snapshot: str, env: process.Environment | None = None
) -> tuple[str, ...]:
    """Return the command that dumps to standard output; PG* variables say which database."""
    return clients.command(
        "pg_dump",
        "--format=custom",
        f"--compress={clients.compression}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        "--no-password",  # fails instead of asking on a terminal
        f"--dbname={make_conninfo(**STREAMING)}",
        *options,
        env=env,
    )


def _describe(
    run: _DumpRun,
    order: Order,
    target: Target,
    rows: dict[str, int],
    began: datetime,
    ended: datetime,
) -> Manifest:
    held, parts = run.held, tuple(sorted(run.stored, key=lambda part: part.key))
    return Manifest(
        key=run.key,
        environment=order.environment,
        database=target.database,
        system_identifier=target.system_identifier,
        deployment=order.deployment,
        taken_at=began.astimezone(UTC),
        seconds=(ended - began).total_seconds(),
        server_version=target.server_version,
        client_version=run.clients.version,
        commit=order.commit,
        snapshot_lsn=held.lsn,
        database_size=held.database_size,
        encoding=held.encoding,
        compression=run.clients.compression,
        encrypted_for=run.recipients,
        extensions=held.extensions,
        roles=held.roles,
        owners=held.owners,
        schema_fingerprint=held.schema_fingerprint,
        toc_entries=len(run.entries),
        parts=parts,
        row_counts=tuple(sorted(rows.items())),
        applied=order.applied,
        restore_command=recipe(run.store, parts, encrypted=bool(run.recipients)),
    )


def _readable(manifest: Manifest) -> Manifest:
    """Return a manifest that is not too large to be read; without checkpoints archives still are.

    Raises:
        StepFailed: the row counts alone are too many.

    """
    if len(manifest.canonical()) <= LARGEST // 2:  # signed, it is quoted once more
        return manifest
    parts = tuple(msgspec.structs.replace(part, every=0, checkpoints=()) for part in manifest.parts)
    bare = msgspec.structs.replace(manifest, parts=parts)
    if len(bare.canonical()) > LARGEST // 2:
        raise StepFailed(
            f"the manifest of {manifest.key} would be larger than {LARGEST >> 21} MiB: "
            f"{len(manifest.row_counts)} tables",
            state=NOT_KEPT,
            next_step="report this as a bug; until then back up with another tool",
        )
    return bare


def folder(environment: str, database: str) -> str:
    """Return the beginning of the keys of one database's backups."""
    # A database or deployment may be called anything, also "a/b".
    return f"{environment}/{quoted(database)}/"


def _key(order: Order, database: str, taken_at: datetime) -> str:
    moment = taken_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{folder(order.environment, database)}{moment}-{quoted(order.deployment)}/"


def quoted(element: str) -> str:
    """Return an element of a key."""
    return quote(element, safe="")


def _estimate(held: snapshot.Snapshot, former: Manifest | None) -> int:
    """Return about how many bytes the backup will have."""
    if former is None or not former.database_size:
        return int(held.database_size * COMPRESSES_TO)
    return int(former.size * held.database_size / former.database_size)


def _seconds(held: snapshot.Snapshot, former: Manifest | None) -> float:
    """Return about how long the backup will take; 0 where no former one tells."""
    if former is None or not former.database_size:
        return 0.0
    return former.seconds * held.database_size / former.database_size


def recipe(store: Store, parts: tuple[Part, ...], *, encrypted: bool) -> str:
    """Return the commands that restore these parts into NEW_DATABASE without this package."""
    restore = "pg_restore --exit-on-error --no-owner"
    into = "--dbname=NEW_DATABASE"
    archives = [part for part in parts if part.holds != "globals"]
    if len(archives) == 1:
        return _piped(store, archives[0], f"{restore} {into}", encrypted)
    definitions = next(part for part in archives if part.holds == "schema")
    data = [part for part in archives if part.holds == "data"]
    lines = [_piped(store, definitions, "cat > schema.pgc", encrypted)]
    lines.append(f"{restore} --section=pre-data {into} schema.pgc")
    lines += [_piped(store, part, f"{restore} --section=data {into}", encrypted) for part in data]
    lines.append(f"{restore} --section=post-data --jobs=4 {into} schema.pgc")
    return "\n".join(lines)


def _piped(store: Store, part: Part, command: str, encrypted: bool) -> str:
    opened = "age --decrypt --identity=KEY_FILE | " if encrypted else ""
    return f"{store.fetch_command(part.key)} | {opened}{command}"


def _pooler() -> Refused:
    return Refused(
        "the address is a pooler's: pg_dump needs one session for all of a backup",
        next_step="write the address of the server itself into database:",
    )


def _discard(run: _DumpRun, announced: _Announced, error: BaseException) -> None:
    """Remove every archive that was stored; the announcement goes with the last one."""
    gone = [_removed(run.store, part.key, error) for part in run.stored]
    if all(gone):
        announced.clear()


def _removed(store: Store, key: str, error: BaseException) -> bool:
    """Remove an archive that will have no manifest; tell whether it is gone. It is no backup."""
    try:
        store.delete(key)
    except StoreFailed as second:
        error.add_note(f"{store.address(key)} remains, and is not used: {second.what}")
        return False
    return True
