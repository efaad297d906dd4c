"""The deployment lock: in the target database, so that it knows every machine.

On a direct connection a session advisory lock, taken by polling and never waited for inside
pg_advisory_lock: a waiter holds a snapshot, the holder's CREATE INDEX CONCURRENTLY waits for that
snapshot, and the server kills one of the two. Behind a pooler, which is detected, a lease. Each
kind looks for the other after it has been taken, so that of two at once at least one steps back.
"""

import hashlib
import random
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import psycopg

from ..errors import LockHeld, StepFailed
from . import lease, own_tables
from .connection import Database, is_pooled

# 64 bits of a name: the same on every machine, and no other lock's by chance.
KEY = int.from_bytes(hashlib.sha256(b"windlass deployment lock").digest()[:8], "big", signed=True)

TRY = "select pg_catalog.pg_try_advisory_lock(%s)"
LET_GO = "select pg_catalog.pg_advisory_unlock(%s)"
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
ASK_EVERY = 1.0  # seconds; in between a cut line is seen without asking


class HeldLock(Protocol):
    """The lock, while we hold it."""

    def require(self) -> None:
        """Raise unless the lock is still ours; asked before every step that changes anything."""
        ...

    def guard(self) -> None:
        """Raise where it is known to be lost; asked before every statement, and costs nothing."""
        ...


class _Advisory:
    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self._asked = time.monotonic()
        self._line = select.poll()
        self._line.register(connection.fileno(), select.POLLIN)

    def require(self) -> None:
        self._asked = time.monotonic()
        try:
            row = self.connection.execute(STILL_OURS, (KEY,)).fetchone()
        except psycopg.Error as error:
            raise _lost("its connection to the database is gone") from error
        if row is None or not row[0]:
            raise _lost("its session does not hold it any more")

    def guard(self) -> None:
        # A server that ends a session writes to it, and a closed line can be read from.
        if self._line.poll(0) or time.monotonic() - self._asked > ASK_EVERY:
            self.require()


class _Leased:
    def __init__(self, lease_: lease.Lease) -> None:
        self.lease = lease_

    def require(self) -> None:
        if not self.lease.is_ours():
            raise _lost("its lease could not be prolonged, or is another's")

    def guard(self) -> None:
        self.require()


def _lost(why: str) -> StepFailed:
    return StepFailed(
        f"the deployment lock was lost: {why}",
        state="nothing more was started; the journal records what ran before",
        next_step="look at the server and the network, and start again",
    )


@contextmanager
def hold(
    database: Database,
    *,
    wait: float,
    on_wait: Callable[[str], None] = lambda _: None,
    extra_locks: tuple[int, ...] = (),
) -> Iterator[HeldLock]:
    """Hold the lock inside the block; it falls with the connection, also after kill -9.

    A lease falls half a minute after its last heartbeat. `wait` is in seconds. `on_wait` is told
    once who holds it. `extra_locks` are advisory locks of the engine's own tool, so that this
    waits; behind a pooler, which would leak them, they are not taken.

    Raises:
        LockHeld: another deployment held it all the time.
        Refused: a newer Windlass has changed our tables; how it locks is not known here.

    """
    with database.connect("lock") as connection:
        own_tables.require_known(connection)
        if not is_pooled(connection):
            keys = (KEY, *extra_locks)
            _poll(connection, lambda: _take_advisory(connection, keys), wait, on_wait, keys)
            yield _Advisory(connection)
            return
        ours = lease.Lease(database)
        _poll(connection, lambda: _take_lease(connection, ours), wait, on_wait)
        ours.start()
        try:
            yield _Leased(ours)
        finally:
            with suppress(psycopg.Error):  # it expires; what happened in the block matters more
                ours.give_back(connection)


def _poll(
    connection: psycopg.Connection,
    take: Callable[[], bool],
    wait: float,
    on_wait: Callable[[str], None],
    keys: tuple[int, ...] = (KEY,),
) -> None:
    deadline = time.monotonic() + wait
    pause, notified = 0.02, False
    while not take():
        holder = _holder(connection, keys) or "a deployment that is about to release it"
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"another deployment holds the lock: {holder}",
                next_step="wait until it is done; the lock of a dead one falls within a minute",
            )
        if not notified:
            on_wait(holder)
            notified = True
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # jitter
        pause = min(pause * 2, LONGEST_PAUSE)


def _take_advisory(connection: psycopg.Connection, keys: tuple[int, ...]) -> bool:
    taken = []
    for key in keys:
        row = connection.execute(TRY, (key,)).fetchone()
        if not (row and row[0]):
            break
        taken.append(key)
    if len(taken) == len(keys) and not lease.who(connection):
        return True
    for key in taken:
        connection.execute(LET_GO, (key,))
    return False


def _holder(connection: psycopg.Connection, keys: tuple[int, ...]) -> str:
    """Return who holds one of the locks; empty when no one does."""
    for key in keys:
        row = connection.execute(HOLDER, (key,)).fetchone()
        if row is not None:
            name, address, seconds, pid = row
            return f"{name or 'somebody'} from {address}, for {seconds} s, pid {pid}"
    return lease.who(connection)


def _take_lease(connection: psycopg.Connection, ours: lease.Lease) -> bool:
    if not ours.take(connection):
        return False
    if connection.execute(HOLDER, (KEY,)).fetchone() is not None:
        ours.give_back(connection)
        return False
    return True


def who(connection: psycopg.Connection) -> str:
    """Return who holds the lock, since when and from where; empty when no one does."""
    return _holder(connection, (KEY,))
