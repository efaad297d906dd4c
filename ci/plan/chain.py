"""A chain of events: each one's hash is over the hash before it and its own content. Pure.

Whoever edits, removes, inserts or reorders an event breaks the chain there; whoever writes all of
it anew, or cuts its end off, no longer agrees with the mirror in the store, or with the journal.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..model import Event

FOLDER = "journal"
NAME = re.compile(r"events-(\d{10,})x(\d{10,})x([0-9a-f]{16})\.json")
BEGUN = "chain-begun"  # the first event: what the journal had before there was a chain
RESTORED = "restored"  # the events before it, from the backup's last one on, were carried over
DEPLOYMENT_BEGUN = "deployment-begun"
DEPLOYMENT_ENDED = "deployment-ended"
DEPLOYMENT_INTERRUPTED = "deployment-interrupted"
DEPLOYMENT_INTENDS = "deployment-intends"  # to go back, where it went forward before
STEP_BEGUN = "step-begun"
STEP_ENDED = "step-ended"
CORRECTION = "correction"
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain is not what it must be. `number`: of the event; 0: of none."""

    number: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of the journal, as the database has them now. Records are canonical JSON."""

    deployments: Mapping[str, tuple[str, str]]  # (record, status), by id
    steps: Mapping[tuple[str, int], tuple[str, str]]  # (evidence, result or ""), by id and number
    corrections: tuple[str, ...]  # records


@dataclass(frozen=True, slots=True)
class Range:
    """What the name of a mirrored object says: its first and last event, and that one's hash."""

    key: str
    first: int
    last: int
    hash: str  # its first 16 digits


def text_of(record: object) -> str:
    """Return the one JSON text of a value, whatever wrote it; PostgreSQL's jsonb keeps no form."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def hash_of(event: Event) -> str:
    """Return the hash that an event must have."""
    content = {
        "number": event.number,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": event.kind,
        "deployment": event.deployment,
        "record": event.record,
    }
    return hashlib.sha256(f"{event.previous}{text_of(content)}".encode()).hexdigest()


def follow(
    head: tuple[int, str], *, at: datetime, kind: str, deployment: str, record: dict[str, Any]
) -> Event:
    """Return the event after `head`: the number and hash of the last one, or (0, "")."""
    event = Event(
        number=head[0] + 1,
        at=at,
        kind=kind,
        deployment=deployment,
        record=record,
        previous=head[1],
        hash="",
    )
    return msgspec.structs.replace(event, hash=hash_of(event))


def first_break(events: Iterable[Event]) -> Break | None:
    """Return where a chain breaks in itself; None: it is whole from its first event on."""
    number, last = 0, ""
    for event in events:
        if event.number > number + 1:
            gone = f"event {number + 1}"
            if event.number > number + 2:
                gone = f"events {number + 1} to {event.number - 1}"
            return Break(number + 1, f"{gone} removed: event {event.number} comes next")
        if event.number <= number:
            return Break(event.number, f"event {event.number} stands behind event {number}")
        if hash_of(event) != event.hash:
            return Break(event.number, f"event {event.number} ({event.kind}) was edited")
        if event.previous != last:
            return Break(
                event.number,
                f"event {event.number} ({event.kind}) does not follow the one before it: one of "
                "the two was inserted, exchanged or written anew",
            )
        number, last = event.number, event.hash
    return None


def mirror_break(events: Iterable[Event], mirrored: Iterable[Event]) -> Break | None:
    """Return where a database's events are not the mirror's; what no mirror has yet is no break."""
    known = {event.number: event for event in events}
    newest = max(known, default=0)
    for event in sorted(mirrored, key=lambda event: event.number):
        ours = known.get(event.number)
        if ours is None and event.number > newest:
            return Break(
                event.number,
                f"the end was cut off: the database ends with event {newest}, and the store has "
                f"event {event.number} ({event.kind})",
            )
        if ours is None:
            return Break(event.number, f"event {event.number} removed: the store has it")
        if ours.hash != event.hash:
            return Break(
                event.number,
                f"event {event.number} is {ours.kind} {ours.hash[:12]} here, and {event.kind} "
                f"{event.hash[:12]} in the store",
            )
    return None


def snapshot(rows: Rows) -> dict[str, Any]:
    """Return what the first event says of the journal that was there before it."""
    deployments = sorted(f"{name} {record}" for name, (record, _) in rows.deployments.items())
    return {
        "deployments": len(deployments),
        "deployments_sha256": _digest(deployments),
        "corrections": len(rows.corrections),
        "corrections_sha256": _digest(sorted(rows.corrections)),
    }


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


@dataclass(slots=True)
class _Expected:
    """What the journal must hold by the events, and the number of the event that says so."""

    deployments: dict[str, tuple[int, str, str]]  # (number, record, status)
    steps: dict[tuple[str, int], tuple[int, str, str]]  # (number, evidence, result)
    corrections: list[tuple[int, str]]


def journal_break(events: tuple[Event, ...], rows: Rows) -> Break | None:
    """Return where the rows of the journal are not what the events say; None: they are.

    Where a restore has carried events over, the rows of these may be older ones or absent.
    """
    if not events:
        return None
    expected, carried = _expected(events), _carried(events)
    breaks = [b for b in _different_rows(expected, rows) if not carried(b.number)]
    if breaks:
        return min(breaks, key=lambda each: each.number)
    return None if carried(1) else _unknown_rows(events[0], expected, rows)


def _different_rows(expected: "_Expected", rows: Rows) -> Iterator[Break]:
    """Yield a break for each row that is not what the events say."""
    for name, (number, record, status) in expected.deployments.items():
        row = rows.deployments.get(name)
        if row != (record, status):
            yield _differs(number, f"deployment {name}", absent=row is None)
    for (name, ordinal), (number, evidence, result) in expected.steps.items():
        step = rows.steps.get((name, ordinal))
        if step != (evidence, result):
            yield _differs(number, f"step {ordinal} of deployment {name}", absent=step is None)
    for number, record in expected.corrections:
        if record not in rows.corrections:
            yield Break(number, f"the correction of event {number} was edited or removed")


def _differs(number: int, what: str, *, absent: bool) -> Break:
    if absent:
        return Break(number, f"the row of {what} was removed: event {number} has it")
    return Break(number, f"the row of {what} is not what event {number} says: it was edited")


def _expected(events: Iterable[Event]) -> _Expected:
    expected = _Expected({}, {}, [])
    for event in events:
        record, name = event.record, event.deployment
        match event.kind:
            case "deployment-begun" | "deployment-ended":
                text, status = text_of(record["deployment"]), record["deployment"]["status"]
                expected.deployments[name] = (event.number, text, status)
            case "deployment-interrupted" if name in expected.deployments:
                was = expected.deployments[name]
                expected.deployments[name] = (event.number, was[1], "interrupted")
            case "step-begun":
                evidence = text_of(record["evidence"])
                expected.steps[name, record["ordinal"]] = (event.number, evidence, "")
            case "step-ended":
                at = (name, record["ordinal"])
                evidence = expected.steps.get(at, (0, "[]", ""))[1]
                expected.steps[at] = (event.number, evidence, text_of(record["result"]))
            case "correction":
                expected.corrections.append((event.number, text_of(record["correction"])))
            case _:  # of no row
                continue
    return expected


def _carried(events: Iterable[Event]) -> Callable[[int], bool]:
    """Return what tells whether a restore carried an event over."""
    ranges = [(e.record["after"], e.number) for e in events if e.kind == RESTORED]
    return lambda number: any(after < number < end for after, end in ranges)


def _unknown_rows(first: Event, expected: _Expected, rows: Rows) -> Break | None:
    """Return a break where the journal has rows that no event has, and had not when it began."""
    if first.kind != BEGUN:
        return None
    ours = [record for _, record in expected.corrections]
    older = Rows(
        deployments={n: r for n, r in rows.deployments.items() if n not in expected.deployments},
        steps={},
        corrections=tuple(record for record in rows.corrections if record not in ours),
    )
    now = snapshot(older)
    for what in ("deployments", "corrections"):
        if now[f"{what}_sha256"] != first.record[f"{what}_sha256"]:
            return Break(
                0,
                f"{now[what]} {what} have no event, and {first.record[what]} had none when the "
                "chain began: one was edited, inserted or removed"
                + (f" (the newest is {max(older.deployments)})" if older.deployments else ""),
            )
    unknown = sorted(
        at
        for at in rows.steps.keys() - expected.steps.keys()
        if at[0] in expected.deployments or at[0] not in rows.deployments
    )
    if unknown:
        name, ordinal = unknown[0]
        return Break(0, f"step {ordinal} of deployment {name} has no event: it was inserted")
    return None


def folder(environment: str) -> str:
    """Return where the mirror of an environment's events lies in the store."""
    return f"{FOLDER}/{environment}/"


def key_of(environment: str, events: tuple[Event, ...]) -> str:
    """Return the key of consecutive events in the store."""
    first, last = events[0], events[-1]
    name = f"events-{first.number:010d}x{last.number:010d}x{last.hash[:16]}.json"
    return folder(environment) + name


def ranges_of(keys: Iterable[str]) -> tuple[Range, ...]:
    """Return what the names of the mirrored objects say, in the order of their last events."""
    ranges = []
    for key in keys:
        match = NAME.fullmatch(key.rpartition("/")[2])
        if match is not None:
            ranges.append(Range(key, int(match[1]), int(match[2]), match[3]))
    return tuple(sorted(ranges, key=lambda range_: (range_.last, range_.first)))


def missing(events: tuple[Event, ...], ranges: Iterable[Range]) -> tuple[Event, ...]:
    """Return the events after the newest one that the mirror has as the database has it."""
    hashes = {event.number: event.hash[:16] for event in events}
    known = max((r.last for r in ranges if hashes.get(r.last) == r.hash), default=0)
    return tuple(event for event in events if event.number > known)


def joined(parts: Iterable[tuple[Event, ...]]) -> tuple[tuple[Event, ...], Break | None]:
    """Return the events of several mirrored objects by number, and where two of them disagree."""
    by_number: dict[int, Event] = {}
    fork: Break | None = None
    for event in (event for part in parts for event in part):
        other = by_number.setdefault(event.number, event)
        if other.hash != event.hash and (fork is None or event.number < fork.number):
            what = f"the store has two events {event.number}: {other.kind} and {event.kind}"
            fork = Break(event.number, what)
    return tuple(by_number[number] for number in sorted(by_number)), fork
