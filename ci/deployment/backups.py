"""What the tasks around backups do, under the deployment lock where it matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .. import policy
from ..backup import catalog, dump
from ..backup.proof import prove
from ..backup.restore import Restored, Wanted, analyze, restore_backup
from ..backup.retention import Backup, Choice
from ..backup.swap import kept, rows_now, swap_databases
from ..config.duration import Duration
from ..database import create, lock
from ..database.connection import Database, read_target
from ..errors import ConfigError, Refused, StepFailed
from ..model import LEVELS, Correction, Manifest, Origin, Pin, Proof, ProofLevel, StepName, Target
from ..origin import find_origin
from ..report import backup as backup_report
from ..secret import Secret
from . import journal, retention
from .work import Work, bytes_of, store_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup taken and proven, and what was said of older ones."""

    backup: Backup
    pruned: str


def take(work: Work) -> Taken:
    """Take a backup under the deployment lock, read it back, and prune where rules are set."""
    _, config = store_of(work)
    work.reporter.started(StepName.BACKUP)
    with locked(work):
        target = work.database.read("backup", read_target)
        history = work.database.read("backup", work.engine.history.rows)
        manifest = take_backup(work, target, applied=tuple(row.name for row in history))
        proof = _prove(work, manifest, "rows")
        pruned = let_go(work) if config.keep is not None else ""
    return Taken(backup=Backup(manifest=manifest, proofs=(proof,)), pruned=pruned)


def take_backup(
    work: Work, target: Target, *, applied: tuple[str, ...], schema_fingerprint: str = ""
) -> Manifest:
    """Stream a dump of the database to the store, and return its manifest.

    `applied` are the migrations it has; the caller holds the deployment lock, and has read
    `schema_fingerprint` under it, or "".
    """
    store, config = store_of(work)
    name = work.settings.name
    return dump.take(
        work.database,
        store,
        dump.Order(
            environment=name,
            deployment=work.deployment_id,
            applied=applied,
            commit=find_origin(work.settings.root).commit,
            history=work.engine.history.tables,
            former=catalog.newest(store, environment=name, database=target.database),
            schema_fingerprint=schema_fingerprint,
        ),
        config,
        now=lambda: datetime.now(UTC),
        progress=bytes_of(work),
    )


def let_go(work: Work) -> str:
    """Let old backups go after a proven success, and say how many went.

    A failure is an alarm, never the end of a deployment: too many backups are no danger to it.
    """
    store, config = store_of(work)
    name = work.settings.name
    try:
        choices = retention.prunable(
            work.database, store, config, environment=name, now=datetime.now(UTC)
        )
        gone = retention.prune(
            work.database, store, choices, environment=name, done=lambda _manifest: None
        )
    except StepFailed as error:
        work.reporter.alarm(f"old backups were not pruned: {error.what}; next: {error.next_step}")
        return "; old ones could not be pruned"
    return f"; {gone} old ones pruned" if gone else ""


@contextmanager
def locked(work: Work) -> Iterator[None]:
    """Hold the deployment lock inside the block."""
    with lock.hold(work.database, wait=work.settings.environment.lock.wait.seconds):
        yield


def listed(work: Work) -> tuple[Backup, ...]:
    """Return the environment's backups, newest first."""
    store, _ = store_of(work)
    return catalog.backups(store, environment=work.settings.name)


def verify(work: Work, which: str, level: str) -> tuple[Manifest, Proof]:
    """Prove one backup and return what was proven."""
    chosen = next((one for one in LEVELS if one == level), None)
    if chosen is None:
        raise ConfigError(
            f'"{level}" is no level of a proof',
            next_step=f"--level with one of: {', '.join(LEVELS)}",
        )
    manifest = _find(work, which).manifest
    return manifest, _prove(work, manifest, chosen)


def _prove(work: Work, manifest: Manifest, level: ProofLevel) -> Proof:
    store, config = store_of(work)
    work.reporter.started(StepName.PROOF)
    return prove(manifest, store, config, level=level, progress=bytes_of(work))


def _find(work: Work, which: str) -> Backup:
    store, _ = store_of(work)
    return catalog.find(store, environment=work.settings.name, which=which)


def drill_note(work: Work) -> str:
    """Return a warning where the last drill is older than the policy says; else nothing.

    Where the store cannot be read, that is the warning: status is of the database first.
    """
    at_most = policy.drill_age(work.settings)
    if at_most is None:
        return ""
    try:
        last = catalog.last_drill(listed(work))
    except StepFailed as error:
        return f"when the last drill was is not known: {error.what}"
    return backup_report.drill_note(last, at_most=at_most, now=datetime.now(UTC))


def prune(work: Work, *, dry_run: bool) -> tuple[Choice, ...]:
    """Remove the backups that no rule keeps, and return why each stays or went."""
    store, config = store_of(work)
    name = work.settings.name
    with locked(work):
        choices = retention.prunable(
            work.database, store, config, environment=name, now=datetime.now(UTC)
        )
        if not dry_run:
            retention.prune(
                work.database,
                store,
                choices,
                environment=name,
                done=lambda manifest: work.reporter.note(f"removed {manifest.id}"),
            )
    return choices


def keep(work: Work, which: str, reason: str, origin: Origin) -> tuple[Manifest, Pin]:
    """Pin a backup, so that no rule removes it."""
    store, _ = store_of(work)
    found = _find(work, which)
    pin = Pin(reason=reason, by=f"{origin.deployer}@{origin.host}", at=datetime.now(UTC))
    catalog.pin(store, found, pin)
    return found.manifest, pin


def release(work: Work, which: str) -> Manifest:
    """Take a pin away."""
    store, _ = store_of(work)
    found = _find(work, which)
    catalog.unpin(store, found)
    return found.manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore will do; shown before it does."""

    backup: str
    taken_at: datetime
    database: str  # that will hold the backup in the end
    swap: bool  # whether it takes the live one's place
    changed: tuple[tuple[str, int, int], ...]  # (table, rows then, about how many now)
    last_drill: Proof | None
    manifest: Manifest


def plan_restore(
    work: Work, which: str, *, into: str, tables: str, at_most_older: str
) -> RestorePlan:
    """Return what a restore would do. Reads only.

    Raises:
        Refused: the backup is older than asked for.
        ConfigError: what was asked for does not go together.

    """
    found = _find(work, which)
    now = datetime.now(UTC)
    if at_most_older:
        catalog.require_young(found.manifest, at_most=_span(at_most_older), now=now)
    swap = not into and not tables
    kind = "tables" if tables else "restored"
    moment = f"{now:%Y%m%d_%H%M%S}"
    return RestorePlan(
        backup=found.manifest.id,
        taken_at=found.manifest.taken_at,
        database=_shown(into) if into else f"{work.database.name[:40]}_{kind}_{moment}",
        swap=swap,
        changed=_changed(work, found.manifest) if swap else (),
        last_drill=catalog.last_drill(listed(work)),
        manifest=found.manifest,
    )


def _span(text: str) -> timedelta:
    try:
        return timedelta(seconds=Duration.parse(text).seconds)
    except ValueError as error:
        raise ConfigError(f"--at-most-older: {error}", next_step="--at-most-older 24h") from None


def _shown(into: str) -> str:
    """Return the name of the database that --into names, which may be a URL."""
    return _elsewhere(into).name if _is_url(into) else into


def _is_url(into: str) -> bool:
    return "://" in into or "=" in into


def _elsewhere(into: str) -> Database:
    found = Database(url=Secret(into), deployment_id="restore")
    if "password" in found.parameters():
        raise ConfigError(
            "--into holds a password, which every user of this machine can read in the "
            "process list",
            next_step="leave it out of the URL, and export PGPASSWORD or write a ~/.pgpass",
        )
    return found


def _changed(work: Work, manifest: Manifest) -> tuple[tuple[str, int, int], ...]:
    then = {name.replace('"', ""): rows for name, rows in manifest.row_counts}
    today = rows_now(work.database)
    names = sorted(name for name in then.keys() | today.keys() if not name.startswith("windlass."))
    rows = ((name, then.get(name, 0), today.get(name, 0)) for name in names)
    return tuple(row for row in rows if row[1] != row[2])


def restore(
    work: Work, plan: RestorePlan, origin: Origin, *, into: str, tables: str, owners: bool
) -> tuple[Restored, str]:
    """Restore, and swap where planned; return what was restored and the old database's name.

    Raises:
        StepFailed: it was not restored; what was made for it is dropped again.

    """
    wanted = Wanted(
        owners=owners,
        tables=frozenset(_table(name) for name in tables.split(",") if name.strip()),
    )
    work.reporter.started(StepName.BACKUP)
    if _is_url(into):
        return _load(work, plan.manifest, _elsewhere(into), wanted), ""
    target = create.create_database(work.database, plan.database)
    try:
        done = _load(work, plan.manifest, target, wanted)
    except BaseException:
        create.drop(work.database, plan.database)  # ours, made a moment ago, and of no use
        raise
    if not plan.swap:
        return done, ""
    return done, swap(work, plan.database, origin, what=f"backup {plan.backup}")


def _load(work: Work, manifest: Manifest, target: Database, wanted: Wanted) -> Restored:
    store, config = store_of(work)
    done = restore_backup(manifest, store, target, config, progress=bytes_of(work), wanted=wanted)
    work.reporter.note("collecting statistics, which no dump holds")
    analyze(target)
    return done


def _table(name: str) -> tuple[str, str]:
    schema, dot, table = name.strip().partition(".")
    return (schema, table) if dot else ("public", schema)


def swap(work: Work, restored: str, origin: Origin, *, what: str) -> str:
    """Put a restored database in the live one's place; return the name the old one has now.

    The record goes into the restored one's journal first, as that is the one that will be read.
    """
    now = datetime.now(UTC)
    # The lock is in the live database, whose sessions are ended before it is renamed: nobody
    # who deploys may be at work, and from then on the connection limit keeps others out.
    with locked(work):
        journal.restored(
            create.named(work.database, restored),
            Correction(
                verb="restore",
                migration="database",
                before="the live database",
                after=what,
                reason=f"swapped for {restored}",
                origin=origin,
                at=now,
            ),
        )
    return swap_databases(work.database, restored)


def old_ones(work: Work) -> tuple[tuple[str, int], ...]:
    """Return the databases that earlier restores put aside, and their bytes.

    Raises:
        Refused: there is none.

    """
    found = kept(work.database)
    if not found:
        raise Refused(
            f"no restore has put a database aside for {work.database.name}",
            next_step=f"nothing is to be dropped; invoke status --env {work.settings.name}",
        )
    return found


def drop_old(work: Work, names: tuple[str, ...]) -> None:
    """Drop databases that earlier restores put aside."""
    for name in names:
        create.drop(work.database, name)
        work.reporter.note(f"dropped {name}")
