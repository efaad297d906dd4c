"""Plain SQL files with a rollback and a verify script for each, parsed once."""

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from ...config.sections import MigrationsConfig
from ...database.retry import Terms
from ...errors import ConfigError, Place, StepFailed
from ...lint.catalog import read_catalog
from ...lint.statements import lint_files
from ...model import Direction, Finding, Migration, Unrecorded
from ...parser.effects import Effect, effects_of
from ...parser.file import SqlFile, read_script, require_one_way
from ...parser.once import Parser
from .. import HISTORIES
from . import bookkeeping, creates, run

NAME = re.compile(r"\d{8}_\d{6}_[a-z0-9_]+")
MOST = 50_000  # files of one directory; each takes some 0.1 ms
EXTRAS = ("_rollback", "_verify")
CREATED_NAME = re.compile(r"[a-z][a-z0-9_]{1,80}")


class SqlFiles:
    """The files of one directory; `table` is the history's, which a rendered migration names."""

    failure = ""  # the tool's code for a migration that failed

    def __init__(
        self, config: MigrationsConfig, root: Path, table: bookkeeping.HistoryRows
    ) -> None:
        self.root, self.directory = root, root / config.directory
        self.search_path = config.search_path
        self.table = table
        self.shown = Path(config.directory)  # in messages and plans: relative, the same everywhere
        self._parser = Parser()

    def besides(self) -> tuple[Path, ...]:
        """Return nothing: a file of SQL includes no other."""
        return ()

    def directories(self) -> tuple[Path, ...]:
        """Return the directory of the migrations."""
        return (self.directory,)

    def path_of(self, name: str, extra: str = "") -> Path:
        """Return where a script of a migration is, below the directory."""
        return Path(f"{name}{extra}.sql")

    def list(self) -> tuple[Migration, ...]:
        """Return every migration by timestamp; ConfigError where a file is wrong."""
        if not self.directory.is_dir():
            raise ConfigError(
                f"{self.shown}: no such directory; migrations.directory in deploy.yml names it",
                next_step="create the first migration: invoke create --name NAME",
            )
        paths = tuple(self.directory.glob("*.sql"))
        if len(paths) > MOST:
            raise ConfigError(
                f"{self.shown}: {len(paths):,} files; at most {MOST:,} are read",
                next_step="join old migrations into one, and record it: invoke baseline --name",
            )
        stems = tuple(path.stem for path in sorted(paths))
        main = tuple(stem for stem in stems if not stem.endswith(EXTRAS))
        self._refuse_odd_names(stems, main)
        return tuple(self.migration(stem) for stem in main)

    def _refuse_odd_names(self, stems: tuple[str, ...], main: tuple[str, ...]) -> None:
        stamps: dict[str, str] = {}
        self._refuse_twins(stems)
        for stem in stems:
            base = next((stem.removesuffix(e) for e in EXTRAS if stem.endswith(e)), stem)
            if not NAME.fullmatch(base) or base not in main:
                raise ConfigError(
                    "expected YYYYMMDD_HHMMSS_name.sql, in lower case, "
                    "with _rollback or _verify only beside a migration of that name",
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

    def _refuse_twins(self, stems: tuple[str, ...]) -> None:
        folded: dict[str, str] = {}
        for stem in stems:
            twin = folded.setdefault(stem.lower(), stem)
            if twin != stem:
                raise ConfigError(
                    f"{self.shown / stem}.sql and {twin}.sql differ in case alone, and are "
                    "one file where names have no case",
                    next_step="rename one of them, in lower case",
                )

    def migration(self, name: str) -> Migration:
        """Return a migration as it is on disk now; ConfigError where one of its files is wrong."""
        parsed = self.script(name, "", self.read(name) or "")
        rollback, verify = self.read(name, "_rollback"), self.read(name, "_verify")
        if rollback is not None:
            self.script(name, "_rollback", rollback)
        require_one_way(parsed, rollback)
        if verify is not None:
            run.require_reading(self.script(name, "_verify", verify))
        return Migration(
            name=name,
            checksum=parsed.checksum,
            sql=parsed.text,
            phase=parsed.phase,
            transactional=parsed.transactional,
            rollback=rollback,
            verify=verify,
            irreversible=parsed.irreversible,
        )

    def read(self, name: str, extra: str = "") -> str | None:
        """Return the text of a script as it is on disk now; None where there is none."""
        file = self.path_of(name, extra)
        return read_script(self.directory / file, self.shown / file, self.directory, self.root)

    def script(self, name: str, extra: str, text: str) -> SqlFile:
        """Return a script, parsed."""
        return self._parser.parse(self.shown / self.path_of(name, extra), text)

    def main(self, migration: Migration) -> SqlFile:
        """Return what a migration runs, parsed."""
        return self.script(migration.name, "", migration.sql)

    def create(self, name: str) -> tuple[Path, ...]:
        """Write an empty trio with this moment's timestamp and return the paths."""
        if not CREATED_NAME.fullmatch(name) or name.endswith(EXTRAS):
            raise ConfigError(
                f'"{name}" is no name for a migration; expected lower-case letters, digits and _',
                next_step="invoke create --name add_user_preferences",
            )
        now = datetime.now(UTC)
        self.directory.mkdir(parents=True, exist_ok=True)
        paths = []
        for extra, text in TEMPLATES.items():
            path = self.directory / f"{now:%Y%m%d_%H%M%S}_{name}{extra}.sql"
            with path.open("x", encoding="utf-8") as file:
                file.write(text.format(name=name, date=f"{now:%Y-%m-%d}"))
            paths.append(path)
        return tuple(paths)

    def job(self, migration: Migration, direction: Direction) -> run.FileJob:
        """Return what it takes to run a migration; StepFailed where it has no rollback script."""
        if direction == "up":
            file, verify = self.main(migration), self.verify_script(migration)
        elif migration.rollback is not None:
            file, verify = self.script(migration.name, "_rollback", migration.rollback), None
        else:
            raise StepFailed(
                f"{migration.name} has no rollback script",
                state="the migration stays applied",
                next_step=f"write {self.shown / self.path_of(migration.name, '_rollback')}, or "
                "restore a backup",
            )
        return run.FileJob(
            migration=migration,
            direction=direction,
            file=file,
            verify=verify,
            search_path=self.search_path,
            history=self.table,
            forward=self.main(migration) if direction == "down" else None,
            failure=self.failure if direction == "up" else "",
        )

    def verify_script(self, migration: Migration) -> SqlFile | None:
        """Return the verify script, parsed; None where there is none."""
        if migration.verify is None:
            return None
        return self.script(migration.name, "_verify", migration.verify)

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL as it would be sent."""
        return run.render_file(self.job(migration, direction), terms)

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the file sets aside."""
        return frozenset(allowance.rule for allowance in self.main(migration).allowed)

    def reasons(self, migration: Migration, rule: str) -> tuple[str, ...]:
        """Return the reasons with which the file sets a rule aside."""
        return tuple(a.reason for a in self.main(migration).allowed if a.rule == rule)

    def effects(self, migration: Migration, direction: Direction) -> tuple[Effect, ...]:
        """Return what its script does to tables and values; nothing where it has none."""
        if direction == "up":
            return effects_of(self.main(migration).statements)
        if migration.rollback is None:
            return ()
        script = self.script(migration.name, "_rollback", migration.rollback)
        return effects_of(script.statements)

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that a migration and its rollback script name."""
        names = self.main(migration).tables()
        if migration.rollback is not None:
            names |= self.script(migration.name, "_rollback", migration.rollback).tables()
        return names

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those of whose objects some already exist by name."""
        files = {migration.name: self.main(migration) for migration in migrations}
        connection.execute(run.set_search_path(self.search_path).encode())
        return creates.find_untracked(files, (self.search_path or ("",))[0], connection)

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in the files."""
        files = [self.main(migration) for migration in migrations]
        catalog = None
        if connection is not None:
            tables = frozenset[str]().union(*(file.tables() for file in files))
            functions = frozenset[str]().union(*(file.functions() for file in files))
            catalog = read_catalog(connection, tables, functions)
        return lint_files(files, catalog, HISTORIES)


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
