"""A plan as a file: written for those who approve it, read back, signed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from .. import files
from ..approvals import Signatures, open_approvals
from ..config import Config
from ..errors import ConfigError, Refused
from ..model import ApprovalStatement, Plan
from ..plan import gate

LARGEST = 64 * 1024**2  # bytes of a plan's file


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPlan:
    """Where a signature is, and what was signed."""

    file: str
    statement: ApprovalStatement


def write_plan(plan: Plan, file: Path) -> None:
    """Write a plan to a file, for `read_plan`.

    Raises:
        Refused: a secret of the environment is in the text of a migration, or it is too large.

    """
    gate.require_no_secret(plan)
    document = plan.canonical()
    if len(document) > LARGEST:
        raise Refused(
            f"the plan has {len(document):,} bytes, and at most {LARGEST:,} are read",
            next_step="plan fewer migrations at once: invoke migrate --env ENV --to NAME",
        )
    file.write_bytes(document)


def read_plan(file: Path) -> Plan:
    """Return the plan in a file; ConfigError where it is none."""
    try:
        return msgspec.json.decode(files.read(file, at_most=LARGEST), type=Plan)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(
            f"{file} is no plan: {error}", next_step="write one: invoke plan --env ENV --out FILE"
        ) from None


def read_signable(config: Config, environment: str, file: str) -> Plan:
    """Return the plan in a file, for an approver of the environment.

    Raises:
        ConfigError: the environment takes no signatures, or the file holds no plan for it.
        Refused: it is a plan for production, of files that no commit has.

    """
    _signatures(config, environment)
    if not file:
        raise ConfigError(
            "no plan was named", next_step=f"invoke plan --env {environment} --out plan.json"
        )
    plan = read_plan(Path(file))
    gate.require_environment(plan, environment)
    gate.require_clean(plan)
    return plan


def sign_plan(config: Config, plan: Plan, *, key: str, comment: str, push: bool) -> SignedPlan:
    """Sign a plan with an SSH key. Asks no database and no store.

    Args:
        config: deploy.yml, which says how long a signature lasts and where it goes.
        plan: what is approved.
        key: an SSH key, or the public half of one in an agent; empty: the usual ones.
        comment: the approver's words; signed with the rest.
        push: whether the signature goes to the branch of `approval.branch` too.

    Raises:
        ConfigError: the plan's environment takes no signatures.
        StepFailed: ssh-keygen did not sign, or the remote did not take the signature.

    """
    signatures = _signatures(config, plan.environment)
    file, statement = signatures.sign(plan, key=key, comment=comment, now=datetime.now(UTC))
    if push:
        message = f"Approve plan {plan.digest[:12]} for {plan.environment}"
        signatures.push(file, message=message)
    return SignedPlan(file=str(file), statement=statement)


def _signatures(config: Config, environment: str) -> Signatures:
    approval = config.approval(environment)
    source = (
        open_approvals(approval, environment=environment, root=config.root) if approval else None
    )
    if not isinstance(source, Signatures):
        raise ConfigError(
            f"{environment} takes no signatures",
            place=config.file.where(("environments", environment, "approval")),
            next_step="write approval: {from: ssh, signers: .github/approvers}",
        )
    return source
