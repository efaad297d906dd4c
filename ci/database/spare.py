"""One session that a run opens early and keeps: a full server cannot leave it half way.

Where the server has no place for one more session, a use of ours gets this one, and gives it back.
A pooler shares its places itself: behind one there is none.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import psycopg
from psycopg.pq import TransactionStatus

from ..errors import WindlassError
from .pinned import PinnedConnection

Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


class Spare:
    """Holds the session, and lends it to one use at a time."""

    def __init__(self, connect: Connect, pin: Callable[[PinnedConnection], None]) -> None:
        self._connect, self._pin = connect, pin
        self._free = threading.Lock()
        self._opened = ExitStack()
        self._connection: PinnedConnection | None = None

    def open(self) -> None:
        """Open it, where it is not; where that fails, there is none."""
        if self._connection is not None and not self._connection.closed:
            return
        self.close()
        with suppress(psycopg.Error, WindlassError):
            connection = self._opened.enter_context(self._connect())
            if isinstance(connection, PinnedConnection) and not connection.pooled:
                self._connection = connection
                return
        self.close()

    def close(self) -> None:
        """Close it: its place is free for another session, such as a child's."""
        self._connection = None
        self._opened.close()

    @contextmanager
    def lent(self, name: str) -> Iterator[PinnedConnection | None]:
        """Lend it under this application_name; None where it is lent, lost or never was."""
        if not self._free.acquire(blocking=False):
            yield None
            return
        try:
            connection = self._usable(name)
            try:
                yield connection
            finally:
                if connection is not None:
                    self._clean(connection)
        finally:
            self._free.release()

    def _usable(self, name: str) -> PinnedConnection | None:
        connection = self._connection
        if connection is None:
            return None
        try:
            connection.execute(
                "select pg_catalog.set_config('application_name', %s, false)", (name,)
            )
        except psycopg.Error:
            self.close()
            return None
        return connection

    def _clean(self, connection: PinnedConnection) -> None:
        """Leave nothing of one use for the next."""
        try:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.rollback()
            connection.autocommit = True
            connection.execute("discard all")
            connection.believed.clear()
            self._pin(connection)
        except psycopg.Error:
            self.close()
