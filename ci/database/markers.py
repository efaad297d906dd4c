"""What a run does outside a transaction, announced before it happens and cleared when it is over.

A marker without its run is what a killed run left: the sweep under the deployment lock reads the
markers and ends, or takes back, what each one names.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psycopg

from . import trusted
from .connection import Database

ANNOUNCE = """
    insert into windlass.marker (id, kind, deployment_id, detail) values (%s, %s, %s, %s::jsonb)
"""
CLEAR = "delete from windlass.marker where id = %s"
ALL = "select id, kind, deployment_id, at, detail::text from windlass.marker order by at, id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """An effect outside a transaction: its kind, whose it is, and what undoes or proves it."""

    id: str
    kind: str
    deployment: str
    at: datetime  # the server's clock
    detail: dict[str, str]

    def get(self, name: str) -> str:
        """Return a part of the detail; empty where there is none."""
        return self.detail.get(name, "")


def announce(database: Database, kind: str, detail: dict[str, str]) -> str:
    """Record an effect before it happens, and return the id that clears it. Committed at once.

    The caller has brought the tables up to date, and holds the deployment lock.
    """
    key = secrets.token_hex(8)
    text = msgspec.json.encode(detail).decode()
    with database.session("marker") as connection:
        connection.execute(ANNOUNCE, (key, kind, database.deployment_id, text))
    return key


def clear(database: Database, key: str) -> None:
    """Record that an effect is over; one that was cleared before is no error."""
    with database.session("marker") as connection:
        connection.execute(CLEAR, (key,))


def read(connection: psycopg.Connection) -> tuple[Marker, ...]:
    """Return every marker, the oldest first; none where nothing was ever deployed."""
    if not trusted.exists(connection, "marker"):
        return ()
    rows = connection.execute(ALL).fetchall()
    return tuple(
        Marker(
            id=key,
            kind=kind,
            deployment=deployment,
            at=at,
            detail=msgspec.json.decode(detail, type=dict[str, str]),
        )
        for key, kind, deployment, at, detail in rows
    )
