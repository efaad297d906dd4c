"""The `sql` engine: plain SQL files with a rollback and a verify script beside each."""

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from ...config.sections import MigrationsConfig
from ...database.connection import Database
from ...database.retry import Terms
from ...errors import ConfigError, Place, StepFailed
from ...lint import catalog as sqlcatalog
from ...lint import statements
from ...model import Applied, Direction, Failed, Finding, Migration, Partial, Unrecorded
from ...parser import file as sqlfile
from ...parser.file import SqlFile
from . import bookkeeping, creates, partial, run
from .history import SchemaMigrations

NAME = re.compile(r"\d{8}_\d{6}_[a-z0-9_]+")
EXTRAS = ("_rollback", "_verify")
CREATED_NAME = re.compile(r"[a-z][a-z0-9_]{1,80}")


class SqlEngine:
    """Runs SQL files; the script and its history row commit together."""

    name = "sql"
    lock_keys: tuple[int, ...] = ()
    failure = ""  # the tool's code for a migration that failed

    def __init__(self, config: MigrationsConfig, root: Path) -> None:
        self.directory = root / config.directory
        self.search_path = config.search_path
        self.history_table: bookkeeping.History = SchemaMigrations()
        self.shown = Path(config.directory)  # in messages and plans: relative, the same everywhere

    def version(self) -> str:
        """Return the parser's version: another parser may split a file otherwise."""
        return f"postgast {version('postgast')}"

    def on_disk(self) -> tuple[Migration, ...]:
        """Return every migration by timestamp; ConfigError where a file is wrong."""
        if not self.directory.is_dir():
            raise ConfigError(
                f"{self.shown}: no such directory; migrations.directory in deploy.yml names it",
                next_step="create the first migration: invoke create --name NAME",
            )
        files = {path.stem: path for path in sorted(self.directory.glob("*.sql"))}
        main = [stem for stem in files if not stem.endswith(EXTRAS)]
        self._refuse_odd_names(list(files), main)
        return tuple(self._migration(stem) for stem in main)

    def _refuse_odd_names(self, stems: list[str], main: list[str]) -> None:
        stamps: dict[str, str] = {}
        self._refuse_twins(stems)
        for stem in stems:
            base = next((stem.removesuffix(e) for e in EXTRAS if stem.endswith(e)), stem)
            if not NAME.fullmatch(base) or base not in main:
                raise ConfigError(
                    "expected YYYYMMDD_HHMMSS_name.sql, in lower case, with _rollback or _verify "
                    "only beside a migration of that name",
                    place=Place(f"{self.shown / stem}.sql"),
                    next_step="rename the file, or move it out of the directory",
                )
            other = stamps.setdefault(base[:15], base)
            if other != base:
                raise ConfigError(
                    f"has the timestamp of {other}; which is first?",
                    place=Place(f"{self.shown / stem}.sql"),
                    next_step="give one of them another timestamp",
                )

    def _refuse_twins(self, stems: list[str]) -> None:
        folded: dict[str, str] = {}
        for stem in stems:
            twin = folded.setdefault(stem.lower(), stem)
            if twin != stem:
                raise ConfigError(
                    f"{self.shown / stem}.sql and {twin}.sql differ in case alone, and are "
                    "one file where names have no case",
                    next_step="rename one of them, in lower case",
                )

    def file_of(self, name: str, extra: str = "") -> Path:
        """Return where a script of a migration stands, below the directory."""
        return Path(f"{name}{extra}.sql")

    def _migration(self, stem: str) -> Migration:
        parsed = self._parse(stem, "", self._read(stem, "") or "")
        rollback, verify = self._read(stem, "_rollback"), self._read(stem, "_verify")
        if rollback is not None:
            self._parse(stem, "_rollback", rollback)
        if verify is not None:
            run.require_reading(self._parse(stem, "_verify", verify))
        return Migration(
            name=stem,
            checksum=parsed.checksum,
            sql=parsed.text,
            phase=parsed.phase,
            transactional=parsed.transactional,
            rollback=rollback,
            verify=verify,
        )

    def _read(self, name: str, extra: str) -> str | None:
        file = self.file_of(name, extra)
        path = self.directory / file
        return sqlfile.normalise(path.read_bytes(), self.shown / file) if path.exists() else None

    def _parse(self, name: str, extra: str, text: str) -> SqlFile:
        return sqlfile.parse(self.shown / self.file_of(name, extra), text)

    def named(self, text: str) -> str:
        """Return the name itself."""
        return text

    def models(self, _database: Database) -> str:
        """Return nothing: SQL files have no models."""
        return ""

    def create(
        self, name: str, *, compared: Database | None = None, merge: bool = False
    ) -> tuple[Path, ...]:
        """Write an empty trio with this moment's timestamp and return the paths."""
        self.refuse_what_alembic_does(compared=compared, merge=merge)
        if not CREATED_NAME.fullmatch(name) or name.endswith(EXTRAS):
            raise ConfigError(
                f'"{name}" is no name for a migration; expected lower-case letters, digits and _',
                next_step="invoke create --name add_user_preferences",
            )
        now = datetime.now(UTC)
        self.directory.mkdir(parents=True, exist_ok=True)
        made = []
        for extra, text in TEMPLATES.items():
            path = self.directory / f"{now:%Y%m%d_%H%M%S}_{name}{extra}.sql"
            with path.open("x", encoding="utf-8") as file:
                file.write(text.format(name=name, date=f"{now:%Y-%m-%d}"))
            made.append(path)
        return tuple(made)

    def refuse_what_alembic_does(self, *, compared: Database | None, merge: bool) -> None:
        """Raise ConfigError where a migration is asked for that only Alembic can write."""
        if compared is not None or merge:
            flag = "--merge" if merge else "--autogenerate"
            raise ConfigError(
                f"create {flag} is for engine: alembic; the engine is {self.name}",
                next_step=f"leave out {flag}, and write the migration by hand",
            )

    def prepare(self, database: Database) -> None:
        """Create the history's tables where they are missing."""
        with database.connect("migrate") as connection:
            bookkeeping.ensure(self.history_table, connection)

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many migrations are applied; Refused where the table is another tool's."""
        return f"{len(self.history(connection))} applied"

    def missing(self, name: str) -> str:
        """Say which file there is not."""
        return f"{self.shown / self.file_of(name)}: no such migration"

    def never_ran(self, name: str) -> str:
        """Say that it is not in the history."""
        return f"{name} is not in the history"

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what began, and neither ended nor was resolved."""
        return self.history_table.failed(connection)

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the rows of schema_migrations; Refused where the table is another tool's."""
        return self.history_table.read(connection)

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration as applied without running it."""
        bookkeeping.stamp(self.history_table, connection, migration)

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record away without undoing anything."""
        bookkeeping.unstamp(self.history_table, connection, name)

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the text as it is now as the one that ran."""
        file = self._parse(migration.name, "", migration.sql)
        bookkeeping.accept(self.history_table, connection, file, migration)

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return what was cut off half way."""
        return partial.partials(connection)

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one migration and its verify script, and record it."""
        return run.run(self._job(migration, "up"), database, terms)

    def undo(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run the rollback script and take the history row out."""
        return run.run(self._job(migration, "down"), database, terms)

    def _job(self, migration: Migration, direction: Direction) -> run.Job:
        verify = None
        if direction == "up":
            file = self._parse(migration.name, "", migration.sql)
            if migration.verify is not None:
                verify = self._parse(migration.name, "_verify", migration.verify)
        elif migration.rollback is not None:
            file = self._parse(migration.name, "_rollback", migration.rollback)
        else:
            raise StepFailed(
                f"{migration.name} has no rollback script",
                state="the migration stays applied",
                next_step=f"write {self.shown / self.file_of(migration.name, '_rollback')}, or "
                "restore a backup",
            )
        return run.Job(
            migration=migration,
            direction=direction,
            file=file,
            verify=verify,
            search_path=self.search_path,
            history=self.history_table,
            failure=self.failure if direction == "up" else "",
        )

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run the verify script; StepFailed with file and line where it does not hold."""
        job = self._job(migration, "up")
        connection.execute(job.settings().encode())
        return run.check(job.verify, connection) if job.verify else 0

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL as it would be sent."""
        return run.render(self._job(migration, direction), terms)

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the file sets aside."""
        return frozenset(a.rule for a in self._parse(migration.name, "", migration.sql).allowed)

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that a migration and its rollback script name."""
        found = self._parse(migration.name, "", migration.sql).tables()
        if migration.rollback is not None:
            found |= self._parse(migration.name, "_rollback", migration.rollback).tables()
        return found

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those of whose objects some stand by name already."""
        files = {one.name: self._parse(one.name, "", one.sql) for one in migrations}
        connection.execute(run.searching(self.search_path).encode())
        return creates.unrecorded(files, (self.search_path or ("",))[0], connection)

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in the files."""
        files = [self._parse(one.name, "", one.sql) for one in migrations]
        catalog = None
        if connection is not None:
            tables = frozenset[str]().union(*(file.tables() for file in files))
            functions = frozenset[str]().union(*(file.functions() for file in files))
            catalog = sqlcatalog.read(connection, tables, functions)
        return statements.findings(files, catalog)


TEMPLATES = {
    "": """-- Migration: {name}
-- Created: {date}
-- Description:

BEGIN;

COMMIT;
""",
    "_rollback": """-- Rollback: {name}
-- Created: {date}

BEGIN;

COMMIT;
""",
    "_verify": """-- Verify: {name}
-- Every statement must return rows that are true; after "-- expect: none", no row.

""",
}
