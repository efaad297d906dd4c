"""States, deployments and errors as text. Pure: nothing here prints or asks."""

from collections.abc import Iterable
from typing import Protocol

from ..model import (
    Correction,
    DatabaseIdentity,
    Deployment,
    Outcome,
    Status,
    StepResult,
    Unrecorded,
)
from ..plan.states import MigrationState, State
from ..secret import redact, redact_to
from ..visible import visible
from .format import seconds

LONGEST_PART = 8000  # characters of each of an error's three parts
SHOWN = 3  # objects, and differences, of a migration that is not recorded
MARKS = {Outcome.OK: "✓", Outcome.SKIPPED: "–", Outcome.FAILED: "✗", Outcome.UNDONE: "↶"}

# What `status` exits with: 0 nothing to do, 1 pending, 3 what a deployment would refuse.
STATUS_EXIT = {State.APPLIED: 0, State.PENDING: 1, State.PARTIAL: 1}


def step_line(result: StepResult) -> str:
    """Return the line of a finished step."""
    name = f"undo {result.step}" if result.undo else str(result.step)
    took = seconds(result.seconds)
    return f"  {MARKS[result.outcome]} {name:<14} {result.detail:<58} {took:>8}"


def status_text(environment: str, states: tuple[MigrationState, ...], *notes: str) -> str:
    """Return what `status` shows; the notes say what a killed deployment left, and the like."""
    lines = [
        "  ".join(
            part for part in (f"{s.state:<12}", s.name, s.title, s.applied_at, s.detail) if part
        )
        for s in states
    ]
    counts = {state: sum(s.state is state for s in states) for state in State}
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no migrations"
    return "\n".join([*lines, f"{environment}: {total}", *(note for note in notes if note)])


def status_exit(states: tuple[MigrationState, ...], unrecorded: tuple[Unrecorded, ...] = ()) -> int:
    """Return 0 when nothing is to do, 1 when something is pending, 3 when something is wrong."""
    if any(migration.fails for migration in unrecorded):
        return 3
    return max((STATUS_EXIT.get(s.state, 3) for s in states), default=0)


def joined_text(migrations: tuple[str, ...], deployment: str) -> str:
    """Say that what a run wanted is done without it."""
    if not migrations:
        return "nothing is pending"
    by = f"; the newest deployment is {deployment}" if deployment else ""
    return f"another run applied them: {len(migrations)} migrations, {migrations[-1]} the last{by}"


def readiness_text(environment: str, waiting: tuple[MigrationState, ...], within: str) -> str:
    """Say whether all that is on disk is applied, or what was not after so long a time."""
    if not waiting:
        return f"{environment}: nothing that is on disk is pending"
    lines = [f"{state.state:<12}  {state.name}" for state in waiting]
    total = f"{environment}: {len(waiting)} migrations are not applied after {within}"
    return "\n".join([*lines, total])


def unrecorded_text(migration: Unrecorded) -> str:
    """Say that objects of a migration exist, and whether their definitions match it."""
    what = ", ".join(migration.objects[:SHOWN])
    if len(migration.objects) > SHOWN:
        what += f" and {len(migration.objects) - SHOWN} more"
    verb = "exists" if len(migration.objects) == 1 else "exist"
    began = f"{migration.migration} is not recorded, and {what} already {verb}"
    if migration.verdict == "alike":
        skipped = "; the file says IF NOT EXISTS, so a deployment creates nothing"
        return f"{began}; the definitions match{'' if migration.fails else skipped}"
    says = "; ".join(migration.says[:SHOWN])
    if len(migration.says) > SHOWN:
        says += f"; and {len(migration.says) - SHOWN} more"
    if migration.verdict == "different":
        return f"{began}; the definitions differ: {says}"
    return f"{began}; it is not known whether the definitions match: {says}"


def unrecorded_note(environment: str, migration: Unrecorded) -> str:
    """Return both texts in two lines."""
    return f"{unrecorded_text(migration)}\n  next: {unrecorded_next(environment, migration)}"


def unrecorded_next(environment: str, migration: Unrecorded) -> str:
    """Return what to do about it."""
    stamp = f"invoke stamp --env {environment} --name {migration.migration} --reason WHY"
    if migration.verdict == "alike":
        deploy = (
            "" if migration.fails else f"; or invoke deploy --env {environment}, which records it"
        )
        return f"{stamp}{deploy}"
    if migration.verdict == "different":
        return (
            f"change the existing objects to match the file, then {stamp}; or correct the file, or "
            "remove the existing objects, and deploy"
        )
    return f"compare it with the file (pg_dump --schema-only); where both match: {stamp}"


def last_note(newest: tuple[Deployment, ...], holder: str) -> str:
    """Say what the newest deployment left, where it did not end as it should; else nothing."""
    if holder:
        return f"a deployment is running: {holder}"
    if not newest or newest[0].status is Status.DEPLOYED:
        return ""
    last = newest[0]
    if last.status is Status.RUNNING:
        return (
            f"deployment {last.id} was killed; the same command continues: "
            f"invoke deploy --env {last.environment}"
        )
    return f"the last deployment, {last.id}, ended: {last.status}"


class Looked(Protocol):
    """A check of `doctor`."""

    @property
    def name(self) -> str:
        """What was looked at."""
        ...

    @property
    def found(self) -> str:
        """What was found."""
        ...

    @property
    def problem(self) -> str:
        """How to fix it; empty where it is well."""
        ...


def checks_text(checks: Iterable[Looked]) -> str:
    """Return a line for each check of `doctor`, with how to fix what is missing."""
    lines = []
    for check in checks:
        lines.append(f"  {'✗' if check.problem else '✓'} {check.name:<14} {check.found}")
        if check.problem:
            lines.append(f"    next: {check.problem}")
    return redact("\n".join(lines))


def deployment_verdict(done: Deployment) -> str:
    """Return the last line of a deployment that went well."""
    took = (done.finished_at - done.started_at).total_seconds() if done.finished_at else 0.0
    undo = (
        f" · undo: invoke rollback --env {done.environment} --deployment {done.id}"
        if done.direction == "up" and done.migrations
        else ""
    )
    word = "deployed" if done.direction == "up" else "rolled back"
    return f"{word} in {seconds(took)} · record {done.id}{undo}"


def identity_text(known: DatabaseIdentity | None, difference: str) -> str:
    """Return what the database says it is, and how the environment is another one."""
    if known is None:
        return "the database does not say what it is: the first deployment above development does"
    return f"the database is {known}" + (
        f"; another one is meant: {difference}" if difference else ""
    )


def history_text(
    deployments: tuple[Deployment, ...], corrections: tuple[Correction, ...] = ()
) -> str:
    """Return a line for each deployment, newest first, and one for each correction by hand."""
    if not deployments and not corrections:
        return "nothing was ever deployed here"
    lines = [
        f"{d.recorded_at or d.started_at:%Y-%m-%d %H:%M:%S}  {d.id}  {d.status:<15} "
        f"{'rollback of ' if d.direction == 'down' else ''}{len(d.migrations)} migrations  "
        f"by {d.origin.deployer}@{d.origin.host}"
        f"{f'  break-glass: {d.break_glass}' if d.break_glass else ''}"
        for d in deployments
    ]
    if corrections:
        lines += ["", "corrections of the history"]
    lines += [
        f"{c.at:%Y-%m-%d %H:%M:%S}  {c.verb} {c.migration}: {c.before} → {c.after}  "
        f"by {c.origin.deployer}@{c.origin.host}: {c.reason}"
        for c in corrections
    ]
    return "\n".join(lines).lstrip("\n")


def deployment_text(deployment: Deployment) -> str:
    """Return one deployment with its steps."""
    origin = deployment.origin
    facts = {
        "environment": deployment.environment,
        "status": str(deployment.status),
        "plan": deployment.plan_digest,
        "begun": f"{deployment.recorded_at or deployment.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "by": f"{origin.deployer} on {origin.host}",
        "commit": origin.commit or "not known",
        "CI run": origin.ci_run or "none",
        "backup": deployment.backup or "none",
        "migrations": ", ".join(deployment.migrations) or "none",
        "break-glass": deployment.break_glass or "no",
        "error": deployment.error or "none",
    }
    if deployment.continues:
        facts["continues"] = deployment.continues
    head = [
        f"deployment {deployment.id}",
        *(f"  {key:<12} {value}" for key, value in facts.items()),
    ]
    steps = [step_line(result) for result in deployment.results]
    proofs = [
        f"    {key:<16} {value}"
        for result in deployment.results
        if result.evidence and str(result.step) in ("approval", "restart", "smoke", "verify")
        for key, value in result.evidence
        if value
    ]
    return "\n".join([*head, "", *steps, *(["", "  evidence", *proofs] if proofs else [])])


def error_text(what: str, state: str, next_step: str) -> str:
    """Return the three lines of an error."""
    parts = (visible(redact_to(part, LONGEST_PART)) for part in (what, state, next_step))
    # A line break in a file's name, or in a server's message, begins no line of ours.
    lines = [part.replace("\n", "\n         ") for part in parts]
    return f"✗ {lines[0]}\n  state: {lines[1]}\n  next:  {lines[2]}"
