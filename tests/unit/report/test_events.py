"""The chain of events as people read it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from pgwindlass.model import Event
from pgwindlass.report.events import chain_text, event_line, stored_text

pytestmark = pytest.mark.unit
ORIGIN = {"deployer": "ann", "host": "ci-7"}


@dataclass
class Report:
    environment: str = "uat"
    events: int = 3
    broken: str = ""
    mirrored: int = 2
    notes: tuple[str, ...] = ()


@dataclass
class Stored:
    environment: str = "uat"
    events: tuple[Event, ...] = ()
    broken: str = ""
    notes: tuple[str, ...] = ()


def event(kind: str, record: dict[str, Any]) -> Event:
    at = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    return Event(number=7, at=at, kind=kind, deployment="d1", record=record, previous="", hash="ab")


def test_a_whole_chain_is_counted_and_a_broken_one_says_where() -> None:
    assert chain_text(Report()).startswith("uat: 3 events, OK: chained")
    assert "2 of them in the store" in chain_text(Report())
    assert "BROKEN: event 2 was edited" in chain_text(Report(broken="event 2 was edited"))
    assert "no events yet" in chain_text(Report(events=0))
    assert chain_text(Report(notes=("not compared",))).endswith("\nnot compared")


@pytest.mark.parametrize(
    ("kind", "record", "says"),
    [
        (
            "deployment-ended",
            {
                "deployment": {
                    "status": "failed",
                    "migrations": ["a"],
                    "error": "no",
                    "origin": ORIGIN,
                }
            },
            "deployment-ended failed (a) by ann@ci-7: no",
        ),
        ("deployment-begun", {"deployment": {"status": "running"}}, "running (no migration) by @"),
        ("step-begun", {"step": "migrate", "undo": True}, "step-begun undo migrate"),
        (
            "step-ended",
            {"result": {"step": "migrate", "outcome": "ok", "detail": "1 applied"}},
            "step-ended migrate ok: 1 applied",
        ),
        (
            "correction",
            {
                "correction": {
                    "verb": "stamp",
                    "migration": "a",
                    "before": "pending",
                    "after": "x",
                    "origin": ORIGIN,
                }
            },
            "correction stamp a: pending → x by ann@ci-7",
        ),
        (
            "refused",
            {"task": "deploy", "what": "lint: no", "origin": ORIGIN},
            "refused deploy: lint: no by ann@ci-7",
        ),
        ("approval-used", {"approver": "eve"}, "approval-used of eve"),
        ("paused", {"reason": "an incident"}, "paused an incident"),
        ("of-a-newer-version", {}, "of-a-newer-version"),
    ],
)
def test_an_event_is_one_line(kind: str, record: dict[str, Any], says: str) -> None:
    line = event_line(event(kind, record))

    assert line.startswith("    7  2026-11-20 12:30:00  d1  ")
    assert says in line


def test_what_the_store_has_says_that_no_database_was_asked() -> None:
    text = stored_text(
        Stored(events=(event("paused", {}),), broken="event 1 removed", notes=("a note",))
    )

    assert "1 events of uat in the store; the database was not asked" in text
    assert "no whole chain: event 1 removed" in text
    assert text.endswith("a note")
