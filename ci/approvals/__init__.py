"""Where approvals come from, and which sources there are."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, assert_never

from ..config.sections import ApprovalConfig, GithubApproval, SshApproval, TerminalApproval
from ..model import Approval, Plan


class ApprovalSource(Protocol):
    """Finds somebody's yes. Does not judge it: that is `plan.gate`."""

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return the approvals there are, asking a person where the source is one."""
        ...

    def how(self, plan: Plan) -> str:
        """Return what a person must do to approve this plan: the next step of a refusal."""
        ...

    def check(self) -> str:
        """Return what was found, for `doctor`; raise when nobody could ever approve."""
        ...


def open_approvals(
    config: ApprovalConfig,
    *,
    environment: str,
    root: Path,
    note: Callable[[str], None] = lambda _text: None,
) -> ApprovalSource:
    """Return the source `deploy.yml` asks for.

    Relative paths start at `root`; `note` is told what a source waits for.
    """
    match config:
        case TerminalApproval():
            from .terminal import TerminalSource

            return TerminalSource(config)
        case GithubApproval():
            from .github import GithubSource

            return GithubSource(config, environment=environment, note=note)
        case SshApproval():
            from .ssh import SshSource

            return SshSource(config, environment=environment, root=root)
        case _:
            assert_never(config)
