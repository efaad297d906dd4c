"""The verbs of a deployment: parse, call, print, exit. Holds no logic."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.secretplaces import without_userinfo
from ..model import Plan
from ..report import runner, summary
from ..report.deployment import deployment_verdict, joined_text, unrecorded_note
from ..report.plan import plan_text, rehearsal_text
from ..secret import redact
from ..visible import visible
from .confirm import confirm_deployment, confirm_rollback, confirm_signature
from .task import Answer, age_of, at_most_one, loaded_for, opened, span_of, verb

if TYPE_CHECKING:
    from ..deployment.proposals import Proposal
    from ..deployment.work import Work


def _carry_out(work: "Work", proposal: "Proposal") -> Answer:
    from ..deployment.proposals import carry_out

    if on_github := runner.current():
        _begin(on_github.run, work, proposal.plan)
    record = carry_out(work, proposal)
    runner.tell(lambda run: summary.done_page(run, record))
    return Answer(record, deployment_verdict(record))


def _begin(run: summary.Run, work: "Work", plan: Plan) -> None:
    """Note what a summary will say, however the run ends."""
    smoke_tests = work.settings.environment.smoke
    run.deployment, run.plan = work.deployment_id, plan
    run.url = without_userinfo(smoke_tests.base_url) if smoke_tests else ""


@verb(
    plan="a plan file that was reviewed before (default: a new plan)",
    digest="refuse a plan file with another digest than this one (default: any)",
    break_glass="reason to leave out approval and rehearsal; recorded",
    yes="do not ask at a terminal (default: ask above development)",
    wait_for_approval="how long to wait for signatures on the branch: 2h (default: not at all)",
)
def deploy(
    env: str = "",
    plan: str = "",
    digest: str | None = None,
    break_glass: str = "",
    wait_for_approval: str = "",
    *,
    yes: bool = False,
    dry_run: bool = False,
    show_queries: bool = False,
) -> Answer:
    """Deploy: backup, migrate, restart, smoke test, by the environment's policy."""
    from ..deployment import await_approval, planfile, proposals

    at_most_one(**{"break-glass": break_glass, "wait-for-approval": wait_for_approval})
    flag = "--wait-for-approval"
    within = age_of(flag, wait_for_approval, example="2h") if wait_for_approval else None
    with opened(env, show_queries=show_queries, changes="" if dry_run else "deploy") as work:
        proposal = proposals.propose_deployment(
            work,
            plan=planfile.read_plan(Path(plan)) if plan else None,
            digest=digest,
            break_glass=break_glass,
        )
        if dry_run:
            rendered = proposals.rendered(work, proposal.plan)
            return Answer(proposal.plan, plan_text(proposal.plan, rendered))
        if not yes:
            confirm_deployment(proposal.plan)
        if within is not None and not proposal.unit.inherits:
            await_approval.wait(proposal.plan, work, within=within.total_seconds())
        return _carry_out(work, proposal)


@verb(
    to="last migration to run (default: all pending)",
    steps="how many of the pending ones to run (default: all)",
    wait="wait for a run that does the same, and join it: 1h (without a value: lock.wait)",
)
def migrate(
    env: str = "",
    to: str = "",
    steps: int = 0,
    wait: str | bool = "",
    *,
    dry_run: bool = False,
    show_queries: bool = False,
) -> Answer:
    """Run the migrations alone, under the environment's policy."""
    from ..deployment import joining, proposals

    at_most_one(to=to, steps=steps)
    with opened(env, show_queries=show_queries, changes="" if dry_run else "migrate") as work:
        if wait and not dry_run:
            within = span_of("--wait", wait, work.settings.environment.lock.wait)
            record = joining.migrate_or_join(work, to=to, steps=steps, within=within)
            if isinstance(record, joining.Joined):
                return Answer(record, joined_text(record.migrations, record.deployment))
            runner.tell(lambda run: summary.done_page(run, record))
            return Answer(record, deployment_verdict(record))
        proposal = proposals.propose_migration(work, to=to, steps=steps)
        if dry_run:
            sql = "\n\n".join(proposals.rendered(work, proposal.plan))
            return Answer(proposal.plan, sql or "nothing to migrate")
        return _carry_out(work, proposal)


@verb(
    name="an applied migration",
    deployment="a deployment: all that it applied",
    to="an applied migration that stays: all after it are undone",
    steps="how many of the newest to undo",
    force="also where a later migration touches the same tables (default: no)",
    lossy="also where values of before are not brought back (default: no)",
    out="write the plan to this file, for approve and --plan; change nothing",
    plan="a plan file that was made before, of the same flags (default: a new plan)",
    digest="refuse a plan with another digest than this one (default: any)",
)
def rollback(
    env: str = "",
    name: str = "",
    deployment: str = "",
    to: str = "",
    steps: int = 0,
    out: str = "",
    plan: str = "",
    digest: str | None = None,
    *,
    force: bool = False,
    lossy: bool = False,
    dry_run: bool = False,
    show_queries: bool = False,
) -> Answer:
    """Undo migrations or a deployment, under the environment's policy."""
    from ..deployment import planfile, planner, proposals

    which = {"name": name, "deployment": deployment, "to": to, "steps": steps}
    at_most_one(**which)
    changes = "" if dry_run or out else "rollback"
    with opened(env, show_queries=show_queries, changes=changes) as work:
        proposal = proposals.propose_rollback(
            work,
            name=name,
            deployment=deployment,
            to=to,
            steps=steps,
            force=force,
            lossy=lossy,
            shown=dry_run,
            plan=planfile.read_plan(Path(plan)) if plan else None,
            digest=digest,
        )
        if dry_run or out:
            rendered = proposals.rendered(work, proposal.plan)
            if out:
                made = planner.with_about(work, proposal.plan)
                planfile.write_plan(made, Path(out))
                runner.tell(lambda run: summary.plan_page(made, rendered, run.prefix))
            return Answer(proposal.plan, "\n\n".join(rendered))
        confirm_rollback(proposal.plan)
        return _carry_out(work, proposal)


@verb(reason="why a pause is lifted; it is recorded")
def resume(
    env: str = "",
    reason: str = "",
    *,
    dry_run: bool = False,
    show_queries: bool = False,
) -> Answer:
    """Lift a pause; without one, go on with what a run left unfinished, as it began."""
    from ..deployment import pause, proposals, resuming

    with opened(env, show_queries=show_queries, changes="resume") as work:
        paused = work.database.read("pause", pause.read) if dry_run else pause.lift(work, reason)
        if paused is not None and dry_run:
            return Answer({"lifted": None}, f"{env} is {paused}; resume would lift that")
        if paused is not None:
            return Answer({"lifted": paused}, f"{env} goes on; it was {paused}")
        if (rest := resuming.propose(work)) is not None:
            if dry_run:
                return Answer(rest.plan, plan_text(rest.plan))
            done = rest.carry_out()
            return Answer(done.document, done.text)
        if not dry_run and (swapped := resuming.ended(work)) is not None:
            return Answer(swapped.document, swapped.text)
        proposal = proposals.propose_resume(work)
        if proposal is None:
            return Answer(None, f"nothing to resume in {env}: not paused, nothing unfinished")
        if dry_run:
            rendered = proposals.rendered(work, proposal.plan)
            return Answer(proposal.plan, plan_text(proposal.plan, rendered))
        return _carry_out(work, proposal)


@verb(
    out="write the plan to this file, for deploy --plan",
    rehearse="rehearse it on a copy first, as a deployment would (default: show one there is)",
)
def plan(env: str = "", out: str = "", *, rehearse: bool = False) -> Answer:
    """Show exactly what a deployment would do, with its digest. Reads only."""
    from ..deployment import planfile, proposals

    with opened(env) as work:
        report = proposals.report_plan(work, rehearse=rehearse)
        rendered = proposals.rendered(work, report.plan)
    if out:
        planfile.write_plan(report.plan, Path(out))
    runner.tell(lambda run: summary.plan_page(report.plan, rendered, run.prefix))
    parts = [plan_text(report.plan)]
    if rendered:
        parts.append(runner.folded("SQL", "\n\n".join(rendered)))
    if report.rehearsal is not None:
        parts.append(rehearsal_text(report.rehearsal))
    parts += [unrecorded_note(env, untracked) for untracked in report.unrecorded]
    parts += [report.identity] if report.identity else []
    return Answer(report, "\n\n".join(parts))


@verb(
    plan="the plan's file, as invoke plan --out wrote it (required)",
    key="an SSH key, or the public half of one in an agent (default: the usual ones)",
    comment="your words; signed with the rest",
    push="push the signature to the branch of approval.branch (default: it stays here)",
)
def approve(
    env: str = "", plan: str = "", key: str = "", comment: str = "", *, push: bool = False
) -> Answer:
    """Sign a plan with your own SSH key. Reads its file; asks no database and no store."""
    from ..deployment import planfile

    config = loaded_for(env)
    signable = planfile.read_signable(config, env, plan)
    text = plan_text(signable)
    if signable.rehearsal:
        text += f"\n\n{rehearsal_text(signable.rehearsal)}"
    elif signable.correction is None:
        text += "\n\nno rehearsal of this plan is in its file"
    sys.stderr.write(visible(f"{redact(text)}\n"))
    confirm_signature(env)
    signature = planfile.sign_plan(config, signable, key=key, comment=comment, push=push)
    until = f"{signature.statement.expires_at:%Y-%m-%d %H:%M} UTC"
    text = f"signed plan {signable.digest[:12]} until {until}: {signature.file}"
    return Answer(signature, text)


@verb()
def rehearse(env: str = "") -> Answer:
    """Run the pending migrations on a restored copy: watched, undone, compared, run again."""
    from ..deployment import one_step

    with opened(env) as work:
        rehearsal = one_step.rehearse_pending(work)
    if rehearsal is None:
        return Answer(None, "nothing to rehearse: no migration is pending")
    runner.tell(lambda _: summary.rehearsal_page(rehearsal))
    return Answer(rehearsal, rehearsal_text(rehearsal))
