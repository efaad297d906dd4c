"""A second connection that looks at what a session of a rehearsal holds while a statement runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from ..database.connection import Database
from ..errors import Place, StepFailed
from ..secret import redact

LOOK_EVERY = 0.005  # seconds between two looks
HELD = """
select relation, mode from pg_catalog.pg_locks
where locktype = 'relation' and granted and pid = {pid}
"""
# It reads a table that the migration may have locked: it must not wait for its own end.
NOT_WAITING = b"set lock_timeout = 100"


@dataclass(slots=True)
class Seen:
    """When a lock was seen, on the monotonic clock."""

    first: float
    last: float

    @property
    def seconds(self) -> float:
        """How long it was held, to one look."""
        return self.last - self.first + LOOK_EVERY


@dataclass(frozen=True, slots=True)
class Eye:
    """The connection. It never has a transaction open: CREATE INDEX CONCURRENTLY would wait."""

    connection: psycopg.Connection

    @classmethod
    @contextmanager
    def opened(cls, database: Database) -> Iterator["Eye"]:
        """Open one on a copy; it is closed behind the block."""
        with database.connect("trace") as connection:
            connection.execute(NOT_WAITING)
            yield cls(connection)

    @contextmanager
    def looking(self, pid: int, where: str) -> Iterator[dict[tuple[int, str], Seen]]:
        """Poll another session's locks while the block lasts; give (relation, mode) and when.

        Raises:
            StepFailed: a look failed, so that locks may be missing; an error of the block goes
                first.

        """
        seen: dict[tuple[int, str], Seen] = {}
        failed: list[Exception] = []
        done = threading.Event()
        query = HELD.format(pid=pid).encode()

        def look() -> None:
            try:
                while not done.wait(LOOK_EVERY):
                    rows = self.connection.execute(query).fetchall()
                    now = time.monotonic()
                    for row in rows:
                        seen.setdefault((row[0], row[1]), Seen(now, now)).last = now
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
