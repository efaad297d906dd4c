"""What changes an environment beside the deployments: planned, approved, done under the lock.

Such a task is a plan with a digest, as a deployment is. Where the environment asks for an
approval, exactly this plan needs one, and uses it up.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import psycopg

from ..database import lock, own_tables
from ..errors import ConfigError, PlanChanged
from ..model import (
    About,
    Correction,
    CorrectionOrder,
    Facts,
    Origin,
    Outcome,
    Plan,
    Sources,
    StepName,
    StepResult,
)
from ..origin import find_origin
from ..plan import gate
from ..plan.make import NO_SOURCES, make_plan
from . import identity, nonces, outlast, pause, planfile, settle, steps, sweep, unfinished
from .unfinished import Begun
from .work import Work

T = TypeVar("T")
# What a paused environment may be brought back with.
RESTING = frozenset({"restore"})
# What may have to do with another database than the environment's own, and looks by itself.
WITH_ANOTHER = frozenset({"restore", "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A task with its arguments, as a person typed them or as a plan that was made before has them.

    An argument with an empty value was not given, or is a bare flag.
    """

    verb: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    digest: str | None = None  # that the plan must have; None: any

    def get(self, name: str) -> str:
        """Return an argument; empty where it was not given."""
        return self.arguments.get(name, "")

    def has(self, name: str) -> bool:
        """Tell whether a bare flag was given."""
        return name in self.arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Generic[T]):
    """A plan of which nothing has run, what it found, and how both are computed again."""

    plan: Plan
    found: T
    again: Callable[[], tuple[Plan, T]]
    notes: tuple[str, ...] = ()  # what its reader should know, and what does not decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit(Generic[T]):
    """That exactly this plan may act now, under the deployment lock."""

    plan: Plan
    found: T  # as it is under the lock
    origin: Origin
    held: lock.HeldLock
    approvers: tuple[str, ...] = ()  # empty: the environment asks for no approval
    first: str = ""  # the id of the first run of this unit

    def correction(self, *, of: str, before: str, after: str, reason: str) -> Correction:
        """Return the record of one change."""
        order = self.plan.correction
        return Correction(
            verb=order.verb if order is not None else "",
            migration=of,
            before=before,
            after=after,
            reason=reason,
            origin=self.origin,
            at=datetime.now(UTC),
            plan_digest=self.plan.digest,
            approvers=self.approvers,
        )


def names_in(text: str) -> tuple[str, ...]:
    """Return the names in a text with commas between them, each once."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def read_request(
    verb: str, arguments: Mapping[str, str], *, file: str, digest: str | None, environment: str
) -> Request:
    """Return what was asked for; with a plan's file its arguments, and no others beside it.

    Raises:
        ConfigError: the file holds no plan of this task and environment, or an argument is given
            with another value beside it, or holds a control character.

    """
    if not file:
        for name, value in arguments.items():
            if not value.isprintable():
                raise ConfigError(
                    f"--{name} holds a line break or another control character",
                    next_step=f"write --{name} on one line",
                )
        return Request(verb=verb, arguments=arguments, digest=digest)
    plan = planfile.read_plan(Path(file))
    gate.require_environment(plan, environment)
    gate.require_kind(plan, verb)
    order = plan.correction
    if order is None:
        raise AssertionError(f"a plan of {verb} has no order")
    planned = dict(order.arguments)
    for name, value in arguments.items():
        if planned.get(name) != value:
            raise ConfigError(
                f"--{name} is not what the plan has: {order.command(environment)}",
                next_step=f"leave it out, or leave out --plan {file}",
            )
    return Request(verb=verb, arguments=planned, plan=plan, digest=digest)


def order_plan(
    work: Work,
    request: Request,
    facts: Facts,
    changes: tuple[str, ...],
    *,
    arguments: Mapping[str, str],
    sources: Sources = NO_SOURCES,
) -> Plan:
    """Return the plan of a task; `arguments` are the request's, each with what it means now.

    `sources` are of a task that records what lies in files.

    Raises:
        Refused: the database is another environment's.

    """
    if request.verb not in WITH_ANOTHER:
        identity.require(work)
    order = CorrectionOrder(
        verb=request.verb, arguments=tuple(sorted(arguments.items())), changes=changes
    )
    engine = (work.engine.name, work.engine.runner.version())
    return make_plan(work.settings, facts, (), engine=engine, sources=sources, correction=order)


def propose(
    request: Request, again: Callable[[], tuple[Plan, T]], *, first: tuple[Plan, T] | None = None
) -> Proposal[T]:
    """Propose what a request asks for. Changes nothing.

    Args:
        request: the task; with a plan that was made before, that one is proposed.
        again: computes the plan, and what the task then needs.
        first: what it returned already; None: it is called.

    Raises:
        PlanChanged: the plan has another digest than it must have, or is not what would be done.

    """
    current, facts = first or again()
    plan = current if request.plan is None else request.plan
    gate.require_digest(plan, request.digest)
    gate.require_unchanged(plan, current)
    return Proposal(plan=plan, found=facts, again=again)


def with_about(work: Work, proposal: Proposal[T]) -> Plan:
    """Return the plan with what its reader should know, and what does not decide."""
    parameters = work.database.parameters()
    about = About(
        made_at=datetime.now(UTC),
        origin=find_origin(work.settings.root),
        tables=(),
        findings=(),
        host=parameters.get("host") or parameters.get("hostaddr") or "this machine",
        backup_to="",
        notes=proposal.notes,
    )
    return msgspec.structs.replace(proposal.plan, about=about)


@contextmanager
def permitted(
    work: Work, proposal: Proposal[T], *, beside: ExitStack | None = None
) -> Iterator[Permit[T]]:
    """Hold the deployment lock, with the plan computed again and its approval used up.

    The approval is looked for, or asked for, before the lock is taken. That of a run that was
    killed counts for the one that goes on with exactly its plan. `beside` is of a task that
    outlasts the lock: what was begun is done when that ends well.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: what would be done is not what was planned.
        Refused: production would record the text of files that no commit has.
        LockHeld: a deployment is running.

    """
    plan = proposal.plan
    gate.require_clean(plan)
    guarded = plan.has(StepName.APPROVAL)
    begun = unfinished.of(work, plan) if guarded else None
    approval = _approval(work, plan, begun) if guarded else None
    with ExitStack() as stack:
        held = _lock(work, plan, stack)
        if begun is not None and unfinished.of(work, plan) != begun:
            raise PlanChanged(
                "another run ended or carried on what was begun here, since this one was planned",
                next_step=f"look, and start it again: {plan.command}",
            )
        work.database.patience.armed = True  # it answered: what happens from now on may pass
        _sweep(work, plan)
        current, facts = proposal.again()
        gate.require_unchanged(plan, current)
        first = work.deployment_id
        if approval is not None or _is_restore(plan):
            own_tables.prepare(work.database, work.terms())
            unit = unfinished.recorded(
                work,
                plan,
                approval.evidence if approval is not None else (),
                begun,
                beside=beside is not None,
            )
            first = (beside or stack).enter_context(unit)
        held.renew_if(lambda: gate.require_unchanged(plan, proposal.again()[0]))
        if approval is not None:
            earlier = (begun.deployment,) if begun is not None else ()
            guarded_work = replace(work, guard=held.require)
            outlast.read_again(guarded_work, partial(nonces.use, guarded_work, approval, earlier))
        if work.database.spare is not None:
            work.database.spare.open()
        yield Permit(
            plan=plan,
            found=facts,
            approvers=_approvers(approval),
            origin=find_origin(work.settings.root),
            held=held,
            first=first,
        )


def _lock(work: Work, plan: Plan, stack: ExitStack) -> lock.HeldLock:
    """Take the deployment lock for as long as the stack."""
    held = stack.enter_context(
        lock.hold(
            work.database,
            wait=work.settings.environment.lock.wait.seconds,
            on_wait=lambda holder: work.reporter.note(f"waiting for {holder}"),
            extra_locks=work.engine.lock_keys,
        )
    )
    if plan.correction is None or plan.correction.verb not in RESTING:
        pause.require_running(work)
    return held


def _is_restore(plan: Plan) -> bool:
    return plan.correction is not None and plan.correction.verb == "restore"


def _sweep(work: Work, plan: Plan) -> None:
    """End what killed runs left; a restore in place begins anew, a swap spares its database.

    What was begun with exactly this plan is this run's own.
    """
    order, begun = plan.correction, unfinished.find(work)
    given = dict(order.arguments) if order is not None else {}
    restoring = unfinished.replaces(plan) and "swap" not in given
    own = begun.marker if begun is not None and begun.digest == plan.digest else ""
    spared = {name for name in (given.get("swap", ""), own) if name}
    sweep.sweep(work, restoring=restoring, spared=spared)


def _approval(work: Work, plan: Plan, begun: Begun | None) -> StepResult:
    """Return who approved the plan, as a deployment's step does it, or for the run before."""
    started_at = datetime.now(UTC)
    done = steps.approve(plan, work) if begun is None else _inherited(begun)
    if isinstance(done, steps.Skipped):
        raise ConfigError(
            f"{done.reason}, and {plan.environment} asks for one",
            place=work.settings.where(),
            next_step="write an approval section; docs/configuration.md shows one of each kind",
        )
    result = StepResult(
        step=StepName.APPROVAL,
        outcome=Outcome.OK,
        detail=done.detail,
        started_at=started_at,
        seconds=0.0,
        evidence=done.evidence,
    )
    work.reporter.finished(result)
    return result


def _inherited(begun: Begun) -> "steps.Done":
    names = ", ".join(value for name, value in begun.evidence if name == "approver")
    return steps.Done(
        f"plan {begun.digest[:12]} by {names}, for {begun.deployment}, which this run continues",
        evidence=begun.evidence,
    )


def _approvers(approval: StepResult | None) -> tuple[str, ...]:
    evidence = approval.evidence if approval is not None else ()
    return tuple(value for name, value in evidence if name == "approver")


def record(work: Work, permit: Permit[T], *corrections: Correction) -> None:
    """Record corrections in the environment's journal; under the deployment lock."""
    settle.record(work, corrections, _nothing_else, require=permit.held.require)


def _nothing_else(_connection: psycopg.Connection) -> None:
    """Change nothing besides the record."""
