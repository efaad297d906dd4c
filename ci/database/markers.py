"""What a run does outside a transaction, announced before it happens and cleared when it is over.

A marker without its run is what a killed run left: the sweep under the deployment lock reads the
markers and ends, or takes back, what each one names.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psycopg

from . import trusted
from .connection import Database, is_pooled

ANNOUNCE = """
    insert into windlass.marker (id, kind, deployment_id, detail) values (%s, %s, %s, %s::jsonb)
"""
CLEAR = "delete from windlass.marker where id = %s"
# Held in a session of its own while the run lives: every role sees who holds a lock.
HOLD = "select pg_catalog.pg_try_advisory_lock(%s)"
HELD = """
    select (classid::bigint << 32) | objid::bigint from pg_catalog.pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
      and database = (select oid from pg_catalog.pg_database
                      where datname = pg_catalog.current_database())
"""
ALL = "select id, kind, deployment_id, at, detail::text from windlass.marker order by at, id"


class NotAnnounced(Exception):
    """An effect cannot be announced in this database; the words say why."""


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
    with database.session("marker") as connection:
        return insert(connection, kind, database.deployment_id, detail)


def insert(
    connection: psycopg.Connection,
    kind: str,
    deployment: str,
    detail: dict[str, str],
    *,
    key: str = "",
) -> str:
    """Record an effect in a transaction of the caller's, and return the id that clears it."""
    key = key or secrets.token_hex(8)
    text = msgspec.json.encode(detail).decode()
    connection.execute(ANNOUNCE, (key, kind, deployment, text))
    return key


@contextmanager
def announced(database: Database, kind: str, detail: dict[str, str]) -> Iterator[str]:
    """Announce an effect and hold, inside the block, what tells that its run lives (`alive`).

    For what happens without the deployment lock too. The marker stays: clear it when it is over.

    Raises:
        NotAnnounced: the table is not there, is not ours to write, or behind a pooler.

    """
    with database.connect("marker") as connection:
        if is_pooled(connection):
            raise NotAnnounced("the address is a pooler's")
        if not trusted.exists(connection, "marker"):
            raise NotAnnounced("the tables of Windlass are of an older version")
        key = secrets.token_hex(8)
        connection.execute(HOLD, (_number(key),))  # before anybody can read it
        try:
            insert(connection, kind, database.deployment_id, detail, key=key)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as why:
            raise NotAnnounced(why.diag.message_primary or "it may not be written") from why
        yield key


@contextmanager
def held(database: Database, key: str) -> Iterator[None]:
    """Hold inside the block what tells that the run of a marker lives, which is there already."""
    with database.connect("marker") as connection:
        connection.execute(HOLD, (_number(key),))
        yield


def alive(connection: psycopg.Connection, keys: tuple[str, ...]) -> frozenset[str]:
    """Return which of these markers are of runs that live."""
    held = {row[0] for row in connection.execute(HELD).fetchall()}
    return frozenset(key for key in keys if _number(key) in held)


def _number(key: str) -> int:
    """Return a marker's id as the key of an advisory lock."""
    return int.from_bytes(bytes.fromhex(key), "big", signed=True)


def clear(database: Database, key: str) -> None:
    """Record that an effect is over; one that was cleared before is no error."""
    database.repeat("marker", lambda connection: connection.execute(CLEAR, (key,)))


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
