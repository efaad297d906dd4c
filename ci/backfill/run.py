"""Runs a statement in batches, each one transaction with the record of how far it is.

A run that is killed at any moment has committed a batch with its record, or neither: the next one
goes on behind the last key. What is promised of rows that others write meanwhile is said in
docs/backfills.md.
"""

import time
from contextlib import closing
from dataclasses import dataclass

import psycopg

from ..database.blockers import Lookout
from ..database.connection import Database
from ..database.pinned import PIN
from ..database.retry import IDLE_IN_TRANSACTION, Terms, milliseconds, with_retry
from ..errors import Place, Refused, StepFailed
from ..secret import redact_to
from . import pausing, poison, progress, record, sizing
from .look import last_key, surroundings
from .progress import BackfillState
from .task import BackfillTask, Batches, read_batches
from .waiters import Waiters

LOOK_EVERY = 1.0  # seconds between two looks at replicas, the archive and what a person asks
LONGEST = 8000  # characters of a server's message
STAYS = "the batches before it stay done and are recorded"


class Asked(Exception):
    """A person asked a job to pause or to end; nothing of it is held."""


class RecordGone(StepFailed):
    """The record of a job is deleted while it runs: nothing says any more how far it came."""


def gone(migration: str, number: int, place: Place | None = None) -> RecordGone:
    """Return the error of a job whose record is deleted; `number` is its statement's, from 1."""
    return RecordGone(
        f"the record of {migration}'s backfill, statement {number}, is gone from windlass.backfill",
        place=place,
        state="what its batches changed stays; how far they came is not known any more",
        next_step="find who deletes rows of windlass.backfill; then deploy the statement again, in "
        "a migration of its own",
    )


def run(task: BackfillTask, database: Database, terms: Terms, *, as_job: bool = False) -> int:
    """Run a backfill to its end, from where an earlier run stopped.

    Args:
        task: the statement.
        database: where; the tables of ours are up to date there.
        terms: of the environment, with the file's own timeouts.
        as_job: whether a person's pause ends the run; else the run waits.

    Returns:
        How often a batch was tried again.

    Raises:
        StepFailed: a row cannot be changed, or others stayed behind for too long; says where.
        RecordGone: somebody deletes the record of a job.
        Refused: the statement is another one than that which began.
        LockTimeout: one row stayed locked until `lock.wait` was over.
        Asked: a person asked for it, of a job.
        psycopg.Error: the connection was lost.

    """
    with closing(Lookout(database)) as lookout:
        return _Run(task, database, terms, lookout, as_job=as_job).all()


def enqueue(connection: psycopg.Connection, task: BackfillTask) -> None:
    """Record a backfill that is to run as a job; in a transaction with the migration's path."""
    batches = read_batches(connection, task)
    connection.execute(PIN)
    _record_begin(connection, batches, end=None, waits=True)


def _record_begin(
    connection: psycopg.Connection, batches: Batches, *, end: tuple[str, ...] | None, waits: bool
) -> None:
    task = batches.task
    record.begin(
        connection,
        task.identity,
        record.Beginning(
            checksum=task.checksum,
            job=task.asked.job,
            table=batches.table,
            key=tuple(column.name for column in batches.key),
            state="waiting" if waits else "running",
            end=end,
            rows_expected=batches.rows_expected,
            batch_rows=min(sizing.FIRST, task.asked.most or sizing.FIRST),
            verify_checksum=task.verify_checksum,
        ),
    )


def _pid(connection: psycopg.Connection) -> int:
    row = connection.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What one batch did; `visited` is 0 where there was nothing left."""

    visited: int
    changed: int
    rows: int  # of the next one
    pause: float  # seconds that it begins later, for who waited


class _Run:
    """One run of one backfill, while it lasts."""

    def __init__(
        self,
        task: BackfillTask,
        database: Database,
        terms: Terms,
        lookout: Lookout,
        *,
        as_job: bool,
    ) -> None:
        self.task, self.database, self.terms, self.lookout = task, database, terms, lookout
        self.as_job = as_job
        self.step = f"migrate/{task.migration}"
        self.target = task.asked.seconds or terms.backfill.batch.seconds
        self.retries, self.looked, self.lag, self.blocked = 0, 0.0, "", False
        self.pause = 0.0  # seconds before the next batch, for who waited for this one

    def all(self) -> int:
        """Run the batches that are left; return how often one was tried again."""
        batches, tries = with_retry(self.terms, self.database, self._begin, step=self.step)
        self.retries += tries
        if batches is None:
            return self.retries
        self.batches = batches
        self.began, self.rows = time.monotonic(), self.state.batch_rows
        self.visited, self.changed = self.state.rows_visited, self.state.rows_changed
        self.aside = self.state.rows_set_aside
        with self.database.connect(self.step) as connection:
            while self._look(connection) and self._next(connection):
                pass
        self._tell_end()
        return self.retries

    def _begin(self, connection: psycopg.Connection) -> Batches | None:
        """Read, or record, where it begins; None where it is done."""
        task = self.task
        position = record.hold(connection, task.identity)
        if position is not None and position.checksum != task.checksum:
            raise Refused(
                "some of its batches ran already, and the statement or its key has changed since",
                place=task.place,
                state="nothing was changed now; what ran before stays done",
                next_step="bring the file back as it was (git log), and start again",
            )
        state = record.read(connection, task.identity)
        if state is None and self.as_job:
            raise gone(task.migration, task.number, task.place)
        if state is not None and state.state == "done":
            task.finish(connection)
            return None
        connection.execute(task.search_path.encode())
        batches = read_batches(connection, task)
        if state is None or state.began_at is None:
            end = last_key(connection, batches.table, task.split, batches.key)
            connection.execute(PIN)
            _record_begin(connection, batches, end=end, waits=False)
            task.start(connection)
        connection.execute(PIN)
        begun = record.read(connection, task.identity)
        if begun is None or begun.key != tuple(column.name for column in batches.key):
            raise Refused(
                f"the key of {batches.table} has other columns than when its batches began",
                place=task.place,
                state="nothing was changed now; what ran before stays done",
                next_step="give the table its key back, and start again",
            )
        self.state: BackfillState = begun
        return batches

    def _next(self, connection: psycopg.Connection) -> bool:
        """Run one batch, or shrink the next; False when there is none left."""
        self.terms.guard()
        try:
            done = self._attempt(connection)
        except psycopg.Error as error:
            self._failed(connection, error)
            return True
        self.blocked, self.rows, self.pause = False, done.rows, done.pause
        if done.visited:
            self._tell(done)
        return done.visited > 0

    def _attempt(self, connection: psycopg.Connection) -> _Done:
        """Run a batch; one row that somebody holds is waited for as any statement waits."""
        if self.blocked and self.rows == 1:
            done, tries = with_retry(self.terms, self.database, self._batch, step=self.step)
            self.retries += tries
            return done
        with connection.transaction():
            connection.execute(self._limits().encode())
            return self._batch(connection)

    def _limits(self) -> str:
        lock = self.terms.lock
        longest = sizing.timeout(self.rows, self.target, lock.statement_timeout.seconds)
        return (
            f"set local lock_timeout = {milliseconds(lock.timeout[0])};\n"
            f"set local statement_timeout = {max(1, int(longest * 1000))};\n"
            f"set local idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION};"
        )

    def _batch(self, connection: psycopg.Connection) -> _Done:
        """Run the next batch in the caller's transaction, and record it there."""
        task, began = self.task, time.monotonic()
        position = record.hold(connection, task.identity)
        if position is None and self.as_job:
            raise gone(task.migration, task.number, task.place)
        if position is None or position.checksum != task.checksum:
            raise StepFailed(
                "its record was taken away, or changed, while it ran",
                place=task.place,
                state=STAYS,
                next_step="find who else writes windlass.backfill, and start again",
            )
        following = self._following(connection, position, self.rows)
        if following is None:
            record.set_state(connection, task.identity, "done")
            task.finish(connection)
            return _Done(visited=0, changed=0, rows=self.rows, pause=0.0)
        last, visited = following
        with Waiters(self.lookout, _pid(connection)) as waiters:
            changed = self._change(connection, position, last)
        seconds = time.monotonic() - began
        rows, pause = self._sized(seconds, waiting=waiters.most, whole=visited == self.rows)
        record.move(
            connection,
            task.identity,
            record.Moved(last=last, visited=visited, changed=changed, rows=rows, seconds=seconds),
        )
        connection.execute(task.search_path.encode())  # of deferred triggers, at the commit
        return _Done(visited=visited, changed=changed, rows=rows, pause=pause)

    def _following(
        self, connection: psycopg.Connection, position: record.Position, rows: int
    ) -> tuple[tuple[str, ...], int] | None:
        """Return the last key of the next batch, and how many rows it has; None: there is none."""
        if position.end is None:
            return None
        query = self.batches.find(position.last)
        values = [*(position.last or ()), *position.end, str(rows)]
        row = psycopg.RawCursor(connection).execute(query.encode(), values).fetchone()
        return (tuple(row[:-1]), int(row[-1])) if row else None

    def _change(
        self, connection: psycopg.Connection, position: record.Position, last: tuple[str, ...]
    ) -> int:
        """Run the statement for the range up to a key; return how many rows it changed."""
        task = self.task
        connection.execute(task.search_path.encode())
        values = [*(position.last or ()), *last]
        text = self.batches.change(position.last)
        with self.terms.observe_batch(connection, str(task.place), task.statement.sql):
            cursor = psycopg.RawCursor(connection).execute(text.encode(), values)
        connection.execute(b"reset session authorization; reset role; " + PIN)
        return max(0, cursor.rowcount)

    def _sized(self, seconds: float, *, waiting: int, whole: bool) -> tuple[int, float]:
        """Return how many rows the next batch has, and the seconds that it begins later."""
        if waiting:
            rows = sizing.yielding(self.rows, seconds, self.target)
            return rows, min(seconds, self.target)
        if not whole:
            return self.rows, 0.0
        return sizing.grown(self.rows, seconds, self.target, self.task.asked.most), 0.0

    def _failed(self, connection: psycopg.Connection, error: psycopg.Error) -> None:
        """Shrink the next batch, set its one row aside, or raise."""
        kind = poison.kind_of(error.sqlstate)
        if kind == "lost":
            raise error
        if kind == "statement":
            raise self._wrong(error) from error
        if self.rows > 1:
            self.retries += 1
            shrink = sizing.poisoned if kind == "row" else sizing.stopped
            self.rows, self.blocked = shrink(self.rows), kind == "lock"
            return
        if kind == "lock" and not self.blocked:
            self.blocked = True
            return
        self._poisoned(
            connection, error, skips=kind == "row" and self.task.asked.on_error == "skip"
        )

    def _poisoned(
        self, connection: psycopg.Connection, error: psycopg.Error, *, skips: bool
    ) -> None:
        """Set the one row of a batch aside, where the file asks for it; else raise with its key."""
        task = self.task
        message = redact_to(error.diag.message_primary or str(error), LONGEST)
        with connection.transaction():
            connection.execute(self._limits().encode())
            position = record.hold(connection, task.identity)
            following = self._following(connection, position, 1) if position else None
            if following is None:  # it was deleted meanwhile
                return
            key = poison.key_text(self.state.key, following[0])
            if not skips or self.aside >= poison.MOST_ASIDE:
                raise self._stops_at(key, message, error.sqlstate, self.aside)
            record.set_aside(connection, task.identity, following[0], error.sqlstate or "", message)
            moved = record.Moved(
                last=following[0], visited=1, changed=0, aside=1, rows=1, seconds=0.0
            )
            record.move(connection, task.identity, moved)
        self.visited, self.aside = self.visited + 1, self.aside + 1
        self.terms.note(f"{task.place}: set aside {key}: {message} [{error.sqlstate}]")

    def _stops_at(self, key: str, message: str, sqlstate: str | None, aside: int) -> StepFailed:
        more = f", after {aside} rows were set aside" if aside else ""
        return StepFailed(
            f"{self.batches.table}, {key}: {message} [{sqlstate}]{more}",
            place=self.task.place,
            state=f"{STAYS}; this row and those behind it are as they were",
            next_step="mend the row, or write on_error=skip into the directive of line "
            f"{self.task.asked.line}, and start again",
        )

    def _wrong(self, error: psycopg.Error) -> StepFailed:
        message = redact_to(error.diag.message_primary or str(error), LONGEST)
        return StepFailed(
            f"{message} [{error.sqlstate}]",
            place=self.task.place,
            state=f"{STAYS}; this one was rolled back",
            next_step="mend what it says, and start again",
        )

    def _look(self, connection: psycopg.Connection) -> bool:
        """Wait while others are behind, or a person asked for it; True when the next may run.

        Raises:
            StepFailed: it took longer than `backfill.wait`, or a person cancelled it.
            Asked: a person paused or cancelled the job.

        """
        if self.pause:
            time.sleep(self.pause)
            self.pause = 0.0
        if time.monotonic() - self.looked < LOOK_EVERY:
            return True
        limits, began, told = self.terms.backfill, time.monotonic(), ""
        while reason := self._reason(connection):
            self.terms.guard()
            if reason != told:
                self.terms.note(f"the backfill of {self.batches.table} waits: {reason}")
                told = reason
            if time.monotonic() - began > limits.wait.seconds:
                raise StepFailed(
                    f"the backfill of {self.batches.table} waited for {limits.wait}: {reason}",
                    place=self.task.place,
                    state=STAYS,
                    next_step="end what it waits for, or give it longer (backfill.wait in "
                    "deploy.yml), and start again",
                )
            time.sleep(LOOK_EVERY)
        self.looked = time.monotonic()
        return True

    def _reason(self, connection: psycopg.Connection) -> str:
        """Return why the next batch has to wait; raise where a person ends the run."""
        state = record.read(connection, self.task.identity)
        asked, who = (state.asked, state.asked_by) if state is not None else ("", "")
        if asked and self.as_job:
            raise Asked(asked)
        if asked == "cancel":
            record.ask(connection, self.task.identity, "", "")
            raise StepFailed(
                f"the backfill of {self.batches.table} was cancelled by {who}",
                place=self.task.place,
                state=STAYS,
                next_step="start again when it is to go on behind them",
            )
        if asked:
            return f"paused by {who}"
        around = surroundings(connection, self.batches.table)
        self.lag = around.lag
        return pausing.reason(around, self.terms.backfill)

    def _tell(self, done: _Done) -> None:
        """Tell how far it is: on a terminal each time, elsewhere now and then."""
        self.visited += done.visited
        self.changed += done.changed
        seconds = time.monotonic() - self.began
        rate = (self.visited - self.state.rows_visited) / seconds if seconds > 0 else 0.0
        expected = max(self.state.rows_expected, self.visited)
        words = progress.unit(
            self.batches.table, rate=rate, left=expected - self.visited, lag=self.lag
        )
        self.terms.progress(self.visited, expected if self.state.rows_expected else None, words)

    def _tell_end(self) -> None:
        aside = f", {self.aside:,} set aside (windlass.backfill_row)" if self.aside else ""
        self.terms.note(
            f"{self.task.place}: {self.batches.table}: {self.visited:,} rows visited, "
            f"{self.changed:,} changed{aside}"
        )
