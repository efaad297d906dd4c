"""One short function per step, its undo beneath it, and the table that names them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import policy
from ..backup import catalog
from ..backup.proof import verify_and_record
from ..errors import Place, Refused, StepFailed, WindlassError
from ..lint import severity
from ..model import Evidence, Manifest, Migration, Phase, Plan, Proof, StepName, StepResult
from ..plan import gate, probe
from ..plan.pending import in_running_order
from ..report.format import human
from ..report.plan import rehearsal_text
from ..restarters import Looking, Reverting, Running
from . import (
    backups,
    facts,
    hot_tables,
    journal,
    nonces,
    outlast,
    preflight,
    rehearsals,
    restarting,
    rolling,
    serving,
    verifying,
)
from .work import Work, bytes_of, store_of


@dataclass(frozen=True, slots=True)
class Done:
    """The step did its work."""

    detail: str
    evidence: Evidence = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step did nothing, and this is why.

    `lacks`: something that it needs is missing, a failure where the step is required. False: there
    was nothing for it to do.
    """

    reason: str
    lacks: bool = True


StepFunction = Callable[[Plan, Work], Done | Skipped]
UndoFunction = Callable[[Plan, Work, StepResult], Done | Skipped]


@dataclass(frozen=True, slots=True)
class Step:
    """What to run, how to take it back, and what to note first for taking it back."""

    run: StepFunction
    undo: UndoFunction | None = None
    before: Callable[[Work], Evidence] | None = None


def check_needs(plan: Plan, work: Work) -> Done | Skipped:
    """Check everything the deployment will need."""
    up = in_running_order(plan.migrations) if plan.direction == "up" else ()
    gated = plan.has(StepName.APPROVAL)
    checks = preflight.preflight_checks(plan.steps, work, migrations=up, gated=gated)
    failures = [check for check in checks if check.problem]
    if failures:
        first = failures[0]
        raise Refused(
            f"{first.name}: {first.found}"
            + (f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""),
            next_step=f"{first.problem}; all checks: invoke doctor --env {work.settings.name}",
        )
    return Done(f"{len(checks)} checks", evidence=serving.answers_before(plan, work))


def lint_plan(plan: Plan, work: Work) -> Done | Skipped:
    """Read the migrations for what is dangerous."""
    rehearsal = rehearsals.rehearsal_of(plan, work.store)
    found = facts.lint_findings(plan, work, rehearsal)
    findings, counted = severity.listed(found), severity.counted(found)
    for finding in findings:
        work.reporter.found(finding)
    if not policy.rehearses(work.settings):
        hot_tables.refuse_named(plan, work)
    errors, unknown = severity.errors(findings), severity.unknown(findings)
    if policy.UNKNOWN_STOPS[plan.tier] and not policy.rehearses(work.settings):
        errors += unknown
    if errors and policy.LINT_STOPS[plan.tier]:
        raise Refused(
            errors[0].headline + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""),
            place=Place(errors[0].file, errors[0].line),
            next_step="change the migration, or write above the statement: "
            f"-- windlass: allow {errors[0].rule} REASON",
        )
    rest = f" (not listed: {counted})" if counted else ""
    return Done(f"{len(plan.migrations)} migrations, {len(findings)} findings{rest}")


def approve(plan: Plan, work: Work) -> Done | Skipped:
    """Find the approvals of exactly this plan."""
    source = work.approvals
    if source is None:
        return Skipped("deploy.yml names no source of approvals")
    approvals = source.find(plan)
    granted = gate.require_approval(
        plan,
        approvals,
        required=source.required,
        used=nonces.used(work, tuple(approval.nonce for approval in approvals)),
        now=datetime.now(UTC),
        server=journal.server_clock(work.database),
        how=source.how(plan),
    )
    if plan.has(StepName.RESTART) and isinstance(work.restarter, Looking):
        work.restarter.check()  # the project's own program: not before it is approved
    names = ", ".join(approval.approver for approval in granted)
    evidence = [
        (name, value)
        for approval in granted
        for name, value in (
            ("approver", approval.approver),
            ("source", approval.source),
            ("granted_at", approval.granted_at.isoformat()),
            ("comment", approval.comment),
            ("nonce", approval.nonce),
        )
        if value
    ]
    return Done(
        f"plan {plan.digest[:12]} by {names} ({granted[0].source})", evidence=tuple(evidence)
    )


def backup(plan: Plan, work: Work) -> Done | Skipped:
    """Stream a dump to the store."""
    if not plan.migrations:
        return Done("no statement will run: none taken")
    store, _ = store_of(work)

    def take() -> Manifest:
        return backups.take_backup(
            work,
            plan.target,
            applied=tuple(name for name, _ in plan.history),
            schema_fingerprint=plan.schema_fingerprint,  # made sure of under the lock
        )

    manifest = outlast.read_again(work, take)
    address = store.address(manifest.key)
    return Done(
        f"{address} {human(manifest.size)}",
        evidence=(("backup", manifest.id), ("manifest", manifest.sha256)),
    )


def verify_own_backup(plan: Plan, work: Work) -> Done | Skipped:
    """Verify the backup at the environment's level, then prune old ones."""
    if not plan.migrations:
        return Done("no backup to prove")
    store, config = store_of(work)
    proven = verify_and_record(
        _own_manifest(plan, work),
        store,
        config,
        level=policy.proof(work.settings),
        progress=bytes_of(work.reporter),
    )
    pruned = backups.prune_old(work) if config.keep is not None else ""
    return Done(proof_text(proven) + pruned, evidence=(("proof", proven.level),))


def proof_text(proof: Proof) -> str:
    """Return a proof as text."""
    if proof.level == "checksum":
        return "read back: checksum"
    counted = f"{proof.rows:,} rows of {proof.tables} tables"
    if proof.level == "rows":
        return f"read back: checksum, {counted}"
    return f"restored into {proof.server}: {counted}, definitions equal"


def rehearse_plan(plan: Plan, work: Work) -> Done | Skipped:
    """Run the migrations on a restored copy, unless this very plan was rehearsed recently."""
    if not plan.migrations:
        return Skipped("no migration to rehearse", lacks=False)
    reason = rehearsals.missing_reason(work) or rehearsals.no_backup_reason(plan, work)
    if reason:
        rehearsals.refuse_unknown(plan, work, reason)
        return Skipped(reason)
    rehearsal = rehearsals.recent_rehearsal(plan, work)
    when = f" at {rehearsal.at:%Y-%m-%d %H:%M} UTC" if rehearsal else ""
    rehearsal = rehearsal or rehearsals.rehearse_now(plan, work)
    work.reporter.note(rehearsal_text(rehearsal))
    untried = [migration for migration in rehearsal.migrations if migration.not_rehearsed]
    if untried:
        reason = f"{untried[0].name} could not be rehearsed: {untried[0].not_rehearsed}"
        rehearsals.refuse_unknown(plan, work, reason)
        work.reporter.note(reason)
    hot_tables.refuse_unspoken(plan, work, rehearsal)
    rehearsals.refuse_long_locks(plan, work, rehearsal)
    rehearsals.refuse_leftovers(plan, work, rehearsal)
    rolled_back = sum(migration.rolled_back for migration in rehearsal.migrations)
    return Done(
        f"{len(rehearsal.migrations) - len(untried)} on a copy in {rehearsal.seconds:.1f} s{when}, "
        f"{rolled_back} rolled back and applied again"
        + (f", {len(untried)} not rehearsed" if untried else ""),
        evidence=(("rehearsed_on", rehearsal.backup), ("rehearsed_at", rehearsal.at.isoformat())),
    )


def migrate(plan: Plan, work: Work) -> Done | Skipped:
    """Apply what must run before the restart; in a rollback, undo everything planned."""
    if plan.direction == "down":
        return _undo(tuple(plan.migrations), work)
    if not plan.migrations:
        return Done("already applied: nothing to do")
    return _apply(plan, work, StepName.MIGRATE, "before")


def migrate_after(plan: Plan, work: Work) -> Done | Skipped:
    """Apply what may run only when the new code serves."""
    return _apply(plan, work, StepName.MIGRATE_AFTER, "after")


def undo_migrate(plan: Plan, work: Work, _done: StepResult) -> Done | Skipped:
    """Take back what `migrate` applied, last first."""
    return _undo(_of_phase(plan, "before"), work)


def undo_migrate_after(plan: Plan, work: Work, _done: StepResult) -> Done | Skipped:
    """Take back what `migrate-after` applied, last first."""
    return _undo(_of_phase(plan, "after"), work)


def _apply(plan: Plan, work: Work, step: StepName, phase: Phase) -> Done | Skipped:
    migrations = _of_phase(plan, phase)
    for number, migration in enumerate(migrations, start=1):
        started = time.monotonic()
        retries = outlast.run_migration(work, migration, "up")
        detail = f"retried {retries}×" if retries else ""
        work.reporter.item(step, migration.name, detail, time.monotonic() - started)
        work.reporter.progress(number, len(migrations), "migrations")
    return Done(f"{len(migrations)} applied" if migrations else f"none runs {phase} the restart")


def _undo(migrations: tuple[Migration, ...], work: Work) -> Done | Skipped:
    """Undo those that are applied, as the database says: a killed run left no other record."""
    undone = 0
    for migration in reversed(migrations):
        started = time.monotonic()
        applied = {row.name for row in work.database.read("history", work.engine.history.rows)}
        outlast.run_migration(work, migration, "down")
        if migration.name in applied:
            undone += 1
            work.reporter.item(
                StepName.MIGRATE, migration.name, "rolled back", time.monotonic() - started
            )
    return Done(f"{undone} rolled back" if undone else "none was applied: nothing to undo")


def _of_phase(plan: Plan, phase: Phase) -> tuple[Migration, ...]:
    return tuple(m for m in plan.migrations if m.phase == phase)


def running_version(work: Work) -> Evidence:
    """Note what serves now; `undo_restart` goes back to it."""
    if work.restarter is None:
        return ()
    running = work.restarter.running()
    return (("instance_before", running.instance), ("version_before", running.version))


def restart_service(plan: Plan, work: Work) -> Done | Skipped:
    """Put the new version into service."""
    if work.restarter is None:
        return Skipped(f"{plan.environment} has no service in deploy.yml")
    work.watch.start(work.settings.environment.smoke)
    try:
        running, members = rolling.restart(work, work.restarter)
    except WindlassError as error:
        raise serving.with_losses(error, work.watch.stop()) from error
    counted = work.watch.counted() if plan.has(StepName.SMOKE) else work.watch.stop()
    return Done(
        f"{work.restarter.name}: {running.detail or 'new instance'}; {work.watch.words(counted)}",
        evidence=(
            ("instance", running.instance),
            ("version", running.version),
            *members,
            *probe.evidence(counted),
        ),
    )


def undo_restart(_plan: Plan, work: Work, done: StepResult) -> Done | Skipped:
    """Put the version that served before into service, where the driver can choose one."""
    if work.restarter is None or not isinstance(work.restarter, Reverting):
        return Skipped("this driver restarts what is installed; it does so when the schema is back")
    before = Running(
        instance=done.get("instance_before") or "", version=done.get("version_before") or ""
    )
    work.watch.start(work.settings.environment.smoke)
    running = work.restarter.revert(before, restarting.Announcer(work))
    return Done(f"{work.restarter.name}: version {running.version} serves again")


def smoke_test(plan: Plan, work: Work) -> Done | Skipped:
    """Ask the service what its users would."""
    from ..smoke import run_checks  # requests takes 0.1 s to import, and `status` runs without it

    config = work.settings.environment.smoke
    if config is None:
        return Skipped(f"{plan.environment} has no smoke tests in deploy.yml")
    try:
        report = run_checks(
            config, progress=lambda done, total: work.reporter.progress(done, total, "checks")
        )
    except WindlassError as error:
        raise serving.with_losses(error, work.watch.stop()) from error
    counted = work.watch.stop()
    serving.warn_of_losses(work, counted)
    since = f"; {counted} since the restart began" if counted is not None else ""
    return Done(
        f"{report.checks} checks, slowest {report.slowest * 1000:.0f} ms{since}",
        evidence=probe.evidence(counted),
    )


def verify_migrations(plan: Plan, work: Work) -> Done | Skipped:
    """Run the verify scripts once more, and look for what is left half done; only warn of it."""
    warnings = verifying.warnings(plan, work)
    for warning in warnings:
        work.reporter.alarm(warning)
    scripts = len(verifying.scripts(plan))
    if warnings:
        noun = "warning" if len(warnings) == 1 else "warnings"
        return Done(
            f"{scripts} verify scripts, {len(warnings)} {noun}: {warnings[0]}",
            evidence=tuple(("warning", warning) for warning in warnings),
        )
    older = f"; from before: {'; '.join(plan.leftovers)}" if plan.leftovers else ""
    return Done(f"{scripts} verify scripts, nothing left half done{older}")


def _own_manifest(plan: Plan, work: Work) -> Manifest:
    """Return this deployment's own backup, as the store has it."""
    store, _ = store_of(work)
    manifest = catalog.newest(
        store,
        environment=plan.environment,
        database=plan.target.database,
        deployment=work.deployment_id,
    )
    if manifest is None or manifest.deployment != work.deployment_id:
        raise StepFailed(
            "the store does not list the backup that was just written",
            state="no statement has run",
            next_step=f"invoke backup.list --env {plan.environment}, and check the bucket",
        )
    return manifest


# LOCK is not here: it spans the steps after it, so the loop takes it (ci/deployment/loop.py).
STEPS: dict[StepName, Step] = {
    StepName.PREFLIGHT: Step(check_needs),
    StepName.LINT: Step(lint_plan),
    StepName.APPROVAL: Step(approve),
    StepName.BACKUP: Step(backup),
    StepName.PROOF: Step(verify_own_backup),
    StepName.REHEARSAL: Step(rehearse_plan),
    StepName.MIGRATE: Step(migrate, undo=undo_migrate),
    StepName.RESTART: Step(restart_service, undo=undo_restart, before=running_version),
    StepName.SMOKE: Step(smoke_test),
    StepName.MIGRATE_AFTER: Step(migrate_after, undo=undo_migrate_after),
    StepName.VERIFY: Step(verify_migrations),
}
