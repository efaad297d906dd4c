"""A job's summary: the verdict first, then what it rests on. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..backup.retention import Backup
from ..errors import WindlassError, found_at
from ..model import (
    Deployment,
    Finding,
    Migration,
    Outcome,
    Plan,
    Proof,
    PullRequestCheck,
    Rehearsal,
    StepResult,
    TableSize,
)
from ..plan.undoing import loss_words
from .check import check_markdown
from .deployment import deployment_verdict
from .format import human, seconds
from .markdown import Page, Section, code, facts, fence, head, html, table
from .plan import (
    REHEARSED,
    WAITING,
    forecast_text,
    headline,
    rehearsal_notes,
    rehearsed_rows,
    waiting_notes,
    waiting_rows,
)
from .runner_commands import of_failure, of_finding

IN_PLAN = "`invoke plan` has them all"
TAGS = {
    Outcome.OK: "done, ",
    Outcome.FAILED: "crit, ",
    Outcome.UNDONE: "active, ",
    Outcome.SKIPPED: "",
}


def migration_sections(plan: Plan) -> tuple[Section, ...]:
    """Return the plan's migrations."""
    if not plan.migrations:
        return ()
    rows = (
        (
            str(at),
            code(m.name),
            code(m.title),
            "after the restart" if m.phase == "after" else "–",
            "yes" if m.transactional else "no",
            code(f"irreversible: {m.irreversible}") if m.irreversible else _rollback(m),
        )
        for at, m in enumerate(plan.migrations, start=1)
    )
    word = "Pending migrations" if plan.direction == "up" else "Migrations to undo"
    title = f"#### {word}: {len(plan.migrations)}"
    return (
        table(
            ("#", "migration", "what", "phase", "in a transaction", "rollback"),
            rows,
            title=title,
            noun="migrations",
            elsewhere=IN_PLAN,
        ),
    )


def loss_sections(plan: Plan) -> tuple[Section, ...]:
    """Return what a rollback does not bring back."""
    lines = tuple(f"- {code(loss_words(loss))}\n" for loss in plan.losses)
    title = "#### What stood before and is lost\n\n"
    return (Section(title, lines, "\n", "losses"),) if lines else ()


def _rollback(migration: Migration) -> str:
    return "none" if migration.rollback is None else "a script"


def finding_sections(findings: tuple[Finding, ...]) -> tuple[Section, ...]:
    """Return what lint found."""
    rows = (
        (
            finding.level,
            code(f"{finding.file}:{finding.line}"),
            code(finding.message),
            code(finding.rule),
        )
        for finding in findings
    )
    if not findings:
        return ()
    title = f"#### Lint: {len(findings)}"
    return (
        table(
            ("level", "where", "what", "rule"),
            rows,
            title=title,
            noun="findings",
            elsewhere="the log has them all",
        ),
    )


def rehearsal_sections(rehearsal: Rehearsal | None) -> tuple[Section, ...]:
    """Return the rehearsal's table, what a rollback would lose, and the forecast."""
    if rehearsal is None:
        return ()
    rows = ([code(cell) for cell in row] for row in rehearsed_rows(rehearsal))
    notes = tuple(f"- {code(line)}\n" for line in rehearsal_notes(rehearsal))
    where = (
        f"#### Rehearsal of plan `{rehearsal.plan_digest[:12]}`\n\nOn {code(rehearsal.server)}, "
        f"from backup {code(rehearsal.backup)} of {rehearsal.backup_taken_at:%Y-%m-%d %H:%M} UTC."
    )
    lines = (
        table(
            REHEARSED,
            map(tuple, rows),
            title=where,
            noun="migrations",
            elsewhere=IN_PLAN,
        ),
    )
    lost = (Section("", notes, "\n", "notes"),) if notes else ()
    return (
        *lines,
        *_waiting_sections(rehearsal),
        *lost,
        Section(f"{code(forecast_text(rehearsal))}\n\n"),
    )


def _waiting_sections(rehearsal: Rehearsal) -> tuple[Section, ...]:
    """Return who waits: every relation, the busiest first, and what the figures rest on."""
    rows = tuple(tuple(code(cell) for cell in row) for row in waiting_rows(rehearsal))
    notes = tuple(f"- {code(line)}\n" for line in waiting_notes(rehearsal))
    title = f"#### Who waits: {len(rows)} relations"
    lines = (
        (table(WAITING, rows, title=title, noun="relations", elsewhere=IN_PLAN),) if rows else ()
    )
    return (*lines, Section("", notes, "\n", "notes")) if notes else lines


def sql_sections(plan: Plan, texts: tuple[str, ...]) -> tuple[Section, ...]:
    """Return the SQL as it would be sent, folded, a fold for each migration."""
    folds = tuple(
        f"<details><summary>{html(name)}</summary>\n\n{fence(text, 'sql')}\n\n</details>\n\n"
        for name, text in zip((m.name for m in plan.migrations), texts, strict=True)
    )
    if not folds:
        return ()
    return (
        Section("#### SQL\n\n", folds, "", "migrations' SQL", len(folds), "plan.json has it whole"),
    )


def timeline_sections(results: Iterable[StepResult]) -> tuple[Section, ...]:
    """Return the steps as a Mermaid gantt and as a table."""
    steps = tuple(results)
    if not steps:
        return ()
    bars = tuple(
        f"    {'undo ' if r.undo else ''}{r.step}, {seconds(r.seconds)} :{TAGS[r.outcome]}"
        f"{_start(r)}, {_start(r) + max(1, int(r.seconds * 1000))}\n"
        for r in steps
    )
    rows = (
        (f"{'undo ' if r.undo else ''}{r.step}", str(r.outcome), code(r.detail), seconds(r.seconds))
        for r in steps
    )
    return (
        Section(
            "#### Timeline\n\n```mermaid\ngantt\n    dateFormat x\n    axisFormat %H:%M:%S\n"
            "    section steps\n",
            bars,
            "```\n\n",
            "steps",
        ),
        table(("step", "outcome", "what", "time"), rows, noun="steps"),
    )


def _start(result: StepResult) -> int:
    return int(result.started_at.timestamp() * 1000)


def plan_page(plan: Plan, texts: tuple[str, ...], prefix: str) -> Page:
    """Return what `plan` says: what a reviewer reads before approving."""
    findings = plan.about.findings if plan.about else ()
    digest, count = plan.digest, len(plan.migrations)
    task = "deploy" if plan.direction == "up" else "rollback"
    return Page(
        (
            head(
                f"Plan `{digest[:12]}`",
                headline(plan),
                f"invoke {task} --env {plan.environment} --plan FILE",
            ),
            _plan_facts(plan),
            *migration_sections(plan),
            *loss_sections(plan),
            *finding_sections(findings),
            *rehearsal_sections(plan.rehearsal),
            *_size_sections(plan.about.tables if plan.about else ()),
            *sql_sections(plan, texts),
        ),
        {
            "digest": digest,
            "digest12": digest[:12],
            "migrations": str(count),
            "pending": "true" if count else "false",
        },
        tuple(of_finding(finding, prefix) for finding in findings),
    )


def _plan_facts(plan: Plan) -> Section:
    about, target = plan.about, plan.target
    return facts(
        ("digest", plan.digest),
        ("database", target.database),
        ("address", target.address),
        ("system", target.system_identifier),
        ("PostgreSQL", target.server_version // 10000),
        ("host", about.host if about else ""),
        ("engine", f"{plan.engine}, {plan.engine_version}"),
        ("steps", ", ".join(str(step.name) for step in plan.steps)),
        ("history", f"{len(plan.history)} applied"),
        ("backup to", about.backup_to if about else ""),
        ("models", about.models if about else ""),
        ("made by", about.origin.deployer if about else ""),
        ("commit", plan.sources.commit or (about.origin.commit if about else "")),
        ("changed", ", ".join(plan.sources.changed)),
        ("files", ", ".join(name for name, _ in plan.sources.files)),
    )


def _size_sections(sizes: tuple[TableSize, ...]) -> tuple[Section, ...]:
    """Return the tables that a plan touches, and their sizes."""
    rows = [
        (code(size.name), f"{size.rows:,}" if size.rows >= 0 else "not analysed", human(size.size))
        for size in sizes
    ]
    if not rows:
        return ()
    header = ("table", "rows, about", "size")
    return (table(header, rows, title="#### Tables it touches", noun="tables"),)


@dataclass
class Run:
    """What is known of a run while it lasts, for the page that ends it."""

    environment: str = ""
    deployment: str = ""  # empty until a plan runs
    url: str = ""  # of the service
    prefix: str = ""  # from the repository's root to deploy.yml
    plan: Plan | None = None
    results: list[StepResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    root: Path | None = None  # of deploy.yml; None: none was read

    @property
    def backup(self) -> str:
        """The backup that a step has taken; empty where none was."""
        return next((b for r in self.results if (b := r.get("backup"))), "")

    @property
    def lost(self) -> str:
        """The requests that the service lost while it restarted; empty where none were counted."""
        counted = [r for r in self.results if r.get("requests_asked") is not None]
        if not counted:
            return ""
        last = counted[-1]
        lost, asked = last.get("requests_lost"), last.get("requests_asked")
        return f"{lost} of {asked}, the longest gap {last.get('longest_gap')} s"

    def outputs(self, status: str) -> dict[str, str]:
        """Return what the workflow's next jobs may ask for."""
        return {
            "status": status,
            "deployment": self.deployment,
            "backup": self.backup,
            "url": self.url,
        }


def run_page(run: Run, title: str, verdict: str, next_step: str, status: str) -> Page:
    """Return what a deployment, a rollback or `migrate` says, however it ended."""
    plan = run.plan
    return Page(
        (
            head(title, verdict, next_step),
            facts(
                ("environment", run.environment),
                ("deployment", run.deployment),
                ("plan", plan.digest[:12] if plan else ""),
                ("backup", run.backup),
                ("url", run.url),
                ("requests lost in the restart", run.lost),
            ),
            *timeline_sections(run.results),
            *finding_sections(tuple(run.findings)),
            *((*migration_sections(plan), *rehearsal_sections(plan.rehearsal)) if plan else ()),
        ),
        run.outputs(status),
        tuple(of_finding(finding, run.prefix) for finding in run.findings),
    )


def done_page(run: Run, done: Deployment) -> Page:
    """Return what a run says that went well."""
    word = "Deployed" if done.direction == "up" else "Rolled back"
    undo = f"invoke rollback --env {done.environment} --deployment {done.id}"
    undoable = done.direction == "up" and done.migrations
    return run_page(
        run,
        f"{word}: {done.environment}",
        deployment_verdict(done),
        f"to undo it: {undo}" if undoable else "",
        str(done.status),
    )


ENDS = {3: "refused", 4: "rolled back", 130: "interrupted"}  # by exit code; else: failed


def failure_page(run: Run, error: WindlassError, exists: Callable[[str], bool]) -> Page:
    """Return what a task says that ended with an error.

    `exists` tells of a path from deploy.yml's directory whether it is a file of this checkout.
    """
    status = ENDS.get(error.exit_code, "failed")
    verdict = f"{error.what}\nstate: {error.state}"
    title = f"{status.capitalize()}: {run.environment or 'no environment'}"
    page = run_page(run, title, verdict, error.next_step, status)
    place = found_at(error)
    shown = place if place is not None and exists(place.file) else None
    own = of_failure(error.what, error.next_step, shown, run.prefix)
    return replace(page, annotations=(own, *page.annotations))


def rehearsal_page(rehearsal: Rehearsal) -> Page:
    """Return what `rehearse` says."""
    return Page(rehearsal_sections(rehearsal), {"digest": rehearsal.plan_digest})


def lint_page(findings: tuple[Finding, ...], prefix: str) -> Page:
    """Return what `lint` says."""
    sections = finding_sections(findings) or (Section("#### Lint: no findings\n\n"),)
    return Page(
        sections, {"findings": str(len(findings))}, tuple(of_finding(f, prefix) for f in findings)
    )


def check_page(result: PullRequestCheck, prefix: str) -> Page:
    """Return what `check` says: the pull request's comment."""
    notes = tuple(of_finding(finding, prefix) for finding in result.findings)
    return Page((Section(check_markdown(result)),), {}, notes)


def backup_page(backup: Backup, line: str, environment: str) -> Page:
    """Return what `backup` says."""
    manifest = backup.manifest
    return Page(
        (
            head(
                f"Backup of {environment}",
                line,
                f"invoke restore --env {environment} --from {manifest.id}",
            ),
            facts(
                ("database", manifest.database),
                ("size", human(manifest.size)),
                ("tables", len(manifest.row_counts)),
                ("proven by", backup.level or "nothing"),
                (
                    "taken",
                    f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, in {seconds(manifest.seconds)}",
                ),
            ),
        ),
        {"backup": manifest.id},
    )


def proof_page(backup: str, proof: Proof, line: str, environment: str) -> Page:
    """Return what `backup.verify` and `backup.drill` say."""
    return Page(
        (
            head(f"Proof of a backup of {environment}", line),
            facts(
                ("backup", backup),
                ("level", proof.level),
                ("restored into", proof.server),
                ("tables", proof.tables),
                ("rows", f"{proof.rows:,}"),
                ("took", seconds(proof.seconds)),
            ),
        ),
        {"backup": backup, "seconds": f"{proof.seconds:.1f}"},
    )


def text_page(title: str, text: str, outputs: dict[str, str] | None = None) -> Page:
    """Return a page of one text."""
    return Page((head(title, text),), outputs or {})
