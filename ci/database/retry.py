"""Short waits for a table, tried again with no lock held, until `lock.wait` is over.

Bystanders queue behind a statement that waits for a lock; so it waits for one rung at most, and
looks who blocks before it waits longer.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg

from ..config.duration import Duration
from ..config.sections import BackfillConfig, LockConfig
from ..errors import LockTimeout, StepFailed, Unreachable, WindlassError, found_at
from .blockers import Blocker, Bounds, Lookout, Sight, Watch
from .connection import Database
from .ladder import can_give_way, next_rung, to_evict
from .waits import Reason, spent

T = TypeVar("T")

RETRIED = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
STOPPED = RETRIED | {"57014"}  # query_canceled: what a watch does, as it ends in the session
LONGEST_PAUSE = 10.0  # seconds
SHORT_PAUSE = 0.3  # seconds, after somebody whose end was waited for
LOOK_EVERY = 0.1  # seconds, while somebody's end is waited for
LOOKS_BEFORE_NOTE = 5  # a wait of half a second is not worth a note
IDLE_IN_TRANSACTION = 60_000  # milliseconds; a suspended machine must not hold a table for ever
DEADLOCK_TIMEOUT = "select setting::float8 / 1000 from pg_catalog.pg_settings where name = %s"


class Rows(Protocol):
    """What a statement returned."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...


class Session(Protocol):
    """A session that a statement runs in: a connection of ours, or one of another process."""

    @property
    def autocommit(self) -> bool:
        """Whether a statement is a transaction of its own."""
        ...

    @property
    def info(self) -> Any:  # noqa: ANN401  # as psycopg's: transaction_status, backend_pid
        """The session's state, as psycopg's."""
        ...

    def execute(self, query: bytes, /) -> Rows:
        """Run a statement in its transaction."""
        ...


def _ignore(*_: object) -> None: ...


def _unobserved(*_: object) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a migration runs: how long it may wait, who is told, what must still hold."""

    lock: LockConfig = field(default_factory=LockConfig)
    note: Callable[[str], None] = _ignore
    progress: Callable[[int, int | None, str], None] = _ignore
    guard: Callable[[], None] = _ignore  # raises where the deployment lock is lost
    show_queries: bool = False
    # "schema.name" of a hot table, and the seconds for which it may be held up over all tries.
    hot: Mapping[str, float] = field(default_factory=dict)
    # Whether the gate let this through: only then the project's own code learns the address.
    approved: bool = False
    # Before each try, with how often it was tried before: what was observed of those did not last.
    attempt: Callable[[int], None] = _ignore
    # Around each statement, with its connection, file and line, and text: a rehearsal looks on.
    observe: Callable[[Session, str, str], AbstractContextManager[None]] = _unobserved
    # The same around each batch of a statement that runs in several.
    observe_batch: Callable[[Session, str, str], AbstractContextManager[None]] = _unobserved
    backfill: BackfillConfig = field(default_factory=BackfillConfig)
    jobs: bool = False  # whether a backfill that is a job of its own runs at once: on a copy


Attempt = Callable[[psycopg.Connection], T]
Watching = Callable[[int], AbstractContextManager[Watch]]


def with_retry(
    terms: Terms,
    database: Database,
    attempt: Attempt[T],
    *,
    step: str,
    settings: str = "",
    in_transaction: bool = True,
) -> tuple[T, int]:
    """Run `attempt` until it is not stopped by somebody's lock; return its result and the retries.

    Args:
        terms: how long to wait, and whom to tell.
        database: where.
        attempt: gets a connection in a transaction of its own, which is rolled back when it
            raises; it must leave nothing else behind.
        step: names the connection.
        settings: SET LOCAL statements of the caller's, sent first.
        in_transaction: False for a statement that cannot run in one; `settings` is not sent then.

    Raises:
        LockTimeout: `lock.wait`, or a hot table's budget, is over; nothing of ours waits or holds.
        StepFailed: a session waits for rows that the attempt changed, and blocks it.

    """
    with database.connect(step) as connection:

        def attempt_once(rung: Duration, watching: Watching) -> T:
            if in_transaction:
                # Watched until the COMMIT is over: deferred triggers take locks there.
                with ExitStack() as watched, connection.transaction():
                    connection.execute(f"{limits(rung, terms.lock)}{settings}".encode())
                    watched.enter_context(watching(_pid(connection)))
                    return attempt(connection)
            connection.execute(f"set lock_timeout = {milliseconds(rung)}".encode())
            with watching(_pid(connection)):
                return attempt(connection)

        return with_retry_elsewhere(terms, database, attempt_once)


def with_retry_elsewhere(
    terms: Terms,
    database: Database,
    attempt: Callable[[Duration, Watching], T],
    *,
    ready: bool = False,
) -> tuple[T, int]:
    """Do the same for a session that is not ours; `attempt` sets the rung it is given there.

    It leaves nothing behind when it raises, and runs in `watching(pid)`, which notes who blocks and
    cancels what others wait for: all waits of a try together are one rung. `ready`: what looks is
    connected before the first try, where that may be the only one; else when something waits.

    Raises:
        LockTimeout: `lock.wait`, or a hot table's budget, is over; nothing of ours waits or holds.
        StepFailed: a session waits for rows that the attempt changed, and blocks it.

    """
    with closing(Lookout(database)) as lookout:
        climb = _Climb(terms, lookout, database.deployment_id)
        if ready:
            lookout.open()
        while True:
            terms.guard()
            terms.attempt(climb.retries)
            began, climb.reason = time.monotonic(), None
            try:
                rung = terms.lock.timeout[climb.rung]
                return attempt(rung, partial(_watching, lookout, climb, rung)), climb.retries
            except psycopg.Error as error:
                if error.sqlstate not in RETRIED:
                    raise
            climb.failed(began)


def limits(rung: Duration, lock: LockConfig) -> str:
    """Return the statements that limit how long a transaction waits, runs and is idle."""
    return (
        f"set local lock_timeout = {milliseconds(rung)};\n"
        f"set local statement_timeout = {milliseconds(lock.statement_timeout)};\n"
        f"set local idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION};"
    )


def milliseconds(duration: Duration) -> int:
    """Return a duration as the server's timeouts want it; never 0, which is none."""
    return max(1, int(duration.seconds * 1000))


def _pid(connection: psycopg.Connection) -> int:
    row = connection.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return row[0] if row else 0


@contextmanager
def _watching(lookout: Lookout, climb: "_Climb", rung: Duration, pid: int) -> Iterator[Watch]:
    watch = Watch(lookout, pid, Bounds(rung.seconds, climb.left))
    try:
        with watch:
            yield watch
    except (psycopg.Error, WindlassError) as error:
        climb.note(watch)
        if watch.reason is None or _sqlstate(error) not in STOPPED:
            raise
        raise climb.stopped(watch, error) from error
    climb.note(watch)


def _sqlstate(error: BaseException) -> str:
    """Return the server's code in an error, or in what it was raised from; empty: there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if state := getattr(cause, "sqlstate", None):
            return str(state)
        cause = cause.__cause__
    return ""


class _Climb:
    """Where on the ladder we are, and what was seen on the way."""

    def __init__(self, terms: Terms, lookout: Lookout, deployment: str) -> None:
        self.terms, self.lookout, self.deployment = terms, lookout, deployment
        self.deadline = time.monotonic() + terms.lock.wait.seconds
        self.rung, self.retries = 0, 0
        self.left = dict(terms.hot)
        self.sight = Sight()
        self.reason: Reason | None = None  # why the last try was cancelled
        self._sums = 0  # tries whose waits together were too long
        self._known = Sight()
        self._asked: set[tuple[int, str]] = set()  # autovacuums that were asked to give way

    def note(self, watch: Watch) -> None:
        """Keep what was seen of a try."""
        self.sight, self.reason = watch.sight, watch.reason
        self.left = spent(self.left, watch.tally)

    def stopped(self, watch: Watch, error: BaseException) -> Exception:
        """Return the error of a try that was cancelled; one of `RETRIED` where another may help."""
        if watch.reason == "rows":
            return self._never(error)
        if watch.reason == "budget":
            return self._overdrawn(watch.table, error)
        self._sums += watch.reason == "sum"
        return psycopg.errors.LockNotAvailable("cancelled, so that others need not wait")

    def failed(self, began: float) -> None:
        """Return when the next try may start, on the rung set; LockTimeout when none may.

        Nothing is held meanwhile: the transaction of the try before was rolled back.
        """
        self.retries += 1
        if self.sight.blockers:
            self._known = self.sight
        try:
            self._next(began)
        except (psycopg.Error, Unreachable):
            # Blind: the lowest rung harms no other session, and the deadline holds all the same.
            self.rung = 0
            self._pause(LONGEST_PAUSE)

    def _next(self, began: float) -> None:
        blockers = self.sight.blockers
        self.terms.note(f"{self._waited()} {self._describe(blockers)}")
        if self._end_orphans(blockers) or self._evict(blockers):
            self._pause(SHORT_PAUSE)
            return
        self._outlast(blockers)
        seconds = time.monotonic() - began
        self.rung = next_rung(self.rung, self.terms.lock, seconds=seconds if blockers else None)
        crowd = seconds <= self.terms.lock.timeout[-1].seconds
        self._pause(min(LONGEST_PAUSE, 0.25 * 2**self.retries) if crowd else SHORT_PAUSE)
        if self.rung:
            self._outlast(self._old(blockers))

    def _end_orphans(self, blockers: tuple[Blocker, ...]) -> bool:
        ended = False
        for blocker in blockers:
            dead = blocker.orphan_of(self.deployment)
            if dead and self.lookout.terminate(blocker):
                self.terms.note(f"ended pid {blocker.pid}, left behind by deployment {dead}")
                ended = True
        return ended

    def _evict(self, blockers: tuple[Blocker, ...]) -> bool:
        """Make autovacuums give way, once each: by asking, or by a rung on which the server does.

        Asking is what the server itself does to an autovacuum that somebody has waited
        `deadlock_timeout` for; done from outside, no session has to queue behind us meanwhile.
        """
        autovacuums = can_give_way(blockers)
        unasked = [b for b in autovacuums if (b.pid, b.transaction) not in self._asked]
        if not autovacuums or not unasked:
            return False
        self._asked |= {(b.pid, b.transaction) for b in unasked}
        if all(self.lookout.cancel(b) for b in unasked):
            self.terms.note("asked the autovacuum to give way")
            self.rung = 0
            return True
        row = self.lookout.connection().execute(DEADLOCK_TIMEOUT, ("deadlock_timeout",)).fetchone()
        seconds = float(row[0]) if row else 1.0
        rung = to_evict(self.terms.lock, deadlock_timeout=seconds)
        if rung is None:
            self.terms.note(
                f"an autovacuum gives way only after deadlock_timeout, {seconds:g} s, and "
                "lock.timeout has no rung above it: waiting for its end"
            )
            return False
        self.rung = rung
        return True

    def _outlast(self, blockers: tuple[Blocker, ...]) -> None:
        """Wait for the end of those still there, with nothing held."""
        left = self.lookout.stayed(blockers) if blockers else ()
        looks = 0
        while left:
            if looks == LOOKS_BEFORE_NOTE:
                self.terms.note(f"waiting for the end of {self._describe(left)}")
            looks += 1
            self._sleep(LOOK_EVERY)
            self.terms.guard()
            left = self.lookout.stayed(left)

    def _old(self, blockers: tuple[Blocker, ...]) -> tuple[Blocker, ...]:
        """Return who would block us for longer than the lowest rung already, on those tables."""
        seconds = self.terms.lock.timeout[0].seconds
        return tuple(old for blocker in blockers for old in self.lookout.old(blocker, seconds))

    def _pause(self, most: float) -> None:
        self._sleep(random.uniform(0, most))  # noqa: S311  # full jitter

    def _sleep(self, seconds: float) -> None:
        if time.monotonic() + seconds >= self.deadline:
            raise self._over()
        time.sleep(seconds)

    def _waited(self) -> str:
        """Return what became of the last try, as it goes on with who blocked it."""
        rung = self.terms.lock.timeout[self.rung]
        if self.reason == "sum":
            return f"waited for locks for {rung} in all, and let go; the last was held by"
        if self.reason == "circle":
            return "let go, because a session that blocks us waits for us:"
        return "waiting for a lock held by"

    def _never(self, error: BaseException) -> StepFailed:
        waiting = tuple(b for b in self.sight.blockers if b.awaits == "rows")
        return StepFailed(
            f"the migration waits for a lock held by {self._describe(waiting)}; that session "
            "itself waits for rows that the migration has changed: neither can go on",
            place=found_at(error),
            state="the migration in progress was rolled back; nothing of ours waits",
            next_step="split the file: what changes rows, and what locks the table, in a migration "
            "each; and start again",
        )

    def _overdrawn(self, table: str, error: BaseException) -> LockTimeout:
        return LockTimeout(
            f"{table} is a hot table, and was held up for {self.terms.hot[table]:g} s in all, over "
            f"{self.retries + 1} tries; blocked by {self._describe(self.sight.blockers)}",
            place=found_at(error),
            state="the migration in progress was rolled back; nothing of ours waits",
            next_step="start again when the table is quieter, or give it more (hot_tables in "
            "deploy.yml)",
        )

    def _describe(self, blockers: tuple[Blocker, ...]) -> str:
        if not blockers:
            return self.sight.blind or "a session that was not seen"
        return "; ".join(b.text(show_queries=self.terms.show_queries) for b in blockers)

    def _over(self) -> LockTimeout:
        queue = self._known.queue
        behind = f"; {queue} sessions queued behind us" if queue else ""
        many = f"; {self._sums} of them waited for several locks" if self._sums else ""
        end = "let that session end (select pg_terminate_backend(PID)), and start again"
        split = "split the file, so that each migration locks one table or partition"
        return LockTimeout(
            f"a table stayed locked for {self.terms.lock.wait}, over {self.retries} tries{many}; "
            f"blocked by {self._describe(self._known.blockers)}{behind}",
            state="the migration in progress was rolled back; nothing of ours waits",
            next_step=f"{split}; or {end}" if self._sums else end,
        )
