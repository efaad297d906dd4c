"""What a statement really does to a copy: locks, rewrites, full scans, rows, write-ahead log.

Catalog snapshots are read around each statement, in its own transaction: relation locks are
held until it ends, so those that a statement took are there after it. Names are taken from before,
so that what was dropped keeps its own. Meanwhile a second connection looks on: it sees the locks of
a statement outside a transaction, and those that are given back before the statement is over.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import psycopg
from psycopg import sql as compose
from psycopg.pq import TransactionStatus

from ..database.connection import Database
from ..database.history_table import HistoryTable, excluded
from ..database.retry import Session
from ..model import Traced
from ..secret import redact
from .eye import Eye, Seen

SHOWN = 500  # characters of a statement that are kept: an INSERT may have megabytes
# Ours, and what a TOAST table does, its table does too.
RELATIONS = r"""
select c.oid, n.nspname, c.relname, c.relkind::text, pg_catalog.pg_relation_filenode(c.oid),
       c.reltuples::bigint, pg_catalog.format('%I.%I', n.nspname, c.relname),
       pg_catalog.pg_partition_root(c.oid)::oid
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'v', 'i', 'I', 'S', 'f') and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'windlass')
"""
LOCKS = """
select relation, mode from pg_catalog.pg_locks
where locktype = 'relation' and granted and pid = {pid}
"""
# A parallel worker's rows are in the counters of all sessions, which it adds to at its end.
COUNTS = """
select relid, seq_tup_read, n_tup_ins + n_tup_upd + n_tup_del, n_tup_upd + n_tup_del,
       pg_catalog.pg_stat_get_tuples_returned(relid)
from pg_catalog.pg_stat_xact_all_tables
"""
FRESH = "select pg_catalog.pg_stat_clear_snapshot()"
LSN = "select (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
XID = "select pg_catalog.txid_current_if_assigned() & 4294967295"
# Foreign keys lock rows too, FOR KEY SHARE: of writers only those of the key wait for that.
LOCKING = re.compile(r"\bfor\s+(no\s+key\s+)?update\b|\bfor\s+share\b", re.IGNORECASE)
LOCKING_FUNCTIONS = r"""
select p.proname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname not in ('pg_catalog', 'information_schema')
  and p.prosrc ~* '\mfor\s+(no\s+key\s+)?update\M|\mfor\s+share\M'
"""

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
class _Relation:
    """What the catalog says of a relation; `rows` by its statistics, -1: there are none."""

    schema: str
    own_name: str
    kind: str
    file: int | None
    rows: int
    name: str  # as SQL has it
    root: int | None  # of a partition


@dataclass(frozen=True, slots=True)
class _Counts:
    """A table's counters: those of this transaction, and the rows that all sessions have read."""

    read: int = 0  # by full scans
    changed: int = 0
    locked: int = 0  # updated or deleted
    read_by_all: int = 0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A catalog snapshot: what the server knew at one moment."""

    relations: dict[int, _Relation]
    locks: frozenset[tuple[int, str]]
    counts: dict[int, _Counts] | None  # None: those of the session are not seen
    lsn: int
    xid: int | None = None  # of the transaction; None: it has none


@dataclass
class Trace:
    """Keeps what each statement of a run did; give `observe` to the engine, and close it."""

    database: Database
    history: tuple[HistoryTable, ...] = ()  # where the engine keeps what ran: not looked at
    statements: list[Traced] = field(default_factory=list)
    overhead: float = 0.0  # seconds that the watching took besides the statements
    kept: int = 0  # statements of tries that lasted
    _began: list[float] = field(default_factory=list)  # of each, less the overhead until then
    _eye: Eye | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close the second connection."""
        self._opened.close()
        self._eye = None

    def attempt(self, retries: int) -> None:
        """Begin a try; give it to the engine. Statements of one that failed are forgotten."""
        if retries:
            del self.statements[self.kept :]
            del self._began[self.kept :]
        self.kept = len(self.statements)

    def finished(self) -> tuple[Traced, ...]:
        """Return the statements of a migration that was committed just now, each with its time.

        What came between them and behind them is in it, and what the watching took is not.
        """
        now = time.monotonic() - self.overhead
        return tuple(
            msgspec.structs.replace(traced, until_end=round(now - began, 4))
            for traced, began in zip(self.statements, self._began, strict=True)
        )

    @contextmanager
    def observe(self, connection: Session, where: str, sql: str) -> Iterator[None]:
        """Note what the statement inside the block does; nothing where it fails.

        Raises:
            StepFailed: the second connection, which looks on, was lost.

        """
        entered = time.monotonic()
        idle = connection.info.transaction_status == TransactionStatus.IDLE
        outside = connection.autocommit and idle
        eye = self._opened_eye()
        session: Session = eye.connection if outside else connection
        pid = connection.info.backend_pid
        whose = pid if outside else None
        before = _read_snapshot(session, self.history, whose)
        with eye.looking(pid, where) as seen:
            began = time.monotonic()
            yield
            seconds = time.monotonic() - began
        after = _read_snapshot(session, self.history, whose)
        if outside:
            after = replace(after, locks=frozenset(seen))
        traced = _traced(before, after, where, sql, seconds)
        if not outside:
            traced = _with_passing(traced, before, after, seen)
            traced = _with_rows_locked(traced, before, after, sql, eye)
        self.statements.append(_with_roots(traced, before))
        self._began.append(entered - self.overhead)
        self.overhead += time.monotonic() - entered - seconds

    @contextmanager
    def observe_batch(self, connection: Session, where: str, sql: str) -> Iterator[None]:
        """Note a batch of a statement; all of them are one, whose time is that of the longest."""
        with self.observe(connection, where, sql):
            yield
        self.statements[-1] = msgspec.structs.replace(self.statements[-1], batches=1)
        if len(self.statements) > 1 and self.statements[-2].where == where:
            self.statements[-2:] = [_joined(*self.statements[-2:])]
            del self._began[-1]

    def _opened_eye(self) -> Eye:
        if self._eye is None:
            self._eye = self._opened.enter_context(Eye.opened(self.database))
        return self._eye


def _joined(all_before: Traced, batch: Traced) -> Traced:
    """Return the batches of one statement as one: locks end with each, rows and WAL add up."""
    scans = dict(all_before.scans)
    for name, rows in batch.scans:
        scans[name] = scans.get(name, 0) + rows
    rows_locked = {name: (rows, total) for name, rows, total in all_before.rows_locked}
    for name, rows, total in batch.rows_locked:
        rows_locked[name] = max(rows_locked.get(name, (0, 0)), (rows, total))
    passing = {(name, mode): seconds for name, mode, seconds in all_before.passing}
    for name, mode, seconds in batch.passing:
        passing[name, mode] = max(passing.get((name, mode), 0.0), seconds)
    return msgspec.structs.replace(
        all_before,
        seconds=max(all_before.seconds, batch.seconds),
        locks=tuple(sorted({*all_before.locks, *batch.locks})),
        index_locks=tuple(sorted({*all_before.index_locks, *batch.index_locks})),
        scans=tuple(sorted(scans.items())),
        scans_seen=all_before.scans_seen and batch.scans_seen,
        rows_changed=all_before.rows_changed + batch.rows_changed,
        rows_locked=tuple((name, *rows) for name, rows in sorted(rows_locked.items())),
        passing=tuple((*lock, seconds) for lock, seconds in sorted(passing.items())),
        wal=all_before.wal + batch.wal,
        batches=all_before.batches + batch.batches,
    )


def _read_snapshot(
    connection: Session, history: tuple[HistoryTable, ...], pid: int | None = None
) -> _Snapshot:
    def rows(query: str) -> list[Any]:
        return connection.execute(query.encode()).fetchall()

    whose = "pg_catalog.pg_backend_pid()" if pid is None else str(pid)
    counts, xid = None, None
    if pid is None:
        rows(FRESH)
        counts = {row[0]: _Counts(*row[1:]) for row in rows(COUNTS)}
        xid = rows(XID)[0][0]
    return _Snapshot(
        relations={row[0]: _Relation(*row[1:]) for row in rows(RELATIONS + excluded(history))},
        locks=frozenset((row[0], row[1]) for row in rows(LOCKS.format(pid=whose))),
        counts=counts,
        lsn=rows(LSN)[0][0],
        xid=xid,
    )


def _strongest(locks: frozenset[tuple[int, str]]) -> dict[int, str]:
    """Return the strongest mode of each relation."""
    strongest: dict[int, str] = {}
    for oid, mode in locks:
        strongest[oid] = max(strongest.get(oid, mode), mode, key=STRENGTH.index)
    return strongest


def _traced(before: _Snapshot, after: _Snapshot, where: str, sql: str, seconds: float) -> Traced:
    known = before.relations
    new = frozenset((oid, mode) for oid, mode in after.locks - before.locks if oid in known)
    locks = sorted(
        (known[oid].name, known[oid].kind, mode) for oid, mode in _strongest(new).items()
    )
    files = {relation.file for relation in known.values()}
    changed = {
        known[oid].name: known[oid].kind
        for oid, relation in after.relations.items()
        if oid in known and relation.file not in (None, known[oid].file)
    }
    # A new index whose file was another's before was not built: it goes on with that one's.
    built = [
        relation.name
        for oid, relation in after.relations.items()
        if oid not in known and relation.kind == "i" and relation.file not in files
    ]
    return Traced(
        where=where,
        sql=" ".join(redact(sql)[:SHOWN].split()),
        seconds=round(seconds, 4),
        locks=tuple((name, mode) for name, kind, mode in locks if kind not in INDEXES),
        index_locks=tuple((name, mode) for name, kind, mode in locks if kind in INDEXES),
        rewrites=tuple(sorted(n for n, kind in changed.items() if kind in REWRITTEN)),
        indexes=tuple(sorted([*built, *(n for n, kind in changed.items() if kind == "i")])),
        scans=tuple(sorted(_scans(before, after).items())),
        rows_changed=sum(counts.changed for _, counts in _grown(before, after)),
        wal=max(0, after.lsn - before.lsn),
        scans_seen=after.counts is not None,
    )


def _grown(before: _Snapshot, after: _Snapshot) -> Iterator[tuple[_Relation, _Counts]]:
    """Yield by how much the counters grew, of each table that was there before."""
    for oid, now in (after.counts or {}).items():
        relation = before.relations.get(oid)
        if relation is None:
            continue
        then = (before.counts or {}).get(oid, _Counts())
        yield (
            relation,
            _Counts(
                max(0, now.read - then.read),
                max(0, now.changed - then.changed),
                max(0, now.locked - then.locked),
                max(0, now.read_by_all - then.read_by_all),
            ),
        )


def _scans(before: _Snapshot, after: _Snapshot) -> dict[str, int]:
    """Return the rows that full scans read, by table; those of parallel workers with them.

    The counters of all sessions may also hold rows that another session read just before; so a
    table's rows are the most that they add.
    """
    scans = {}
    for relation, grown in _grown(before, after):
        read = max(grown.read, min(grown.read + grown.read_by_all, relation.rows))
        if read > 0:
            scans[relation.name] = read
    return scans


def _with_passing(
    traced: Traced, before: _Snapshot, after: _Snapshot, seen: dict[tuple[int, str], Seen]
) -> Traced:
    """Add the locks that were seen while it ran, and not behind it."""
    gone = frozenset(
        lock
        for lock in seen
        if lock not in after.locks | before.locks and lock[0] in before.relations
    )
    passing = sorted(
        (before.relations[oid].name, mode, round(seen[oid, mode].seconds, 4))
        for oid, mode in _strongest(gone).items()
        if before.relations[oid].kind not in INDEXES
    )
    return msgspec.structs.replace(traced, passing=tuple(passing))


def _with_rows_locked(
    traced: Traced, before: _Snapshot, after: _Snapshot, sql: str, eye: Eye
) -> Traced:
    """Add the rows that it changed, and those that it locked without changing them."""
    locked = {relation: grown.locked for relation, grown in _grown(before, after) if grown.locked}
    shared = {oid for oid, mode in after.locks - before.locks if mode == "RowShareLock"}
    tables = [before.relations[oid] for oid in shared if oid in before.relations]
    if tables and after.xid is not None and _locks_rows(sql, eye):
        for relation in tables:
            if relation.kind in REWRITTEN:
                locked[relation] = locked.get(relation, 0) + _locked_in(relation, after.xid, eye)
    rows_locked = tuple(sorted((r.name, count, r.rows) for r, count in locked.items() if count))
    return msgspec.structs.replace(traced, rows_locked=rows_locked)


def _with_roots(traced: Traced, before: _Snapshot) -> Traced:
    """Add the partitioned table of each partition that it locked, or rows of it."""
    names = {name for name, *_ in (*traced.locks, *traced.passing, *traced.rows_locked)}
    roots = sorted(
        (relation.name, before.relations[relation.root].name)
        for oid, relation in before.relations.items()
        if relation.name in names and relation.root in before.relations and relation.root != oid
    )
    return msgspec.structs.replace(traced, roots=tuple(roots))


def _locks_rows(sql: str, eye: Eye) -> bool:
    """Tell whether a statement, or a function that it names, has a clause that locks rows."""
    if LOCKING.search(sql):
        return True
    names = [str(row[0]) for row in eye.connection.execute(LOCKING_FUNCTIONS.encode()).fetchall()]
    return any(name in sql for name in names)


def _locked_in(relation: _Relation, xid: int, eye: Eye) -> int:
    """Return how many rows carry a lock of this transaction, or of one inside it.

    On a copy nobody else has a transaction. 0 where they cannot be counted: the whole table is
    locked then, or its rows may not be read.
    """
    query = compose.SQL("select count(*) from {} where xmax::text::bigint >= {}").format(
        compose.Identifier(relation.schema, relation.own_name), compose.Literal(xid)
    )
    try:
        return int(eye.connection.execute(query).fetchall()[0][0])
    except (psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        return 0
