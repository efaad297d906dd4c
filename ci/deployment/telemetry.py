"""A trace of each task that changes something, with its steps, by OpenTelemetry's variables.

The extra `telemetry` brings the SDK. Nothing of it is imported where no endpoint is set, or where
it is not installed, which is told.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..config.secretplaces import without_userinfo
from ..errors import WindlassError
from ..model import Finding, Outcome, Plan, StepName, StepResult
from ..plan import notice as rules
from ..secret import redact
from .work import Reporter, Work

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

WITHIN = 5.0  # seconds for what is left to send when the deployment is over
LOGGER = "opentelemetry"


@contextmanager
def traced(work: Work, plan: Plan | None, task: str) -> Iterator[Work]:
    """Yield the environment, whose reporter makes a span of each step, and export the trace."""
    if not rules.telemetry_wanted(dict(os.environ)):
        yield work
        return
    try:
        provider, complaints = _provider()
    except ImportError:
        work.reporter.note(
            "no trace is sent: install pgwindlass[telemetry], or set OTEL_SDK_DISABLED=true"
        )
        yield work
        return
    try:
        with _root(provider, work, plan, task) as reporter:
            yield replace(work, reporter=reporter)
    finally:
        _end(provider, complaints, work.reporter.alarm)


@dataclass(frozen=True, slots=True)
class _Traced:
    """A reporter that passes on what it is told, and makes a span of each step."""

    inner: Reporter
    span: Callable[[StepResult], None]

    def started(self, step: StepName, *, undo: bool = False) -> None:
        self.inner.started(step, undo=undo)

    def progress(self, done: int, total: int | None, unit: str) -> None:
        self.inner.progress(done, total, unit)

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None:
        self.inner.item(step, what, detail, seconds)

    def note(self, text: str) -> None:
        self.inner.note(text)

    def found(self, finding: Finding) -> None:
        self.inner.found(finding)

    def alarm(self, text: str) -> None:
        self.inner.alarm(text)

    def finished(self, result: StepResult) -> None:
        self.span(result)
        self.inner.finished(result)


class _Complaints(logging.Handler):
    """Keeps the first complaint of the SDK, which would go to standard error unredacted."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or redact(record.getMessage())


def _provider() -> "tuple[TracerProvider, _Complaints]":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    complaints, logger = _Complaints(), logging.getLogger(LOGGER)
    logger.handlers, logger.propagate = [complaints], False
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "windlass"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider, complaints


@contextmanager
def _root(
    provider: "TracerProvider", work: Work, plan: Plan | None, task: str
) -> Iterator[_Traced]:
    """Yield a reporter for as long as the span of the whole task."""
    from opentelemetry.trace import Status, StatusCode, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer = provider.get_tracer("pgwindlass")
    carrier = {"traceparent": os.environ.get("TRACEPARENT", "")}
    root = tracer.start_span(
        f"{task} {work.settings.name}",
        context=TraceContextTextMapPropagator().extract(carrier),
        attributes=rules.attributes_of(_facts(work, plan, task)),
    )
    inside = set_span_in_context(root)

    def step(result: StepResult) -> None:
        begin = _nanoseconds(result.started_at)
        about = {"step": result.step.value, "outcome": result.outcome.value, "undo": result.undo}
        name = f"undo {result.step}" if result.undo else result.step.value
        attributes = rules.attributes_of(about)
        span = tracer.start_span(name, context=inside, attributes=attributes, start_time=begin)
        if result.outcome is Outcome.FAILED:
            span.set_status(Status(StatusCode.ERROR, redact(result.detail)))
        span.end(begin + round(result.seconds * 1e9))

    try:
        yield _Traced(work.reporter, step)
    except WindlassError as error:
        root.set_attribute("windlass.exit_code", error.exit_code)
        root.set_status(Status(StatusCode.ERROR, redact(error.what)))
        raise
    finally:
        root.end()


def _facts(work: Work, plan: Plan | None, task: str) -> dict[str, str | int]:
    """Return what the span of a task says of it."""
    known: dict[str, str | int] = {
        "project": work.settings.shared.project,
        "environment": work.settings.name,
        "tier": work.settings.tier,
        "task": task,
        "deployment": work.deployment_id,
    }
    if plan is None:
        return known
    return known | {
        "direction": plan.direction,
        "plan.digest": plan.digest,
        "migrations": len(plan.migrations),
        "commit": plan.sources.commit,
    }


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000


def _end(provider: "TracerProvider", complaints: _Complaints, alarm: Callable[[str], None]) -> None:
    """Send what is left. A collector that does not answer is an alarm, and holds nobody up."""
    sender = threading.Thread(target=provider.shutdown, daemon=True, name="sends spans")
    sender.start()
    sender.join(WITHIN)
    if sender.is_alive() or complaints.first:
        reason = complaints.first or f"{_endpoint()} gave no answer within {WITHIN:.0f} s"
        alarm(f"the trace of this run was not sent, or not all of it: {reason}")


def _endpoint() -> str:
    """Name the collector and the variable that decides; a userinfo is secret."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if url := os.environ.get(name):
            return f"{without_userinfo(url)} ({name})"
    return "the collector on this machine (OTEL_EXPORTER_OTLP_ENDPOINT is not set)"
