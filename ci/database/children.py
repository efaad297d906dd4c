"""Judges a child that talks to the server: the server is asked while nothing moves."""

import secrets
from dataclasses import dataclass, field

from ..movement import Judge, Stillness
from . import silence
from .connection import Database
from .silence import Standstill

NO_PROGRESS = 120.0  # seconds; for children that no section of deploy.yml says it of


def child_name(database: Database, step: str) -> str:
    """Return an application_name that the sessions of one child have, and no others."""
    return f"windlass/{database.deployment_id}/{step}/{secrets.token_hex(3)}"


def judged(database: Database, name: str, limit: float = NO_PROGRESS) -> Judge:
    """Return what judges a child by its sessions.

    Args:
        database: as the child connects.
        name: its sessions' application_name, which no other session has.
        limit: seconds in which no byte moves and the server does nothing for it either.

    """
    return _Looking(database, name, limit)


@dataclass
class _Looking:
    database: Database
    name: str
    limit: float
    standstill: Standstill = field(default_factory=Standstill)
    next_question: float = 0.0  # seconds of stillness

    def __call__(self, still: Stillness) -> str:
        first = silence.first_look(self.limit)
        if still.seconds < first:
            self.standstill, self.next_question = Standstill(), first
            return ""
        if still.seconds >= self.next_question:
            seen = self.database.seen(self.name)
            self.standstill = self.standstill.after(seen, seconds=still.seconds)
            self.next_question = still.seconds + min(silence.ASK_EVERY, self.limit / 3)
        why = self.standstill.reason(seconds=still.seconds, limit=self.limit)
        return f"{_heard(still)}, and {why}" if why else ""


def _heard(still: Stillness) -> str:
    last = f"{still.last:%Y-%m-%d %H:%M:%S} UTC"
    before = f"the last of {still.total} bytes at {last}" if still.total else f"begun at {last}"
    return f"nothing moved for {still.seconds:.0f} s ({before})"
