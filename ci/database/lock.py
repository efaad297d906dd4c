"""The deployment lock: in the target database, so that it knows every machine.

On a direct connection a session advisory lock, taken by polling and never waited for inside
pg_advisory_lock: a waiter holds a snapshot, the holder's CREATE INDEX CONCURRENTLY waits for that
snapshot, and the server kills one of the two. Behind a pooler, which is detected, a lease. Each
kind looks for the other after it has been taken, so that of two at once at least one steps back.
"""

import hashlib
import random
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import psycopg

from ..errors import LockHeld, Refused, StepFailed, Unreachable, WindlassError, changed
from . import holder, lease, own_tables, trusted
from .connection import CONNECT_WITHIN, GONE_AFTER, Database, is_pooled
from .holder import Holder
from .pinned import within

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
    select coalesce(a.application_name, ''),
           case when a.backend_start is not null
                then coalesce(a.client_addr::text, 'a local socket') end,
           extract(epoch from pg_catalog.now() - a.backend_start)::int, a.pid,
           extract(epoch from pg_catalog.clock_timestamp() - a.state_change)::float8
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and ((l.classid::bigint << 32) | l.objid::bigint) = %s
      and l.database = (select oid from pg_catalog.pg_database
                        where datname = pg_catalog.current_database())
"""
STEP = """
    select step, result is null from windlass.step where deployment_id = %s
    order by ordinal desc limit 1
"""
# Only of our own login: a number may have been given to another session since.
END_OURS = """
    select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
    where pid = %s and usename = %s and application_name like 'windlass/%%/lock'
"""
SOON = "a deployment that is about to release it"
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

    def renew_if(self, unchanged: Callable[[], None]) -> None:
        """From now on take a lock that was lost again; `unchanged` raises where others ran."""
        ...


@dataclass
class _Renewing:
    """What both kinds share: a lock that was lost is taken again, where nobody ran meanwhile."""

    database: Database
    on_wait: Callable[[str], None]
    wait: float
    stack: ExitStack
    _unchanged: Callable[[], None] | None = field(default=None, init=False)
    _gone: StepFailed | None = field(default=None, init=False)
    _one_at_a_time: threading.RLock = field(default_factory=threading.RLock, init=False)

    def renew_if(self, unchanged: Callable[[], None]) -> None:
        """From now on take a lock that was lost again; `unchanged` raises where others ran."""
        self._unchanged = unchanged

    def require(self) -> None:
        """Raise unless the lock is ours, or is so again and nobody ran meanwhile."""
        with self._one_at_a_time:
            if self._gone is not None:
                raise changed(self._gone)
            try:
                why, cause = self._lost()
                if why:
                    self._renew(why, cause)
            except StepFailed as error:
                self._gone = error
                raise

    def _renew(self, why: str, cause: psycopg.Error | None) -> None:
        if self._unchanged is None or not self.database.patience.armed:
            raise _lost(why) from cause
        self.database.patience.note(f"the deployment lock was lost, because {why}: taking it again")
        try:
            self._take_again()
        except (psycopg.Error, Unreachable, Refused) as error:
            raise _lost(f"{why}, and it could not be taken again: {_first_line(error)}") from error
        self._unchanged()

    def _lost(self) -> tuple[str, psycopg.Error | None]:
        raise NotImplementedError

    def _take_again(self) -> None:
        raise NotImplementedError


@dataclass
class _Advisory(_Renewing):
    connection: psycopg.Connection
    keys: tuple[int, ...]

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._look_at_the_line()
        self.stack.callback(self._over.set)
        threading.Thread(target=self._beat, daemon=True, name="says that we hold it").start()

    def guard(self) -> None:
        # A server that ends a session writes to it, and a closed line can be read from.
        if self._line.poll(0) or time.monotonic() - self._asked > ASK_EVERY:
            self.require()

    def _look_at_the_line(self) -> None:
        self._asked = time.monotonic()
        self._line = select.poll()
        self._line.register(self.connection.fileno(), select.POLLIN)

    def _lost(self) -> tuple[str, psycopg.Error | None]:
        self._asked = time.monotonic()
        try:
            with within(self.connection, CONNECT_WITHIN):
                row = self.connection.execute(STILL_OURS, (KEY,)).fetchone()
        except psycopg.Error as error:
            return "its connection to the database is gone", error
        return "" if row and row[0] else "its session does not hold it any more", None

    def _take_again(self) -> None:
        before = self.connection
        before.close()
        connection = self.stack.enter_context(self.database.connect("lock"))
        with suppress(psycopg.Error):  # where only our line was cut, it would hold on
            connection.execute(END_OURS, (before.info.backend_pid, before.info.user))
        take = _taking(connection, self.keys)
        _poll(connection, take, self.wait, self.on_wait, self.keys)
        self.connection = connection
        self._look_at_the_line()

    def _beat(self) -> None:
        """Say a word now and then, so that others see us at work."""
        while not self._over.wait(holder.BEAT):
            if self._one_at_a_time.acquire(blocking=False):
                try:
                    with suppress(psycopg.Error):  # who holds the lock finds out by asking
                        self.connection.execute("select 1")
                finally:
                    self._one_at_a_time.release()


@dataclass
class _Leased(_Renewing):
    lease: lease.Lease

    def guard(self) -> None:
        self.require()

    def _lost(self) -> tuple[str, psycopg.Error | None]:
        ours = self.lease.is_ours()
        return "" if ours else "its lease could not be prolonged, or is another's", None

    def _take_again(self) -> None:
        again = lease.Lease(self.database)
        with self.database.connect("lock") as connection:
            _poll(connection, lambda: _take_lease(connection, again), self.wait, self.on_wait)
        again.start()
        self.lease = again


def _first_line(error: Exception) -> str:
    text = error.what if isinstance(error, WindlassError) else str(error)
    return " ".join(text.split())


def _lost(why: str) -> StepFailed:
    return StepFailed(
        f"the deployment lock was lost: {why}",
        state="nothing more was started",
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
    with ExitStack() as stack:
        connection = stack.enter_context(database.connect("lock"))
        own_tables.require_known(connection)
        if not is_pooled(connection):
            keys = (KEY, *extra_locks)
            _poll(connection, _taking(connection, keys), wait, on_wait, keys)
            yield _Advisory(database, on_wait, wait, stack, connection, keys)
            return
        ours = lease.Lease(database)
        _poll(connection, lambda: _take_lease(connection, ours), wait, on_wait)
        ours.start()
        held = _Leased(database, on_wait, wait, stack, ours)
        try:
            yield held
        finally:
            _give_back(database, connection, held.lease)


def _give_back(database: Database, connection: psycopg.Connection, ours: lease.Lease) -> None:
    """Take the lease away; where that fails it expires: what happened before matters more."""
    with suppress(psycopg.Error, Unreachable), ExitStack() as stack:
        usable = connection
        if connection.closed:
            usable = stack.enter_context(database.connect("lock"))
        ours.give_back(usable)


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
        if time.monotonic() >= deadline:
            raise _held(connection, keys)
        if not notified:
            on_wait(_who(connection, keys) or SOON)
            notified = True
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # jitter
        pause = min(pause * 2, LONGEST_PAUSE)


def _held(connection: psycopg.Connection, keys: tuple[int, ...]) -> LockHeld:
    seen = _holder(connection, keys)
    return LockHeld(
        f"another deployment holds the lock: {seen.text() if seen else SOON}",
        next_step=seen.next_step(GONE_AFTER) if seen else "the same command again",
    )


def _taking(connection: psycopg.Connection, keys: tuple[int, ...]) -> Callable[[], bool]:
    return lambda: _take_advisory(connection, keys)


def _take_advisory(connection: psycopg.Connection, keys: tuple[int, ...]) -> bool:
    taken = []
    for key in keys:
        row = connection.execute(TRY, (key,)).fetchone()
        if not (row and row[0]):
            break
        taken.append(key)
    if len(taken) == len(keys) and lease.holder(connection) is None:
        return True
    for key in taken:
        connection.execute(LET_GO, (key,))
    return False


def _holder(connection: psycopg.Connection, keys: tuple[int, ...]) -> Holder | None:
    """Return who holds one of the locks; None when no one does."""
    for key in keys:
        row = connection.execute(HOLDER, (key,)).fetchone()
        if row is not None:
            name, address, seconds, pid, heard = row
            step = _step(connection, name)
            return Holder(
                name=name, address=address, seconds=seconds, pid=pid, heard=heard, step=step
            )
    return lease.holder(connection)


def _step(connection: psycopg.Connection, name: str) -> str:
    """Return what the journal has last of the deployment whose session has this name."""
    deployment = name.split("/")[1] if name.startswith("windlass/") else ""
    try:
        if not deployment or not trusted.exists(connection, "step"):
            return ""
    except Refused:  # a table that is not to be believed is not read
        return ""
    row = connection.execute(STEP, (deployment,)).fetchone()
    if row is None:
        return ""
    return f"at its step {row[0]}" if row[1] else f"its step {row[0]} has ended"


def _take_lease(connection: psycopg.Connection, ours: lease.Lease) -> bool:
    if not ours.take(connection):
        return False
    if connection.execute(HOLDER, (KEY,)).fetchone() is not None:
        ours.give_back(connection)
        return False
    return True


def _who(connection: psycopg.Connection, keys: tuple[int, ...]) -> str:
    seen = _holder(connection, keys)
    return seen.text() if seen is not None else ""


def who(connection: psycopg.Connection) -> str:
    """Return who holds the lock, since when and from where; empty when no one does."""
    return _who(connection, (KEY,))
