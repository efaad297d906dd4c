"""A database that becomes another environment's: a correction, planned and approved."""

import psycopg

from ..database.connection import read_target
from ..errors import ConfigError
from ..model import Facts, Plan
from ..plan import identity as rules
from . import identity, orders, settle
from .identity import IdentityReport
from .observed import told
from .orders import Proposal, Request
from .work import Work


def propose_adoption(work: Work, request: Request) -> Proposal[IdentityReport]:
    """Propose to make the database the environment's; `reason` says why. Reads only.

    Raises:
        ConfigError: there is no reason, or the database is the environment's already.
        PlanChanged: the plan that was made before is not what would be done.

    """

    def again() -> tuple[Plan, IdentityReport]:
        before = identity.report(work)
        wanted, reason = rules.adopted(before.asked), request.get("reason").strip()
        if before.known == wanted:
            raise ConfigError(
                f"the database is recorded as {identity.words(wanted)} already",
                next_step="nothing is to be done",
            )
        if not reason:
            raise ConfigError(
                "identity needs a reason, which is recorded", next_step='--reason "why"'
            )
        target = work.database.read("identity", read_target)
        facts = Facts(target=target, history=(), schema_fingerprint="")
        line = f"record the database as {identity.words(wanted)}"
        line += f", where it says {identity.words(before.known)}"
        arguments = {"adopt": "", "reason": reason}
        return orders.order_plan(work, request, facts, (line,), arguments=arguments), before

    return orders.propose(request, again)


@told
def adopt(work: Work, proposal: Proposal[IdentityReport]) -> IdentityReport:
    """Make the database the environment's, and record it; return what was before.

    A development environment takes the record away.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: the database says something else than it did.
        LockHeld: a deployment is running.

    """
    order = proposal.plan.correction
    reason = dict(order.arguments).get("reason", "") if order is not None else ""
    with orders.permitted(work, proposal) as permit:
        before, wanted = permit.found, rules.adopted(permit.found.asked)
        record = permit.correction(
            of="database",
            before=identity.words(before.known),
            after=identity.words(wanted),
            reason=reason,
        )

        def write(connection: psycopg.Connection) -> None:
            identity.write(connection, wanted, permit.origin, work.deployment_id)

        settle.record(work, (record,), write, require=permit.held.require)
    return before
