"""What stands after a failure: read from the database and the service, not assumed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from ..database import errors
from ..errors import StepFailed, WindlassError, changed
from ..model import Outcome, Partial, StepName, StepResult
from ..plan import standing
from ..plan.continuing import Unit
from ..restarters.several import Several
from ..secret import redact
from . import rolling
from .facts import Recorded, take_facts, take_history
from .work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the history was when it was last read."""

    at: datetime
    applied: frozenset[str]
    partials: tuple[Partial, ...]


def look(work: Work) -> Seen:
    """Read what is applied now."""
    return _seen(take_history(work.database, work.engine.history))


def _seen(recorded: Recorded) -> Seen:
    return Seen(
        at=datetime.now(UTC),
        applied=frozenset(row.name for row in recorded.applied),
        partials=recorded.partials,
    )


def what_stands(
    work: Work, unit: Unit, results: Iterable[StepResult] = (), seen: Seen | None = None
) -> str:
    """Say which migrations of the unit stand, what serves, and which backup has which values.

    Args:
        work: the environment.
        unit: what is told of.
        results: of this run.
        seen: what was read last, for a database that does not answer any more.

    """
    parts = [_migrations(work, unit, seen), _service(work, unit, tuple(results))]
    return "; ".join(text for text in (*parts, _backups(unit, tuple(results))) if text)


def _migrations(work: Work, unit: Unit, seen: Seen | None) -> str:
    try:
        now = look(work)
    except (WindlassError, psycopg.Error) as error:
        return unread(unit, seen, in_words(error))
    return standing.standing(unit.intent, now.applied, now.partials)


def unread(unit: Unit, seen: Seen | None, reason: str) -> str:
    """Say why it is not known what stands, and what stood when it was read last."""
    if seen is None:
        return f"what stands is not known: {reason}"
    words = standing.standing(unit.intent, seen.applied, seen.partials)
    return f"what stands is not known: {reason}; last seen at {seen.at:%H:%M:%S} UTC: {words}"


def _service(work: Work, unit: Unit, results: tuple[StepResult, ...]) -> str:
    """Say what serves, where any run of the unit may have changed it."""
    restarts = [r for r in (*unit.results, *results) if r.step is StepName.RESTART]
    return "" if all(r.outcome is Outcome.SKIPPED for r in restarts) else serves(work)


def serves(work: Work) -> str:
    """Say what serves now, as it is read; empty where there is no service."""
    if work.restarter is None:
        return ""
    if isinstance(work.restarter, Several):
        return redact(_members(work, work.restarter))
    try:
        running = work.restarter.running()
    except WindlassError as error:
        return f"which version serves is not known: {error.message}"
    if not running.instance:
        return f"{work.restarter.name} is down"
    version = f"version {running.version}" if running.version else f"instance {running.instance}"
    return redact(f"{work.restarter.name} runs {version}")


def _members(work: Work, several: Several) -> str:
    try:
        return rolling.stands(work, several)
    except (WindlassError, psycopg.Error) as error:
        return f"which version serves on which member is not known: {in_words(error)}"


def _backups(unit: Unit, results: tuple[StepResult, ...]) -> str:
    """Name the backup that has the values of before the unit, and that of before this run."""
    earlier = [backup for r in unit.results if (backup := r.get("backup"))]
    own = [backup for r in results if (backup := r.get("backup"))]
    if earlier:
        text = f"backup {earlier[0]} has the values of before it began"
        return f"{text}, {own[-1]} those of before this run" if own else text
    return f"backup {own[-1]} has the values of before" if own else ""


def taken_back(work: Work, unit: Unit, *, lossy: bool) -> str:
    """Say whether the schema is what it was when the unit began; `lossy`: not every value is."""
    try:
        facts = take_facts(work.database, work.engine.history)
    except (WindlassError, psycopg.Error) as error:
        return f"rolled back; whether the schema is as it was is not known: {in_words(error)}"
    applied = frozenset(row.name for row in facts.history)
    return standing.taken_back(
        unit.intent, applied, facts.partials, facts.schema_fingerprint, lossy=lossy
    )


def in_words(error: BaseException) -> str:
    """Return what an error says, on one line."""
    if isinstance(error, WindlassError):
        return error.what
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, psycopg.Error):
        return errors.in_words(error)
    return redact(f"{type(error).__name__}: {' '.join(str(error).split())}")


def translated(error: BaseException, step: str) -> WindlassError:
    """Return our own errors with the step's name, anything else as a failed step."""
    if isinstance(error, WindlassError):
        return changed(error, step=step)
    if isinstance(error, psycopg.Error):
        return StepFailed(
            in_words(error),
            step=step,
            state="",
            next_step="look at the server and its log, until it answers again",
        )
    return StepFailed(
        f"an error of Windlass itself: {in_words(error)}",
        step=step,
        state="",
        next_step="run it again with --debug, and report what it prints",
    )
