"""May this plan run now? Pure: every input is an argument, the clock included."""

from datetime import datetime

from ci.errors import ConfigError, NotApproved, PlanChanged, Refused
from ci.model import Approval, Plan, StepName, Tier
from ci.plan import differences


def require_approval(plan: Plan, approval: Approval | None, *, now: datetime, how: str) -> Approval:
    """Return the approval if it covers this plan now.

    `how` says what a person must do to approve; it becomes the next step of the refusal.

    Raises:
        NotApproved: there is none, it names another plan, or it has expired.

    """
    short = plan.digest[:12]
    if approval is None:
        raise NotApproved(
            f"plan {short} of {plan.environment} has no approval",
            next_step=how,
        )
    if approval.plan_digest != plan.digest:
        raise NotApproved(
            f"{approval.approver} approved plan {approval.plan_digest[:12]}, not {short}",
            next_step=how,
        )
    if approval.expires_at <= now:
        raise NotApproved(
            f"the approval of {approval.approver} expired at "
            f"{approval.expires_at:%Y-%m-%d %H:%M} UTC",
            next_step=how,
        )
    return approval


def require_unchanged(approved: Plan, current: Plan) -> None:
    """Raise `PlanChanged` with the differences unless both plans are the same document."""
    if approved.digest == current.digest:
        return
    found = differences(approved, current)
    raise PlanChanged(
        f"plan {approved.digest[:12]} is not what would run now ({current.digest[:12]}): "
        + "; ".join(found[:5])
        + (f"; and {len(found) - 5} more" if len(found) > 5 else ""),
        next_step=f"look at it again: invoke plan --env {current.environment}",
    )


def require_environment(plan: Plan, environment: str) -> None:
    """Raise `ConfigError` where a plan file is for another environment than the one named."""
    if plan.environment != environment:
        raise ConfigError(
            f"the plan is for {plan.environment}, not for {environment}",
            next_step=f"invoke deploy --env {plan.environment} --plan …, or plan {environment}",
        )


def require_typed(
    environment: str,
    tier: Tier,
    *,
    what: str,
    typed: str | None,
    variable: str,
    named: str = "CONFIRM_HISTORY",
) -> None:
    """Raise `Refused` unless something that cannot be taken back was confirmed above development.

    `typed` is what a person typed, None where nobody can; `variable` is the value of the
    environment variable `named`.
    """
    if tier == "development" or typed == environment or (typed is None and variable == "yes"):
        return
    raise Refused(
        f"{what} in {environment} is not confirmed",
        next_step=f'type "{environment}" when asked; where nobody can: {named}=yes',
    )


def require_confirmation(plan: Plan, *, typed: str | None, variable: str) -> None:
    """Raise `Refused` unless a rollback above development was confirmed.

    `typed` is what a person typed, None where nobody can; `variable` is CONFIRM_ROLLBACK's value.
    Where the plan asks for an approval, that is the confirmation.
    """
    if plan.tier == "development" or plan.has(StepName.APPROVAL):
        return
    if typed == plan.environment or (typed is None and variable == "yes"):
        return
    raise Refused(
        f"the rollback of {len(plan.migrations)} migrations in {plan.environment} is not confirmed",
        next_step=f'type "{plan.environment}" when asked; where nobody can: CONFIRM_ROLLBACK=yes',
    )
