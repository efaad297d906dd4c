"""The deployment lock behind a pooler: a row with a heartbeat and an expiry.

A session lock would stay with the server's session, which the pooler gives to another client.
"""

import secrets
import threading
import time
from contextlib import ExitStack

import psycopg

from ..errors import WindlassError
from . import own_tables, trusted
from .connection import Database
from .holder import Holder

LASTS = 30  # seconds; goose's table locker has the same two numbers
BEAT = 5.0  # seconds
MARGIN = 5.0  # seconds before the expiry at which we count it as lost

TAKE = """
    insert into windlass.lease as l (name, token, holder, address, acquired_at, expires_at)
    values ('deployment', %(token)s, %(holder)s,
            coalesce(pg_catalog.inet_client_addr()::text, 'a local socket'),
            pg_catalog.now(), pg_catalog.now() + pg_catalog.make_interval(secs => %(lasts)s))
    on conflict (name) do update set token = excluded.token, holder = excluded.holder,
        address = excluded.address, acquired_at = excluded.acquired_at,
        expires_at = excluded.expires_at
    where l.expires_at < pg_catalog.now()
    returning token
"""
PROLONG = """
    update windlass.lease
    set expires_at = pg_catalog.now() + pg_catalog.make_interval(secs => %(lasts)s)
    where name = 'deployment' and token = %(token)s and expires_at > pg_catalog.now()
"""
GIVE_BACK = "delete from windlass.lease where name = 'deployment' and token = %(token)s"
HOLDER = """
    select holder, address, extract(epoch from pg_catalog.now() - acquired_at)::int,
           extract(epoch from pg_catalog.now() - expires_at)::float8 + %(lasts)s
    from windlass.lease where expires_at > pg_catalog.now()
"""


def holder(connection: psycopg.Connection) -> Holder | None:
    """Return who holds a lease; None where no one does."""
    if not trusted.exists(connection, "lease"):
        return None
    row = connection.execute(HOLDER, {"lasts": LASTS}).fetchone()
    if row is None:
        return None
    name, address, seconds, heard = row
    return Holder(name=name, address=address, seconds=seconds, heard=heard, lasts=LASTS)


class Lease:
    """A lease of ours; `take` until it is True, then `start` the heartbeat."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.token = secrets.token_hex(16)
        self._values = {
            "token": self.token,
            "lasts": LASTS,
            "holder": f"windlass/{database.deployment_id}/lock",
        }
        self._proven = 0.0  # monotonic, from before the statement that proved it
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def take(self, connection: psycopg.Connection) -> bool:
        """Take the lease where no one has a valid one."""
        own_tables.ensure_lease(connection)
        before = time.monotonic()
        row = connection.execute(TAKE, self._values).fetchone()
        self._proven = before
        return row is not None

    def start(self) -> None:
        """Begin to prolong it."""
        self._thread.start()

    def is_ours(self) -> bool:
        """Tell whether no other run can have it yet. Asks no server: the heartbeat does."""
        return not self._lost and time.monotonic() - self._proven < LASTS - MARGIN

    def give_back(self, connection: psycopg.Connection) -> None:
        """Stop the heartbeat and take the row away."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        connection.execute(GIVE_BACK, self._values)

    def _beat(self) -> None:
        with ExitStack() as stack:
            connection: psycopg.Connection | None = None
            while not self._over.wait(BEAT):
                before = time.monotonic()
                try:
                    if connection is None or connection.closed:
                        connection = stack.enter_context(self.database.connect("lease"))
                    changed = connection.execute(PROLONG, self._values).rowcount
                except (psycopg.Error, WindlassError):
                    continue  # until it is too old: `is_ours` looks at the clock
                if changed != 1:
                    self._lost = True
                    return
                self._proven = before
