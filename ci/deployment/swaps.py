"""The swap of a restored database with the live one, and what it puts aside."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from ..backup import names
from ..backup import stays as stays_of
from ..backup.swap import kept, swap_databases
from ..database import create, lock, markers
from ..database.connection import Database, read_target
from ..database.markers import Marker
from ..errors import Refused, Unreachable, WindlassError, changed
from ..model import Facts, Plan
from ..plan.leftovers import SWAP
from . import identity, kept_journal, mirror, orders, rights, unfinished
from .facts import replaced_facts, take_facts
from .kept_journal import KeptJournal
from .observed import told
from .orders import Permit, Proposal, Request
from .work import Work

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapReport:
    """A restored database that serves now, and the name that the one before has now."""

    swap: str
    kept: str


def propose_swap(work: Work, request: Request) -> Proposal[str]:
    """Propose to put the restored database `swap` in place of the live one. Reads only.

    Raises:
        Unreachable: there is no such database.

    """
    restored = request.get("swap")

    def again() -> tuple[Plan, str]:
        target = create.named(work.database, restored)
        identity.require(work)
        identity.require_own_or_none(work, target)
        facts = take_facts(target, work.engine.history)
        name, oid = work.database.name, create.oids(work.database, (restored,))[0]
        lines = (
            f"put the database {restored}, oid {oid}, of {len(facts.history)} applied migrations "
            f"and schema {facts.schema_fingerprint[:16]}, in the place of {name}, which is kept "
            "aside",
            *left_behind(work, request),
        )
        plan = orders.order_plan(
            work, request, replaced_facts(work), lines, arguments=request.arguments
        )
        return plan, restored

    return orders.propose(request, again)


def left_behind(work: Work, request: Request) -> tuple[str, ...]:
    """Return what a swap leaves to the database that is put aside, for the plan. Reads only.

    Raises:
        Refused: it leaves something of which the request's `leaves` does not speak.

    """
    stays = work.database.read("restore", stays_of.read_stays)
    spoken = set(orders.names_in(request.get("leaves")))
    unspoken = [f"the {kind} {name}" for kind, name in stays if name not in spoken]
    if unspoken:
        names_ = ",".join(sorted({name for _, name in stays}))
        raise Refused(
            f"{', '.join(unspoken)} of {work.database.name} would stay with the database that is "
            "put aside: a subscription goes on writing there, and who reads a slot reads there",
            next_step="plan who makes them anew in the restored one (disable the subscription, "
            f"drop the slot); then say so: --leaves {names_}",
        )
    return tuple(
        f"leave the {kind} {name} to the database that is put aside" for kind, name in stays
    )


@told
def swap(work: Work, proposal: Proposal[str]) -> SwapReport:
    """Put a restored database in place of the live one, which is kept aside.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        LockHeld: a deployment is running.
        Refused: one of the two is another environment's, or our role may not end the sessions
            that a swap has to end.

    """
    rights.require(work.database, work, "restore")
    swapped = (work.database.name, proposal.found)
    work.database.read("restore", lambda c: rights.require_swap(c, *swapped))
    with orders.permitted(work, proposal) as permit:
        kept = record(work, permit, permit.found, what=permit.found, detail={})
        swap_recorded(work, permit.found, kept)
    return SwapReport(swap=permit.found, kept=kept.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The name that the live database gets, and the marker that tells so in the new one."""

    name: str
    marker: str


def record(
    work: Work, permit: Permit[T], restored: str, *, what: str, detail: dict[str, str]
) -> Kept:
    """Record a swap in the database that takes the live one's place: its journal will be read."""
    kept = names.kept_name(work.database.name, datetime.now(UTC))
    correction = permit.correction(
        of="database",
        before="the live database",
        after=what,
        reason=f"swapped for {restored}, which keeps {kept}",
    )
    order = permit.plan.correction
    unit = detail | {
        "restored": restored,
        "kept": kept,
        "plan": permit.plan.digest,
        "first": permit.first if permit.approvers else "",
        "command": order.command(work.settings.name) if order is not None else "",
    }
    target = create.named(work.database, restored)
    marker = identity.record_swap(work, target, correction, kept=_kept_journal(work), unit=unit)
    return Kept(name=kept, marker=marker)


def _kept_journal(work: Work) -> KeptJournal:
    """Return the journal of the live database; what cannot be read may be why it is replaced."""
    try:
        return kept_journal.read(work.database)
    except (WindlassError, psycopg.Error) as error:
        words = error.what if isinstance(error, WindlassError) else str(error)
        work.reporter.alarm(f"the journal of the live database is not kept: {words}")
        return KeptJournal()


def swap_recorded(work: Work, restored: str, kept: Kept) -> None:
    """Swap as it is recorded; under the deployment lock, which falls with the old live database."""
    anew = f"invoke restore --env {work.settings.name}"
    swap_databases(work.database, restored, kept.name, f"{anew} --swap {restored}", anew)
    with suppress(Unreachable, psycopg.Error):  # it is done; the next run says so once more
        markers.clear(replace(work.database, kept=None, owners=None), kept.marker)
    mirror.send(work)


def ended(work: Work, request: Request | None) -> Marker | None:
    """Return the swap that a killed run of the same request had done; its marker is cleared.

    So a second run of one command does not restore a second time, over what came in since. None is
    the request of `resume`: whatever was done.
    """
    if request is not None and any(request.has(name) for name in ("into", "tables", "drop-old")):
        return None  # beside the live database, which need not be there
    marker = _done(work)
    if marker is None or not (request is None or _is_of(marker, request)):
        return None
    wait = work.settings.environment.lock.wait.seconds
    with lock.hold(work.database, wait=wait):  # the run that wrote it is dead
        marker = _done(work)
        if marker is None:
            return None
        work.reporter.note(f"{marker.deployment} had done it before it was killed")
        markers.clear(work.database, marker.id)
        if first := marker.get("first"):
            unfinished.finish(work, first)
    return marker


def report_of(marker: Marker) -> SwapReport:
    """Return the report of a swap that a killed run had done."""
    return SwapReport(swap=marker.get("restored"), kept=marker.get("kept"))


def _done(work: Work) -> Marker | None:
    recorded = work.database.read("restore", markers.read)
    return next((marker for marker in recorded if marker.kind == SWAP), None)


def _is_of(marker: Marker, request: Request) -> bool:
    """Tell whether a request asks for what was done: the same database, or the same backup."""
    if request.plan is not None:
        return request.plan.digest == marker.get("plan")
    if request.has("swap"):
        return request.get("swap") == marker.get("restored")
    return request.get("from") in ("", "latest", marker.get("backup"))


def old_databases(database: Database, environment: str) -> tuple[tuple[str, int], ...]:
    """Return the databases that earlier restores put aside, and their bytes.

    Raises:
        Refused: there is none.

    """
    databases = kept(database)
    if not databases:
        raise Refused(
            f"no restore has put a database aside for {database.name}",
            next_step=f"nothing is to be dropped; invoke status --env {environment}",
        )
    return databases


def propose_drop(work: Work, request: Request) -> Proposal[tuple[tuple[str, int], ...]]:
    """Propose to drop the databases that earlier restores put aside. Reads only.

    Raises:
        Refused: there is none.

    """

    def again() -> tuple[Plan, tuple[tuple[str, int], ...]]:
        identity.require(work)
        databases = old_databases(work.database, work.settings.name)
        oids = create.oids(work.database, tuple(name for name, _ in databases))
        lines = tuple(
            f"drop the database {name}, oid {oid}"
            for (name, _), oid in zip(databases, oids, strict=True)
        )
        target = work.database.read("restore", read_target)
        facts = Facts(target=target, history=(), schema_fingerprint="")
        plan = orders.order_plan(work, request, facts, lines, arguments=request.arguments)
        return plan, databases

    return orders.propose(request, again)


@told
def drop_databases(work: Work, proposal: Proposal[tuple[tuple[str, int], ...]]) -> tuple[str, ...]:
    """Drop databases that earlier restores put aside, and return their names.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: there are other ones now.

    """
    with orders.permitted(work, proposal) as permit:
        names = tuple(name for name, _ in permit.found)
        orders.record(
            work,
            permit,
            *(
                permit.correction(of=name, before="kept aside", after="dropped", reason="drop-old")
                for name in names
            ),
        )
        _drop(work, names)
    return names


def _drop(work: Work, names: tuple[str, ...]) -> None:
    for at, name in enumerate(names):
        try:
            create.drop(work.database, name)
        except WindlassError as error:
            gone = f"dropped: {', '.join(names[:at])}; " if at else ""
            raise changed(error, state=f"{gone}not dropped: {', '.join(names[at:])}") from error
        work.reporter.note(f"dropped {name}")
