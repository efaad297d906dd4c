"""A session whose search_path is ours: what others create in `public` is never called by it.

A direct session has it from the start packet on. Behind a pooler the packet cannot carry it, and a
SET would stay in a session of others: there each transaction begins with SET LOCAL, and a single
statement gets a transaction.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from . import silence, unanswered

# pg_temp last, by name: where a path leaves it out, temporary tables are found first.
PATH = "pg_catalog, pg_temp"
OPTION = f"-c search_path={PATH.replace(' ', '')}"  # of the start packet
PIN = f"set local search_path = {PATH}".encode()
# Statements that look for operators and functions; the others may not run in a transaction.
LOOKS = (b"select", b"with", b"insert", b"update", b"delete")


class PinnedConnection(psycopg.Connection[TupleRow]):
    """A connection of ours.

    owners: roles besides our own whose tables are believed; None: everybody's, for a copy.
    pooled: a pooler is between, so that the search_path is set in each transaction.
    believed: tables that were looked at in this session and are trusted: only their owner, who
        is, could change them. What was created in a transaction that failed is forgotten.
    ask: asks the server on another line what it sees of this session; None: nobody is asked.
    within: seconds for each statement, where what it asks takes no time; None: as long as it takes.
    """

    owners: tuple[str, ...] | None = ()
    pooled: bool = False
    ask: Callable[[], silence.Sight] | None = None
    within: float | None = None

    @cached_property
    def believed(self) -> set[tuple[str, str]]:
        """The schema and name of each table."""
        return set()

    def wait(self, gen: Any, *values: Any, **options: Any) -> Any:  # noqa: ANN401  # as psycopg's
        """Wait for the server, and no longer than an answer can arrive.

        Raises:
            psycopg.OperationalError: it cannot any more; the connection is closed.

        """
        if self.within is not None:
            gen = unanswered.within(gen, self.pgconn, self.within)
        elif self.ask is not None:
            gen = unanswered.asking(gen, self.pgconn, self.ask)
        return super().wait(gen, *values, **options)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:  # noqa: ANN401  # as psycopg's
        """Run a statement; behind a pooler one that stands alone gets a transaction."""
        alone = self.pooled and self.info.transaction_status == TransactionStatus.IDLE
        if alone and _text(query).lstrip().lower().startswith(LOOKS):
            with self.transaction():
                return super().execute(query, params, **options)
        return super().execute(query, params, **options)

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Begin a transaction or a savepoint, as psycopg does; with our search_path."""
        outermost = self.info.transaction_status == TransactionStatus.IDLE
        try:
            with super().transaction(savepoint_name, force_rollback) as transaction:
                if self.pooled and outermost:
                    super().execute(PIN)
                yield transaction
        except BaseException:
            self.believed.clear()
            raise


@contextmanager
def within(connection: psycopg.Connection, seconds: float) -> Iterator[None]:
    """Give each statement in the block so many seconds: for one that asks what takes no time."""
    if not isinstance(connection, PinnedConnection):
        yield
        return
    before, connection.within = connection.within, seconds
    try:
        yield
    finally:
        connection.within = before


def _text(query: Any) -> bytes:  # noqa: ANN401  # whatever psycopg takes
    if isinstance(query, bytes):
        return query
    return (query.as_string() if isinstance(query, sql.Composable) else str(query)).encode()
