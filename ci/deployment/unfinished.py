"""The unit of work that a task beside the deployments is: recorded first, taken up by another run.

A marker tells what was begun, and with which approval. The deployment lock tells that its run is
dead; a restore beside the live database, which goes on without it, holds what tells that it lives.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
import psycopg

from ..database import markers
from ..errors import StoreFailed
from ..model import Evidence, Plan
from ..plan.leftovers import ORDER
from . import journal, nonces
from .work import Work

STEP = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A task that a run began, and did not end.

    marker: the id of what tells of it.
    deployment: the id of its first run.
    digest: of its plan, which its approval is of.
    plan: what decides of that plan.
    command: as it is typed.
    evidence: of its approval; empty: none was asked for.
    """

    marker: str
    deployment: str
    digest: str
    plan: Plan
    command: str
    verb: str
    arguments: tuple[tuple[str, str], ...]
    evidence: Evidence

    @property
    def nonces(self) -> tuple[str, ...]:
        """The nonces of its approvals."""
        return tuple(value for name, value in self.evidence if name == "nonce")


def find(work: Work) -> Begun | None:
    """Return what a dead run has begun; None: nothing. Reads only.

    Without the deployment lock a run that holds that may be at work on it.
    """
    recorded = work.database.read(STEP, _read)
    return recorded[-1] if recorded else None


def _read(connection: psycopg.Connection) -> tuple[Begun, ...]:
    orders = [marker for marker in markers.read(connection) if marker.kind == ORDER]
    alive = markers.alive(connection, tuple(marker.id for marker in orders)) if orders else ()
    return tuple(
        Begun(
            marker=marker.id,
            deployment=marker.deployment,
            digest=marker.get("plan"),
            plan=msgspec.json.decode(marker.get("document"), type=Plan),
            command=marker.get("command"),
            verb=marker.get("verb"),
            arguments=_pairs(marker.get("arguments")),
            evidence=_pairs(marker.get("approvals")),
        )
        for marker in orders
        if marker.id not in alive
    )


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return msgspec.json.decode(text or "[]", type=tuple[tuple[str, str], ...])


def of(work: Work, plan: Plan) -> Begun | None:
    """Return what was begun with exactly this plan, and has an approval that counts for it still.

    That is one that its own run has used up, and no unit that is done.
    """
    begun = find(work)
    if begun is None or begun.digest != plan.digest or not begun.evidence:
        return None
    return begun if nonces.are_of(work, begun.nonces, (begun.deployment,)) else None


@contextmanager
def recorded(
    work: Work, plan: Plan, evidence: Evidence, begun: Begun | None, *, beside: bool
) -> Iterator[str]:
    """Record that a plan is begun, and when the block ends well that it is done.

    Under the deployment lock, with the tables prepared, before the approval is used up. Yields the
    id of its first run.

    Args:
        work: the environment.
        plan: what is done.
        evidence: of its approval; empty: none is asked for.
        begun: what this run goes on with; None: it is the first.
        beside: the block outlasts the lock, so that the marker alone tells that it lives.

    """
    key = begun.marker if begun is not None else _begin(work, plan, evidence)
    first = begun.deployment if begun is not None else work.deployment_id
    with ExitStack() as stack:
        if beside:
            stack.enter_context(markers.held(work.database, key))
        yield first
    if not replaces(plan):  # there it lies in the database that is put aside
        markers.clear(work.database, key)
    if evidence:
        finish(work, first)


def _begin(work: Work, plan: Plan, evidence: Evidence) -> str:
    """Announce it, in place of what was begun with the same plan and has no approval."""
    before = work.database.read(STEP, _read)
    key = _announce(work, plan, evidence)
    for begun in before:
        markers.clear(work.database, begun.marker)
    return key


def _announce(work: Work, plan: Plan, evidence: Evidence) -> str:
    order = plan.correction
    if order is None:
        raise AssertionError("a deployment is recorded by its journal")
    detail = {
        "plan": plan.digest,
        "document": journal.recorded(plan),
        "environment": plan.environment,
        "command": order.command(plan.environment),
        "verb": order.verb,
        "arguments": msgspec.json.encode(order.arguments).decode(),
        "approvals": msgspec.json.encode(evidence).decode(),
    }
    return markers.announce(work.database, ORDER, detail)


def replaces(plan: Plan) -> bool:
    """Tell whether a plan puts another database in the place of the live one."""
    order = plan.correction
    given = {name for name, _ in order.arguments} if order is not None else set()
    beside = {"into", "tables", "drop-old"} & given
    return order is not None and order.verb == "restore" and not beside


def finish(work: Work, first: str) -> None:
    """Note in the store that what was approved is done, so that no restore opens it again."""
    try:
        nonces.finish(work, first)
    except StoreFailed as error:
        work.reporter.alarm(f"that the approval is used up is not in the store: {error.what}")
