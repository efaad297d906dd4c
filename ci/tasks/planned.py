"""What the tasks beside the deployments share: --out, --plan, --digest, and the confirmation."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..model import StepName
from ..report import markdown, runner, summary
from ..report.plan import plan_text
from .confirm import confirm
from .task import Answer, age_of

if TYPE_CHECKING:
    from ..deployment.orders import Proposal, Request
    from ..deployment.work import Work

T = TypeVar("T")

FLAGS = {
    "out": "write the plan to this file, for approve and --plan; change nothing",
    "plan": "a plan file that was made before, with its arguments (default: a new plan)",
    "digest": "refuse a plan with another digest than this one (default: any)",
    "wait_for_approval": "how long to wait for signatures on the branch: 2h (default: not at all)",
}


def request(
    verb: str, env: str, given: dict[str, str | bool], *, plan: str, digest: str | None
) -> "Request":
    """Return what was asked for; a flag that was not given is no argument."""
    from ..deployment.orders import read_request

    arguments = {
        name: "" if value is True else str(value) for name, value in given.items() if value
    }
    return read_request(verb, arguments, file=plan, digest=digest, environment=env)


def shown(
    work: "Work",
    proposal: "Proposal[T]",
    text: str,
    *,
    document: object,
    out: str,
    dry_run: bool,
) -> Answer | None:
    """Return the answer of a run that changes nothing; None where it shall act."""
    from ..deployment import orders, planfile

    if not out:
        return Answer(document, text) if dry_run else None
    plan = orders.with_about(work, proposal)
    planfile.write_plan(plan, Path(out))
    page = functools.partial(_page, env=plan.environment, text=plan_text(plan), digest=plan.digest)
    runner.tell(page)
    return Answer(plan, plan_text(plan))


def _page(_run: summary.Run, *, env: str, text: str, digest: str) -> markdown.Page:
    return summary.text_page(f"Plan: {env}", text, {"digest": digest})


def wait(work: "Work", proposal: "Proposal[T]", text: str) -> None:
    """Wait as long as a flag says for the signatures of a plan; an empty one: not at all.

    Nor for a plan that a run was killed with, whose approval counts for this one.
    """
    from ..deployment import await_approval, unfinished

    if text and unfinished.of(work, proposal.plan) is None:
        within = age_of("--wait-for-approval", text, example="2h")
        await_approval.wait(proposal.plan, work, within=within.total_seconds())


def confirm_unapproved(
    work: "Work", proposal: "Proposal[T]", text: str, *, what: str, variable: str
) -> None:
    """Have the environment's name typed, unless an approval of exactly this plan is asked for."""
    if not proposal.plan.has(StepName.APPROVAL):
        confirm(work.settings, text, what=what, variable=variable)
