"""What the tasks around backups do, under the deployment lock where it matters."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from .. import policy
from ..backup import catalog, dump, signed
from ..backup.proof import verify_and_record
from ..backup.prune import unfinished
from ..backup.retention import Backup, Choice
from ..config.sections import BackupsConfig
from ..database import lock
from ..database.connection import read_target
from ..errors import ConfigError, Refused, StepFailed
from ..model import LEVELS, Facts, Manifest, Pin, Plan, Proof, ProofLevel, StepName, Target
from ..origin import find_origin
from ..report.backup import drill_note
from . import identity, orders, outlast, retention, rights, sweep
from .observed import observed, told
from .orders import Proposal, Request
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
    manifest = _find(work, which).manifest
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
    except (ConfigError, StepFailed) as error:
        return f"the time of the last drill is not known: {error.what}"
    return drill_note(last, at_most=at_most, now=datetime.now(UTC))


def propose_prune(work: Work, request: Request) -> Proposal[tuple[Choice, ...]]:
    """Propose to remove the backups that no rule keeps. Reads only, under the deployment lock.

    Raises:
        ConfigError: deploy.yml does not say what to keep.
        Refused: the newest backup is not proven.
        PlanChanged: the plan that was made before is not what would be done.

    """
    store, config = store_of(work)
    name = work.settings.name

    def again() -> tuple[Plan, tuple[Choice, ...]]:
        target = work.database.read("prune", read_target)
        choices = retention.prunable(
            work.database, store, config, environment=name, now=datetime.now(UTC)
        )
        lines = [
            f"remove backup {choice.backup.manifest.id}, {_sha256(choice.backup.manifest)}"
            for choice in choices
            if not choice.reasons
        ]
        begun = unfinished(store, environment=name, database=target.database)
        lines += [f"finish the removal of {key}" for key in begun]
        facts = Facts(target=target, history=(), schema_fingerprint="")
        return orders.order_plan(work, request, facts, tuple(lines), arguments={}), choices

    with locked(work):
        first = again()
    return orders.propose(request, again, first=first)


@told
def prune(work: Work, proposal: Proposal[tuple[Choice, ...]]) -> tuple[Choice, ...]:
    """Remove the backups that no rule keeps, and return why each stays or went.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: other backups would go now.

    """
    store, _ = store_of(work)
    with orders.permitted(work, proposal) as permit:
        removed = [choice.backup.manifest.id for choice in permit.found if not choice.reasons]
        if permit.approvers:
            orders.record(
                work,
                permit,
                *(
                    permit.correction(of=id_, before="kept", after="removed", reason="no rule")
                    for id_ in removed
                ),
            )
        retention.prune(
            work.database,
            store,
            permit.found,
            environment=work.settings.name,
            done=lambda manifest: work.reporter.note(f"removed {manifest.id}"),
        )
    return permit.found


def propose_pin(work: Work, request: Request) -> Proposal[Backup]:
    """Propose to pin the backup `which` for a `reason`, or with `release` to take its pin away.

    Raises:
        ConfigError: there is no reason, or no backup is named.
        StepFailed: there is no such backup.
        Refused: a pin that is to be taken away is not there.
        PlanChanged: the plan that was made before is not what would be done.

    """
    which, reason = request.get("which"), request.get("reason").strip()
    release = request.has("release")
    if not which:
        raise ConfigError(
            "backup.keep needs a backup's id",
            next_step=f"invoke backup.list --env {work.settings.name} lists them",
        )
    if not release and not reason:
        raise ConfigError("a pin needs a reason, which is recorded", next_step='--reason "why"')

    def again(which: str) -> tuple[Plan, Backup]:
        backup = _find(work, which)
        if release and backup.pin is None:
            raise Refused(
                f"backup {backup.manifest.id} is not pinned",
                next_step=f"invoke backup.list --env {work.settings.name} shows what is",
            )
        made = backup.manifest
        was = f"pinned by {backup.pin.by}: {backup.pin.reason}" if backup.pin else "not pinned"
        task = "take away the pin of" if release else "pin"
        target = Target(
            system_identifier=made.system_identifier,
            database=made.database,
            server_version=made.server_version,
        )
        plan = orders.order_plan(
            work,
            request,
            Facts(target=target, history=(), schema_fingerprint=""),
            (f"{task} backup {made.id}, {_sha256(made)}, {was}",),
            arguments=dict(request.arguments) | {"which": made.id},
        )
        return plan, backup

    first = again(which)
    return orders.propose(request, partial(again, first[1].manifest.id), first=first)


@told
def pin(work: Work, proposal: Proposal[Backup]) -> PinReport:
    """Pin a backup, so that no rule removes it, or take its pin away.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: the backup, or its pin, is another one now.

    """
    if not proposal.plan.has(StepName.APPROVAL):
        return _pinned(work, proposal.plan, proposal.found)
    with orders.permitted(work, proposal) as permit:
        report = _pinned(work, permit.plan, permit.found)
        record = permit.correction(
            of=report.backup,
            before="pinned" if permit.found.pin else "not pinned",
            after="pinned" if report.pin else "not pinned",
            reason=report.pin.reason if report.pin else "released",
        )
        orders.record(work, permit, record)
    return report


def _pinned(work: Work, plan: Plan, backup: Backup) -> PinReport:
    store, _ = store_of(work)
    given = dict(plan.correction.arguments) if plan.correction is not None else {}
    if "release" in given:
        catalog.unpin(store, backup)
        return PinReport(backup=backup.manifest.id, pin=None)
    origin = find_origin(work.settings.root)
    by = f"{origin.deployer}@{origin.host}"
    new = Pin(reason=given["reason"].strip(), by=by, at=datetime.now(UTC))
    catalog.pin(store, backup, new)
    return PinReport(backup=backup.manifest.id, pin=new)


def _sha256(manifest: Manifest) -> str:
    return f"manifest sha256:{hashlib.sha256(manifest.canonical()).hexdigest()}"
