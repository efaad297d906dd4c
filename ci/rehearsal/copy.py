"""Migrations on a copy that is thrown away: applied, described, undone, compared, reapplied.

It returns values; the caller gives order and terms, and words the result.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import psycopg

from ..database.connection import Database, read_target
from ..database.retry import Terms
from ..engines import Engine
from ..errors import WindlassError
from ..model import Migration, Traced
from ..postgres import definitions, roles
from ..postgres.clients import Clients, find_clients
from ..secret import redact
from . import rows
from .trace import Trace

LOCK_WAIT = "--lock-wait-timeout=5s"  # of pg_dump, for a table that is locked
COPIED = ("--no-owner", LOCK_WAIT)  # an owner is no part of a definition
SIZE = "select pg_catalog.pg_database_size(pg_catalog.current_database())"

Definitions = Mapping[str, str]
Stage = Literal["apply", "undo", "again"]


def one_line(error: WindlassError | psycopg.Error) -> str:
    """Return what an error says, in one line and without secrets."""
    what = error.what if isinstance(error, WindlassError) else str(error)
    return redact(" ".join(what.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one migration on a copy.

    after: the definitions when all was done; those of before where something failed.
    differences: how the definitions differ from before when it was undone, in words.
    undone: whether its rollback ran.
    proven_with: the others, without whose rollback its own does not give the definitions back.
    failed: the stage that ended the attempt, with its error; None: none did.
    seconds, undo_seconds: of the first run, less what the watching took, and of the rollback.
    growth: of the database, in bytes, by the first run.
    rows_before, rows_applied, rows_undone: what the tables it names hold at these moments.
    """

    after: Definitions
    differences: tuple[str, ...] = ()
    undone: bool = False
    proven_with: tuple[str, ...] = ()
    failed: Stage | None = None
    error: WindlassError | psycopg.Error | None = None
    seconds: float = 0.0
    undo_seconds: float = 0.0
    growth: int = 0
    statements: tuple[Traced, ...] = ()
    rows_before: rows.Tables = field(default_factory=dict)
    rows_applied: rows.Tables = field(default_factory=dict)
    rows_undone: rows.Tables = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy, and how migrations are run in it.

    database: the copy, as the role that runs migrations: what they leave behind runs as that too.
    admin: the copy, as the server's superuser, for pg_dump alone; None: `database` is that.
    lacks: the rights that the real role has and the one on the copy has not.
    clients: whose pg_dump describes it.
    options: of pg_dump, besides those that `definitions` has.
    terms: of a deployment; no one is told of waits.
    verifies: whether verify scripts are run: they are for a database with rows in it.
    watched: whether statements, rows and size are looked at.
    """

    database: Database
    engine: Engine
    clients: Clients
    admin: Database | None = None
    lacks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)
    verifies: bool = True
    watched: bool = False

    def definitions(self) -> dict[str, str]:
        """Return the definitions as they are now."""
        return definitions.definitions(
            self.admin or self.database, self.clients, self.engine.history.tables, *self.options
        )

    def apply(self, migration: Migration, terms: Terms | None = None) -> None:
        """Run one; as the engine does, with the copy's terms unless others are given."""
        if not self.verifies:
            migration = msgspec.structs.replace(migration, verify=None)
        own = replace(terms or self.terms, jobs=True)
        self.engine.runner.apply(migration, self.database, own)

    def undo(self, migration: Migration) -> None:
        """Run its rollback script."""
        self.engine.runner.undo(migration, self.database, self.terms)

    def attempt(self, migration: Migration, before: Definitions, *, back: bool = False) -> Attempt:
        """Run a migration for the first time; `back` says whether it will be undone here.

        What fails, of ours or of the server, is in the value.
        """
        attempt = Attempt(after=before)
        try:
            attempt = self._first(migration, attempt, back=back)
        except (WindlassError, psycopg.Error) as error:
            return replace(attempt, failed="apply", error=error)
        return replace(attempt, after=self.definitions())

    def attempt_back(self, migration: Migration, attempt: Attempt, before: Definitions) -> Attempt:
        """Undo a migration, and compare with the definitions of before."""
        try:
            applied = self._rows(migration)
            began = time.monotonic()
            self.undo(migration)
            seconds = round(time.monotonic() - began, 3)
        except (WindlassError, psycopg.Error) as error:
            return replace(attempt, failed="undo", error=error, after=before)
        return replace(
            attempt,
            undo_seconds=seconds,
            undone=True,
            differences=definitions.different(before, self.definitions()),
            rows_applied=applied,
            rows_undone=self._rows(migration),
        )

    def attempt_again(self, migration: Migration, attempt: Attempt, before: Definitions) -> Attempt:
        """Run a migration once more after its rollback."""
        try:
            self.apply(migration)
        except (WindlassError, psycopg.Error) as error:
            return replace(attempt, failed="again", error=error, after=before)
        return attempt

    def _first(self, migration: Migration, attempt: Attempt, *, back: bool) -> Attempt:
        before = self._rows(migration) if back else {}
        trace = Trace(self.database, self.engine.history.tables)
        size, began = self._size(), time.monotonic()
        watching = replace(
            self.terms,
            observe=trace.observe,
            attempt=trace.attempt,
            observe_batch=trace.observe_batch,
        )
        with closing(trace):
            self.apply(migration, watching if self.watched else self.terms)
            statements = trace.finished()
        return replace(
            attempt,
            seconds=round(time.monotonic() - began - trace.overhead, 3),
            statements=statements,
            growth=self._size() - size,
            rows_before=before,
        )

    def _rows(self, migration: Migration) -> rows.Tables:
        if not self.watched:
            return {}
        names = self.engine.files.tables(migration)
        return rows.read_tables(self.database, names, self.engine.history.tables)

    def _size(self) -> int:
        """Return the bytes of the copy."""
        if not self.watched:
            return 0
        with self.database.connect("rehearse") as connection:
            row = connection.execute(SIZE).fetchone()
            return int(row[0]) if row else 0

    def not_tried(self, attempt: Attempt) -> str:
        """Return why a migration could not be tried here; empty where it was, or failed by itself.

        A statement that was refused for want of a right that the real role has says nothing of
        what it does there.
        """
        if attempt.error is None or not self.lacks or not roles.refused(attempt.error):
            return ""
        return f"the role on the copy is without {', '.join(self.lacks)}: {one_line(attempt.error)}"

    def states(self, migrations: Iterable[Migration]) -> Iterator[Definitions]:
        """Yield the definitions before migrations, and after each.

        Raises:
            WindlassError: a migration failed. Also psycopg.Error.

        """
        state: Definitions = self.definitions()
        yield state
        for migration in migrations:
            attempt = self.attempt(migration, state)
            if attempt.error is not None:
                raise attempt.error
            yield (state := attempt.after)


def clients_for(database: Database, image: str = "") -> Clients:
    """Return the client tools for a copy, by its server's version.

    Args:
        database: the copy.
        image: the container image that has them; empty: those that are installed here.

    Raises:
        StepFailed: there are none of its version.

    """
    with database.connect("rehearse") as connection:
        version = read_target(connection).server_version
    return find_clients(version, image=image)
