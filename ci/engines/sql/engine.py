"""The `sql` engine: plain SQL files; the script and its history row commit together."""

from importlib.metadata import version
from pathlib import Path

import psycopg

from ...config.sections import MigrationsConfig
from ...database.connection import Database
from ...database.history_table import HistoryTable
from ...database.retry import Terms
from ...model import Applied, Failed, Migration, Partial
from .. import Engine
from . import bookkeeping, partial, run
from .files import SqlFiles
from .history import SchemaMigrations
from .jobs import SqlBackfills

HISTORY = HistoryTable("schema_migrations", schema="public")


def open_sql(config: MigrationsConfig, root: Path) -> Engine:
    """Return the engine of the files below `root`."""
    table = SchemaMigrations()
    files = SqlFiles(config, root, table)
    return Engine(
        name="sql",
        files=files,
        names=SqlNames(files),
        history=SqlHistory(table, HISTORY),
        corrections=SqlCorrections(table, files),
        runner=SqlRunner(files),
        untracked=files,
        backfills=SqlBackfills(files),
    )


class SqlNames:
    """A migration is called as its file is."""

    def __init__(self, files: SqlFiles) -> None:
        self.files = files

    def resolve(self, text: str) -> str:
        """Return the name itself."""
        return text

    def unknown(self, name: str) -> str:
        """Say which file there is not."""
        return f"{self.files.shown / self.files.path_of(name)}: no such migration"

    def never_ran(self, name: str) -> str:
        """Say that it is not in the history."""
        return f"{name} is not in the history"

    def no_file(self, name: str) -> str:
        """Say that an applied migration has no file."""
        return f"{name} is applied and has no file"

    def failed(self, name: str) -> str:
        """Say that a migration began, and did not end."""
        return f"{name} failed when the tool itself ran it, and is not resolved"

    def rollback_script(self, name: str) -> str:
        """Return the file beside its own."""
        return str(self.files.shown / self.files.path_of(name, "_rollback"))


class SqlHistory:
    """A history whose rows commit with their scripts, and the parts of those that cannot."""

    def __init__(self, table: bookkeeping.HistoryRows, *tables: HistoryTable) -> None:
        self.table, self.tables = table, tables

    def prepare(self, database: Database) -> None:
        """Create the history's tables where they are missing."""
        with database.connect("migrate") as connection:
            bookkeeping.ensure(self.table, connection)

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many migrations are applied; Refused where the table is another tool's."""
        return f"{len(self.rows(connection))} applied"

    def rows(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied; Refused where the table is another tool's."""
        return self.table.read(connection)

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return what was cut off half way."""
        return partial.partials(connection)

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what began, and neither ended nor was resolved."""
        return self.table.failed(connection)


class SqlCorrections:
    """Changes the rows alone."""

    def __init__(self, table: bookkeeping.HistoryRows, files: SqlFiles) -> None:
        self.table, self.files = table, files

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration as applied without running it."""
        bookkeeping.stamp(self.table, connection, migration)

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record away without undoing anything."""
        bookkeeping.unstamp(self.table, connection, name)

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the text as it is now as the one that ran."""
        bookkeeping.accept(self.table, connection, self.files.main(migration), migration)


class SqlRunner:
    """Runs the scripts."""

    def __init__(self, files: SqlFiles) -> None:
        self.files = files

    def version(self) -> str:
        """Return the parser's version: another parser may split a file otherwise."""
        return f"postgast {version('postgast')}"

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one migration and its verify script, and record it."""
        return run.run_file(self.files.job(migration, "up"), database, terms)

    def undo(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run the rollback script and take the history row out."""
        return run.run_file(self.files.job(migration, "down"), database, terms)

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run the verify script; StepFailed with file and line where it does not hold."""
        connection.execute(self.files.job(migration, "up").path().encode())
        script = self.files.verify_script(migration)
        return run.run_verify_script(script, connection) if script else 0
