"""What every source of approvals must do, whichever it is: real keys, a real terminal."""

import getpass
import os
import pty
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pgwindlass.approvals import ApprovalSource, Signatures, open_approvals
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    ApprovalConfig,
    GithubApproval,
    SshApproval,
    TerminalApproval,
)
from pgwindlass.errors import NotApproved
from pgwindlass.model import Approval, Plan, Target
from pgwindlass.plan.gate import require_approval
from tests.fix_github import Github, review

PLAN = Plan(
    project="shop",
    environment="production",
    tier="production",
    direction="up",
    engine="sql",
    engine_version="1",
    history=(),
    schema_fingerprint="",
    migrations=(),
    steps=(),
    policy=(),
    target=Target(system_identifier="1", database="shop", server_version=160000),
)
OTHER = msgspec.structs.replace(PLAN, schema_fingerprint="another")
ELSEWHERE = msgspec.structs.replace(PLAN, environment="uat")
EXPIRES = Duration(3600)


class Case(ABC):
    """A source, and a person who may approve."""

    approver: str
    again = False  # whether it asks anew each time, so that no yes can be used twice

    def __init__(self, config: ApprovalConfig, root: Path) -> None:
        self.config, self.root = config, root

    def source(self, environment: str = "production") -> ApprovalSource:
        """Return the source of an environment."""
        return open_approvals(self.config, environment=environment, root=self.root)

    @abstractmethod
    def approve(self, plan: Plan) -> None:
        """Let the person approve a plan of an environment."""


class AtTerminal(Case):
    approver = getpass.getuser()
    again = True

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(TerminalApproval(expires=EXPIRES), Path())
        self.keyboard, screen = pty.openpty()
        stack.callback(os.close, self.keyboard)
        modes = {"stdin": "r", "stderr": "w"}
        self.streams = {
            name: stack.enter_context(os.fdopen(os.dup(screen), mode))
            for name, mode in modes.items()
        }
        os.close(screen)
        self.monkeypatch, self.typed = monkeypatch, False

    def source(self, environment: str = "production") -> ApprovalSource:
        for name, stream in self.streams.items():  # not before: pytest sets its own for each phase
            self.monkeypatch.setattr(sys, name, stream)
        if not self.typed:
            os.write(self.keyboard, b"\n")
        return super().source(environment)

    def approve(self, plan: Plan) -> None:
        os.write(self.keyboard, f"{plan.environment}\n".encode())
        self.typed = True


class Signed(Case):
    approver = "ann@example.com"

    def __init__(self, tmp_path: Path) -> None:
        config = SshApproval(signers="approvers", expires=EXPIRES)
        super().__init__(config, tmp_path)
        self.key = tmp_path / "ann"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True
        )
        public = self.key.with_suffix(".pub").read_text()
        (tmp_path / "approvers").write_text(f"{self.approver} {public}")

    def approve(self, plan: Plan) -> None:
        source = self.source(plan.environment)
        assert isinstance(source, Signatures)
        source.sign(plan, key=str(self.key), comment="seen", now=datetime.now(UTC))


class Reviewed(Case):
    approver = "grace"

    def __init__(self, github: Github) -> None:
        super().__init__(GithubApproval(expires=EXPIRES, comment="digest"), Path())
        self.github = github
        github([])

    def approve(self, plan: Plan) -> None:
        comment = f"approve {plan.digest[:12]}"
        self.github([review(self.approver, environment=plan.environment, comment=comment)])


@pytest.fixture(params=["terminal", "ssh", "github"])
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    with ExitStack() as stack:
        match request.param:
            case "terminal":
                yield AtTerminal(stack, monkeypatch)
            case "ssh":
                yield Signed(tmp_path)
            case _:
                yield Reviewed(request.getfixturevalue("github"))


def gated(
    case: Case, *, at: timedelta = timedelta(), used: dict[str, str] | None = None
) -> tuple[Approval, ...]:
    """Return the approvals that let PLAN through, so much later than now."""
    source = case.source()
    return require_approval(
        PLAN,
        source.find(PLAN),
        required=source.required,
        used=used or {},
        now=datetime.now(UTC) + at,
        how=source.how(PLAN),
    )


def test_a_yes_to_this_plan_counts(case: Case) -> None:
    case.approve(PLAN)

    (approval,) = gated(case)

    assert (approval.approver, approval.plan_digest) == (case.approver, PLAN.digest)
    assert approval.source == case.config.__struct_config__.tag
    assert timedelta() < approval.expires_at - approval.granted_at <= timedelta(hours=1)


def test_without_a_yes_it_says_how_to_give_one(case: Case) -> None:
    with pytest.raises(NotApproved, match="has no approval") as caught:
        gated(case)

    assert caught.value.next_step == case.source().how(PLAN)
    assert "production" in caught.value.next_step


def test_a_yes_to_another_plan_does_not_count(case: Case) -> None:
    case.approve(OTHER)
    if case.again:  # what is typed is for what is on screen
        (approval,) = case.source().find(OTHER)
        with pytest.raises(NotApproved, match=f"approved plan {OTHER.digest[:12]}, not "):
            require_approval(PLAN, (approval,), now=datetime.now(UTC), how="")
        return

    with pytest.raises(NotApproved, match=PLAN.digest[:12]):
        gated(case)


def test_a_yes_for_another_environment_does_not_count(case: Case) -> None:
    case.approve(ELSEWHERE)

    with pytest.raises(NotApproved, match="has no approval"):
        gated(case)


def test_a_yes_expires(case: Case) -> None:
    case.approve(PLAN)

    with pytest.raises(NotApproved, match=f"the approval of {case.approver} expired at "):
        gated(case, at=timedelta(hours=1, seconds=1))


def test_a_yes_is_for_one_deployment(case: Case) -> None:
    case.approve(PLAN)
    (approval,) = gated(case)
    if case.again:
        assert approval.nonce == ""
        return

    with pytest.raises(NotApproved, match="was used by deployment d1"):
        gated(case, used={approval.nonce: "d1"})


def test_only_signed_files_come_from_a_branch(case: Case) -> None:
    source = case.source()

    assert isinstance(source, Signatures) is isinstance(case, Signed)
    assert source.required == 1
