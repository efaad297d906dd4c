"""Plans, states and deployments as text and as JSON. Pure: nothing here prints or asks."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from ci.forecast import forecast, held
from ci.keeping import Backup, Choice
from ci.model import (
    Correction,
    Deployment,
    Outcome,
    Plan,
    Proof,
    Rehearsal,
    Rehearsed,
    Status,
    StepResult,
)
from ci.plan import MigrationState, State
from ci.secret import redact

MARKS = {Outcome.OK: "✓", Outcome.SKIPPED: "–", Outcome.FAILED: "✗", Outcome.UNDONE: "↶"}

# What `status` exits with: 0 nothing to do, 1 pending, 3 what a deployment would refuse.
STATUS_EXIT = {State.APPLIED: 0, State.PENDING: 1, State.PARTIAL: 1}


TABLES_SHOWN = 12  # of those that changed since a backup


def as_json(value: object) -> str:
    """Return one machine-readable document, secrets taken out."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2, sort_keys=True)
    return redact(text)


def seconds(value: float) -> str:
    """Return a time for people: 0.4 s."""
    return f"{value:.1f} s"


def human(size: int) -> str:
    """Return a size as people read it: 1.2 GB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(value: float) -> str:
    """Return a short time for people: 12 ms, 4.2 s, 3 min 20 s."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{value // 60:.0f} min {value % 60:.0f} s"


def step_line(result: StepResult) -> str:
    """Return the line of a finished step."""
    name = f"undo {result.step}" if result.undo else str(result.step)
    took = seconds(result.seconds)
    return f"  {MARKS[result.outcome]} {name:<14} {result.detail:<58} {took:>8}"


def headline(plan: Plan) -> str:
    """Return the first line of a deployment."""
    count = len(plan.migrations)
    word = "pending" if plan.direction == "up" else "to undo"
    noun = "migration" if count == 1 else "migrations"
    return f"{plan.environment} · {plan.project} · plan {plan.digest[:12]} · {count} {word} {noun}"


def plan_text(plan: Plan, rendered: tuple[str, ...] = ()) -> str:
    """Return a plan for people; `rendered` adds the SQL as it would be sent."""
    target = plan.target
    lines = [
        headline(plan),
        "",
        f"  digest     {plan.digest}",
        f"  target     database {target.database}, system {target.system_identifier}, "
        f"PostgreSQL {target.server_version // 10000}",
        f"  engine     {plan.engine}, {plan.engine_version}",
        f"  steps      {', '.join(str(s.name) for s in plan.steps)}",
        f"  history    {len(plan.history)} applied",
    ]
    lines += [
        f"  {'migrate' if plan.direction == 'up' else 'undo':<10} {m.name}"
        f"{' (after the restart)' if m.phase == 'after' else ''}"
        f"{'' if m.transactional else ' (outside a transaction)'}"
        for m in plan.migrations
    ]
    if not plan.migrations:
        lines.append("  nothing to migrate")
    for text in rendered:
        lines += ["", text]
    return "\n".join(lines)


def status_text(environment: str, states: tuple[MigrationState, ...], *notes: str) -> str:
    """Return what `status` shows; the notes say what a killed deployment left, and the like."""
    lines = [
        "  ".join(part for part in (f"{s.state:<12}", s.name, s.applied_at, s.detail) if part)
        for s in states
    ]
    counts = {state: sum(s.state is state for s in states) for state in State}
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no migrations"
    return "\n".join([*lines, f"{environment}: {total}", *(note for note in notes if note)])


def status_exit(states: tuple[MigrationState, ...]) -> int:
    """Return 0 when nothing is to do, 1 when something is pending, 3 when something is wrong."""
    return max((STATUS_EXIT.get(s.state, 3) for s in states), default=0)


def last_note(newest: tuple[Deployment, ...], holder: str) -> str:
    """Say what the newest deployment left, where it did not end as it should; else nothing."""
    if holder:
        return f"a deployment is running: {holder}"
    if not newest or newest[0].status is Status.DEPLOYED:
        return ""
    last = newest[0]
    if last.status is Status.RUNNING:
        return (
            f"deployment {last.id} was killed; the same command goes on: "
            f"invoke deploy --env {last.environment}"
        )
    return f"the last deployment, {last.id}, ended: {last.status}"


class Restoring(Protocol):
    """What a restore is going to do."""

    @property
    def backup(self) -> str:
        """The backup's id."""
        ...

    @property
    def taken_at(self) -> datetime:
        """When it was taken."""
        ...

    @property
    def database(self) -> str:
        """The new database."""
        ...

    @property
    def swap(self) -> bool:
        """Whether it takes the live one's place."""
        ...

    @property
    def changed(self) -> tuple[tuple[str, int, int], ...]:
        """Tables whose number of rows differs: name, then, now."""
        ...

    @property
    def last_drill(self) -> Proof | None:
        """The newest proof by a restore."""
        ...


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
        """How to mend it; empty where it is well."""
        ...


def checks_text(found: Iterable[Looked]) -> str:
    """Return a line for each check of `doctor`, with how to mend what is missing."""
    lines = []
    for check in found:
        lines.append(f"  {'✗' if check.problem else '✓'} {check.name:<14} {check.found}")
        if check.problem:
            lines.append(f"    next: {check.problem}")
    return redact("\n".join(lines))


def verdict(done: Deployment) -> str:
    """Return the last line of a deployment that went well."""
    took = (done.finished_at - done.started_at).total_seconds() if done.finished_at else 0.0
    undo = (
        f" · undo: invoke rollback --env {done.environment} --deployment {done.id}"
        if done.direction == "up" and done.migrations
        else ""
    )
    word = "deployed" if done.direction == "up" else "rolled back"
    return f"{word} in {seconds(took)} · record {done.id}{undo}"


def history_text(found: tuple[Deployment, ...], corrections: tuple[Correction, ...] = ()) -> str:
    """Return a line for each deployment, newest first, and one for each correction by hand."""
    if not found and not corrections:
        return "nothing was ever deployed here"
    lines = [
        f"{d.started_at:%Y-%m-%d %H:%M:%S}  {d.id}  {d.status:<15} "
        f"{'rollback of ' if d.direction == 'down' else ''}{len(d.migrations)} migrations  "
        f"by {d.origin.deployer}@{d.origin.host}"
        f"{f'  break-glass: {d.break_glass}' if d.break_glass else ''}"
        for d in found
    ]
    if corrections:
        lines += ["", "corrections of the history"]
    lines += [
        f"{c.at:%Y-%m-%d %H:%M:%S}  {c.verb} {c.migration}: {c.before} → {c.after}  "
        f"by {c.origin.deployer}@{c.origin.host}: {c.reason}"
        for c in corrections
    ]
    return "\n".join(lines).lstrip("\n")


def deployment_text(found: Deployment) -> str:
    """Return one deployment with its steps."""
    origin = found.origin
    facts = {
        "environment": found.environment,
        "status": str(found.status),
        "plan": found.plan_digest,
        "by": f"{origin.deployer} on {origin.host}",
        "commit": origin.commit or "not known",
        "CI run": origin.ci_run or "none",
        "backup": found.backup or "none",
        "migrations": ", ".join(found.migrations) or "none",
        "break-glass": found.break_glass or "no",
        "error": found.error or "none",
    }
    head = [f"deployment {found.id}", *(f"  {key:<12} {value}" for key, value in facts.items())]
    steps = [step_line(result) for result in found.results]
    proofs = [
        f"    {key:<16} {value}"
        for result in found.results
        if result.evidence and str(result.step) in ("approval", "restart")
        for key, value in result.evidence
        if value
    ]
    return "\n".join([*head, "", *steps, *(["", "  evidence", *proofs] if proofs else [])])


def backups_text(found: tuple[Backup, ...]) -> str:
    """Return a line for each backup, newest first."""
    if not found:
        return "no backup"
    return "\n".join(backup_line(one) for one in found)


def backup_line(backup: Backup) -> str:
    """Return the line of a backup: what it is, what was proven of it, whether it is pinned."""
    manifest = backup.manifest
    rows = sum(count for _, count in manifest.row_counts)
    proven = f"proven by {backup.level}" if backup.level else "not proven"
    extra = [f"{len(manifest.archives)} archives"] if len(manifest.archives) > 1 else []
    extra += ["encrypted"] if manifest.encrypted_for else []
    extra += [f"pinned: {backup.pin.reason}"] if backup.pin else []
    return (
        f"{manifest.id}  {manifest.database}  {manifest.size:>14,} bytes  "
        f"PostgreSQL {manifest.server_version // 10000}  "
        f"{rows:,} rows of {len(manifest.row_counts)} tables  " + ", ".join([proven, *extra])
    )


def prune_text(choices: tuple[Choice, ...], *, dry_run: bool) -> str:
    """Return for each backup why it stays, or that it goes."""
    goes = "would go" if dry_run else "removed"
    lines = [
        f"{choice.backup.manifest.id}  {'; '.join(choice.reasons) or goes}" for choice in choices
    ]
    count = sum(not choice.reasons for choice in choices)
    return "\n".join([*lines, f"{count} {goes}, {len(choices) - count} stay"])


def proof_line(backup: str, proof: Proof) -> str:
    """Return what was proven of a backup."""
    where = f" into {proof.server}" if proof.server else ""
    counted = f", {proof.rows:,} rows of {proof.tables} tables" if proof.tables else ""
    return f"{backup}: proven by {proof.level}{where}{counted}, in {seconds(proof.seconds)}"


def restore_text(plan: Restoring) -> str:
    """Return what a restore will do, for whoever has to say yes to it."""
    lines = [f"restore of backup {plan.backup}, taken {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC"]
    if plan.swap:
        lines.append(f"  into {plan.database}, verified, then in the place of the live database")
    else:
        lines.append(f"  into {plan.database}; the live database is not touched")
    if plan.last_drill is not None:
        drill = plan.last_drill
        lines.append(
            f"  the last drill restored {drill.rows:,} rows in {seconds(drill.seconds)}, "
            f"on {drill.at:%Y-%m-%d}"
        )
    if plan.changed:
        lines.append("  changed since, by the server's statistics:")
        lines += [f"    {name}: {then:,} rows then, about {now:,} now"
                  for name, then, now in plan.changed[:TABLES_SHOWN]]  # fmt: skip
        if len(plan.changed) > TABLES_SHOWN:
            lines.append(f"    and {len(plan.changed) - TABLES_SHOWN} more tables")
    return "\n".join(lines)


class Whole(Protocol):
    """A restore that is done."""

    @property
    def database(self) -> str:
        """What it was restored into."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def tables(self) -> int:
        """How many tables' rows were compared."""
        ...

    @property
    def rows(self) -> int:
        """How many rows they have."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What needs the rows of tables that were not restored."""
        ...


def restored_text(env: str, done: Whole, old: str) -> str:
    """Return what was restored, and what became of the live database."""
    took = seconds(done.seconds)
    lines = [f"restored into {done.database}: {done.rows:,} rows of {done.tables} tables in {took}"]
    lines += [f"  left out: {one}" for one in done.left_out]
    if old:
        lines.append(swapped_text(env, old))
    else:
        lines.append(
            f"  in the live one's place: invoke restore --env {env} --swap {done.database}"
        )
    return "\n".join(lines)


def swapped_text(env: str, old: str) -> str:
    """Return what became of the database that served before."""
    return (
        f"  it serves now; what served before is kept as {old}\n"
        f"  next: invoke status --env {env}; to drop the old one: "
        f"invoke restore --env {env} --drop-old"
    )


def drill_note(last: Proof | None, *, at_most: timedelta | None, now: datetime) -> str:
    """Return a warning where the last drill is older than the policy says; else nothing."""
    if at_most is None:
        return ""
    if last is None:
        return "no backup was ever restored to see whether it can be: invoke backup.drill"
    age = now - last.at
    if age <= at_most:
        return ""
    return (
        f"the last drill was {age.days} days ago, at most {at_most.days} are allowed: "
        "invoke backup.drill"
    )


def rehearsal_text(rehearsal: Rehearsal) -> str:
    """Return what an approver reads of a rehearsal: a line for each migration, and its alarms."""
    rows = [REHEARSED, *(_rehearsed(one) for one in rehearsal.migrations)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(REHEARSED))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in rows]  # fmt: skip
    later = forecast(rehearsal)
    return "\n".join([
        f"rehearsal of plan {rehearsal.plan_digest[:12]} on a copy of backup {rehearsal.backup}",
        *lines,
        *_rehearsal_notes(rehearsal),
        f"forecast: a deployment takes {seconds(later.deployment)} and the restart, "
        f"a restore {seconds(later.restore)}",
    ])  # fmt: skip


REHEARSED = (
    "migration", "time", "locks that make others wait", "rewrite", "full scan", "WAL", "rollback",
)  # fmt: skip


def _rehearsed(one: Rehearsed) -> tuple[str, ...]:
    """Return the cells of a migration; what it did not do is a dash."""
    longest = held(one)
    more = f" and {len(longest) - 1} more" if len(longest) > 1 else ""
    locks = (
        f"{longest[0].mode.removesuffix('Lock')} {longest[0].relation} "
        f"{duration(longest[0].seconds)}{more}"
        if longest
        else ""
    )
    rewrites = {name for statement in one.statements for name in statement.rewrites}
    scans = {name for statement in one.statements for name, _ in statement.scans}
    wal = sum(statement.wal for statement in one.statements)
    back = f"proven, {duration(one.rollback_seconds)}" if one.rolled_back else one.not_rolled_back
    return (
        one.name, duration(one.seconds), locks or "–", ", ".join(sorted(rewrites)) or "–",
        ", ".join(sorted(scans)) or "–", human(wal), back,
    )  # fmt: skip


def _rehearsal_notes(rehearsal: Rehearsal) -> list[str]:
    """Return what a rollback would lose, by migration."""
    lines = []
    for one in rehearsal.migrations:
        lines += [f"{one.name}: its rollback does not bring back: {what}" for what in one.lost]
        lines += [f"{one.name}: its rollback drops {what}" for what in one.dropped]
    return lines


def rehearsal_summary(rehearsal: Rehearsal) -> str:
    """Return a rehearsal as Markdown for a job's summary."""
    rows = [REHEARSED, ("---",) * len(REHEARSED), *map(_rehearsed, rehearsal.migrations)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "".join(f"- {line}\n" for line in _rehearsal_notes(rehearsal))
    later = forecast(rehearsal)
    return (
        f"### Rehearsal of plan `{rehearsal.plan_digest[:12]}`\n\nOn {rehearsal.server}, from "
        f"backup `{rehearsal.backup}` of {rehearsal.backup_taken_at:%Y-%m-%d %H:%M} UTC.\n\n"
        f"{table}\n\n{notes}\nForecast: a deployment takes {seconds(later.deployment)} and the "
        f"restart, a restore {seconds(later.restore)}.\n"
    )


def error_text(what: str, state: str, next_step: str) -> str:
    """Return the three lines of an error."""
    return redact(f"✗ {what}\n  state: {state}\n  next:  {next_step}")


def github_summary(plan: Plan, rendered: tuple[str, ...]) -> str:
    """Return a plan as Markdown for a job's summary: what a reviewer reads before approving."""
    text = plan_text(plan)
    sql = "\n\n".join(rendered)[:100_000]  # GitHub drops a whole summary above 1 MiB
    more = f"\n<details><summary>SQL</summary>\n\n```sql\n{sql}\n```\n</details>\n" if sql else ""
    return f"### Plan `{plan.digest[:12]}`\n\n```\n{text}\n```\n{more}"
