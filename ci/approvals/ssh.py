"""Approvers sign a plan with their own SSH keys, and ssh-keygen says whose signature it is.

Format and options: ssh-keygen(1), -Y sign, find-principals and verify; ALLOWED SIGNERS in the
same page: principals, validity dates and namespaces are described there.
"""

import getpass
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from .. import git, process
from ..config.sections import SshApproval
from ..errors import ChildFailed, ConfigError, NotApproved, StepFailed
from ..model import Approval, ApprovalStatement, Plan, Signed
from . import ssh_branch
from .ssh_branch import SUFFIX

NAMESPACE = "windlass"  # so that no signature for git or a file counts as a yes
WITHIN = 60.0  # seconds; a hardware key waits for a finger
KEYS = ("id_ed25519_sk", "id_ed25519", "id_ecdsa_sk", "id_ecdsa", "id_rsa")


class SshSource:
    """Reads the signatures in a directory, and has ssh-keygen judge them."""

    def __init__(self, config: SshApproval, *, environment: str, root: Path) -> None:
        self.config, self.environment, self.root = config, environment, root

    @property
    def directory(self) -> Path:
        """Where the signatures lie."""
        return self.root / self.config.directory

    @property
    def required(self) -> int:
        """How many different approvers it takes."""
        return self.config.required

    @property
    def branch(self) -> str:
        """The branch of git's remote where signatures are shared."""
        return self.config.branch

    def sign(
        self, plan: Plan, *, key: str, comment: str, now: datetime
    ) -> tuple[Path, ApprovalStatement]:
        """Sign a plan; StepFailed where ssh-keygen did not."""
        return sign(plan, self.config, directory=self.directory, key=key, comment=comment, now=now)

    def push(self, file: Path, *, message: str) -> None:
        """Add a signature to the branch."""
        ssh_branch.push(self.root, self.branch, file, message=message)

    def fetch(self, plan: Plan) -> int:
        """Bring a plan's signatures from the branch; return how many are new."""
        return ssh_branch.fetch(self.root, self.branch, self.directory, digest=plan.digest)

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return every signed approval for this environment.

        Raises:
            NotApproved: a signature for this plan is forged, or its signer may not approve.

        """
        approvals = []
        for file in sorted(self.directory.glob(f"*{SUFFIX}")):
            signed = _read_signed(file)
            statement = _statement(file, signed)
            if statement.environment == self.environment:
                approvals.append(self._judged(plan, file, signed, statement))
        return tuple(approval for approval in approvals if approval is not None)

    def _judged(
        self, plan: Plan, file: Path, signed: Signed, statement: ApprovalStatement
    ) -> Approval | None:
        """Return the approval; None where it is for another plan, by an unknown signer."""
        try:
            approver = self._verified(file, signed)
            self._require_other(approver, plan)
        except NotApproved:
            if statement.plan_digest != plan.digest:
                return None
            raise
        return Approval(
            plan_digest=statement.plan_digest,
            approver=approver,
            source="ssh",
            granted_at=statement.granted_at,
            # The shorter of what was signed and what deploy.yml allows.
            expires_at=min(
                statement.expires_at,
                statement.granted_at + timedelta(seconds=self.config.expires.seconds),
            ),
            comment=statement.comment,
            nonce=statement.nonce,
        )

    def _verified(self, file: Path, signed: Signed) -> str:
        """Return whose signature it is."""
        signers = str(self._file("signers", self.config.signers))
        revoked = self.config.revoked
        with _kept(signed.signature) as signature:
            common = ["-n", NAMESPACE, "-s", signature, "-f", signers]
            try:
                principals = process.run(
                    ["ssh-keygen", "-Y", "find-principals", *common], within=WITHIN
                ).stdout
            except ChildFailed as error:
                raise NotApproved(
                    f"{file}: its key is not one of {signers}, or not valid any more",
                    next_step="add the approver's public key there, or have another approve",
                ) from error
            principal = principals.splitlines()[0].strip()
            argv = ["ssh-keygen", "-Y", "verify", *common, "-I", principal.split(",")[0]]
            krl = ["-r", str(self._file("revoked", revoked))] if revoked else []
            if not _verifies([*argv, *krl], signed):
                # ssh-keygen says the same of both: without the list it says which.
                held = krl and _verifies(argv, signed)
                raise NotApproved(
                    f"{file}: the signature of {principal} does not count: "
                    f"{'its key is revoked' if held else 'it is forged'}",
                    next_step="look at who wrote the file; have the plan approved again",
                )
        return principal

    def _require_other(self, approver: str, plan: Plan) -> None:
        """Raise where the approver is who deploys or, where asked for, who wrote the change."""
        names = set(approver.split(","))
        if names & self._deployer():
            raise NotApproved(
                f"{approver} deploys, and so cannot approve plan {plan.digest[:12]}",
                next_step="have another person approve it, or deploy it",
            )
        if self.config.not_by_author and names & self._git("log", "-1", "--format=%ae%n%an"):
            raise NotApproved(
                f"{approver} wrote the commit, and so cannot approve plan {plan.digest[:12]}",
                next_step="have another person approve it",
            )

    def _deployer(self) -> set[str]:
        """Return the names of who runs this."""
        emails = self._git("config", "user.email")
        actors = {os.environ.get("GITHUB_ACTOR"), os.environ.get("GITHUB_TRIGGERING_ACTOR")}
        # On GitHub the account is the machine's.
        return emails | ({name for name in actors if name} or {getpass.getuser()})

    def _git(self, *arguments: str) -> set[str]:
        printed = git.read_or_none(self.root, *arguments) or ""
        return set(printed.split("\n")) - {""}

    def _file(self, key: str, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise ConfigError(
                f"environments.{self.environment}.approval.{key}: the file {path} does not exist",
                next_step="write one line per approver: EMAIL ssh-ed25519 AAAA…",
            )
        return path

    def how(self, plan: Plan) -> str:
        """Say what an approver must do."""
        return (
            f"{plan.command} --out plan.json, then an approver: "
            f"invoke approve --env {self.environment} --plan plan.json "
            f"(plan {plan.digest[:12]}), and bring the file it writes to {self.directory}; "
            "or approve with --push and run it with --wait-for-approval 2h"
        )

    def check(self) -> str:
        """Return how many may approve; raise where the files or ssh-keygen are missing."""
        lines = self._file("signers", self.config.signers).read_text(encoding="utf-8").splitlines()
        signers = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if self.config.revoked:
            self._file("revoked", self.config.revoked)
        if len(signers) < self.config.required:
            raise NotApproved(
                f"{self.config.required} approvals are required, and {self.config.signers} "
                f"has {len(signers)} signers",
                next_step="add a line for each approver",
            )
        if shutil.which("ssh-keygen") is None:
            raise NotApproved(
                "there is no ssh-keygen here to verify signatures with",
                next_step="install openssh-client",
            )
        return f"{self.config.required} of {len(signers)} signers"


def sign(
    plan: Plan, config: SshApproval, *, directory: Path, key: str, comment: str, now: datetime
) -> tuple[Path, ApprovalStatement]:
    """Sign a plan and return the file that was written, and what was signed.

    Args:
        plan: what is approved.
        config: how long it lasts.
        directory: where the file goes.
        key: a private key, or a public one whose private half an agent or a token holds; empty:
            the usual ones.
        comment: the approver's text; signed with the rest.
        now: the clock.

    Raises:
        StepFailed: ssh-keygen did not sign.

    """
    statement = ApprovalStatement(
        environment=plan.environment,
        plan_digest=plan.digest,
        nonce=secrets.token_hex(16),
        granted_at=now,
        expires_at=now + timedelta(seconds=config.expires.seconds),
        comment=comment,
    )
    text = statement.canonical().decode()
    private_key = Path(key).expanduser() if key else _usual_key()
    argv = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(private_key)]
    try:
        signature = b"".join(process.pipe(argv, [text.encode()])).decode()
    except ChildFailed as error:
        raise StepFailed(
            f"ssh-keygen did not sign with {private_key}: {error.stderr or error.what}",
            state="nothing was approved",
            next_step=f"ssh-add {private_key} if it has a passphrase; or name another with --key",
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{plan.digest[:12]}-{statement.nonce[:12]}{SUFFIX}"
    file.write_bytes(Signed(statement=text, signature=signature).canonical())
    return file, statement


def _verifies(argv: list[str], signed: Signed) -> bool:
    try:
        for _ in process.pipe(argv, [signed.statement.encode()]):
            pass
    except ChildFailed:
        return False
    return True


def _usual_key() -> Path:
    home = Path.home() / ".ssh"
    known = next((home / name for name in KEYS if (home / name).exists()), None)
    if known is None:
        raise ConfigError(
            f"there is no SSH key in {home}", next_step="--key FILE, or ssh-keygen -t ed25519"
        )
    return known


def _read_signed(file: Path) -> Signed:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Signed)
    except (OSError, msgspec.DecodeError) as error:
        raise _unreadable(file, error) from error


def _statement(file: Path, signed: Signed) -> ApprovalStatement:
    try:
        return msgspec.json.decode(signed.statement.encode(), type=ApprovalStatement)
    except msgspec.DecodeError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> NotApproved:
    return NotApproved(
        f"{file} is not a readable approval: {error}",
        next_step="move it away, and have the plan approved again",
    )


@contextmanager
def _kept(signature: str) -> Iterator[str]:
    """Keep a signature in a file, which is how ssh-keygen wants it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8") as file:
        file.write(signature)
        file.flush()
        yield file.name
