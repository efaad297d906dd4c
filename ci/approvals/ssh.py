"""Approvers sign a plan with their own SSH keys, and ssh-keygen says whose signature it is.

Format and options: ssh-keygen(1), -Y sign, find-principals and verify; ALLOWED SIGNERS in the
same page: principals, validity dates and namespaces are described there.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .. import account, process, purposes
from ..config.sections import SshApproval
from ..errors import ChildFailed, ConfigError, NotApproved, Place, StepFailed
from ..model import Approval, ApprovalStatement, Plan, Signed
from ..secret import redact
from . import deployer, ssh_branch
from .signers import Line, Person, people_of
from .ssh_files import NONCE, SUFFIX, SignedFile, key_of, printable, read_signed_files

NAMESPACE = "windlass"  # so that no signature for git or a file counts as a yes
WITHIN = 60.0  # seconds; a hardware key waits for a finger
LARGEST = 1024**2  # bytes of a signature's file
KEYS = ("id_ed25519_sk", "id_ed25519", "id_ecdsa_sk", "id_ecdsa", "id_rsa")


class SshSource:
    """Reads the signatures in a directory, and has ssh-keygen judge them."""

    def __init__(
        self,
        config: SshApproval,
        *,
        environment: str,
        root: Path,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.config, self.environment, self.root, self.note = config, environment, root, note
        self._told: set[str] = set()  # a wait looks again and again

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
        """Return every signed approval for this environment; one that does not count says why.

        What is no approval at all is told once, and stands in nobody's way.

        Raises:
            ConfigError: the file of signers is missing, or a line of it is wrong.

        """
        people = self._people()
        files, junk = read_signed_files(self.directory)
        for each in junk:
            self._tell(f"{each.path.name} is not a readable approval, and is skipped: {each.why}")
        approvals = [
            self._judged(plan, file, people)
            for file in files
            if file.statement.environment == self.environment
        ]
        return tuple(approval for approval in approvals if approval is not None)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.note(redact(printable(text)))

    def _people(self) -> dict[bytes, Person]:
        """Return who may sign, by key."""
        file = self._file("signers", self.config.signers)
        try:
            return people_of(file.read_text(encoding="utf-8"), self.config.signers)
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.config.signers} is not UTF-8: {error.reason}",
                place=Place(self.config.signers),
                next_step="save it as UTF-8",
            ) from None

    def _judged(self, plan: Plan, file: SignedFile, people: dict[bytes, Person]) -> Approval | None:
        """Return the approval; None where it is for another plan, by one who may not approve."""
        statement = file.statement
        key = key_of(file.signed.signature)
        person = people.get(key) if key is not None else None
        problem = self._against(plan, file, person, key)
        if problem and statement.plan_digest != plan.digest:
            return None
        if problem:
            self._tell(f"{problem}; it is skipped")
        lasts = timedelta(seconds=self.config.expires.seconds)
        return Approval(
            plan_digest=statement.plan_digest,
            approver=person.name if person else file.path.name,
            source="ssh",
            granted_at=statement.granted_at,
            # The shorter of what was signed and what deploy.yml allows.
            expires_at=min(statement.expires_at, _after(statement.granted_at, lasts)),
            comment=statement.comment,
            nonce=statement.nonce,
            problem=printable(problem),
        )

    def _against(
        self, plan: Plan, file: SignedFile, person: Person | None, key: bytes | None
    ) -> str:
        """Return why a signature does not count, whatever its plan; empty where it may."""
        if person is None or key is None:
            return (
                f"{file.path.name}: its key is not one of {self.config.signers}, "
                "or not valid any more"
            )
        problem = self._forged(file, [line for line in person.lines if line.key == key])
        if problem:
            return problem
        if not NONCE.fullmatch(file.statement.nonce):
            return f"{file.path.name}: its nonce is not one that invoke approve writes"
        return self._by_deployer(person, key, plan)

    def _forged(self, file: SignedFile, lines: list[Line]) -> str:
        """Return what ssh-keygen has against a signature by a known key; empty: nothing."""
        signed = file.signed
        signers = str(self._file("signers", self.config.signers))
        krl = self.config.revoked
        revoked = ["-r", str(self._file("revoked", krl))] if krl else []
        with _kept(signed.signature) as signature:
            common = ["-n", NAMESPACE, "-s", signature, "-f", signers]
            for line in lines:
                argv = ["ssh-keygen", "-Y", "verify", *common, "-I", line.principals[0]]
                if _verifies([*argv, *revoked], signed):
                    return ""
                # ssh-keygen says the same of both: without the list it says which.
                if revoked and _verifies(argv, signed):
                    return (
                        f"{file.path.name}: the signature of {line.principals[0]} does not count: "
                        "its key is revoked"
                    )
            known = process.run(
                ["ssh-keygen", "-Y", "find-principals", *common],
                purpose=purposes.TOOL,
                within=WITHIN,
                check=False,
            )
        if known.code:
            return (
                f"{file.path.name}: its key is not one of {self.config.signers}, "
                "or not valid any more"
            )
        return (
            f"{file.path.name}: the signature of {lines[0].principals[0]} does not count: "
            "it is forged"
        )

    def _by_deployer(self, person: Person, key: bytes, plan: Plan) -> str:
        """Return whether the signer is who deploys or, where asked for, who wrote the change."""
        short = plan.digest[:12]
        if os.environ.get("GITHUB_ACTIONS") == "true" and not person.has_login:
            first = person.lines[0]
            return (
                f"{person.name} has no login in {self.config.signers}:{first.number}, and so "
                f"cannot be told from who deploys: write {person.name},github:LOGIN there"
            )
        if person.names & deployer.names(self.root) or key in deployer.keys(KEYS):
            return f"{person.name} deploys, and so cannot approve plan {short}"
        if self.config.not_by_author and person.names & deployer.authors(self.root):
            return f"{person.name} wrote the commit, and so cannot approve plan {short}"
        return ""

    def _file(self, key: str, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise ConfigError(
                f"environments.{self.environment}.approval.{key}: the file {path} does not exist",
                next_step="write one line per approver: EMAIL,github:LOGIN ssh-ed25519 AAAA…",
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
        people = {person.lines[0].number: person for person in self._people().values()}
        on_github = os.environ.get("GITHUB_ACTIONS") == "true"
        signers = [person for person in people.values() if person.has_login or not on_github]
        if self.config.revoked:
            self._file("revoked", self.config.revoked)
        if len(signers) < self.config.required:
            raise NotApproved(
                f"{self.config.required} approvals are required, and {self.config.signers} "
                f"has {len(signers)} signers{' with a login' if on_github else ''}",
                next_step="add a line for each approver: EMAIL,github:LOGIN ssh-ed25519 AAAA…",
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
        signature = b"".join(process.pipe(argv, [text.encode()], purpose=purposes.SIGN)).decode()
    except ChildFailed as error:
        account.require_known("ssh-keygen", state="nothing was approved")
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
        for _ in process.pipe(argv, [signed.statement.encode()], purpose=purposes.TOOL):
            pass
    except ChildFailed:
        account.require_known("ssh-keygen", state="no signature was judged")
        return False
    return True


def _usual_key() -> Path:
    home = account.home() / ".ssh"
    known = next((home / name for name in KEYS if (home / name).exists()), None)
    if known is None:
        raise ConfigError(
            f"there is no SSH key in {home}", next_step="--key FILE, or ssh-keygen -t ed25519"
        )
    return known


def _after(moment: datetime, span: timedelta) -> datetime:
    """Return a moment later; the last there is, where nobody can count as far."""
    try:
        return moment + span
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


@contextmanager
def _kept(signature: str) -> Iterator[str]:
    """Keep a signature in a file, which is how ssh-keygen wants it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8") as file:
        file.write(signature)
        file.flush()
        yield file.name
