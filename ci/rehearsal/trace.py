"""What a statement really does to a copy: locks, rewrites, full scans, rows, write-ahead log.

Catalog snapshots are read around each statement, in its own transaction: relation locks are
held until it ends, so those that a statement took are there after it. Names are taken from before,
so that what was dropped keeps its own. Outside a transaction a second connection looks on.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.pq import TransactionStatus

from ..database.connection import Database
from ..database.history_table import HistoryTable, excluded
from ..database.retry import Session
from ..errors import Place, StepFailed
from ..model import Traced
from ..secret import redact

SHOWN = 500  # characters of a statement that are kept: an INSERT may have megabytes
LOOK_EVERY = 0.005  # seconds between two looks at a statement outside a transaction
# Ours, and what a TOAST table does, its table does too.
RELATIONS = r"""
select c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text,
       pg_catalog.pg_relation_filenode(c.oid)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'v', 'i', 'I', 'S', 'f') and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'windlass')
"""
LOCKS = """
select relation, mode from pg_catalog.pg_locks
where locktype = 'relation' and granted and pid = {pid}
"""
COUNTS = """
select relid, seq_tup_read, n_tup_ins + n_tup_upd + n_tup_del
from pg_catalog.pg_stat_xact_all_tables
"""
LSN = "select (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"

STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
REWRITTEN = frozenset({"r", "m"})  # relkinds whose file is rows
INDEXES = frozenset({"i", "I"})


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A catalog snapshot: what the server knew at one moment."""

    relations: dict[int, tuple[str, str, int | None]]  # oid -> name, kind, file
    locks: frozenset[tuple[int, str]]
    counts: dict[int, tuple[int, int]]  # table -> rows read by full scans, rows changed
    lsn: int


@dataclass
class Trace:
    """Keeps what each statement of a run did; give `observe` to the engine."""

    database: Database
    history: tuple[HistoryTable, ...] = ()  # where the engine keeps what ran: not looked at
    statements: list[Traced] = field(default_factory=list)
    overhead: float = 0.0  # seconds that the watching took besides the statements
    kept: int = 0  # statements of tries that lasted

    def attempt(self, retries: int) -> None:
        """Begin a try; give it to the engine. Statements of one that failed are forgotten."""
        if retries:
            del self.statements[self.kept :]
        self.kept = len(self.statements)

    @contextmanager
    def observe(self, connection: Session, where: str, sql: str) -> Iterator[None]:
        """Note what the statement inside the block does; nothing where it fails.

        Raises:
            StepFailed: the second connection, which looks on, was lost.

        """
        entered = time.monotonic()
        idle = connection.info.transaction_status == TransactionStatus.IDLE
        if connection.autocommit and idle:
            with self.database.connect("trace") as other:
                pid = connection.info.backend_pid
                before = _read_snapshot(other, self.history, pid)
                with _looking(self.database, pid, where) as seen:
                    began = time.monotonic()
                    yield
                    seconds = time.monotonic() - began
                after = replace(_read_snapshot(other, self.history, pid), locks=frozenset(seen))
        else:
            before = _read_snapshot(connection, self.history)
            began = time.monotonic()
            yield
            seconds = time.monotonic() - began
            after = _read_snapshot(connection, self.history)
        self.statements.append(_traced(before, after, where, sql, seconds))
        self.overhead += time.monotonic() - entered - seconds

    @contextmanager
    def observe_batch(self, connection: Session, where: str, sql: str) -> Iterator[None]:
        """Note a batch of a statement; all of them are one, whose time is that of the longest."""
        with self.observe(connection, where, sql):
            yield
        if len(self.statements) > 1 and self.statements[-2].where == where:
            self.statements[-2:] = [_joined(*self.statements[-2:])]


def _joined(all_before: Traced, batch: Traced) -> Traced:
    """Return the batches of one statement as one: locks end with each, rows and WAL add up."""
    scans = dict(all_before.scans)
    for name, rows in batch.scans:
        scans[name] = scans.get(name, 0) + rows
    return Traced(
        where=batch.where,
        sql=batch.sql,
        seconds=max(all_before.seconds, batch.seconds),
        locks=tuple(sorted({*all_before.locks, *batch.locks})),
        index_locks=tuple(sorted({*all_before.index_locks, *batch.index_locks})),
        rewrites=all_before.rewrites,
        indexes=all_before.indexes,
        scans=tuple(sorted(scans.items())),
        rows_changed=all_before.rows_changed + batch.rows_changed,
        wal=all_before.wal + batch.wal,
    )


def _read_snapshot(
    connection: Session, history: tuple[HistoryTable, ...], pid: int | None = None
) -> _Snapshot:
    def rows(query: str) -> list[Any]:
        return connection.execute(query.encode()).fetchall()

    whose = "pg_catalog.pg_backend_pid()" if pid is None else str(pid)
    counts = {} if pid is not None else {row[0]: (row[1], row[2]) for row in rows(COUNTS)}
    return _Snapshot(
        relations={row[0]: (row[1], row[2], row[3]) for row in rows(RELATIONS + excluded(history))},
        locks=frozenset((row[0], row[1]) for row in rows(LOCKS.format(pid=whose))),
        counts=counts,
        lsn=rows(LSN)[0][0],
    )


@contextmanager
def _looking(database: Database, pid: int, where: str) -> Iterator[set[tuple[int, str]]]:
    """Poll another session's locks while the block lasts.

    Raises:
        StepFailed: a look failed, so that locks may be missing; an error of the block goes first.

    """
    seen: set[tuple[int, str]] = set()
    failed: list[Exception] = []
    done = threading.Event()
    query = LOCKS.format(pid=pid).encode()

    with database.connect("trace") as connection:

        def look() -> None:
            try:
                while not done.wait(LOOK_EVERY):
                    seen.update((row[0], row[1]) for row in connection.execute(query).fetchall())
            except Exception as error:  # noqa: BLE001  # raised on the thread that waits
                failed.append(error)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()
    if failed:
        raise StepFailed(
            redact(f"its locks were not seen to the end: {failed[0]}".splitlines()[0]),
            place=Place.parse(where),
            state="the statement has run; what it held is not known",
            next_step="look at the server's log, and rehearse again",
        ) from failed[0]


def _traced(before: _Snapshot, after: _Snapshot, where: str, sql: str, seconds: float) -> Traced:
    known = before.relations
    new = {(oid, mode) for oid, mode in after.locks - before.locks if oid in known}
    strongest: dict[int, str] = {}
    for oid, mode in new:
        strongest[oid] = max(strongest.get(oid, mode), mode, key=STRENGTH.index)
    locks = sorted((*known[oid][:2], mode) for oid, mode in strongest.items())
    files = {file for _, _, file in known.values()}
    changed = {
        known[oid][0]: known[oid][1]
        for oid, (_, _, file) in after.relations.items()
        if oid in known and file not in (None, known[oid][2])
    }
    # A new index whose file was another's before was not built: it goes on with that one's.
    built = [
        name
        for oid, (name, kind, file) in after.relations.items()
        if oid not in known and kind == "i" and file not in files
    ]
    return Traced(
        where=where,
        sql=" ".join(redact(sql)[:SHOWN].split()),
        seconds=round(seconds, 4),
        locks=tuple((name, mode) for name, kind, mode in locks if kind not in INDEXES),
        index_locks=tuple((name, mode) for name, kind, mode in locks if kind in INDEXES),
        rewrites=tuple(sorted(n for n, kind in changed.items() if kind in REWRITTEN)),
        indexes=tuple(sorted([*built, *(n for n, kind in changed.items() if kind == "i")])),
        scans=_grown(before, after, 0),
        rows_changed=sum(count for _, count in _grown(before, after, 1)),
        wal=max(0, after.lsn - before.lsn),
    )


def _grown(before: _Snapshot, after: _Snapshot, which: int) -> tuple[tuple[str, int], ...]:
    """Return by how much a counter grew for each table that was there before."""
    growth = {}
    for oid, counts in after.counts.items():
        grown = counts[which] - before.counts.get(oid, (0, 0))[which]
        if grown > 0 and oid in before.relations:
            growth[before.relations[oid][0]] = grown
    return tuple(sorted(growth.items()))
