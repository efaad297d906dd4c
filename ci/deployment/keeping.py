"""Which backups stay: pins, and the removal of those that no rule keeps, as approved orders."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ..backup import catalog
from ..backup.prune import unfinished
from ..backup.retention import Backup, Choice
from ..database.connection import read_target
from ..errors import ConfigError, Refused
from ..model import Facts, Manifest, Pin, Plan, StepName, Target
from ..origin import find_origin
from . import backups, orders, retention
from .observed import told
from .orders import Proposal, Request
from .work import Work, store_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PinReport:
    """A backup's id, and its pin; None where it was released."""

    backup: str
    pin: Pin | None


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

    with backups.locked(work):
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
        backup = backups.find(work, which)
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
