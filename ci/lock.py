"""The deployment lock: a session advisory lock of the target database, taken by polling.

Never waited for inside pg_advisory_lock: a waiter holds a snapshot, the holder's CREATE INDEX
CONCURRENTLY waits for that snapshot, and the server kills one of the two.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from ci.database import Database
from ci.errors import LockHeld, StepFailed

# 64 bits of a name: the same on every machine, and nobody else's by chance.
KEY = int.from_bytes(hashlib.sha256(b"windlass deployment lock").digest()[:8], "big", signed=True)

TRY = "select pg_catalog.pg_try_advisory_lock(%s)"
STILL_OURS = """
    select exists (
        select from pg_catalog.pg_locks
        where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() and granted
          and ((classid::bigint << 32) | objid::bigint) = %s and objsubid = 1)
"""
HOLDER = """
    select a.application_name, coalesce(a.client_addr::text, 'a local socket'),
           extract(epoch from pg_catalog.now() - a.backend_start)::int, a.pid
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and ((l.classid::bigint << 32) | l.objid::bigint) = %s
      and l.database = (select oid from pg_catalog.pg_database
                        where datname = pg_catalog.current_database())
"""
LONGEST_PAUSE = 2.0  # seconds between two tries


@dataclass(frozen=True)
class Held:
    """The lock, while we hold it."""

    connection: psycopg.Connection

    def require(self) -> None:
        """Raise unless the lock is still ours; asked before every step that changes anything."""
        try:
            row = self.connection.execute(STILL_OURS, (KEY,)).fetchone()
        except psycopg.Error as error:
            raise _lost() from error
        if row is None or not row[0]:
            raise _lost()


def _lost() -> StepFailed:
    return StepFailed(
        "the deployment lock was lost: its connection to the database is gone",
        state="nothing more was started; what ran before stands in the journal",
        next_step="look at invoke status, and deploy again",
    )


@contextmanager
def hold(
    database: Database,
    *,
    wait: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Held]:
    """Hold the lock inside the block; it falls with the connection, also after kill -9.

    `wait` is in seconds. `on_wait` is told once who holds it.

    Raises:
        LockHeld: another deployment held it all the time.

    """
    deadline = time.monotonic() + wait
    pause, told = 0.05, False
    with database.connect("lock") as connection:
        while not _try(connection):
            holder = who(connection)
            if time.monotonic() >= deadline:
                raise LockHeld(
                    f"another deployment holds the lock: {holder}",
                    next_step="wait until it is done; a dead one's lock falls within a minute",
                )
            if not told:
                on_wait(holder)
                told = True
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # jitter
            pause = min(pause * 2, LONGEST_PAUSE)
        yield Held(connection)


def _try(connection: psycopg.Connection) -> bool:
    row = connection.execute(TRY, (KEY,)).fetchone()
    return bool(row and row[0])


def who(connection: psycopg.Connection) -> str:
    """Return who holds the lock, since when and from where; empty when nobody does."""
    row = connection.execute(HOLDER, (KEY,)).fetchone()
    if row is None:
        return ""
    name, address, seconds, pid = row
    return f"{name} from {address}, for {seconds} s, pid {pid}"
