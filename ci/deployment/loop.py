"""Runs a plan: each step once, in order, recorded; on failure, backwards."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TypeVar

import msgspec
import psycopg

from ..database import lock, orphans, own_tables
from ..errors import Interrupted, RolledBack, StepFailed, Terminated, WindlassError, changed
from ..model import (
    Deployment,
    Evidence,
    Origin,
    Outcome,
    Plan,
    PlannedStep,
    Status,
    StepName,
    StepResult,
)
from ..plan.gate import require_unchanged
from ..policy import on_failure
from ..restarters import Reverting
from ..secret import redact
from . import identity, nonces, restarting, serving
from .journal import Journal
from .steps import STEPS, Done, Skipped, Step
from .work import Work

Failure = TypeVar("Failure", bound=BaseException)

# After a rollback of the schema the service starts anew, and has to show that it serves.
RECOVERY = (StepName.RESTART, StepName.SMOKE)


def run_plan(
    plan: Plan,
    work: Work,
    *,
    origin: Origin,
    replan: Callable[[], Plan],
    break_glass: str | None = None,
    steps: Mapping[StepName, Step] = STEPS,
) -> Deployment:
    """Run the plan's steps in order and return the record.

    `replan` computes the plan anew; it is called under the deployment lock.

    Raises:
        Refused: policy says no; nothing was changed.
        PlanChanged: the target or the migrations are not what was planned; nothing was run.
        StepFailed: a step failed, and what ran before it stays.
        RolledBack: a step failed, and what can be undone was undone.
        Interrupted: a person or the machine stopped us.

    """
    with ExitStack() as stack:
        run = _PlanRun(plan, work, origin, steps, stack, replan, break_glass)
        return run.all()


@dataclass
class _PlanRun:
    """One run of one plan, while it lasts."""

    plan: Plan
    work: Work
    origin: Origin
    steps: Mapping[StepName, Step]
    stack: ExitStack
    replan: Callable[[], Plan]
    break_glass: str | None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    results: list[StepResult] = field(default_factory=list)
    journal: Journal | None = None
    held: lock.HeldLock | None = None

    def all(self) -> Deployment:
        """Run every step. Only this method catches everything."""
        try:
            for planned in self.plan.steps:
                if planned.name is StepName.LOCK:
                    self.take_lock()
                else:
                    self.attempt(planned)
        except BaseException as error:  # whatever it was, it is recorded and raised
            raise self.failed(error) from error
        return self.close(Status.DEPLOYED)

    def take_lock(self) -> None:
        """Take the lock, see that nothing changed, and open the journal behind it."""
        work, wait = self.work, self.work.settings.environment.lock.wait.seconds
        started_at, start = datetime.now(UTC), monotonic()
        work.reporter.started(StepName.LOCK)
        self.held = self.stack.enter_context(
            lock.hold(
                work.database,
                wait=wait,
                on_wait=lambda holder: work.reporter.note(f"waiting for {holder}"),
                extra_locks=work.engine.lock_keys,
            )
        )
        self.work = replace(work, guard=self.held.guard)
        identity.require(work)
        orphans.end_orphans(work.database, work.reporter.note)
        require_unchanged(self.plan, self.replan())
        self.work = replace(self.work, approved=True)
        own_tables.prepare(work.database, self.work.terms())
        restarting.end_left(work)
        identity.record(work, self.origin)
        for result in self.results:
            if result.step is StepName.APPROVAL and result.get("nonce"):
                nonces.use(work, result)
        self.journal = Journal(work.database, self.record(Status.RUNNING), self.plan)
        for result in self.results:
            number = self.journal.begin(result.step, result.started_at)
            self.journal.finish(number, result)
        for abandoned in self.journal.abandoned:
            work.reporter.note(f"deployment {abandoned} was killed; this one continues")
        self.end(StepName.LOCK, Outcome.OK, "acquired", started_at, start)

    def attempt(self, planned: PlannedStep) -> StepResult:
        """Run one step and record how it ended, whatever ended it."""
        step = self.steps[planned.name]
        if self.held is not None:
            self.held.require()
        return self.recorded(
            planned.name,
            partial(step.run, self.plan, self.work),
            before=partial(step.before, self.work) if step.before else None,
            required=planned.required,
        )

    def recorded(
        self,
        name: StepName,
        run: Callable[[], Done | Skipped],
        *,
        before: Callable[[], Evidence] | None = None,
        required: bool = False,
        undo: bool = False,
    ) -> StepResult:
        """Run a function as a step: journal before and after, and its own message when it fails.

        `before` notes what an undo will need. It is in the journal before the step runs, so that
        it survives a kill.
        """
        started_at, start = datetime.now(UTC), monotonic()
        number = 0
        evidence: Evidence = ()
        self.work.reporter.started(name, undo=undo)
        try:
            evidence = before() if before else ()
            if self.journal is not None:
                number = self.journal.begin(name, started_at, evidence=evidence, undo=undo)
            done = run()
            if isinstance(done, Skipped) and required:
                raise StepFailed(  # noqa: TRY301  # ends this step exactly like its own errors
                    done.reason,
                    state=f"the step {name} is required here, so a skip is a failure",
                    next_step="provide what is missing, and deploy again",
                )
        except BaseException as error:
            end = partial(self.end, name, Outcome.FAILED, _description(error), started_at, start)
            failure = _after(error, lambda: end(evidence, number, undo))
            if failure is error:
                raise
            raise failure from error
        outcome = Outcome.SKIPPED if isinstance(done, Skipped) else Outcome.OK
        if undo and outcome is Outcome.OK:
            outcome = Outcome.UNDONE
        detail = done.reason if isinstance(done, Skipped) else done.detail
        new_evidence = () if isinstance(done, Skipped) else done.evidence
        return self.end(
            name, outcome, detail, started_at, start, evidence + new_evidence, number, undo
        )

    def end(  # noqa: PLR0913  # the fields of a result, which is built here alone
        self,
        name: StepName,
        outcome: Outcome,
        detail: str,
        started_at: datetime,
        start: float,
        evidence: Evidence = (),
        number: int = 0,
        undo: bool = False,
    ) -> StepResult:
        """Build the result, so that a step cannot forget the time or claim success."""
        result = StepResult(
            step=name,
            outcome=outcome,
            detail=redact(detail),
            started_at=started_at,
            seconds=round(monotonic() - start, 3),
            evidence=evidence,
            undo=undo,
        )
        self.results.append(result)
        if self.journal is not None:
            number = number or self.journal.begin(name, started_at, evidence=evidence, undo=undo)
            self.journal.finish(number, result)
        self.work.reporter.finished(result)
        return result

    def failed(self, error: BaseException) -> WindlassError:
        """Undo what policy says, record the end, and return the error to raise."""
        if self.journal is None:
            return self._before_anything(error)
        if isinstance(error, KeyboardInterrupt):
            _after(error, lambda: self.close(Status.INTERRUPTED, "interrupted"))
            return self.interrupted(error, "what ran before is in the journal")
        first = serving.with_answers_before(_translated(error, self.results), self.results)
        undoable = [r for r in self.results if self.steps.get(r.step, _NOTHING).undo]
        rolls_back = self.plan.direction == "up" and on_failure(self.work.settings) == "rollback"
        if undoable and rolls_back:
            if self.still_held():
                return self.roll_back(first)
            reason = "nothing was rolled back, because the deployment lock was lost; "
            first = changed(first, state=reason + first.state)
        return _after(first, lambda: self.close(Status.FAILED, first.what))

    def still_held(self) -> bool:
        """Tell whether the lock is ours: without it a rollback could meet another deployment."""
        try:
            if self.held is not None:
                self.held.require()
        except StepFailed:
            return False
        return True

    def _before_anything(self, error: BaseException) -> WindlassError:
        if isinstance(error, KeyboardInterrupt):
            return self.interrupted(error, "nothing was changed")
        return _translated(error, self.results)

    def interrupted(self, error: KeyboardInterrupt, state: str) -> Interrupted:
        """Return the error of a run that was stopped."""
        by_sigterm = isinstance(error, Terminated)
        return Interrupted(
            "stopped by SIGTERM" if by_sigterm else "stopped by Ctrl-C",
            state=state,
            next_step=f"invoke status --env {self.plan.environment}; the same command continues",
            by_sigterm=by_sigterm,
        )

    def roll_back(self, first: WindlassError) -> WindlassError:
        """Take the steps back, last first; the first error stays the headline."""
        attempted = list(reversed(self.results))
        restarted = any(result.step is StepName.RESTART for result in attempted)
        reverted = isinstance(self.work.restarter, Reverting)
        try:
            for result in attempted:
                undo = self.steps.get(result.step, _NOTHING).undo
                if undo is not None:
                    undo_step = partial(undo, self.plan, self.work, result)
                    self.recorded(result.step, undo_step, undo=True)
            for name in RECOVERY if restarted else ():
                if self.plan.has(name) and not (reverted and name is StepName.RESTART):
                    rerun = partial(self.steps[name].run, self.plan, self.work)
                    self.recorded(name, rerun)
        except BaseException as second:  # noqa: BLE001  # the first error stays the headline
            return self.stuck(first, second)
        self.close(Status.ROLLED_BACK, first.what)
        serves = " and the service was restarted and serves" if restarted else ""
        return RolledBack(
            first.message,
            place=first.place,
            step=first.step,
            state=f"rolled back: the schema is as it was before{serves}",
            next_step=f"{first.next_step}; the record: invoke history --env "
            f"{self.plan.environment} --deployment {self.work.deployment_id}",
        )

    def stuck(self, first: WindlassError, second: BaseException) -> WindlassError:
        """Return the error of a rollback that failed itself: the worst case, said plainly."""
        words = _description(second)
        both = f"{first.what}; rolling back: {words}"
        _after(first, lambda: self.close(Status.ROLLBACK_FAILED, both))
        if isinstance(second, KeyboardInterrupt):
            return self.interrupted(second, "the rollback is half done; the journal says how far")
        return StepFailed(
            f"{first.message}; and rolling back failed: {words}",
            place=first.place,
            step=first.step,
            state="the database and the service may not fit each other: look now",
            next_step=f"invoke status --env {self.plan.environment}; the backup is in invoke "
            f"history --env {self.plan.environment} --deployment {self.work.deployment_id}",
        )

    def record(self, status: Status, error: str | None = None) -> Deployment:
        """Return the record of the deployment as it is now."""
        backup = next((b for r in self.results if (b := r.get("backup"))), None)
        return Deployment(
            id=self.work.deployment_id,
            project=self.plan.project,
            environment=self.plan.environment,
            direction=self.plan.direction,
            plan_digest=self.plan.digest,
            origin=self.origin,
            status=status,
            started_at=self.started_at,
            error=redact(error) if error else None,
            backup=backup,
            migrations=tuple(m.name for m in self.plan.migrations),
            break_glass=self.break_glass,
        )

    def close(self, status: Status, error: str | None = None) -> Deployment:
        """Write the end into the journal and return the whole record."""
        ended = msgspec.structs.replace(self.record(status, error), finished_at=datetime.now(UTC))
        if self.journal is not None:
            self.journal.close(ended)
        return msgspec.structs.replace(ended, results=tuple(self.results))


def _after(first: Failure, record: Callable[[], object]) -> Failure:
    """Record an error, and return it, or one like it that says that it could not be recorded.

    What keeps it from being recorded is added to the first error, and does not take its place.
    """
    try:
        record()
    except (WindlassError, psycopg.Error) as second:
        if isinstance(first, WindlassError):
            first = changed(first, state=f"{first.state}; the journal could not be written")
        first.add_note(f"and it could not be recorded: {_description(second)}")
    return first


def _nothing(_plan: Plan, _work: Work) -> Done | Skipped:
    return Skipped("no such step")


_NOTHING = Step(_nothing)


def _description(error: BaseException) -> str:
    if isinstance(error, WindlassError):
        return error.what
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return redact(f"{type(error).__name__}: {error}")


def _translated(error: BaseException, results: list[StepResult]) -> WindlassError:
    """Return our own errors with the step's name, anything else as a failed step."""
    failed = next((r for r in reversed(results) if r.outcome is Outcome.FAILED), None)
    step = str(failed.step) if failed else ""
    if isinstance(error, WindlassError):
        return changed(error, step=step)
    return StepFailed(
        f"an error of Windlass itself: {_description(error)}",
        step=step,
        state="what ran before is in the journal",
        next_step="run it again with --debug, and report what it prints",
    )
