"""The verbs: parse, call, print, exit. Holds no logic; all of it can be called from Python."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from ..errors import ConfigError, Refused
from ..model import Migration, Plan, StepName, Unrecorded
from ..report import deployment as report
from ..report import plan as plan_report
from ..report import runner, summary
from ..secret import redact
from .task import Answer, ask, at_most_one, loaded_for, opened, verb

if TYPE_CHECKING:
    from ..deployment.work import Work


def _run(work: "Work", plan: Plan, again: Callable[[], Plan], *, break_glass: str = "") -> Answer:
    from ..deployment.loop import deploy
    from ..origin import find_origin

    if on_github := runner.current():
        _begin(on_github.run, work, plan)
    work.reporter.note(plan_report.headline(plan))
    if break_glass:
        work.reporter.alarm(f"BREAK-GLASS: {break_glass}: no approval, no rehearsal")
    done = deploy(
        plan,
        work,
        origin=find_origin(work.settings.root),
        again=again,
        break_glass=break_glass or None,
    )
    runner.tell(lambda run: summary.done_page(run, done))
    return done, report.verdict(done)


def _begin(run: summary.Run, work: "Work", plan: Plan) -> None:
    """Note what a summary will say, however the run ends."""
    smoke_tests = work.settings.environment.smoke
    run.deployment, run.plan = work.deployment_id, plan
    run.url = smoke_tests.base_url if smoke_tests else ""


def _rendered(work: "Work", plan: Plan) -> tuple[str, ...]:
    terms = work.terms()
    return tuple(work.engine.files.render(one, plan.direction, terms) for one in plan.migrations)


@verb(
    plan="a plan file that was looked at before (default: made now)",
    digest="refuse a plan file with another digest than this one (default: any)",
    break_glass="reason to leave out approval and rehearsal; recorded",
    yes="do not ask at a terminal (default: ask above development)",
    wait_for_approval="how long to wait for signatures on the branch: 2h (default: not at all)",
)
def deploy(
    c: Context,
    env: str = "",
    plan: str = "",
    digest: str | None = None,
    break_glass: str = "",
    wait_for_approval: str = "",
    *,
    yes: bool = False,
    dry_run: bool = False,
    show_queries: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Deploy: backup, migrate, restart, smoke test, by the environment's policy."""
    from ..deployment import await_approval
    from ..deployment.planner import clear_the_way, current_plan
    from ..plan import gate
    from ..policy import BREAK_GLASS

    at_most_one(**{"break-glass": break_glass, "wait-for-approval": wait_for_approval})
    within = await_approval.span(wait_for_approval) if wait_for_approval else None
    without = BREAK_GLASS if break_glass else frozenset()
    with opened(env, show_queries=show_queries) as work:
        clear_the_way(work)
        again = functools.partial(current_plan, work, without=without)
        chosen = _plan_file(plan) if plan else again()
        gate.require_environment(chosen, env)
        gate.require_digest(chosen, digest)
        if dry_run:
            return chosen, plan_report.plan_text(chosen, _rendered(work, chosen))
        if not yes:
            _go_on(chosen)
        if within is not None:
            await_approval.wait(chosen, work, within=within)
        return _run(work, chosen, again, break_glass=break_glass)


def _go_on(plan: Plan) -> None:
    """Ask at a terminal; where an approval is asked for, that is the question."""
    asks = plan.tier != "development" and not plan.has(StepName.APPROVAL)
    if asks and ask(f"{plan_report.plan_text(plan)}\n\n  Deploy this? [y/N] ") not in ("y", None):
        raise Refused("you said no", next_step=f"invoke plan --env {plan.environment} shows more")


def _plan_file(path: str) -> Plan:
    import msgspec

    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} is no plan: {error}", next_step="write one: invoke plan --env ENV --out FILE"
        ) from None


@verb(
    to="last migration to run (default: all pending)",
    steps="how many of the pending ones to run (default: all)",
)
def migrate(
    c: Context,
    env: str = "",
    to: str = "",
    steps: int = 0,
    *,
    dry_run: bool = False,
    show_queries: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Run the migrations alone, under the environment's policy."""
    from ..deployment.planner import clear_the_way, current_plan
    from ..policy import SERVICE

    at_most_one(to=to, steps=steps)
    with opened(env, show_queries=show_queries) as work:
        clear_the_way(work)
        again = functools.partial(
            current_plan, work, to=to or None, steps=steps or None, without=SERVICE
        )
        plan = again()
        if dry_run:
            return plan, "\n\n".join(_rendered(work, plan)) or "nothing to migrate"
        return _run(work, plan, again)


@verb(
    name="an applied migration",
    deployment="a deployment: all that it applied",
    to="an applied migration that stays: all after it are undone",
    steps="how many of the newest to undo",
    force="also where a later migration touches the same tables (default: no)",
)
def rollback(
    c: Context,
    env: str = "",
    name: str = "",
    deployment: str = "",
    to: str = "",
    steps: int = 0,
    *,
    force: bool = False,
    dry_run: bool = False,
    show_queries: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Undo migrations or a deployment, under the environment's policy."""
    from ..deployment import journal
    from ..deployment.planner import clear_the_way, newest_applied, undo_plan
    from ..plan import gate

    if not at_most_one(name=name, deployment=deployment, to=to, steps=steps):
        raise ConfigError(
            "rollback needs one of --name, --deployment, --to and --steps",
            next_step="invoke history --env ENV lists deployments, invoke status migrations",
        )
    with opened(env, show_queries=show_queries) as work:
        clear_the_way(work)
        if deployment:
            names = journal.find(work.database, deployment)[0].migrations
        elif name:
            names = (name,)
        else:
            names = newest_applied(work, steps=steps or None, to=to or None)
        again = functools.partial(undo_plan, work, names, force=force)
        plan = again()
        if dry_run:
            return plan, "\n\n".join(_rendered(work, plan))
        asks = plan.tier != "development" and not plan.has(StepName.APPROVAL)
        typed = ask(f'{plan_report.plan_text(plan)}\n\n  Type "{env}": ') if asks else None
        gate.require_confirmation(
            plan, typed=typed, variable=os.environ.get("CONFIRM_ROLLBACK", "")
        )
        return _run(work, plan, again)


def _unrecorded(work: "Work", migrations: tuple[Migration, ...]) -> tuple[Unrecorded, ...]:
    """Return those that stand already; `status` stays quick where nothing is pending."""
    if not migrations:
        return ()
    from ..deployment import one_step

    return one_step.unrecorded(work, migrations)


@verb(
    out="write the plan to this file, for deploy --plan",
    rehearse="rehearse it on a copy first, as a deployment would (default: show one there is)",
)
def plan(
    c: Context,
    env: str = "",
    out: str = "",
    *,
    rehearse: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Show exactly what a deployment would do, with its digest. Reads only."""
    from ..deployment import one_step
    from ..deployment.planner import current_plan, described
    from ..plan import gate

    with opened(env) as work:
        bare = current_plan(work)
        if rehearse:
            one_step.rehearse_as_planned(work, bare)
        found = described(work, bare)
        rendered = _rendered(work, found)
        there = _unrecorded(work, found.migrations)
    if out:
        gate.require_no_secret(found)
        Path(out).write_bytes(found.canonical())
    runner.tell(lambda run: summary.plan_page(found, rendered, run.prefix))
    text = plan_report.plan_text(found)
    if rendered:
        text += "\n\n" + runner.folded("SQL", "\n\n".join(rendered))
    if found.rehearsal is not None:
        text += f"\n\n{plan_report.rehearsal_text(found.rehearsal)}"
    text = "\n\n".join([text, *(report.unrecorded_note(env, one) for one in there)])
    document = {
        "digest": found.digest,
        "plan": found,
        "rehearsal": found.rehearsal,
        "unrecorded": there,
    }
    return document, text


@verb(
    plan="the plan's file, as invoke plan --out wrote it (required)",
    key="an SSH key, or the public half of one in an agent (default: the usual ones)",
    comment="your words; signed with the rest",
    push="push the signature to the branch of approval.branch (default: it stays here)",
)
def approve(
    c: Context,
    env: str = "",
    plan: str = "",
    key: str = "",
    comment: str = "",
    *,
    push: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Sign a plan with your own SSH key. Reads its file; asks no database and no store."""
    from datetime import UTC, datetime

    from ..approvals import Signatures, open_approvals
    from ..plan import gate

    loaded = loaded_for(env)
    approval, root = loaded.approval(env), loaded.file.path.resolve().parent
    source = open_approvals(approval, environment=env, root=root) if approval else None
    if not isinstance(source, Signatures):
        raise ConfigError(
            f"{env} takes no signatures",
            place=loaded.file.where(("environments", env, "approval")),
            next_step="write approval: {from: ssh, signers: .github/approvers}",
        )
    if not plan:
        raise ConfigError("no plan was named", next_step=f"invoke plan --env {env} --out plan.json")
    chosen = _plan_file(plan)
    gate.require_environment(chosen, env)
    sys.stderr.write(redact(plan_report.plan_text(chosen)) + "\n\n")
    shown = (
        plan_report.rehearsal_text(chosen.rehearsal)
        if chosen.rehearsal
        else "no rehearsal of this plan is in its file"
    )
    sys.stderr.write(shown + "\n")
    if ask(f'\n  Type "{env}" to sign exactly this: ') not in (env, None):
        raise Refused("nothing was signed", next_step="look at the plan again")
    file, statement = source.sign(chosen, key=key, comment=comment, now=datetime.now(UTC))
    if push:
        message = f"Approve plan {chosen.digest[:12]} for {env}"
        source.push(file, message=message)
    text = (
        f"signed plan {chosen.digest[:12]} until {statement.expires_at:%Y-%m-%d %H:%M} UTC: {file}"
    )
    return {"file": str(file), "statement": statement}, text


@verb()
def rehearse(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the pending migrations on a restored copy: watched, undone, compared, run again."""
    from ..deployment import one_step

    with opened(env) as work:
        found = one_step.rehearse(work)
    if found is None:
        return None, "nothing to rehearse: no migration is pending"
    runner.tell(lambda _: summary.rehearsal_page(found))
    return found, plan_report.rehearsal_text(found)
