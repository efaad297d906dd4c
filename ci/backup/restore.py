"""Restore a backup into an empty database, straight from the store."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .. import process, temporary
from ..config.duration import Duration
from ..config.sections import BackupsConfig
from ..database import transient
from ..database.children import child_name, judged
from ..database.connection import STREAMING, Database, read_target
from ..database.errors import asking, in_words
from ..errors import ChildFailed, ConfigError, StepFailed, changed
from ..model import Manifest, Part
from ..movement import Judge
from ..stores import Store
from . import databases, handover, loader, toc
from .rowcount import by_plain_name, check_rows
from .stream import SHOWN, Meter, Progress, Together
from .tables import TableName, count_rows, read_tables
from .verify import AT_ONCE, Reader, reader

LOCKS_EACH = 12  # at most, mostly: a table, its TOAST table and index, a sequence, eight indexes
TRANSACTION_SIZE_SINCE = 17  # pg_restore's --transaction-size
OBJECTS_TOGETHER = 100
POST_DATA_WITHIN = 24 * 3600.0  # seconds for indexes and constraints of all tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore whose row counts equal the manifest's."""

    database: str
    seconds: float
    tables: int
    rows: int
    left_out: tuple[str, ...] = ()  # where only some tables' rows were asked for
    loaded_as: str = ""  # the role without rights that loaded it; empty: our own
    analyzed: bool = False  # whether its statistics were collected
    given: tuple[str, ...] = ()  # the superusers that own something in it
    not_given: tuple[str, ...] = ()  # on a copy, those that were given nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What of a backup is restored, and whose it will be.

    owners: give every object to its owner, and the grants to their roles, who must exist; else
        every object is the user's, and the grants come to those roles that exist.
    tables: restore the rows of these alone; empty: of all.
    as_superuser: where ours is one, let the archive's SQL run as it, not as a role without rights.
    trusted: the superusers that objects may be given to.
    copy: it is thrown away: what a role without rights cannot create is left out, and told.
    """

    owners: bool = True
    tables: frozenset[TableName] = frozenset()
    as_superuser: bool = False
    trusted: frozenset[str] = frozenset()
    copy: bool = False


EVERYTHING = RestoreOptions()


def restore_backup(
    manifest: Manifest,
    store: Store,
    target: Database,
    config: BackupsConfig,
    *,
    progress: Progress,
    wanted: RestoreOptions = EVERYTHING,
) -> Restored:
    """Restore a backup into an empty database.

    One archive is restored in one transaction, whole or not at all, where the server has a lock
    slot for each table, index and sequence of it. Several are restored at the same time, each in
    its own: definitions, then rows, then indexes and constraints. An archive's
    last bytes are held back until its SHA-256 is known to be right, so that a damaged one is never
    committed.

    Args:
        manifest: which one.
        store: where it is.
        target: an empty database; never the live database.
        config: which tools, and the key of one that is encrypted.
        progress: called with (bytes read, bytes in all).
        wanted: everything, or some tables' rows.

    Raises:
        Refused: the target has a table, a view or a sequence.
        ConfigError: one of the tables is not in the backup.
        StepFailed: it is not restored, or its row counts differ from the snapshot's.

    """
    began = time.monotonic()
    expected = _expected(manifest, wanted.tables)
    with asking("nothing was restored"), target.connect("restore") as connection:
        destination = read_target(connection)
        databases.require_empty(connection, destination)
        databases.require_parts(connection, manifest, owners=wanted.owners)
        who = loader.read_loading(connection)
        superusers = loader.read_superusers(connection)
        slots = databases.lock_slots(connection)
    with _told(target), _loaded_by(target, who, wanted) as role:
        loading = _Loading(
            reader(manifest, store, config, destination.server_version),
            role.database if role is not None else target,
            destination.database,
            Together(progress, manifest.size),
            wanted,
            config.no_progress,
            role=role,
            superusers=superusers,
            whole=len(manifest.row_counts) * LOCKS_EACH <= slots,
        )
        loading.all()
        loading.grant()
        if role is not None:  # before somebody else's rights decide what an index's function may
            analyze(role.database)
    counted = _count_restored(target)
    check_rows(
        expected,
        counted,
        f"the database {destination.database}",
        state=f"{destination.database} holds what was restored",
    )
    return Restored(
        database=destination.database,
        seconds=round(time.monotonic() - began, 3),
        tables=len(expected),
        rows=sum(expected.values()),
        left_out=tuple(loading.left_out + (role.left if role is not None else [])),
        loaded_as=role.name if role is not None else "",
        analyzed=role is not None,
        given=tuple(dict.fromkeys(loading.given)),
        not_given=tuple(sorted(superusers)) if role is not None and wanted.copy else (),
    )


@contextmanager
def _loaded_by(
    target: Database, who: loader.Loading, wanted: RestoreOptions
) -> Iterator[loader.Loader | None]:
    """Make the role that loads where ours is a superuser; None: ours does."""
    if not who.ours or wanted.as_superuser or (who.owners and not wanted.copy):
        yield None
        return
    with loader.lowered(target, who, gives=wanted.owners, keeps=wanted.copy) as role:
        yield role


def _expected(manifest: Manifest, tables: frozenset[TableName]) -> dict[TableName, int]:
    everything = by_plain_name(manifest.row_counts)
    unknown = sorted(".".join(name) for name in tables - set(everything))
    if unknown:
        known = ", ".join(".".join(name) for name in sorted(everything))
        raise ConfigError(
            f"backup {manifest.id} has no table {', '.join(unknown)}",
            next_step=f"name one of: {known}",
        )
    return {name: rows for name, rows in everything.items() if not tables or name in tables}


@dataclass
class _Loading:
    """One restore, while it runs."""

    reading: Reader
    target: Database
    dbname: str
    together: Together
    wanted: RestoreOptions
    no_progress: Duration
    left_out: list[str] = field(default_factory=list)
    role: loader.Loader | None = None
    superusers: frozenset[str] = frozenset()
    given: list[str] = field(default_factory=list)
    grants: list[handover.Statement] = field(default_factory=list)
    whole: bool = True  # whether the server's lock slots suffice for one transaction

    @property
    def together_options(self) -> tuple[str, ...]:
        """What makes of definitions one transaction, or as few as the tool can."""
        if self.whole:
            return ("--single-transaction",)
        many = self.reading.clients.major >= TRANSACTION_SIZE_SINCE
        return (f"--transaction-size={OBJECTS_TOGETHER}",) if many else ()

    def all(self) -> None:
        """Restore every archive, in the order that definitions and rows need."""
        archives = self.reading.manifest.archives
        whole = [part for part in archives if part.holds == "all"]
        if len(archives) == len(whole) == 1:
            self._pipe(whole[0], *self.together_options)
            return
        definitions = [part for part in archives if part.holds == "schema"]
        if len(definitions) != 1 or whole:
            raise StepFailed(
                f"the manifest of {self.reading.manifest.key} names parts that do not fit together",
                state="nothing was restored",
                next_step="use the version of this package that wrote it",
            )
        self._in_parts(definitions[0], [part for part in archives if part.holds == "data"])

    def _in_parts(self, definitions: Part, data: list[Part]) -> None:
        with temporary.directory("restore") as directory:
            # Kept for its second half: pg_restore builds indexes in parallel from a file alone.
            file = directory / "schema.pgc"
            with file.open("wb") as out:
                for chunk in self.reading.archive(definitions, self._meter(definitions)):
                    out.write(chunk)
            selection = self._chosen(definitions, lambda: iter([file.read_bytes()]), directory)
            pre = ("--section=pre-data", *self.together_options, *selection, str(file))
            self._run(pre, directory)
            jobs = min(AT_ONCE, os.cpu_count() or 1)
            rows = ("--section=data", "--single-transaction")
            with ThreadPoolExecutor(jobs) as pool:
                for _ in pool.map(partial(self._pipe_with, rows), data):
                    pass
            post = ("--section=post-data", f"--jobs={jobs}", *selection, str(file))
            self._run(post, directory)

    def _pipe_with(self, options: tuple[str, ...], part: Part) -> None:
        self._pipe(part, *options)

    def _pipe(self, part: Part, *options: str) -> None:
        """Restore one archive as it comes from the store."""
        with temporary.directory("restore") as directory:
            selection = self._chosen(part, partial(self._silently, part), directory)
            source = self.reading.archive(part, self._meter(part))
            command, env = self._command(*options, *selection, directory=directory)
            purpose = self.reading.clients.purpose
            with _explained():
                judge = self._judge(env)
                for _ in process.pipe(command, source, purpose=purpose, env=env, judge=judge):
                    pass

    def _silently(self, part: Part) -> Iterator[bytes]:
        """Yield an archive of which nothing is shown as progress."""
        return self.reading.archive(part, Meter(lambda _done, _total: None))

    def _run(self, options: tuple[str, ...], directory: Path) -> None:
        command, env = self._command(*options, directory=directory)
        with _explained():
            process.run(
                command,
                purpose=self.reading.clients.purpose,
                within=POST_DATA_WITHIN,
                env=env,
                judge=self._judge(env),
            )

    def _judge(self, env: process.Environment) -> Judge:
        return judged(self.target, str(env["PGAPPNAME"]), self.no_progress.seconds)

    def _chosen(
        self, part: Part, archive: Callable[[], Iterator[bytes]], directory: Path
    ) -> tuple[str, ...]:
        """Return the option that leaves out what is not loaded; none where all is.

        Those are other tables' rows, and what our own role does for one without rights.
        """
        whole = not self.wanted.tables and self.wanted.owners and not self.wanted.copy
        if whole and self.role is None:
            return ()
        clients = self.reading.clients
        known = by_plain_name(self.reading.manifest.row_counts)
        lines, left_out = handover.without_subscriptions(toc.listing(clients, archive()))
        self.left_out += left_out
        if self.wanted.tables:
            lines, left_out = toc.only_rows_of(lines, self.wanted.tables, known)
            self.left_out += left_out
        if self.role is not None:
            lines = self._divide(self.role, lines, archive, directory)
        elif not self.wanted.owners:
            self._keep_grants(lines, archive, directory)
        elif self.wanted.copy:
            lines, left_out = handover.without_triggers(lines)
            self.left_out += left_out
        file = directory / f"{part.holds}.list"
        _write(file, lines)
        return (f"--use-list={file}",)

    def _keep_grants(
        self,
        lines: tuple[str, ...],
        archive: Callable[[], Iterator[bytes]],
        directory: Path,
    ) -> None:
        """Keep the grants of an archive, which come to those roles that the server has."""
        file = directory / "grants.list"
        grants = handover.grants_of(lines)
        _write(file, grants)
        script = toc.script(self.reading.clients, archive(), file) if grants else b""
        self.grants += handover.read(_text(script, self.reading.manifest)).statements

    def grant(self) -> None:
        """Run the grants that were kept; those of a role that is not there are left out, told."""
        encoding = self.reading.manifest.encoding or "UTF8"
        codec = "utf-8" if encoding == "UTF8" else "latin-1"  # a byte a letter, as it was read
        state = f"{self.dbname} holds the backup, without all of its grants"
        with asking(state), self.target.connect("restore") as connection:
            connection.execute(sql.SQL("set client_encoding = {}").format(encoding))
            for statement in self.grants:
                try:
                    with connection.transaction():
                        connection.execute(statement.sql.encode(codec))
                except (pg.UndefinedObject, pg.InsufficientPrivilege) as error:
                    self.left_out.append(f"{statement.sql}: {error.diag.message_primary}")

    def _divide(
        self,
        role: loader.Loader,
        lines: tuple[str, ...],
        archive: Callable[[], Iterator[bytes]],
        directory: Path,
    ) -> tuple[str, ...]:
        """Return what a role without rights loads; what ours does for it is done, or noted.

        Raises:
            StepFailed: something needs a superuser, and the archive is not for a copy.

        """
        entries = handover.divided(lines)
        file = directory / "script.list"
        _write(file, entries.script)
        script = toc.script(self.reading.clients, archive(), file) if entries.script else b""
        ours = handover.read(
            _text(script, self.reading.manifest),
            superusers=self.superusers,
            trusted=self.wanted.trusted,
        )
        refused = (*entries.refused, *ours.refused)
        if refused and not self.wanted.copy:
            raise _needs_superuser(refused)
        role.left += refused
        role.encoding = self.reading.manifest.encoding or "UTF8"
        role.prepare(ours)
        self.given += ours.superusers
        return handover.without_schemas(entries.load, role.made)

    def _command(
        self, *options: str, directory: Path
    ) -> tuple[tuple[str, ...], process.Environment]:
        env = self.target.environment(streaming=True)
        env = env | {"PGAPPNAME": child_name(self.target, "restore")}
        command = self.reading.clients.command(
            "pg_restore",
            "--exit-on-error",
            "--no-subscriptions",
            *(("--no-owner", "--no-privileges") if self.role or not self.wanted.owners else ()),
            "--no-password",
            # As a parameter: a bare name with "=" in it would be read as a connection string.
            f"--dbname={make_conninfo(dbname=self.dbname, **STREAMING)}",
            *options,
            env=env,
            directory=str(directory),
        )
        return command, env

    def _meter(self, part: Part) -> Meter:
        return Meter(self.together.of(part.key))


def _write(file: Path, lines: tuple[str, ...]) -> None:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


def _text(script: bytes, manifest: Manifest) -> str:
    """Return a script as text; each byte a letter where it is not UTF-8."""
    utf8 = manifest.encoding in ("", "UTF8")
    return script.decode("utf-8" if utf8 else "latin-1", errors="replace")


def _needs_superuser(refused: tuple[str, ...]) -> StepFailed:
    more = f"; and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    return StepFailed(
        f"the archive asks for what only a superuser may do: {'; '.join(refused[:SHOWN])}{more}",
        state="nothing was restored",
        next_step="see that this is the database's own; to let all of the archive's SQL run as "
        "a superuser: --as-superuser",
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Say what to do where pg_restore failed."""
    try:
        yield
    except ChildFailed as error:
        remedy = "create the missing role or extension, or try invoke backup.verify"
        if transient.in_child(error.stderr):
            remedy = "look at the server and its log; when it answers, start again"
        raise changed(error, next_step=remedy) from error


@contextmanager
def _told(target: Database) -> Iterator[None]:
    """Say what a failure left in the database, as it is read then."""
    try:
        yield
    except StepFailed as error:
        raise changed(error, state=what_it_holds(target)) from error


def what_it_holds(target: Database) -> str:
    """Say what a load that failed left in a database that was empty before."""
    try:
        empty = databases.is_empty(target)
    except (StepFailed, psycopg.Error) as error:
        why = error.what if isinstance(error, StepFailed) else in_words(error)
        return f"whether {target.name} holds a part of the backup is not known: {why}"
    if empty:
        return f"nothing was restored: {target.name} is empty"
    return f"{target.name} holds a part of the backup: drop it"


def _count_restored(target: Database) -> dict[TableName, int]:
    counted: dict[str, int] = {}

    def count(connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute("set local row_security = off")
            counted.update(count_rows(connection, read_tables(connection)))

    with asking("restored, but not compared with the snapshot"):
        target.repeat("restore", count)
    return by_plain_name(counted.items())


def analyze(target: Database) -> None:
    """Collect the planner's statistics: without them the first hours' queries would crawl."""
    with asking(f"{target.name} is whole; its statistics are missing"):
        target.repeat("restore", lambda connection: connection.execute("analyze"))
