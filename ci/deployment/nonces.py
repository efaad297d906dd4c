"""Approvals that were used up: in the target database, and in the store beside the backups.

The table of the target goes back in time with a restore. The object in the store does not: it is
written once, and never again (`If-None-Match`, a link).
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from ..backup.stream import whole
from ..errors import NotApproved, StoreFailed
from ..model import SpentApproval, StepResult
from ..stores import Store
from . import journal
from .work import Work

PREFIX = "approvals"


def key_of(environment: str, nonce: str) -> str:
    """Return where a used nonce lies; a nonce may be any text, and a key may not."""
    return f"{PREFIX}/{environment}/{hashlib.sha256(nonce.encode()).hexdigest()}.json"


def used(work: Work, nonces: tuple[str, ...]) -> dict[str, str]:
    """Return which of these nonces were used up, each with the deployment that did.

    Also every one that the target knows. Without backups there is no store, and the target alone
    is asked.
    """
    known = journal.used_approvals(work.database)
    if work.store is None:
        return known
    environment, store = work.settings.name, work.store
    stored = set(store.keys(f"{PREFIX}/{environment}/")) if any(nonces) else set()
    spent = {nonce: key_of(environment, nonce) for nonce in nonces if nonce}
    return known | {
        nonce: _deployment(store, key)
        for nonce, key in spent.items()
        if key in stored and nonce not in known
    }


def are_of(
    work: Work, nonces: tuple[str, ...], deployments: tuple[str, ...], *, done: bool = False
) -> bool:
    """Tell whether these deployments have begun to use the nonces, and none of them ended well.

    A run that carries on a unit has its approval; one that was cut off between two nonces used
    the first alone, and no other deployment the rest. A unit that is done has left a mark in the
    store, so that a restore of an older backup does not open it again. The mark is written before
    the journal has the end: a run that was killed between the two left nothing but that to do.

    Args:
        work: the environment.
        nonces: of the unit's approvals.
        deployments: the ids of its runs, the first one first.
        done: no migration of it is left, so that its mark forbids nothing.

    """
    spent = used(work, nonces)
    begun = not nonces or any(nonce in spent for nonce in nonces)
    ours = begun and all(
        spent[nonce] in deployments if nonce in spent else bool(nonce) for nonce in nonces
    )
    if not ours or done or work.store is None:
        return ours
    key = _done_key(work.settings.name, deployments[0])
    return key not in set(work.store.keys(key))


def finish(work: Work, first: str) -> None:
    """Note in the store that what was approved for a unit is done.

    Args:
        work: the environment.
        first: the id of the unit's first deployment.

    Raises:
        StoreFailed: the store did not take it.

    """
    key = _done_key(work.settings.name, first)
    if work.store is not None and key not in set(work.store.keys(key)):
        work.store.write(key, [work.deployment_id.encode()])


def _done_key(environment: str, first: str) -> str:
    return f"{PREFIX}/{environment}/{first}.done"


def _deployment(store: Store, key: str) -> str:
    """Return which deployment used it; that it was used counts, whatever the object says."""
    try:
        return msgspec.json.decode(whole(store, key), type=SpentApproval).deployment
    except (msgspec.DecodeError, UnicodeDecodeError, StoreFailed):
        return f"an unknown deployment ({store.address(key)})"


def use(work: Work, result: StepResult, earlier: tuple[str, ...] = ()) -> None:
    """Use up the approvals that a step found, under the deployment lock, before any statement.

    In the store first: what is there survives a restore of an older backup. What this run, or an
    earlier one of its unit, used already stays so: after an outage the same is done again.

    Args:
        work: the environment.
        result: of the step that found them.
        earlier: the ids of the unit's runs before this one.

    Raises:
        NotApproved: another deployment was quicker.
        StoreFailed: the store did not take it; no statement ran.

    """
    approvers = [value for name, value in result.evidence if name == "approver"]
    nonces = [value for name, value in result.evidence if name == "nonce"]
    if len(set(nonces)) < len(nonces):
        raise NotApproved(
            f"approvals of {', '.join(approvers)} have the same nonce: they are one",
            next_step="approve the plan again, each with an approval of their own",
        )
    if work.store is not None:
        for approver, nonce in zip(approvers, nonces, strict=False):
            _spend(work, work.store, nonce, approver, earlier)
    journal.use_approval(work.database, result, work.deployment_id, earlier)


def _spend(work: Work, store: Store, nonce: str, approver: str, earlier: tuple[str, ...]) -> None:
    key = key_of(work.settings.name, nonce)
    spent = SpentApproval(
        nonce=nonce, approver=approver, deployment=work.deployment_id, at=datetime.now(UTC)
    )
    try:
        store.write(key, [spent.canonical()], once=True)
    except StoreFailed as error:
        if key not in set(store.keys(key)):
            raise
        user = _deployment(store, key)
        if user in (work.deployment_id, *earlier):
            return
        raise NotApproved(
            f"the approval of {approver} was used by deployment {user}",
            next_step="approve the plan again",
        ) from error
