"""Waits for the signatures of a plan, before a deployment begins and with nothing held."""

import time
from datetime import UTC, datetime, timedelta

from ..approvals import ApprovalSource, Signatures
from ..config.duration import Duration
from ..errors import ChildFailed, ConfigError, NotApproved
from ..model import Plan, StepName
from ..plan import gate
from . import journal, nonces, notices
from .work import Work

EVERY = 10.0  # seconds between two looks at the branch
TOLD_EVERY = 300.0  # seconds between two lines that say that it is waiting


def wait(plan: Plan, work: Work, *, within: float, every: float = EVERY) -> None:
    """Wait until the plan has the signatures it needs, fetching them from the branch.

    Args:
        plan: what shall be approved; its digest is in the name of every signature.
        work: the environment, whose approvals are signatures.
        within: seconds to wait at most.
        every: seconds between two looks.

    Raises:
        NotApproved: the time is up; it says why each signature for this plan does not count.
        ConfigError: the environment takes no signatures.

    """
    source = work.approvals
    if source is None or not isinstance(source, Signatures):
        raise ConfigError(
            f"{plan.environment} takes no signatures, so there is nothing to wait for",
            place=work.settings.where("approval"),
            next_step="leave out --wait-for-approval: on GitHub the job itself waits for its "
            "reviewers; or write approval: {from: ssh, signers: .github/approvers}",
        )
    if not plan.has(StepName.APPROVAL):
        return
    deadline = datetime.now(UTC) + timedelta(seconds=within)
    end, last_note, trouble = time.monotonic() + within, time.monotonic(), ""
    work.reporter.note(
        f"waiting for {source.required} approvals of plan {plan.digest} until "
        f"{deadline:%Y-%m-%d %H:%M} UTC, on branch {source.branch}; an approver: "
        f"invoke approve --env {plan.environment} --plan FILE --push"
    )
    waiting = f"plan {plan.digest[:12]} of {plan.environment} waits for {source.required} approvals"
    notices.send(work, "waiting", waiting, plan=plan)
    while True:
        trouble = _fetch(plan, work, source, trouble)
        refusal = _missing_approval(plan, work, source)
        if refusal is None:
            return
        remaining = end - time.monotonic()
        if remaining <= 0:
            raise NotApproved(
                f"{refusal.what}, after {Duration(within)!r} of waiting"
                + (f"; and git: {trouble}" if trouble else ""),
                next_step=refusal.next_step,
            )
        if time.monotonic() - last_note > TOLD_EVERY:
            last_note = time.monotonic()
            work.reporter.note(f"{refusal.what}; waiting another {remaining / 60:.0f} minutes")
        time.sleep(min(every, remaining))


def _fetch(plan: Plan, work: Work, source: Signatures, before: str) -> str:
    """Look at the branch, and return what git complains of; report it once."""
    try:
        count = source.fetch(plan)
    except ChildFailed as error:
        complaint = error.stderr or error.what
        if complaint != before:
            work.reporter.note(f"git did not fetch {source.branch}; trying again: {complaint}")
        return complaint
    if count:
        work.reporter.note(f"{count} new on branch {source.branch}")
    return ""


def _missing_approval(plan: Plan, work: Work, source: ApprovalSource) -> NotApproved | None:
    """Return what is missing; None where the deployment may begin."""
    approvals = source.find(plan)
    try:
        gate.require_approval(
            plan,
            approvals,
            required=source.required,
            used=nonces.used(work, tuple(approval.nonce for approval in approvals)),
            now=datetime.now(UTC),
            server=journal.server_clock(work.database),
            how=source.how(plan),
        )
    except NotApproved as error:
        return error
    return None
