"""Runs a plan: each step once, in order, recorded; on failure, backwards."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import msgspec

from ..database import lock, orphans, own_tables
from ..errors import (
    Interrupted,
    PlanChanged,
    RolledBack,
    StepFailed,
    Terminated,
    WindlassError,
    changed,
)
from ..model import (
    Deployment,
    Origin,
    Outcome,
    Plan,
    PlannedStep,
    Status,
    StepName,
    StepResult,
)
from ..plan.continuing import Unit, attempts
from ..plan.gate import require_unchanged
from ..policy import on_failure
from ..restarters import Reverting
from . import (
    backfills,
    carryover,
    identity,
    losses,
    mirror,
    nonces,
    outlast,
    pause,
    restarting,
    serving,
    sweep,
    telling,
    units,
)
from .journal import Journal
from .recorder import Recorder, after, joined, unwritten
from .steps import STEPS, Done, Skipped, Step
from .work import Work

# After a rollback of the schema the service starts anew, and has to show that it serves.
RECOVERY = (StepName.RESTART, StepName.SMOKE)


def run_plan(  # noqa: PLR0913  # the unit, and each way to compute again what was planned
    plan: Plan,
    work: Work,
    *,
    origin: Origin,
    replan: Callable[[], Plan],
    unit: Unit | None = None,
    unit_of: Callable[[Plan], Unit] | None = None,
    break_glass: str | None = None,
    steps: Mapping[StepName, Step] = STEPS,
) -> Deployment:
    """Run the plan's steps in order and return the record.

    Args:
        plan: what is to run.
        work: the environment.
        origin: who started it.
        replan: computes the plan anew; it is called under the deployment lock.
        unit: the unit of work that this run begins, or goes on with; None: one of the plan alone.
        unit_of: finds the unit anew under the lock, of the plan that was computed there.
        break_glass: why approval and rehearsal are left out.
        steps: what each step does.

    Raises:
        Refused: policy says no; this run changed nothing.
        PlanChanged: the target or the migrations are not what was planned; nothing was run.
        StepFailed: a step failed, and what ran before it stays.
        RolledBack: a step failed, and what can be undone was undone.
        Interrupted: a person or the machine stopped us.

    """
    begun = units.fresh(plan, "deploy", ()) if unit is None else unit
    with ExitStack() as stack:
        work.database.patience.armed = True
        stack.callback(work.watch.stop)
        run = _PlanRun(
            plan=plan,
            work=work,
            origin=origin,
            unit=begun,
            break_glass=break_glass,
            steps=steps,
            stack=stack,
            replan=replan,
            unit_of=unit_of or (lambda _: begun),
        )
        return run.all()


@dataclass(kw_only=True)
class _PlanRun(Recorder):
    """One run of one plan, while it lasts."""

    steps: Mapping[StepName, Step]
    stack: ExitStack
    replan: Callable[[], Plan]
    unit_of: Callable[[Plan], Unit]
    held: lock.HeldLock | None = None
    seen: telling.Seen | None = None

    @property
    def whole(self) -> Plan:
        """The plan with all that the unit has: what other runs of it applied too."""
        return msgspec.structs.replace(
            self.plan, migrations=self.unit.migrations, leftovers=self.unit.intent.leftovers
        )

    def all(self) -> Deployment:
        """Run every step. Only this method catches everything."""
        try:
            if self.unit.intent.back:
                self.take_lock()
            for planned in () if self.unit.intent.back else self.plan.steps:
                if planned.name is StepName.LOCK:
                    self.take_lock()
                else:
                    self.attempt(planned)
        except BaseException as error:  # whatever it was, it is recorded and raised
            raise self.told(partial(self.failed, error)) from error
        if self.unit.intent.back:
            raise self.told(partial(self.roll_back, _first_error(self.unit)))
        try:
            return self.close(Status.DEPLOYED)
        except BaseException as error:
            raise self.told(partial(self.unclosed, error)) from error

    def take_lock(self) -> None:
        """Take the lock, see that nothing changed, and open the journal behind it."""
        work, wait = self.work, self.work.settings.environment.lock.wait.seconds
        started_at, start = datetime.now(UTC), monotonic()
        work.reporter.started(StepName.LOCK)
        with backfills.told(work):
            self.held = self.stack.enter_context(
                lock.hold(
                    work.database,
                    wait=wait,
                    on_wait=lambda holder: work.reporter.note(f"waiting for {holder}"),
                    extra_locks=work.engine.lock_keys,
                )
            )
        self.work = replace(
            work,
            guard=self.held.guard,
            held=True,
            chain=self.unit.chain,
            intended=self.unit.intent.plan_digest,
        )
        if work.database.spare is not None:
            work.database.spare.open()
        identity.require(work)
        if self.plan.direction == "up" and not self.unit.continues:  # the rest may run in a freeze
            pause.require_deployable(work, self.break_glass or "")
        orphans.end_orphans(work.database, work.reporter.note)
        self.require_unchanged()
        self.work = replace(self.work, approved=True)
        own_tables.prepare(work.database, self.work.terms())
        unit = frozenset(migration.name for migration in self.unit.migrations)
        backfills.require_clear(work, self.plan, unit)
        carryover.from_store(work, tell=work.reporter.alarm)
        restarting.end_left(work)
        sweep.sweep(work)
        identity.record(work, self.origin)
        pause.tell_passed(work, self.break_glass or "")
        self.open_journal()
        self.end(StepName.LOCK, Outcome.OK, "acquired", started_at, start)
        mirror.send(self.work)

    def require_unchanged(self) -> None:
        """Raise `PlanChanged` unless the plan, and the unit it belongs to, are those of before."""
        current = self.replan()
        require_unchanged(self.plan, current)
        if self.unit_of(current) != self.unit:
            raise PlanChanged(
                "another run began, ended or carried on what was unfinished here, since this one "
                "was planned",
                next_step=f"look, and start it again: {self.unit.intent.command(self.environment)}",
            )

    def open_journal(self) -> None:
        """Record what is intended, then use up the approval; a kill in between loses neither."""
        work = self.work
        approval = next((r for r in self.results if r.step is StepName.APPROVAL), None)
        if approval is not None and approval.outcome is Outcome.OK:
            intent = msgspec.structs.replace(self.unit.intent, approvals=approval.evidence)
            self.unit = replace(self.unit, intent=intent)
        record = self.record(Status.RUNNING)
        self.journal = Journal(work.database, record, self.plan, self.unit.intent)
        self.seen = telling.look(work)
        if self.held is not None:
            self.go_on_after_outages(self.held, self.journal)
        if approval is not None and approval.get("nonce"):
            earlier = self.unit.chain if self.unit.inherits else ()
            outlast.read_again(work, partial(nonces.use, work, approval, earlier))
        for result in self.results:
            number = self.journal.begin(result.step, result.started_at)
            self.journal.finish(number, result)
        if self.unit.continues:
            work.reporter.note(
                f"deployment {self.unit.continues} was not finished; this one continues it"
            )

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.plan.environment

    def go_on_after_outages(self, held: lock.HeldLock, journal: Journal) -> None:
        """Let the lock be taken again where it was lost, and nobody ran meanwhile."""
        self.work.standing.update(name for name, _ in self.plan.history)
        corrected = outlast.corrections(self.work)
        held.renew_if(partial(outlast.require_unbroken, self.work, self.plan, journal, corrected))
        journal.require = held.require

    def attempt(self, planned: PlannedStep) -> StepResult:
        """Run one step and record how it ended, whatever ended it."""
        step = self.steps[planned.name]
        if self.held is not None:
            self.held.require()
        if self.journal is not None and step.undo is not None:
            mirror.send(self.work)  # what ran so far, before what changes the database
        if planned.name is StepName.APPROVAL and self.unit.inherits:
            step = Step(partial(_inherited, self.unit))
        plan = self.whole if planned.name is StepName.VERIFY else self.plan
        result = self.recorded(
            planned.name,
            partial(step.run, plan, self.work),
            before=partial(step.before, self.work) if step.before else None,
            required=planned.required,
        )
        if step.undo is not None and self.journal is not None:
            self.seen = telling.look(self.work)
        return result

    def told(self, tell: Callable[[], WindlassError]) -> WindlassError:
        """Return the error that `tell` makes; where that is stopped too, what was seen last."""
        try:
            return tell()
        except KeyboardInterrupt as again:
            why = "the run was stopped again while it looked"
            return self.interrupted(again, telling.unread(self.unit, self.seen, why))

    def failed(self, error: BaseException) -> WindlassError:
        """Undo what policy says, record the end, and return the error to raise."""
        if self.journal is None:
            return self.before_anything(error)
        if isinstance(error, KeyboardInterrupt):
            stopped = self.interrupted(error, self.stands())
            return after(stopped, lambda: self.close(Status.INTERRUPTED, "interrupted"))
        first = serving.with_answers_before(
            telling.translated(error, self.failed_step()), self.results
        )
        undoable = [r for r in self.results if self.steps.get(r.step, _NOTHING).undo]
        rolls_back = self.plan.direction == "up" and on_failure(self.work.settings) != "stop"
        lost = ""
        if undoable and rolls_back:
            if self.still_held():
                return self.roll_back(first)
            lost = "nothing was rolled back, because the deployment lock was lost"
        state = joined(lost, self.stands(), first.own)
        told = changed(first, state=state, next_step=self.goes_on(first.next_step))
        return after(told, lambda: self.close(Status.FAILED, first.what))

    def unclosed(self, error: BaseException) -> WindlassError:
        """Return the error of a run whose end could not be recorded: nothing is taken back."""
        if isinstance(error, KeyboardInterrupt):
            return self.failed(error)
        first = telling.translated(error, "")
        state = joined(self.stands(), first.own)
        told = changed(first, state=state, next_step=self.goes_on(first.next_step))
        return unwritten(told)

    def stands(self) -> str:
        """Say what stands now, as it is read."""
        return telling.what_stands(self.work, self.unit, self.results, self.seen)

    def goes_on(self, remedy: str) -> str:
        """Return what to do about an error, and the command that goes on."""
        command = self.unit.intent.command(self.environment)
        if remedy.endswith("start again"):
            return f"{remedy}: {command}"
        return remedy if command in remedy else f"{remedy}; then: {command}"

    def still_held(self) -> bool:
        """Tell whether the lock is ours: without it a rollback could meet another deployment."""
        try:
            if self.held is not None:
                self.held.require()
        except StepFailed:
            return False
        return True

    def before_anything(self, error: BaseException) -> WindlassError:
        """Return the error of a run that opened no journal: what others did may stand."""
        earlier = ""
        if self.unit.continues:
            earlier = f"of {self.unit.continues}, which is not finished: {self.stands()}"
        if isinstance(error, KeyboardInterrupt):
            state = joined("this run changed nothing in the database", earlier)
            return self.interrupted(error, state)
        first = telling.translated(error, self.failed_step())
        if earlier:
            return changed(first, state=joined("this run changed nothing", earlier))
        return changed(first, state=first.state or "this run changed nothing in the database")

    def interrupted(self, error: KeyboardInterrupt, state: str) -> Interrupted:
        """Return the error of a run that was stopped."""
        by_sigterm = isinstance(error, Terminated)
        command = self.unit.intent.command(self.environment)
        resume = f"invoke resume --env {self.environment}, or the same command, goes on: {command}"
        return Interrupted(
            "stopped by SIGTERM" if by_sigterm else "stopped by Ctrl-C",
            state=state,
            next_step=f"the same command begins again: {command}"
            if self.journal is None and not self.unit.continues
            else resume,
            by_sigterm=by_sigterm,
        )

    def roll_back(self, first: WindlassError) -> WindlassError:
        """Take the unit's steps back, last first; the first error stays the headline."""
        attempted = attempts((*self.unit.results, *self.results))
        restarted = any(result.step is StepName.RESTART for result in attempted)
        reverted = isinstance(self.work.restarter, Reverting)
        self.work = replace(self.work, goes_back=True)
        try:
            decision = self.decided(first)
            if decision.stops:
                attempted = tuple(r for r in attempted if decision.takes_back(r))
                restarted = bool(attempted)
            for result in attempted:
                undo = self.steps.get(result.step, _NOTHING).undo
                if undo is not None:
                    undo_step = partial(undo, self.whole, self.work, result)
                    self.recorded(result.step, undo_step, undo=True)
            for name in RECOVERY if restarted else ():
                if self.plan.has(name) and not (reverted and name is StepName.RESTART):
                    rerun = partial(self.steps[name].run, self.plan, self.work)
                    self.recorded(name, rerun)
            state = telling.taken_back(self.work, self.unit, lossy=bool(decision.lost))
        except BaseException as second:  # noqa: BLE001  # the first error stays the headline
            return self.stuck(first, second)
        if decision.stops:
            return after(
                decision.stopped(first), lambda: self.close(Status.FAILED, decision.record(first))
            )
        serves = "; the service was restarted and serves" if restarted else ""
        ended = RolledBack(
            first.message,
            place=first.place,
            step=first.step,
            state=f"{state}{serves}{decision.gone}",
            next_step=f"{first.next_step}; the record: invoke history --env "
            f"{self.environment} --deployment {self.work.deployment_id}",
        )
        return after(ended, lambda: self.close(Status.ROLLED_BACK, decision.record(first)))

    def decided(self, first: WindlassError) -> losses.Decision:
        """Decide whether the unit is taken back, and record it; once for all its runs."""
        if self.unit.intent.back:
            return losses.Decision(lost=self.unit.intent.lost)
        decision = losses.decide(
            self.whole,
            self.work,
            (*self.unit.results, *self.results),
            digest=self.unit.intent.plan_digest,
            runs=(*self.unit.chain, self.work.deployment_id),
        )
        if not decision.stops:
            self.go_back(first, decision.lost)
        return decision

    def go_back(self, first: WindlassError, lost: tuple[str, ...]) -> None:
        """Record that from here on the unit is taken back, and why: a kill does not change it."""
        if self.journal is None or self.unit.intent.back:
            return
        intent = msgspec.structs.replace(self.unit.intent, back=first.what, lost=lost)
        self.journal.intend(intent)
        self.unit = replace(self.unit, intent=intent)

    def stuck(self, first: WindlassError, second: BaseException) -> WindlassError:
        """Return the error of a rollback that failed itself: the worst case, said plainly."""
        state = self.stands()
        if isinstance(second, KeyboardInterrupt):
            stopped = self.interrupted(second, f"the rollback is not finished: {state}")
            both = f"{first.what}; rolling back: interrupted"
            return after(stopped, lambda: self.close(Status.INTERRUPTED, both))
        why = telling.translated(second, self.failed_step())
        failure = StepFailed(
            f"{first.message}; and rolling back failed: {why.what}",
            place=first.place,
            step=first.step,
            state=joined(
                "the database and the service may not fit each other: look now",
                state,
                why.own,
            ),
            next_step=f"invoke resume --env {self.environment} tries the rollback again; with "
            f"mended scripts: invoke rollback --env {self.environment} --deployment "
            f"{self.work.deployment_id}",
        )
        failure.unwritten = why.unwritten
        told = f"{first.what}; rolling back: {why.what}"
        return after(failure, lambda: self.close(Status.ROLLBACK_FAILED, told))


def _inherited(unit: Unit, _plan: Plan, _work: Work) -> Done:
    """Take over the approval of the unit: what is left is the rest of what was approved."""
    evidence = unit.intent.approvals
    names = ", ".join(value for name, value in evidence if name == "approver")
    return Done(
        f"plan {unit.intent.plan_digest[:12]} by {names}, for deployment {unit.chain[0]}, "
        "which this one continues",
        evidence=evidence,
    )


def _first_error(unit: Unit) -> StepFailed:
    """Return what the unit was taken back for, when another run began that."""
    return StepFailed(unit.intent.back, state="", next_step="look at what it says")


def _nothing(_plan: Plan, _work: Work) -> Done | Skipped:
    return Skipped("no such step")


_NOTHING = Step(_nothing)
