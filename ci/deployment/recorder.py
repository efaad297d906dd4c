"""Writes down what each step of a run came to: in the journal, and to the reporter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TypeVar

import msgspec
import psycopg

from ..errors import Error, StepFailed, StoreFailed, WindlassError, more
from ..model import (
    Deployment,
    Evidence,
    Origin,
    Outcome,
    Plan,
    Status,
    StepName,
    StepResult,
)
from ..plan.continuing import Unit
from ..secret import redact
from . import events, mirror, nonces, rolling, telling
from .journal import Journal
from .steps import Done, Skipped
from .work import Work

Failure = TypeVar("Failure", bound=BaseException)


@dataclass(kw_only=True)
class Recorder:
    """The record of one run, while it lasts."""

    plan: Plan
    work: Work
    origin: Origin
    unit: Unit
    break_glass: str | None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    results: list[StepResult] = field(default_factory=list)
    journal: Journal | None = None

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
            if isinstance(done, Skipped) and done.lacks and required:
                raise StepFailed(  # noqa: TRY301  # ends this step exactly like its own errors
                    done.reason,
                    state=f"the step {name} is required here, so a skip is a failure",
                    next_step="provide what is missing, and start again",
                )
        except BaseException as error:
            end = partial(
                self.end, name, Outcome.FAILED, telling.in_words(error), started_at, start
            )
            failure = after(error, lambda: end(evidence, number, undo))
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

    def failed_step(self) -> str:
        """Return the name of the step that failed last; empty: none did."""
        failed = next((r for r in reversed(self.results) if r.outcome is Outcome.FAILED), None)
        return str(failed.step) if failed else ""

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
            migrations=self.unit.intent.migrations,
            break_glass=self.break_glass,
            continues=self.unit.continues,
        )

    def close(self, status: Status, error: str | None = None) -> Deployment:
        """Write the end into the journal and return the whole record."""
        ended = msgspec.structs.replace(self.record(status, error), finished_at=datetime.now(UTC))
        if status in (Status.DEPLOYED, Status.ROLLED_BACK):
            self.finish_approvals()
        if self.journal is not None:
            self.journal.close(ended)
            mirror.send(self.work)
        self.settle_members(status)
        return msgspec.structs.replace(ended, results=tuple(self.results))

    def settle_members(self, status: Status) -> None:
        """Clear the markers of a service's members, where the unit is done; else what is proven."""
        settle = {
            Status.DEPLOYED: rolling.forget,
            Status.ROLLED_BACK: rolling.forget,
            Status.FAILED: rolling.doubt,
        }.get(status)
        if settle is None:
            return
        try:
            settle(self.work)
        except (WindlassError, psycopg.Error) as error:
            self.work.reporter.note(
                "the database did not take that the restart of the members is over: "
                f"{telling.in_words(error)}"
            )

    def finish_approvals(self) -> None:
        """Note in the store that what was approved is done, so that no restore opens it again."""
        if not self.unit.intent.approvals:
            return
        try:
            nonces.finish(self.work, (*self.unit.chain, self.work.deployment_id)[0])
        except StoreFailed as error:
            self.work.reporter.alarm(
                f"that the approval is used up is not in the store: {error.what}"
            )


def joined(*parts: str) -> str:
    """Return the parts of a state that say something as one text."""
    return "; ".join(part for part in parts if part)


def unwritten(error: Error) -> Error:
    """Return an error that says, once, that it is not in the journal."""
    if error.unwritten:
        return error
    told = more(error, events.UNWRITTEN)
    told.unwritten = True
    return told


def after(first: Failure, record: Callable[[], object]) -> Failure:
    """Record an error, and return it, or one like it that says that it could not be recorded.

    What keeps it from being recorded is added to the first error, and does not take its place.
    """
    try:
        record()
    except (WindlassError, psycopg.Error) as second:
        if isinstance(first, WindlassError):
            first = unwritten(first)
        note = f"and it could not be recorded: {telling.in_words(second)}"
        if note not in getattr(first, "__notes__", ()):
            first.add_note(note)
    return first
