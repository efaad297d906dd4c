"""What the tasks around backups do, under the deployment lock where it matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .. import policy
from ..backup import catalog, dump, signed
from ..backup.proof import verify_and_record
from ..backup.retention import Backup
from ..config.sections import BackupsConfig
from ..database import lock
from ..database.connection import read_target
from ..errors import ConfigError, Refused, StepFailed
from ..model import LEVELS, Manifest, Proof, ProofLevel, StepName, Target
from ..origin import find_origin
from ..report.backup import drill_note
from . import identity, outlast, retention, rights, sweep
from .observed import observed
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


def take(work: Work) -> Taken:
    """Take a backup under the deployment lock, read it back, and prune where rules are set."""
    _, config = store_of(work)
    identity.require(work)
    rights.require(work.database, work, "backup")
    with observed(work, None, task="backup") as traced:
        return _taken(traced, config)


def _taken(work: Work, config: BackupsConfig) -> Taken:
    work.reporter.started(StepName.BACKUP)
    with locked(work) as held:

        def once() -> Manifest:
            target = work.database.read("backup", read_target)
            history = work.database.read("backup", work.engine.history.rows)
            return take_backup(work, target, applied=tuple(row.name for row in history))

        manifest = outlast.read_again(replace(work, guard=held.require), once)
        proof = _verify(work, manifest, "rows")
        held.require()
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
    signed.require_key(store)
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
    except (Refused, StepFailed) as error:  # another runner's backup may not be proven yet
        work.reporter.alarm(f"old backups were not pruned: {error.what}; next: {error.next_step}")
        return "; old ones could not be pruned"
    return f"; {count} old ones pruned" if count else ""


@contextmanager
def locked(work: Work) -> Iterator[lock.HeldLock]:
    """Hold the deployment lock inside the block, which changes nothing in the database.

    A lock that is lost in an outage is taken again, whoever ran meanwhile.
    """
    with lock.hold(work.database, wait=work.settings.environment.lock.wait.seconds) as held:
        work.database.patience.armed = True
        held.renew_if(lambda: None)
        sweep.sweep(work, begins=False)
        yield held


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
    manifest = find(work, which).manifest
    return ProofReport(backup=manifest.id, proof=_verify(work, manifest, proof_level))


def _verify(work: Work, manifest: Manifest, level: ProofLevel) -> Proof:
    store, config = store_of(work)
    work.reporter.started(StepName.PROOF)

    def once() -> Proof:
        return verify_and_record(
            manifest, store, config, level=level, progress=bytes_of(work.reporter)
        )

    work.database.patience.armed = True
    return outlast.read_again(work, once)


def find(work: Work, which: str) -> Backup:
    """Return a backup of the environment by its id, or the latest.

    Raises:
        StepFailed: there is no such backup.

    """
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
    except (ConfigError, StepFailed) as error:
        return f"the time of the last drill is not known: {error.what}"
    return drill_note(last, at_most=at_most, now=datetime.now(UTC))
