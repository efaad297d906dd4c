"""Questions at the terminal. A Python caller is asked none: calling the function is the yes."""

import os
import sys

from ..config import Settings
from ..errors import Refused
from ..model import Plan, StepName, Tier
from ..plan import gate
from ..report.plan import plan_text
from ..secret import redact
from ..visible import visible


def ask(question: str) -> str | None:
    """Return what a person typed, lower case; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    sys.stderr.write(visible(redact(question)))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower()


def confirm_deployment(plan: Plan) -> None:
    """Ask above development; where an approval is asked for, that is the question."""
    question = f"{plan_text(plan)}\n\n  Deploy this? [y/N] "
    if _asks(plan) and ask(question) not in ("y", None):
        raise Refused("you said no", next_step=f"invoke plan --env {plan.environment} shows more")


def confirm_rollback(plan: Plan) -> None:
    """Have the environment's name typed, or CONFIRM_ROLLBACK=yes without a terminal."""
    question = f'{plan_text(plan)}\n\n  Type "{plan.environment}": '
    gate.require_confirmation(
        plan,
        typed=ask(question) if _asks(plan) else None,
        variable=os.environ.get("CONFIRM_ROLLBACK", ""),
    )


def _asks(plan: Plan) -> bool:
    return plan.tier != "development" and not plan.has(StepName.APPROVAL)


def confirm_signature(environment: str) -> None:
    """Have the environment's name typed before its plan is signed; a job is not asked."""
    if ask(f'\n  Type "{environment}" to sign exactly this: ') not in (environment, None):
        raise Refused("nothing was signed", next_step="look at the plan again")


def confirm(settings: Settings, text: str, *, what: str, variable: str) -> None:
    """Have the environment's name typed above development.

    Args:
        settings: the environment.
        text: what is shown first.
        what: what is to be confirmed, for the refusal.
        variable: the environment variable that is "yes" without a terminal.

    Raises:
        Refused: neither was done.

    """
    confirm_as(settings.name, settings.tier, text, what=what, variable=variable)


def confirm_as(env: str, tier: Tier, text: str, *, what: str, variable: str) -> None:
    """Do the same by the name of an environment that is not the one of the settings."""
    gate.require_typed(
        env,
        tier,
        what=what,
        typed=ask(f'{text}\n\n  Type "{env}": ') if tier != "development" else None,
        variable=os.environ.get(variable, ""),
        named=variable,
    )
