"""Who blocks us at a table, seen from a second connection.

By transaction, not by session: the virtual transaction id is visible to every role, and tells
whether the transaction that blocked us has ended, although its session lives on.
"""

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

import psycopg

from ..errors import WindlassError
from ..secret import redact
from .connection import Database
from .orphans import AS_LOGIN
from .waits import Awaits, Look, Reason, Tally, counted, overdrawn, reason_to_let_go

WATCH_EVERY = 0.04  # seconds; well under the lowest rung
WAITING_EVERY = 0.015  # seconds, while a lock is waited for: their sum is bounded by a rung
QUERY_SHOWN = 200  # characters
ORPHAN = re.compile(r"windlass/(?P<deployment>[^/]+)/migrate/")

# A holder has what we wait for, or is before us in the queue; number 0 is a prepared
# transaction. A role without rights sees neither state nor age, and tells an autovacuum by its
# missing role.
SIGHT = """
    select b.pid,
           coalesce(held.vxid, (select pg_catalog.min(virtualtransaction) from pg_catalog.pg_locks
                     where coalesce(pid, 0) = b.pid), ''),
           coalesce(a.application_name, ''),
           case when b.pid = 0 then 'prepared transaction' else coalesce(a.state, '') end,
           extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8,
           coalesce(held.modes, 'waits before us'),
           coalesce(a.backend_type = 'autovacuum worker', a.pid is not null and a.usesysid is null),
           coalesce(a.query, ''),
           coalesce(held.relation::pg_catalog.regclass::text, ''), coalesce(held.wanted, ''),
           case when b.pid = 0 or not %(pid)s = any (pg_catalog.pg_blocking_pids(b.pid)) then ''
                when exists (select from pg_catalog.pg_locks r where r.pid = b.pid
                             and not r.granted and r.locktype in ('transactionid', 'tuple'))
                 and exists (select from pg_catalog.pg_locks r where r.pid = %(pid)s
                             and not r.granted and r.locktype = 'relation')
                then 'rows' else 'lock' end
    from (select distinct u.pid
          from pg_catalog.unnest(pg_catalog.pg_blocking_pids(%(pid)s)) u (pid)) b
    left join pg_catalog.pg_stat_activity a on a.pid = b.pid
    left join lateral (
        select pg_catalog.string_agg(distinct h.mode, ', ') as modes,
               pg_catalog.min(w.relation) as relation, pg_catalog.min(w.mode) as wanted,
               pg_catalog.min(h.virtualtransaction) as vxid
        from pg_catalog.pg_locks w join pg_catalog.pg_locks h
          on h.locktype = w.locktype and h.granted
         and (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid::text,
              h.classid, h.objid, h.objsubid)
             is not distinct from
             (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid::text,
              w.classid, w.objid, w.objsubid)
        where w.pid = %(pid)s and not w.granted and coalesce(h.pid, 0) = b.pid
    ) held on true
    order by a.xact_start
"""
# What a transaction has or wants of tables that others see, and that an application waits for. A
# partition is its partitioned table too.
LOOK = """
    select coalesce(pg_catalog.min(l.virtualtransaction), ''),
           coalesce(pg_catalog.bool_or(not l.granted), false),
           coalesce(pg_catalog.array_agg(distinct pg_catalog.format('%%I.%%I', n.nspname,
                                                                    c.relname))
                    filter (where n.nspname <> 'windlass' and n.nspname !~ '^pg_'), '{}')
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_class k on k.oid = l.relation and l.locktype = 'relation'
          and l.mode = any (%(strong)s)
          and l.database = (select d.oid from pg_catalog.pg_database d
                            where d.datname = pg_catalog.current_database())
    left join pg_catalog.pg_index i on i.indexrelid = k.oid
    left join lateral (
        select pg_catalog.unnest(array[coalesce(i.indrelid, k.oid), pg_catalog.pg_partition_root(
            coalesce(i.indrelid, k.oid))]) as oid
    ) t on true
    left join pg_catalog.pg_class c on c.oid = t.oid
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where l.pid = %(pid)s
"""
CANCEL = """
    select pg_catalog.pg_cancel_backend(l.pid) from pg_catalog.pg_locks l
    where l.pid = %s and l.virtualtransaction = %s limit 1
"""
QUEUE = """
    select pg_catalog.count(*) from pg_catalog.pg_stat_activity
    where wait_event_type = 'Lock' and %(pid)s = any (pg_catalog.pg_blocking_pids(pid))
"""
STAYED = """
    select coalesce(pid, 0), virtualtransaction from pg_catalog.pg_locks
    where virtualtransaction = any (%s)
"""
# On the relation that we waited for, older than the rung, with a lock that conflicts with ours.
OLD = """
    select coalesce(l.pid, 0), l.virtualtransaction, coalesce(a.application_name, ''),
           case when l.pid is null then 'prepared transaction' else coalesce(a.state, '') end,
           extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8,
           l.mode, coalesce(a.backend_type = 'autovacuum worker', false), coalesce(a.query, ''),
           %(relation)s, %(wanted)s
    from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid)
    where l.granted and l.relation = pg_catalog.to_regclass(%(relation)s)
      and l.mode = any (%(conflicting)s) and l.pid is distinct from pg_catalog.pg_backend_pid()
      and pg_catalog.clock_timestamp() - a.xact_start > pg_catalog.make_interval(secs => %(age)s)
"""
# Source: PostgreSQL's manual, "Explicit Locking", table of conflicting lock modes.
_SHARED = ("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock")
_STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
CONFLICTING = {
    "AccessShareLock": _STRONG[3:],
    "RowShareLock": _STRONG[2:],
    "RowExclusiveLock": _STRONG,
    "ShareUpdateExclusiveLock": _SHARED[3:] + _STRONG,
    "ShareLock": _SHARED[2:] + _STRONG[1:],
    "ShareRowExclusiveLock": _SHARED[2:] + _STRONG,
    "ExclusiveLock": _SHARED[1:] + _STRONG,
    "AccessExclusiveLock": _SHARED + _STRONG,
}


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction that has, or will have before us, what we wait for."""

    pid: int  # 0: a prepared transaction
    transaction: str  # its virtual transaction id
    application: str
    state: str  # as pg_stat_activity says; empty where our role may not see it
    seconds: float | None  # since it began; None where our role may not see it
    mode: str
    autovacuum: bool
    query: str
    relation: str  # what we waited for; empty where it is no relation
    wanted: str  # the mode in which we waited for it
    awaits: Awaits = ""  # what it waits for, of ours

    @property
    def wraparound(self) -> bool:
        """Whether it is the autovacuum that never gives way."""
        return self.autovacuum and "(to prevent wraparound)" in self.query

    def orphan_of(self, ours: str) -> str:
        """Return the deployment whose killed run left this session behind; empty for others."""
        match = ORPHAN.match(self.application)
        return match["deployment"] if match and match["deployment"] != ours else ""

    def text(self, *, show_queries: bool) -> str:
        """Describe it, in one line; the query only on demand, for it may hold personal data."""
        if self.autovacuum:
            name = "autovacuum to prevent wraparound" if self.wraparound else "autovacuum"
        else:
            name = self.application or "no application_name"
        parts = [name, self.state]
        if self.seconds is not None:
            parts.append(f"transaction {self.seconds:.0f} s old")
        held = (
            f"{self.mode} on {self.relation.removeprefix('public.')}"
            if self.relation
            else self.mode
        )
        parts.append(held)
        if show_queries and self.query:
            parts.append(f"query: {redact(' '.join(self.query.split()))[:QUERY_SHOWN]}")
        return f"pid {self.pid} ({', '.join(part for part in parts if part)})"


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of one wait: who blocked it last, and how many sessions queued behind us."""

    blockers: tuple[Blocker, ...] = ()
    queue: int = 0
    blind: str = ""  # why nothing could be seen


class Lookout:
    """A second connection that looks while the first one waits; opened when it is first needed.

    It never has a transaction open: CREATE INDEX CONCURRENTLY would wait for it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._opened = ExitStack()
        self._connection: psycopg.Connection | None = None

    def connection(self) -> psycopg.Connection:
        """Return the connection; WindlassError or psycopg.Error where there is none to be had."""
        if self._connection is None or self._connection.closed:
            self._opened.close()
            self._connection = self._opened.enter_context(self.database.connect("watch"))
        return self._connection

    def open(self) -> None:
        """Connect now, where that is possible; else the first look says why it is not."""
        with suppress(psycopg.Error, WindlassError):
            self.connection()

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()

    def stayed(self, blockers: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
        """Return those whose transaction has not ended."""
        ids = [blocker.transaction for blocker in blockers]
        rows = self.connection().execute(STAYED, (ids,)).fetchall()
        present = {(pid, transaction) for pid, transaction in rows}
        return tuple(b for b in blockers if (b.pid, b.transaction) in present)

    def old(self, blocker: Blocker, seconds: float) -> tuple[Blocker, ...]:
        """Return the transactions older than this that block what this one blocked."""
        if not blocker.relation:
            return ()
        values = {
            "relation": blocker.relation,
            "wanted": blocker.wanted,
            "age": seconds,
            "conflicting": list(CONFLICTING.get(blocker.wanted, ())),
        }
        rows = self.connection().execute(OLD, values).fetchall()
        return tuple(Blocker(*row) for row in rows)

    def look(self, pid: int) -> Look:
        """Return what a session has and wants now."""
        row = self.connection().execute(LOOK, {"pid": pid, "strong": list(_STRONG)}).fetchone()
        assert row is not None  # noqa: S101  # an aggregate has one row
        return Look(time.monotonic(), row[0], row[1], tuple(row[2]))

    def sight(self, pid: int, before: Sight) -> Sight:
        """Return who blocks a session now; what was seen before where nobody does any more."""
        connection = self.connection()
        rows = connection.execute(SIGHT, {"pid": pid}).fetchall()
        if not rows:
            return before
        row = connection.execute(QUEUE, {"pid": pid}).fetchone()
        return Sight(tuple(Blocker(*row) for row in rows), max(before.queue, row[0] if row else 0))

    def cancel_ours(self, pid: int, transaction: str) -> None:
        """Cancel what a transaction of our own login does; nothing where that is refused or over.

        Behind a pooler the session may be another client's as soon as the transaction has ended.
        """
        connection = self.connection()
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(AS_LOGIN)
            connection.execute(CANCEL, (pid, transaction))

    def cancel(self, blocker: Blocker) -> bool:
        """Cancel its statement; False where our role may not."""
        return self._signal("select pg_catalog.pg_cancel_backend(%s)", blocker)

    def terminate(self, blocker: Blocker) -> bool:
        """End its session; False where our role may not."""
        return self._signal("select pg_catalog.pg_terminate_backend(%s)", blocker)

    def _signal(self, statement: str, blocker: Blocker) -> bool:
        try:
            row = self.connection().execute(statement.encode(), (blocker.pid,)).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return False
        return bool(row and row[0])


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a try may cost others, in seconds: its waits together, and what hot tables have left."""

    rung: float
    left: Mapping[str, float] = field(default_factory=dict)


class Beside(ABC):
    """Looks on from a thread of its own while a block runs."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @abstractmethod
    def _look(self) -> None:
        """Look until `_over` is set."""


class Watch(Beside):
    """Notes who blocks a session and who queues behind it, and cancels what waits for too long.

    armed: whether it cancels; not where a try cannot be repeated, or waits for what blocks nobody.
    tally: what the session has made others wait.
    reason: why it was cancelled; None: it was not.
    table: the hot table whose budget is over, where that is the reason.
    """

    def __init__(self, lookout: Lookout, pid: int, bounds: Bounds) -> None:
        self.lookout, self.pid, self.bounds = lookout, pid, bounds
        self.sight = Sight()
        self.armed = True
        self.reason: Reason | None = None
        self.table = ""
        self.tally = Tally(time.monotonic())
        super().__init__()

    def _look(self) -> None:
        # Most statements are over before the first look, and need no second connection.
        pause = WATCH_EVERY
        while not self._over.wait(pause):
            try:
                pause = WAITING_EVERY if self._look_once() else WATCH_EVERY
            except (psycopg.Error, WindlassError) as error:
                self.sight = Sight(blind=f"the blockers could not be seen: {error}".splitlines()[0])
                return

    def _look_once(self) -> bool:
        """Look, and cancel where others have waited for long enough; tell whether it waits."""
        look = self.lookout.look(self.pid)
        self.tally = counted(self.tally, look)
        if look.waits:
            self.sight = self.lookout.sight(self.pid, self.sight)
        if self.armed:
            self._judge(look)
        return look.waits

    def _judge(self, look: Look) -> None:
        awaits = [blocker.awaits for blocker in self.sight.blockers] if look.waits else []
        left = self.bounds.left
        reason = reason_to_let_go(self.tally, rung=self.bounds.rung, awaits=awaits, left=left)
        # Between two statements a cancel is lost: the next look sends another.
        if reason is not None and not self._over.is_set():
            self.reason, self.table = reason, overdrawn(self.tally, left)
            self.lookout.cancel_ours(self.pid, look.transaction)
