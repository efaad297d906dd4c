"""Put a restored database in the live database's place: two renames in one transaction.

The old one is kept under a dated name until somebody drops it.

Nothing is left that a later run would have to repair. A rename locks its database against new
sessions, and waits for five seconds until those that are there have gone: that lock is the door.
All statements go to the server in one message, so that no end of ours can leave it closed.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ..database.connection import Database
from ..database.create import named
from ..database.errors import asking, one_value, translated
from ..database.sessions import remedy, sessions_text, unendable
from ..errors import UNCHANGED, StepFailed, Unreachable, changed
from . import dress, names

# What became of a swap that did not end well.
End = Literal["swapped", "unchanged", "gone", "unknown"]
WITHIN = 30.0  # seconds in which the sessions of both databases must be gone
PAUSE = 0.2  # seconds between two looks at sessions that we may not end
LOOK_EVERY = 0.02  # seconds, while the server waits for the sessions to go
ENDS_WITHIN = 15.0  # seconds; the server waits for 5 s at each of the two renames
DOOR_WITHIN = "2s"  # for the lock of a database: a new session waits behind who waits for it
CANCEL_WITHIN = 5.0  # seconds
MAINTENANCE = ("postgres", "template1")  # to connect to while the two are renamed
SESSIONS = """
select pid, coalesce(application_name, '') from pg_catalog.pg_stat_activity
where datname = any(%s) and backend_type is distinct from 'autovacuum worker'
"""
END_SESSION = "select pg_catalog.pg_terminate_backend(%s)"
# Whether no new session can come into the live database any more.
CLOSED = """
select exists (
    select from pg_catalog.pg_locks l join pg_catalog.pg_database d on d.oid = l.objid
    where l.locktype = 'object' and l.granted and l.mode = 'AccessExclusiveLock'
      and l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
      and d.datname = %s and l.pid = %s)
"""
OIDS = "select datname, oid::bigint from pg_catalog.pg_database where datname = any(%s)"
RUNS = """
select exists (select from pg_catalog.pg_stat_activity where application_name = %s
    and pid <> pg_catalog.pg_backend_pid())
"""
OLD_ONES = """
select datname, pg_catalog.pg_database_size(oid) from pg_catalog.pg_database
where pg_catalog.left(datname, pg_catalog.length(%(name)s)) = %(name)s order by 1
"""
CHANGED = """
select schemaname || '.' || relname, n_live_tup from pg_catalog.pg_stat_user_tables
where schemaname <> 'windlass' order by 1
"""


def swap_databases(
    live: Database, restored: str, old: str = "", again: str = "", anew: str = ""
) -> str:
    """Rename the live database away and the restored one into its place; return the old one's name.

    The restored one gets the live database's owner, limit, comment, grants and settings. Sessions
    are ended; our own that holds the deployment lock as the last one, when nobody else can come.

    Args:
        live: the live database.
        restored: the name of the other one, on the same server.
        old: the name that the live one gets; empty: one with this moment in it.
        again: the command that swaps them, for an error; empty: that of this task alone.
        anew: the command that restores anew, where the restored one is there no more.

    Raises:
        StepFailed: sessions or prepared transactions stayed for 30 s, or the server failed. It
            says which database has the live name.

    """
    aside = old or names.kept_name(live.name, datetime.now(UTC))
    again = again or f"invoke restore --swap {restored}"
    with asking(_words("unchanged", live.name, restored), next_step=again):
        server = _maintenance(live)
        oid = _oids(server, live.name, restored).get(restored, 0)
    try:
        with server.connect("swap") as door, server.connect("swap-sessions") as keeper:
            _Swap(live, restored, aside, again, door, keeper).run()
    except (psycopg.Error, StepFailed, KeyboardInterrupt) as error:
        end = _end(server, live.name, restored, oid)
        if end == "swapped":  # the line was cut, or somebody stopped us, when it was done
            return aside
        again = (anew or "invoke restore") if end == "gone" else again
        raise _with_state(error, _words(end, live.name, restored), again) from error
    return aside


def _words(end: End, live: str, restored: str) -> str:
    """Say what became of a swap that did not end well."""
    match end:
        case "unchanged":
            return f"nothing was renamed: {live} is as it was, {restored} holds the backup"
        case "gone":  # a standby took over that lacked the last transactions
            return (
                f"nothing was renamed: {live} is as it was, and the server that answers now has "
                f"no {restored}"
            )
        case _:
            return f"not known: the server does not say whether {restored} is {live} now"


def _with_state(error: BaseException, state: str, again: str) -> BaseException:
    if isinstance(error, StepFailed):
        return changed(error, state=state)
    if isinstance(error, psycopg.Error):
        return translated(error, state, again)
    return error


def _maintenance(live: Database) -> Database:
    """Return a database of the same server that is not renamed, and lets us in."""
    *first, last = (name for name in MAINTENANCE if name != live.name)
    for name in first:
        other = named(live, name)
        with suppress(Unreachable), other.connect("swap-look"):
            return other
    return named(live, last)


def _oids(server: Database, *wanted: str) -> dict[str, int]:
    with server.connect("swap-look") as connection:
        return dict(connection.execute(OIDS, (list(wanted),)).fetchall())


def _end(server: Database, live: str, restored: str, oid: int) -> End:
    """Return what became of the restored database, whose oid is given.

    What was sent may still run: a server does not see at once that its client has gone.
    """
    deadline = time.monotonic() + ENDS_WITHIN
    name = f"windlass/{server.deployment_id}/swap"
    while True:
        with suppress(Unreachable, psycopg.Error), server.connect("swap-look") as connection:
            running = connection.execute(RUNS, (name,)).fetchone()
            if running is not None and not running[0]:
                oids = dict(connection.execute(OIDS, ([live, restored],)).fetchall())
                if oids.get(live) == oid:
                    return "swapped"
                return "unchanged" if oids.get(restored) == oid else "gone"
        if time.monotonic() > deadline:
            return "unknown"
        time.sleep(PAUSE)


@dataclass
class _Swap:
    """One swap, while it runs: the door renames, the keeper ends sessions meanwhile."""

    live: Database
    restored: str
    old: str
    again: str
    door: psycopg.Connection
    keeper: psycopg.Connection
    deadline: float = field(default_factory=lambda: time.monotonic() + WITHIN)

    def run(self) -> None:
        """Try until the deadline; each try is one transaction."""
        order = self._order()
        while True:
            self._wait_for_unendable()
            try:
                self._attempt(order)
            except (pg.ObjectInUse, pg.LockNotAvailable) as error:
                if time.monotonic() > self.deadline:
                    raise self._stayed(error) from error
            else:
                return

    def _order(self) -> bytes:
        """Return every statement in one text: one message, and so one transaction."""
        rename = sql.SQL("alter database {} rename to {}").format
        name, restored = sql.Identifier(self.live.name), sql.Identifier(self.restored)
        texts = (
            sql.SQL("set local lock_timeout = {}").format(sql.Literal(DOOR_WITHIN)),
            *dress.statements(self.keeper, self.live.name, self.restored),
            rename(name, sql.Identifier(self.old)),
            rename(restored, name),
        )
        return sql.SQL("; ").join(texts).as_bytes(self.door)

    def _attempt(self, order: bytes) -> None:
        pid = one_value(self.door, "select pg_catalog.pg_backend_pid()")
        with ThreadPoolExecutor(1) as pool:
            renaming = pool.submit(self.door.execute, order)
            try:
                self._end_sessions(renaming, pid)
            except BaseException:
                with suppress(psycopg.Error):
                    self.door.cancel_safe(timeout=CANCEL_WITHIN)
                raise
            renaming.result()

    def _end_sessions(self, renaming: "Future[psycopg.Cursor[Any]]", pid: object) -> None:
        """End the sessions of both databases once the door is closed; that of our lock last."""
        ours = f"windlass/{self.live.deployment_id}/lock"
        both = [self.live.name, self.restored]
        while not renaming.done():
            closed = self.keeper.execute(CLOSED, (self.live.name, pid)).fetchone()
            if closed is not None and closed[0]:
                sessions = self.keeper.execute(SESSIONS, (both,)).fetchall()
                others = [number for number, name in sessions if name != ours]
                with suppress(pg.InsufficientPrivilege):  # told of before the next try
                    for number in others or [number for number, _ in sessions]:
                        self.keeper.execute(END_SESSION, (number,))
            time.sleep(LOOK_EVERY)

    def _wait_for_unendable(self) -> None:
        """Wait for the sessions that our role may not end, with the door open."""
        while others := unendable(self.keeper, (self.live.name, self.restored)):
            if time.monotonic() > self.deadline:
                user = str(one_value(self.keeper, "select current_user::text"))
                raise StepFailed(
                    f"{user} may not end the sessions of {sessions_text(others)}, which stayed "
                    f"for {WITHIN:.0f} s",
                    state="",
                    next_step=f"{remedy(others, user)}, then swap again: {self.again}",
                )
            time.sleep(PAUSE)

    def _stayed(self, error: psycopg.Error) -> StepFailed:
        return StepFailed(
            f"{self.live.name} was in use for {WITHIN:.0f} s: "
            f"{error.diag.message_detail or error.diag.message_primary or error}",
            state="",
            next_step="end what uses it (pg_stat_activity, pg_prepared_xacts), then swap again: "
            f"{self.again}",
        )


def kept(live: Database) -> tuple[tuple[str, int], ...]:
    """Return the old databases that restores have kept of the live database, and their bytes."""
    start = names.kept_prefix(live.name)
    with asking(UNCHANGED), live.connect("restore") as connection:
        rows = connection.execute(OLD_ONES, {"name": start}).fetchall()
    return tuple((name, size) for name, size in rows if names.is_kept(live.name, name))


def rows_now(live: Database) -> dict[str, int]:
    """Return about how many rows each table has now, by the server's statistics."""

    def read(connection: psycopg.Connection) -> dict[str, int]:
        return dict(connection.execute(CHANGED).fetchall())

    return live.read("restore", read)
