"""May this plan run now? Pure: every input is an argument, the clock included."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from ..errors import ConfigError, NotApproved, PlanChanged, Refused
from ..model import Approval, Plan, StepName, Tier
from ..parser import passwords
from ..secret import is_in
from .differences import differences
from .undoing import loss_words

CLOCKS_APART = timedelta(minutes=5)  # at most, between an approver's machine and this one


def require_approval(  # noqa: PLR0913  # each is a fact that decides, and none follows from another
    plan: Plan,
    approvals: tuple[Approval, ...],
    *,
    required: int = 1,
    used: Mapping[str, str] = {},  # only read
    now: datetime,
    server: datetime | None = None,
    how: str,
) -> tuple[Approval, ...]:
    """Return the approvals that cover this plan now: so many, each by another approver, in time.

    Args:
        plan: what is to run.
        approvals: what the source found.
        required: how many different approvers it takes.
        used: nonces that a deployment has used up, and its id.
        now: the clock here.
        server: the clock of the database's server, which who deploys does not set; None: not asked.
        how: what a person must do to approve; it becomes the next step of the refusal.

    Raises:
        NotApproved: too few count; it says what is wrong with those that do not.

    """
    counting: dict[str, Approval] = {}
    problems = []
    clocks = (now, server or now)
    for approval in sorted(approvals, key=lambda approval: approval.granted_at):
        problem = _against(plan, approval, used, clocks)
        if problem:
            problems.append(problem)
        else:
            counting.setdefault(approval.approver.casefold(), approval)
    if len(counting) >= required:
        return tuple(counting.values())[:required]
    short = plan.digest[:12]
    what = f"plan {short} of {plan.environment} has no approval"
    if counting:
        names = ", ".join(approval.approver for approval in counting.values())
        what = f"plan {short} has {len(counting)} of {required} approvals, by {names}"
    elif problems:
        what, problems = problems[0], problems[1:]
    raise NotApproved("; ".join([what, *problems]), next_step=how)


def _against(
    plan: Plan, approval: Approval, used: Mapping[str, str], clocks: tuple[datetime, datetime]
) -> str:
    """Return why an approval does not count, by the stricter of two clocks; empty: it does."""
    if approval.problem:
        return approval.problem
    if approval.plan_digest != plan.digest:
        return (
            f"{approval.approver} approved plan {approval.plan_digest[:12]}, not {plan.digest[:12]}"
        )
    whose = f"the approval of {approval.approver}"
    if not approval.nonce and not approval.asked_here:
        return f"{whose} has no nonce, so that it could be used again"
    if approval.nonce and approval.nonce in used:
        return f"{whose} was used by deployment {used[approval.nonce]}"
    if approval.granted_at > min(clocks) + CLOCKS_APART:
        return (
            f"{whose} is dated {approval.granted_at:%Y-%m-%d %H:%M} UTC, and it is "
            f"{min(clocks):%Y-%m-%d %H:%M} UTC"
        )
    if approval.expires_at <= max(clocks):
        return f"{whose} expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    return ""


def require_unchanged(approved: Plan, current: Plan) -> None:
    """Raise `PlanChanged` with the differences unless both plans are the same document."""
    if approved.digest == current.digest:
        return
    changes = differences(approved, current)
    raise PlanChanged(
        f"plan {approved.digest[:12]} is not what would run now ({current.digest[:12]}): "
        + "; ".join(changes[:5])
        + (f"; and {len(changes) - 5} more" if len(changes) > 5 else ""),
        next_step=f"look at it again: {current.command}"
        + (" --dry-run" if current.correction else ""),
    )


def require_clean(plan: Plan) -> None:
    """Raise `Refused` where production would run what no commit has.

    Without a checkout there is no commit to compare with.
    """
    changed = plan.sources.changed
    if plan.tier != "production" or not changed:
        return
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    commit = f"commit {plan.sources.commit[:12]}" if plan.sources.commit else "any commit"
    raise Refused(
        f"the files here are not those of {commit}: {', '.join(changed[:5])}{more}",
        next_step="commit them, or put them back (git status, git restore, git clean), and plan "
        f"again: invoke plan --env {plan.environment}",
    )


def require_no_secret(plan: Plan) -> None:
    """Raise `Refused` where a plan that is to be written down holds a secret.

    That is one of the environment, or a password that stands in a migration literally.

    Its digest is of the exact texts, so nothing can be taken out of them. A secret of letters
    alone is not looked for: any text may contain it as a word.
    """
    order = plan.correction
    if order is not None and is_in("\n".join([order.command(""), *order.changes])):
        raise Refused(
            f"what {order.verb} was given contains a secret of this environment; the plan's file "
            "would contain it too",
            next_step="leave it out of the arguments, such as the reason",
        )
    for migration in plan.migrations:
        texts = (migration.sql, migration.rollback or "", migration.verify or "")
        literal = next((where for text in texts for where in passwords.in_text(text)), "")
        if literal:
            raise Refused(
                f"the text of {migration.name} has {literal} in it; the plan's file would too",
                next_step="take it out of the migration, set it outside of migrations, and change "
                "it, because it is in the repository's history",
            )
        if any(is_in(text) for text in texts):
            raise Refused(
                f"the text of {migration.name} contains a secret of this environment; "
                "the plan's file would contain it too",
                next_step="take it out of the migration, set it outside of migrations, and change "
                "it, because it is in the repository's history",
            )


def require_lossless(plan: Plan, *, lossy: bool) -> None:
    """Raise `Refused` where a rollback above development loses values of before unasked.

    What is not known is shown, and refused by nobody: the person who confirms decides.
    """
    known = [loss_words(loss) for loss in plan.losses if loss.known]
    if lossy or not known or plan.tier == "development":
        return
    more = f" (and {len(known) - 1} more)" if len(known) > 1 else ""
    raise Refused(
        f"{known[0]}{more}",
        next_step="the same command with --lossy undoes it all the same; what is lost is then in "
        "its plan",
    )


def require_environment(plan: Plan, environment: str) -> None:
    """Raise `ConfigError` where a plan file is for another environment than the one named."""
    if plan.environment != environment:
        raise ConfigError(
            f"the plan is for {plan.environment}, not for {environment}",
            next_step=f"invoke deploy --env {plan.environment} --plan …, or plan {environment}",
        )


def require_kind(plan: Plan, verb: str = "") -> None:
    """Raise `ConfigError` where a plan file is of another task; empty: of a deployment."""
    made_by = plan.correction.verb if plan.correction is not None else ""
    if made_by == verb:
        return
    task = f"invoke {made_by or 'deploy'} --env {plan.environment} --plan FILE"
    raise ConfigError(
        f"the plan is of {made_by or 'a deployment'}, not of {verb or 'a deployment'}",
        next_step=f"{task} runs it",
    )


def require_digest(plan: Plan, digest: str | None) -> None:
    """Raise `PlanChanged` where a plan has not the digest that the plan job gave out; None: any.

    A job that may write artifacts can exchange one; it cannot change another job's output. An
    empty digest was lost on the way.
    """
    if digest is None or digest == plan.digest:
        return
    raise PlanChanged(
        f"the plan's file has the digest {plan.digest[:12]}, and "
        + (f"{digest[:12]} was handed on with it" if digest else "none was handed on with it"),
        next_step=f"plan again, and {'run' if plan.correction else 'deploy'} that: "
        f"{plan.command} --out FILE"
        if plan.direction == "up"
        else f"show it again: invoke rollback --env {plan.environment} … --out FILE",
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

    `typed` is what a person typed, None without a terminal; `variable` is the value of the
    environment variable `named`. Without a name a person alone can confirm it.
    """
    if tier == "development" or typed == environment or (typed is None and variable == "yes"):
        return
    raise Refused(
        f"{what} in {environment} is not confirmed",
        next_step=f'type "{environment}" when asked'
        + (f"; without a terminal: {named}=yes" if named else ", at a terminal"),
    )


def require_confirmation(plan: Plan, *, typed: str | None, variable: str) -> None:
    """Raise `Refused` unless a rollback above development was confirmed.

    `typed` is what a person typed, None without a terminal; `variable` is CONFIRM_ROLLBACK's value.
    Where the plan asks for an approval, that is the confirmation.
    """
    if plan.tier == "development" or plan.has(StepName.APPROVAL):
        return
    if typed == plan.environment or (typed is None and variable == "yes"):
        return
    raise Refused(
        f"the rollback of {len(plan.migrations)} migrations in {plan.environment} is not confirmed",
        next_step=f'type "{plan.environment}" when asked; without a terminal: CONFIRM_ROLLBACK=yes',
    )
