"""A person at a terminal: sees the plan's digest, types the environment's name."""

import sys
from datetime import UTC, datetime, timedelta

from .. import account
from ..config.sections import TerminalApproval
from ..model import Approval, Plan
from ..visible import visible


class TerminalSource:
    """Asks on the terminal; without one it finds no approval."""

    required = 1

    def __init__(self, config: TerminalApproval) -> None:
        self.config = config

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return the approval when the name was typed exactly; nothing when it was not."""
        if not self._terminal():
            return ()
        names = ", ".join(m.name for m in plan.migrations) or "no migration"
        if plan.correction is not None:
            names = "\n          ".join((plan.command, *plan.correction.changes))
        question = (
            f"\n  plan    {plan.digest}\n  target  {plan.environment}: database "
            f"{plan.target.database}, {names}\n"
            f'  Type "{plan.environment}" to approve exactly this: '
        )
        sys.stderr.write(visible(question))
        sys.stderr.flush()
        if sys.stdin.readline().strip() != plan.environment:
            return ()
        now = datetime.now(UTC)
        approval = Approval(
            plan_digest=plan.digest,
            approver=account.name(),
            source="terminal",
            granted_at=now,
            expires_at=now + timedelta(seconds=self.config.expires.seconds),
            asked_here=True,
        )
        return (approval,)

    def how(self, plan: Plan) -> str:
        """Say what to do instead."""
        if self._terminal():
            return f'{self._task(plan)} again, and type "{plan.environment}" when asked'
        return (
            f"run it at a terminal: {self._task(plan)}; on GitHub set "
            "approval: {from: github} in deploy.yml"
        )

    def check(self) -> str:
        """Return whether there is a terminal now."""
        return "a terminal to ask at" if self._terminal() else "no terminal here: would refuse"

    @staticmethod
    def _task(plan: Plan) -> str:
        return plan.command if plan.correction else f"invoke deploy --env {plan.environment}"

    @staticmethod
    def _terminal() -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()
