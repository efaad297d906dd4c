"""Short waits for a table, tried again with nothing held, until `lock.wait` is over.

Bystanders queue behind a statement that waits for a lock; so it waits for one rung at most.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from ci.config import LockConfig
from ci.database import CONNECT_WITHIN, Database
from ci.errors import LockTimeout, WindlassError

T = TypeVar("T")

RETRIED = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
LONGEST_PAUSE = 10.0  # seconds
WATCH_EVERY = 0.03  # seconds; well under the lowest rung

BLOCKERS = """
    select pid, application_name, state,
           extract(epoch from pg_catalog.now() - xact_start)::int
    from pg_catalog.pg_stat_activity
    where pid = any (pg_catalog.pg_blocking_pids(%s))
    order by xact_start
"""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that held what we waited for."""

    pid: int
    application: str
    state: str
    seconds: int  # since its transaction began

    def __str__(self) -> str:
        name = self.application or "no application_name"
        return f"pid {self.pid} ({name}, {self.state}, transaction {self.seconds} s old)"


def with_retry(
    lock: LockConfig,
    database: Database,
    attempt: Callable[[psycopg.Connection], T],
    *,
    step: str,
    on_retry: Callable[[str], None] = lambda _: None,
) -> tuple[T, int]:
    """Run `attempt` until it is not stopped by somebody's lock; return its result and the retries.

    `attempt` gets a connection outside a transaction with `lock_timeout` set to the rung in force,
    and must leave nothing behind when it raises. `on_retry` is told who blocks.

    Raises:
        LockTimeout: `lock.wait` is over; nothing of ours waits or is held.

    """
    deadline = time.monotonic() + lock.wait.seconds
    retries, known = 0, ""
    while True:
        rung = lock.timeout[min(retries, len(lock.timeout) - 1)]
        with database.connect(step) as connection:
            connection.execute(f"set lock_timeout = {int(rung.seconds * 1000)}".encode())
            with _Watch(database, connection.info.backend_pid, at_once=retries > 0) as watch:
                try:
                    return attempt(connection), retries
                except psycopg.Error as error:
                    if error.sqlstate not in RETRIED:
                        raise
        known = "; ".join(str(b) for b in watch.blockers) or known
        blockers = known or "a session that has gone since"
        retries += 1
        pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**retries))  # noqa: S311  # jitter
        if time.monotonic() + pause >= deadline:
            raise LockTimeout(
                f"a table stayed locked for {lock.wait}, over {retries} tries; blocked by "
                f"{blockers}",
                state="the migration in progress was rolled back; nothing of ours waits",
                next_step="let that session end (select pg_terminate_backend(PID)), and deploy "
                "again",
            )
        on_retry(blockers)
        time.sleep(pause)


class _Watch:
    """Notes, from a second connection, who blocks the first one while it works.

    The second connection is opened when the first has worked for a moment, for most statements
    are over before; with `at_once`, when somebody is known to block, before it begins.
    """

    def __init__(self, database: Database, pid: int, *, at_once: bool) -> None:
        self.database, self.pid = database, pid
        self.blockers: tuple[Blocker, ...] = ()
        self._over, self._ready = threading.Event(), threading.Event()
        self._at_once = at_once
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        if self._at_once:
            self._ready.wait(CONNECT_WITHIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        if not self._at_once and self._over.wait(WATCH_EVERY):
            return
        try:
            with self.database.connect("watch") as connection:
                self._ready.set()
                while not self._over.wait(WATCH_EVERY):
                    found = connection.execute(BLOCKERS, (self.pid,)).fetchall()
                    if found:
                        self.blockers = tuple(Blocker(*row) for row in found)
        except (psycopg.Error, WindlassError):
            # The watch only makes a message better; the statement itself says what went wrong.
            self.blockers = ()
        finally:
            self._ready.set()
