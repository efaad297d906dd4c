"""One short function per step, its undo beneath it, and the table that names them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import psycopg

from ci import backup as backups
from ci import embedded, gate, journal, leftovers, policy, preflight, proofs, throwaway
from ci import rehearse as rehearsals
from ci.approvals import ApprovalSource, open_approvals
from ci.config import BackupsConfig, Settings, SshApproval
from ci.database import Database
from ci.engines import Engine, open_engine
from ci.errors import Refused, StepFailed
from ci.facts import take_facts
from ci.locktimeout import Terms
from ci.model import Evidence, Manifest, Migration, Phase, Plan, Proof, StepName, StepResult
from ci.origin import find_origin
from ci.restarters import Restarter, Running, open_restarter
from ci.stores import Store, open_store


class Reporter(Protocol):
    """Is told what happens while it happens."""

    def started(self, step: StepName, *, undo: bool = False) -> None:
        """A step begins."""
        ...

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Part of the running step is done; `total` is None where nobody knows."""
        ...

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None:
        """One of several things of the running step is done."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know now."""
        ...

    def alarm(self, text: str) -> None:
        """Something nobody may overlook: policy was set aside."""
        ...

    def finished(self, result: StepResult) -> None:
        """A step ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The world of one environment, opened. What to do with it is the plan's business."""

    settings: Settings
    deployment_id: str
    database: Database
    engine: Engine
    store: Store | None
    restarter: Restarter | None
    approvals: ApprovalSource | None
    reporter: Reporter
    guard: Callable[[], None] = lambda: None  # raises where the deployment lock is lost
    show_queries: bool = False

    def terms(self) -> Terms:
        """Return on what terms a migration runs here."""
        return Terms(
            lock=self.settings.environment.lock,
            note=self.reporter.note,
            progress=self.reporter.progress,
            guard=self.guard,
            show_queries=self.show_queries,
        )


@contextmanager
def open_work(
    settings: Settings, *, deployment_id: str, reporter: Reporter, show_queries: bool = False
) -> Iterator[Work]:
    """Open every driver the environment names. The one place that builds the world.

    The embedded database runs as long as the block.
    """
    environment, shared = settings.environment, settings.shared

    def work(database: Database) -> Work:
        approval, restart = environment.approval, environment.restart
        return Work(
            settings=settings,
            deployment_id=deployment_id,
            database=database,
            engine=open_engine(shared.migrations, settings.root),
            store=open_store(shared.backups) if shared.backups else None,
            restarter=open_restarter(restart) if restart else None,
            approvals=open_approvals(approval, environment=settings.name, root=settings.root)
            if approval
            else None,
            reporter=reporter,
            show_queries=show_queries,
        )

    if environment.database.reveal() == "embedded":
        directory = settings.root / ".windlass" / "embedded" / settings.name
        with embedded.running(directory) as url:
            yield work(Database(url=url, deployment_id=deployment_id))
    else:
        yield work(Database(url=environment.database, deployment_id=deployment_id))


@dataclass(frozen=True, slots=True)
class Done:
    """The step did its work."""

    detail: str
    evidence: Evidence = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step had nothing to do, and this is why."""

    reason: str


StepFunction = Callable[[Plan, Work], Done | Skipped]
UndoFunction = Callable[[Plan, Work, StepResult], Done | Skipped]


@dataclass(frozen=True, slots=True)
class Step:
    """What to run, how to take it back, and what to note first for taking it back."""

    run: StepFunction
    undo: UndoFunction | None = None
    before: Callable[[Work], Evidence] | None = None


def check(_plan: Plan, work: Work) -> Done | Skipped:
    """Check everything the deployment will need."""
    found = preflight.look(
        work.settings, work.database, work.engine, work.store, work.restarter, work.approvals
    )
    wrong = [one for one in found if one.problem]
    if wrong:
        first = wrong[0]
        raise Refused(
            f"{first.name}: {first.found}"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            next_step=f"{first.problem}; all of it: invoke doctor --env {work.settings.name}",
        )
    return Done(f"{len(found)} checks")


def lint(plan: Plan, work: Work) -> Done | Skipped:
    """Read the migrations for what is dangerous."""
    found = [finding for migration in plan.migrations for finding in work.engine.lint(migration)]
    errors = [finding for finding in found if finding.level == "error"]
    for finding in found:
        work.reporter.note(str(finding))
    if errors and policy.LINT_STOPS[plan.tier]:
        raise Refused(
            str(errors[0]) + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""),
            next_step="change the migration, or write above the statement: "
            f"-- windlass: allow {errors[0].rule} REASON",
        )
    return Done(f"{len(plan.migrations)} migrations, {len(found)} findings")


def approve(plan: Plan, work: Work) -> Done | Skipped:
    """Find somebody's yes to exactly this plan."""
    source, config = work.approvals, work.settings.environment.approval
    if source is None or config is None:
        return Skipped("deploy.yml names no source of approvals")
    granted = gate.require_approval(
        plan,
        source.find(plan),
        required=config.required if isinstance(config, SshApproval) else 1,
        used=journal.used_approvals(work.database),
        now=datetime.now(UTC),
        how=source.how(plan),
    )
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
    store, config = store_of(work)
    manifest = backups.take(
        work.database,
        store,
        backups.Order(
            environment=plan.environment,
            deployment=work.deployment_id,
            applied=tuple(name for name, _ in plan.history),
            commit=find_origin(work.settings.root).commit,
            former=backups.newest(
                store, environment=plan.environment, database=plan.target.database
            ),
        ),
        config,
        now=lambda: datetime.now(UTC),
        progress=bytes_of(work),
    )
    address = store.address(manifest.key)
    return Done(f"{address} {human(manifest.size)}", evidence=(("backup", manifest.id),))


def prove(plan: Plan, work: Work) -> Done | Skipped:
    """Read the backup back, as deep as the environment asks; then let old ones go."""
    if not plan.migrations:
        return Done("no backup to prove")
    store, config = store_of(work)
    proven = proofs.prove(
        _manifest(plan, work),
        store,
        config,
        level=policy.proof(work.settings),
        progress=bytes_of(work),
    )
    pruned = let_go(work) if config.keep is not None else ""
    return Done(proof_text(proven) + pruned, evidence=(("proof", proven.level),))


def proof_text(proof: Proof) -> str:
    """Return what was proven, for people."""
    if proof.level == "checksum":
        return "read back: checksum"
    counted = f"{proof.rows:,} rows of {proof.tables} tables"
    if proof.level == "rows":
        return f"read back: checksum, {counted}"
    return f"restored into {proof.server}: {counted}, definitions equal"


def let_go(work: Work) -> str:
    """Let old backups go after a proven success, and say how many went.

    A failure is an alarm, never the end of a deployment: too many backups are no danger to it.
    """
    store, config = store_of(work)
    name = work.settings.name
    try:
        choices = proofs.prunable(
            work.database, store, config, environment=name, now=datetime.now(UTC)
        )
        gone = proofs.prune(
            work.database, store, choices, environment=name, done=lambda _manifest: None
        )
    except StepFailed as error:
        work.reporter.alarm(f"old backups were not pruned: {error.what}; next: {error.next_step}")
        return "; old ones could not be pruned"
    return f"; {gone} old ones pruned" if gone else ""


def bytes_of(work: Work) -> backups.Progress:
    """Return the progress of a stream of bytes."""
    return lambda done, total: work.reporter.progress(done, total, "bytes")


def rehearse(plan: Plan, work: Work) -> Done | Skipped:
    """Run the migrations on a copy restored from the backup."""
    if not plan.migrations:
        return Skipped("no migration to rehearse")
    store, config = store_of(work)
    manifest = _manifest(plan, work)
    reason = throwaway.lacking(manifest, config.throwaway)
    if reason:
        return Skipped(reason)
    found = rehearsals.rehearse(
        plan.migrations, manifest, store, config, work.engine, bytes_of(work)
    )
    back = sum(one.rolled_back for one in found)
    seconds = sum(one.seconds for one in found)
    return Done(f"{len(found)} on a copy in {seconds:.1f} s, {back} rolled back and applied again")


def migrate(plan: Plan, work: Work) -> Done | Skipped:
    """Apply what must run before the restart; in a rollback, undo everything planned."""
    if plan.direction == "down":
        return _undo(tuple(plan.migrations), work)
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
    chosen = _of_phase(plan, phase)
    for number, migration in enumerate(chosen, start=1):
        started = time.monotonic()
        retries = work.engine.apply(migration, work.database, work.terms())
        detail = f"retried {retries}×" if retries else ""
        work.reporter.item(step, migration.name, detail, time.monotonic() - started)
        work.reporter.progress(number, len(chosen), "migrations")
    return Done(f"{len(chosen)} applied" if chosen else f"none runs {phase} the restart")


def _undo(chosen: tuple[Migration, ...], work: Work) -> Done | Skipped:
    """Undo those that stand, judged by the database: a killed run left nobody to ask."""
    undone = 0
    for migration in reversed(chosen):
        started = time.monotonic()
        applied = {row.name for row in take_facts(work.database, work.engine).history}
        work.engine.undo(migration, work.database, work.terms())
        if migration.name in applied:
            undone += 1
            work.reporter.item(
                StepName.MIGRATE, migration.name, "rolled back", time.monotonic() - started
            )
    return Done(f"{undone} rolled back" if undone else "nothing of it was applied")


def _of_phase(plan: Plan, phase: Phase) -> tuple[Migration, ...]:
    return tuple(m for m in plan.migrations if m.phase == phase)


def serving(work: Work) -> Evidence:
    """Note what serves now; `undo_restart` goes back to it."""
    if work.restarter is None:
        return ()
    now = work.restarter.running()
    return (("instance_before", now.instance), ("version_before", now.version))


def restart(plan: Plan, work: Work) -> Done | Skipped:
    """Put the new version into service."""
    if work.restarter is None:
        return Skipped(f"{plan.environment} has no service in deploy.yml")
    now = work.restarter.restart()
    return Done(
        f"{work.restarter.name}: {now.detail or 'new instance'}",
        evidence=(("instance", now.instance), ("version", now.version)),
    )


def undo_restart(_plan: Plan, work: Work, done: StepResult) -> Done | Skipped:
    """Put the version that served before into service, where the driver can choose one."""
    if work.restarter is None or not work.restarter.reverts:
        return Skipped("this driver restarts what is installed; it does so when the schema is back")
    before = Running(
        instance=done.get("instance_before") or "", version=done.get("version_before") or ""
    )
    now = work.restarter.revert(before)
    return Done(f"{work.restarter.name}: version {now.version} serves again")


def smoke_test(plan: Plan, work: Work) -> Done | Skipped:
    """Ask the service what its users would."""
    from ci.smoke import run_checks  # requests takes 0.1 s to import, and `status` runs without it

    config = work.settings.environment.smoke
    if config is None:
        return Skipped(f"{plan.environment} has no smoke tests in deploy.yml")
    report = run_checks(
        config, progress=lambda done, total: work.reporter.progress(done, total, "checks")
    )
    return Done(f"{report.checks} checks, slowest {report.slowest * 1000:.0f} ms")


def verify(plan: Plan, work: Work) -> Done | Skipped:
    """Run the verify scripts once more, and look for what looks finished and is not."""
    scripts = [m for m in plan.migrations if m.verify is not None and plan.direction == "up"]

    def look(connection: psycopg.Connection) -> tuple[str, ...]:
        for migration in scripts:
            work.engine.verify(migration, connection)
        return leftovers.read(connection)

    found = work.database.read("verify", look)
    allowed = {rule for m in plan.migrations for rule in work.engine.allowed(m)}
    new = [one for one in found if one not in plan.leftovers and leftovers.rule(one) not in allowed]
    if new:
        raise StepFailed(
            f"this deployment leaves: {'; '.join(new)}",
            state="everything else of this deployment is done",
            next_step=f"{leftovers.repair(new[0])}; where it is meant to stay: "
            f"-- windlass: allow {leftovers.rule(new[0])} REASON in the migration",
        )
    older = f"; from before: {'; '.join(plan.leftovers)}" if plan.leftovers else ""
    return Done(f"{len(scripts)} verify scripts, nothing left half done{older}")


def store_of(work: Work) -> tuple[Store, BackupsConfig]:
    """Return the store and what deploy.yml says of it; StepFailed where it names none."""
    config = work.settings.shared.backups
    if work.store is None or config is None:
        raise StepFailed(
            "deploy.yml has no backups section",
            state="nothing was changed",
            next_step="write backups: {to: s3://BUCKET/PREFIX}",
        )
    return work.store, config


def _manifest(plan: Plan, work: Work) -> Manifest:
    """Return this deployment's own backup, as the store has it."""
    store, _ = store_of(work)
    found = backups.newest(store, environment=plan.environment, database=plan.target.database)
    if found is None or found.deployment != work.deployment_id:
        raise StepFailed(
            "the store does not list the backup that was just written",
            state="no statement has run",
            next_step=f"invoke backup.list --env {plan.environment}, and check the bucket",
        )
    return found


def human(size: int) -> str:
    """Return a size as people read it: 1.2 GB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


# LOCK is not here: it spans the steps after it, and is the loop's own (ci/deploy.py).
STEPS: dict[StepName, Step] = {
    StepName.PREFLIGHT: Step(check),
    StepName.LINT: Step(lint),
    StepName.APPROVAL: Step(approve),
    StepName.BACKUP: Step(backup),
    StepName.PROOF: Step(prove),
    StepName.REHEARSAL: Step(rehearse),
    StepName.MIGRATE: Step(migrate, undo=undo_migrate),
    StepName.RESTART: Step(restart, undo=undo_restart, before=serving),
    StepName.SMOKE: Step(smoke_test),
    StepName.MIGRATE_AFTER: Step(migrate_after, undo=undo_migrate_after),
    StepName.VERIFY: Step(verify),
}
