"""The plan on a restored copy: each migration applied, watched, verified, undone, applied again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from ..backup import catalog, restore, stream
from ..backup.retention import Backup
from ..config.sections import BackupsConfig, LockConfig, RehearsalConfig
from ..database.connection import Database, read_target
from ..database.retry import Terms
from ..engines import Engine
from ..errors import ConfigError, StepFailed
from ..model import Migration, Plan, Rehearsal, Rehearsed
from ..postgres import definitions, throwaway
from ..postgres.clients import Clients, find_clients
from ..secret import redact
from ..stores import Store
from . import rows
from .trace import Trace

UNCHANGED = "seen on the copy; nothing was changed in the database"
NO_SCRIPT = "no rollback script"
CUT_OFF = "it was cut off half way before: how it began is not known"
SIZE = "select pg_catalog.pg_database_size(pg_catalog.current_database())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a rehearsal needs beside the plan.

    lock: the environment's; the copy gets the same timeouts.
    root: the directory of deploy.yml, where the mask's path begins.
    progress: of the restore, in bytes.
    done: called after each migration with (how many are done, how many there are).
    """

    store: Store
    config: BackupsConfig
    rehearsal: RehearsalConfig
    lock: LockConfig
    engine: Engine
    root: Path
    progress: stream.Progress
    done: Callable[[int, int], None]


def youngest(plan: Plan, store: Store, config: RehearsalConfig, *, now: datetime) -> Backup | None:
    """Return the newest proven backup that the plan can begin from, and that is young enough.

    It holds the plan's history and exactly its schema, of the same database on the same server.
    """
    known = catalog.backups(store, environment=plan.environment, database=plan.target.database)
    applied = {name for name, _ in plan.history}
    for one in known:
        manifest = one.manifest
        age = (now - manifest.taken_at).total_seconds()
        same = (
            manifest.system_identifier == plan.target.system_identifier
            and manifest.schema_fingerprint == plan.schema_fingerprint
        )
        if one.level and same and set(manifest.applied) == applied:
            return one if age <= config.backup_age.seconds else None
    return None


def rehearse(plan: Plan, backup: Backup, bench: Bench) -> Rehearsal:
    """Run a plan's migrations on a throw-away copy, and write down beside the backup what was seen.

    In the order and the transactions of a deployment; the copy and its server are gone afterwards.

    Raises:
        StepFailed: a migration or its rollback fails, or the rollback does not give the schema
            back; says what differs.

    """
    manifest, config = backup.manifest, bench.config
    mask = read_mask(bench.rehearsal, bench.root)
    began = time.monotonic()
    with (
        throwaway.running(throwaway.needs_of(manifest), config.throwaway) as server,
        throwaway.copy(server) as copy,
    ):
        restore.restore_backup(manifest, bench.store, copy, config, progress=bench.progress)
        restored = time.monotonic()
        if mask:
            _run_mask(mask, bench.rehearsal.mask, copy)
        restore.analyze(copy)
        found = _Copy(plan, copy, bench).all()
        rehearsal = Rehearsal(
            plan_digest=plan.digest,
            backup=manifest.id,
            backup_taken_at=manifest.taken_at,
            server=server.name,
            at=datetime.now(UTC),
            backup_seconds=manifest.seconds,
            proof_seconds=max((proof.seconds for proof in backup.proofs), default=0.0),
            restore_seconds=round(restored - began, 3),
            migrations=found,
        )
    catalog.note_rehearsal(bench.store, manifest, rehearsal)
    return rehearsal


def read_mask(config: RehearsalConfig, root: Path) -> str:
    """Return the text of the mask, beside deploy.yml in `root`; empty where none is named.

    Raises:
        ConfigError: it cannot be read.

    """
    if not config.mask:
        return ""
    try:
        return (root / config.mask).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"rehearsal.mask: {config.mask} cannot be read: {error}",
            next_step="name an SQL file beside deploy.yml, or remove the key",
        ) from None


def _run_mask(text: str, name: str, copy: Database) -> None:
    """Run the mask in one transaction."""
    try:
        with copy.connect("mask", autocommit=False) as connection:
            connection.execute(text.encode())
    except psycopg.Error as error:
        raise StepFailed(
            redact(f"{name}: the mask failed: {error}".splitlines()[0]),
            state="the copy is gone; nothing was changed in the database",
            next_step=f"mend {name}, and rehearse again",
        ) from error


@dataclass
class _Copy:
    """The copy, while the migrations of a plan run on it."""

    plan: Plan
    copy: Database
    bench: Bench
    clients: Clients = field(init=False)

    def all(self) -> tuple[Rehearsed, ...]:
        """Run every migration, those of before the restart first, and return what they did."""
        with self.copy.connect("rehearse") as connection:
            version = read_target(connection).server_version
        self.clients = find_clients(version, image=self.bench.config.image)
        self.bench.engine.history.prepare(self.copy)
        before = self.definitions()
        ordered = sorted(self.plan.migrations, key=lambda one: one.phase == "after")  # stable
        found = []
        for number, migration in enumerate(ordered, start=1):
            one, before = self.one(migration, before)
            found.append(one)
            self.bench.done(number, len(ordered))
        return tuple(found)

    def one(self, migration: Migration, before: dict[str, str]) -> tuple[Rehearsed, dict[str, str]]:
        """Run one; return what it did, and the definitions after it."""
        cut_off = any(partial.name == migration.name for partial in self.plan.partials)
        undone = migration.rollback is not None and not cut_off
        names = self.bench.engine.files.tables(migration)
        stood = rows.read_tables(self.copy, names) if undone else {}
        size, began, trace = self.size(), time.monotonic(), self.trace()
        self.apply(migration, self.terms(trace))
        found = Rehearsed(
            name=migration.name,
            transactional=migration.transactional,
            seconds=round(time.monotonic() - began - trace.overhead, 3),
            statements=tuple(trace.statements),
            growth=self.size() - size,
            rolled_back=False,
            not_rolled_back=CUT_OFF if cut_off else "" if undone else NO_SCRIPT,
        )
        if undone:
            found = self.back(migration, found, before, stood)
            self.apply(migration, self.terms())
        return found, self.definitions()

    def back(
        self,
        migration: Migration,
        found: Rehearsed,
        before: dict[str, str],
        stood: dict[rows.TableName, rows.Table],
    ) -> Rehearsed:
        """Undo one, compare, and return what is known of it then."""
        names = self.bench.engine.files.tables(migration)
        standing = rows.read_tables(self.copy, names)
        began = time.monotonic()
        self.on_copy(lambda: self.bench.engine.runner.undo(migration, self.copy, self.terms()))
        seconds = round(time.monotonic() - began, 3)
        after = self.definitions()
        if difference := definitions.different(before, after):
            more = f"; and {len(difference) - 1} more" if len(difference) > 1 else ""
            raise StepFailed(
                f"{migration.name}: its rollback does not give the schema back: "
                f"{difference[0]}{more}",
                state=UNCHANGED,
                next_step=f"mend the rollback script of {migration.name}, and rehearse again",
            )
        now = rows.read_tables(self.copy, names)
        return msgspec.structs.replace(
            found,
            rolled_back=True,
            rollback_seconds=seconds,
            lost=rows.lost(stood, now),
            dropped=rows.dropped(standing, now),
        )

    def trace(self) -> Trace:
        """Return what watches the statements of one migration."""
        return Trace(self.copy, self.bench.engine.history.tables)

    def terms(self, trace: Trace | None = None) -> Terms:
        """Return the terms of production; on a copy nobody needs to be told of waits."""
        if trace is None:
            return Terms(lock=self.bench.lock)
        return Terms(lock=self.bench.lock, observe=trace.observe, attempt=trace.attempt)

    def apply(self, migration: Migration, terms: Terms) -> None:
        """Apply one."""
        self.on_copy(lambda: self.bench.engine.runner.apply(migration, self.copy, terms))

    def on_copy(self, run: Callable[[], int]) -> None:
        """Run something, and say of its failure that it was on the copy."""
        try:
            run()
        except StepFailed as error:
            raise StepFailed(error.what, state=UNCHANGED, next_step=error.next_step) from error

    def definitions(self) -> dict[str, str]:
        """Return the definitions of the copy."""
        tables = self.bench.engine.history.tables
        return definitions.definitions(self.copy, self.clients, tables)

    def size(self) -> int:
        """Return the bytes of the copy."""
        with self.copy.connect("rehearse") as connection:
            row = connection.execute(SIZE).fetchone()
            return int(row[0]) if row else 0
