"""What the tasks around backups do, under the deployment lock where it matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import policy
from ..backup import catalog, dump
from ..backup.proof import verify_and_record
from ..backup.retention import Backup, Choice
from ..database import lock
from ..database.connection import read_target
from ..errors import ConfigError, StepFailed
from ..model import LEVELS, Manifest, Pin, Proof, ProofLevel, StepName, Target
from ..origin import find_origin
from ..report.backup import drill_note
from . import retention, rights
from .work import Work, bytes_of, store_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A new backup with its proof, and a text about older ones."""

    backup: Backup
    pruned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """A backup's id, and its proof."""

    backup: str
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class PinReport:
    """A backup's id, and its pin; None where it was released."""

    backup: str
    pin: Pin | None


def take(work: Work) -> Taken:
    """Take a backup under the deployment lock, read it back, and prune where rules are set."""
    _, config = store_of(work)
    rights.require(work.database, work, "backup")
    work.reporter.started(StepName.BACKUP)
    with locked(work):
        target = work.database.read("backup", read_target)
        history = work.database.read("backup", work.engine.history.rows)
        manifest = take_backup(work, target, applied=tuple(row.name for row in history))
        proof = _verify(work, manifest, "rows")
        pruned = prune_old(work) if config.keep is not None else ""
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
        progress=bytes_of(work.reporter),
    )


def prune_old(work: Work) -> str:
    """Prune old backups after a proven one, and return how many, for a message.

    A failure is an alarm and does not end a deployment: too many backups do no harm.
    """
    store, config = store_of(work)
    name = work.settings.name
    try:
        choices = retention.prunable(
            work.database, store, config, environment=name, now=datetime.now(UTC)
        )
        count = retention.prune(
            work.database, store, choices, environment=name, done=lambda _manifest: None
        )
    except StepFailed as error:
        work.reporter.alarm(f"old backups were not pruned: {error.what}; next: {error.next_step}")
        return "; old ones could not be pruned"
    return f"; {count} old ones pruned" if count else ""


@contextmanager
def locked(work: Work) -> Iterator[None]:
    """Hold the deployment lock inside the block."""
    with lock.hold(work.database, wait=work.settings.environment.lock.wait.seconds):
        yield


def list_backups(work: Work) -> tuple[Backup, ...]:
    """Return the environment's backups, newest first."""
    store, _ = store_of(work)
    return catalog.backups(store, environment=work.settings.name)


def verify_backup(work: Work, which: str = "latest", level: str = "rows") -> ProofReport:
    """Verify one backup at a level (checksum, rows, restore) and return the proof."""
    proof_level = next((name for name in LEVELS if name == level), None)
    if proof_level is None:
        raise ConfigError(
            f'"{level}" is no level of a proof',
            next_step=f"--level with one of: {', '.join(LEVELS)}",
        )
    manifest = _find(work, which).manifest
    return ProofReport(backup=manifest.id, proof=_verify(work, manifest, proof_level))


def _verify(work: Work, manifest: Manifest, level: ProofLevel) -> Proof:
    store, config = store_of(work)
    work.reporter.started(StepName.PROOF)
    return verify_and_record(manifest, store, config, level=level, progress=bytes_of(work.reporter))


def _find(work: Work, which: str) -> Backup:
    store, _ = store_of(work)
    return catalog.find_backup(store, environment=work.settings.name, which=which)


def drill_warning(work: Work) -> str:
    """Return a warning where the last drill is older than the policy says; else nothing.

    A store that cannot be read is a warning too: `status` is about the database first.
    """
    at_most = policy.drill_age(work.settings)
    if at_most is None:
        return ""
    try:
        last = catalog.last_drill(list_backups(work))
    except StepFailed as error:
        return f"the time of the last drill is not known: {error.what}"
    return drill_note(last, at_most=at_most, now=datetime.now(UTC))


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


def pin_backup(work: Work, which: str, reason: str) -> PinReport:
    """Pin a backup, so that no rule removes it; ConfigError without a reason."""
    if not reason.strip():
        raise ConfigError("a pin needs a reason, which is recorded", next_step='--reason "why"')
    store, _ = store_of(work)
    backup, origin = _find(work, which), find_origin(work.settings.root)
    by = f"{origin.deployer}@{origin.host}"
    pin = Pin(reason=reason.strip(), by=by, at=datetime.now(UTC))
    catalog.pin(store, backup, pin)
    return PinReport(backup=backup.manifest.id, pin=pin)


def unpin_backup(work: Work, which: str) -> PinReport:
    """Take a pin away."""
    store, _ = store_of(work)
    backup = _find(work, which)
    catalog.unpin(store, backup)
    return PinReport(backup=backup.manifest.id, pin=None)
