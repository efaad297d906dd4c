"""The chain of events as text. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from ..model import Event


class Chain(Protocol):
    """What came of verifying a chain."""

    @property
    def environment(self) -> str:
        """Whose it is."""
        ...

    @property
    def events(self) -> int:
        """How many there are."""
        ...

    @property
    def broken(self) -> str:
        """Where it breaks; empty: it does not."""
        ...

    @property
    def mirrored(self) -> int:
        """How many the store has."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be compared."""
        ...


class Stored(Protocol):
    """The events as a store has them."""

    @property
    def environment(self) -> str:
        """Whose they are."""
        ...

    @property
    def events(self) -> tuple[Event, ...]:
        """In order."""
        ...

    @property
    def broken(self) -> str:
        """Where they are no chain; empty: they are one."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not used of the store."""
        ...


def chain_text(report: Chain) -> str:
    """Return the verdict on a chain."""
    if report.broken:
        verdict = f"{report.environment}: the history is BROKEN: {report.broken}"
    elif not report.events:
        verdict = f"{report.environment}: no events yet: the next deployment begins the chain"
    else:
        verdict = (
            f"{report.environment}: {report.events} events, OK: chained, and as the journal has "
            f"them; {report.mirrored} of them in the store"
        )
    return "\n".join([verdict, *report.notes])


def stored_text(report: Stored) -> str:
    """Return a line for each event that the store has, oldest first."""
    lines = [event_line(event) for event in report.events]
    count = f"{len(report.events)} events of {report.environment} in the store"
    lines.append(f"{count}; the database was not asked")
    if report.broken:
        lines.append(f"they are no whole chain: {report.broken}")
    return "\n".join([*lines, *report.notes])


def event_line(event: Event) -> str:
    """Return one event: when, which run, what."""
    words = f"{event.kind} {_detail(event.kind, event.record)}".rstrip()
    return f"{event.number:>5}  {event.at:%Y-%m-%d %H:%M:%S}  {event.deployment or '-'}  {words}"


def _detail(kind: str, record: Mapping[str, Any]) -> str:
    """Return what an event is about; of a kind that a newer version wrote: nothing."""
    match kind:
        case "deployment-begun" | "deployment-ended":
            done = record.get("deployment", {})
            names = ", ".join(done.get("migrations", ()))
            error = f": {done['error']}" if done.get("error") else ""
            return f"{done.get('status', '')} ({names or 'no migration'}) by {_who(done)}{error}"
        case "step-begun":
            return f"{'undo ' if record.get('undo') else ''}{record.get('step', '')}"
        case "step-ended":
            result = record.get("result", {})
            return (
                f"{result.get('step', '')} {result.get('outcome', '')}: {result.get('detail', '')}"
            )
        case "correction":
            made = record.get("correction", {})
            change = f"{made.get('before', '')} → {made.get('after', '')}"
            return f"{made.get('verb', '')} {made.get('migration', '')}: {change} by {_who(made)}"
        case "refused" | "failed":
            return f"{record.get('task', '')}: {record.get('what', '')} by {_who(record)}"
        case "approval-used":
            return f"of {record.get('approver', '')}"
        case _:
            return str(record.get("reason", ""))


def _who(record: Mapping[str, Any]) -> str:
    origin = record.get("origin", {})
    return f"{origin.get('deployer', '')}@{origin.get('host', '')}"
