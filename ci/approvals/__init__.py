"""Where approvals come from, and which sources there are."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol, assert_never, runtime_checkable

from ..config.sections import ApprovalConfig, GithubApproval, SshApproval, TerminalApproval
from ..model import Approval, ApprovalStatement, Plan


class ApprovalSource(Protocol):
    """Finds somebody's yes. Does not judge it: that is `plan.gate`."""

    @property
    def required(self) -> int:
        """How many different approvers it takes."""
        ...

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return the approvals there are, asking a person where the source is one.

        One that cannot count, whoever judges it, says why in `problem`.
        """
        ...

    def how(self, plan: Plan) -> str:
        """Return what a person must do to approve this plan: the next step of a refusal."""
        ...

    def check(self) -> str:
        """Return what was found, for `doctor`; raise when no one could ever approve."""
        ...


@runtime_checkable
class Signatures(Protocol):
    """Of a source whose approvals are signed files, shared on a branch; ask with isinstance."""

    @property
    def branch(self) -> str:
        """The branch of git's remote where they are shared."""
        ...

    def sign(
        self, plan: Plan, *, key: str, comment: str, now: datetime
    ) -> tuple[Path, ApprovalStatement]:
        """Sign a plan and return the file that was written, and what was signed.

        Args:
            plan: what is approved.
            key: a private key, or a public one whose private half an agent or a token holds;
                empty: the usual ones.
            comment: the approver's text; signed with the rest.
            now: the clock.

        Raises:
            StepFailed: nothing was signed.

        """
        ...

    def push(self, file: Path, *, message: str) -> None:
        """Add a signature to the branch; StepFailed where it did not arrive."""
        ...

    def fetch(self, plan: Plan) -> int:
        """Bring a plan's signatures from the branch; return how many are new.

        Raises:
            ChildFailed: git did not reach the remote.

        """
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

            return SshSource(config, environment=environment, root=root, note=note)
        case _:
            assert_never(config)
