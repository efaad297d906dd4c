"""What every history of SQL files has in common, whatever its table: written with the script."""

from typing import Protocol

import psycopg

from ...backfill import record as backfills
from ...database import own_tables
from ...errors import StepFailed
from ...model import Applied, Direction, Failed, Migration
from ...parser.file import SqlFile
from . import partial


class HistoryRows(Protocol):
    """A table with what is applied. Each method runs in a transaction of the caller's."""

    @property
    def table(self) -> str:
        """Its name, for people."""
        ...

    @property
    def create(self) -> str:
        """The statement that creates it."""
        ...

    def exists(self, connection: psycopg.Connection) -> bool:
        """Tell whether it is there; Refused where it is not to be believed."""
        ...

    def hold(self, connection: psycopg.Connection) -> None:
        """Let nobody give it a trigger from here to the end; Refused where it has one."""
        ...

    def read(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied; an absent table is an empty history. Writes nothing."""
        ...

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what began, and neither ended nor was resolved."""
        ...

    def applied(self, connection: psycopg.Connection, name: str) -> bool:
        """Tell whether a migration is applied."""
        ...

    def add(self, connection: psycopg.Connection, migration: Migration) -> int:
        """Record that it ran; return the number of rows written."""
        ...

    def remove(self, connection: psycopg.Connection, name: str) -> int:
        """Record that it was undone; return the number of rows changed."""
        ...

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record a migration that was applied in another way."""
        ...

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record away without undoing anything."""
        ...

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the text as it is now as the one that ran."""
        ...

    def rendered(self, migration: Migration, direction: Direction) -> str:
        """Return the bookkeeping statement with its values, for people to read."""
        ...


def ensure(history: HistoryRows, connection: psycopg.Connection) -> None:
    """Create the tables where they are missing; where they exist, take no lock on them.

    In a transaction of the caller's, no other run is in its own until that one ends: a second
    one waits for its `lock_timeout` and retries, and then finds the work done.
    """
    with connection.transaction():
        # Two runs of one migration would collide on its history row, as on a new table.
        connection.execute(own_tables.ONE_AT_A_TIME)
        if not history.exists(connection):
            connection.execute(history.create.encode())
            history.exists(connection)  # nobody was faster
        own_tables.ensure(connection)


def already_recorded(
    history: HistoryRows, connection: psycopg.Connection, name: str, direction: Direction
) -> bool:
    """Tell whether the history already says what the run would make it say.

    A migration that was cut off half way is neither applied nor undone.
    """
    applied = history.applied(connection, name)
    return applied if direction == "up" else not (applied or partial.is_recorded(connection, name))


def record(
    history: HistoryRows, connection: psycopg.Connection, migration: Migration, direction: Direction
) -> None:
    """Write or remove the history row, and forget the partial run; in the caller's transaction."""
    history.hold(connection)
    if direction == "up":
        expected, changed = 1, history.add(connection, migration)
    else:
        # none where only a part of it ever ran
        expected = int(history.applied(connection, migration.name))
        changed = history.remove(connection, migration.name)
    if changed != expected:
        raise StepFailed(
            f"the history row of {migration.name} changed while it ran: {changed} rows",
            state="its transaction was rolled back",
            next_step=f"find who else writes {history.table}, and start again",
        )
    partial.forget(connection, migration.name)
    if direction == "down":
        backfills.forget(connection, migration.name)


def stamp(history: HistoryRows, connection: psycopg.Connection, migration: Migration) -> None:
    """Record a migration as applied; in the caller's transaction."""
    ensure(history, connection)
    history.stamp(connection, migration)
    partial.forget(connection, migration.name)


def unstamp(history: HistoryRows, connection: psycopg.Connection, name: str) -> None:
    """Take the record of a migration away, also of a part of one."""
    ensure(history, connection)
    history.unstamp(connection, name)
    partial.forget(connection, name)
    backfills.forget(connection, name)


def accept(
    history: HistoryRows, connection: psycopg.Connection, file: SqlFile, migration: Migration
) -> None:
    """Record the text as it is now as the one that ran; of a part of one, its beginning."""
    ensure(history, connection)
    history.accept(connection, migration)
    done = partial.count(connection, migration.name, "up")
    if done is not None:
        done = min(done, len(file.statements))
        partial.note_finished(connection, migration.name, "up", file, done)
