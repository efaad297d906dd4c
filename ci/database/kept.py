"""One session that a run keeps, so that consecutive short uses need no connection each."""

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from ..errors import Unreachable

# An older one may have been dropped on the way without a word: a statement would wait for minutes
# where a new connection answers at once.
IDLE_AT_MOST = 10.0  # seconds


class KeptSession:
    """Lends a session to one use at a time, and opens it when it is needed."""

    def __init__(self, connect: Callable[[], AbstractContextManager[psycopg.Connection]]) -> None:
        self._connect = connect
        self._free = threading.Lock()
        self._opened = ExitStack()
        self._connection: psycopg.Connection | None = None
        self._used = 0.0  # monotonic

    @contextmanager
    def lent(self) -> Iterator[psycopg.Connection | None]:
        """Lend the session, in no transaction; None while another use has it."""
        if not self._free.acquire(blocking=False):
            yield None
            return
        try:
            yield self._usable()
        finally:
            self._put_back()
            self._free.release()

    def close(self) -> None:
        """Close the session; what is open in it is rolled back."""
        if self._connection is not None:
            self._connection.close()
        self._opened.close()
        self._connection = None

    def _usable(self) -> psycopg.Connection:
        connection = self._connection
        if connection is None or _is_cut(connection):
            self.close()
            connection = self._connection = self._opened.enter_context(self._connect())
        elif time.monotonic() - self._used > IDLE_AT_MOST:
            connection = self._renewed(connection)
        return connection

    def _renewed(self, old: psycopg.Connection) -> psycopg.Connection:
        """Return a new session; the old one where the server has no place for another."""
        with ExitStack() as opened:
            try:
                connection = opened.enter_context(self._connect())
            except Unreachable:
                return old
            self.close()
            self._opened = opened.pop_all()
            self._connection = connection
            return connection

    def _put_back(self) -> None:
        self._used = time.monotonic()
        connection = self._connection
        if connection is not None and connection.info.transaction_status != TransactionStatus.IDLE:
            self.close()


def _is_cut(connection: psycopg.Connection) -> bool:
    """Tell whether the server has ended an idle session: it writes to it, or closes the line."""
    if connection.closed:
        return True
    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    return bool(line.poll(0))
