"""The `sql` engine: plain SQL files with a rollback and a verify script beside each."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from ci.config import LockConfig, MigrationsConfig
from ci.database import Database
from ci.engines import Finding, sqlfile, sqlhistory, sqllint
from ci.engines.sqlfile import SqlFile, Statement
from ci.errors import ConfigError, StepFailed
from ci.locktimeout import RETRIED, with_retry
from ci.model import Applied, Direction, Migration
from ci.secret import redact

NAME = re.compile(r"\d{8}_\d{6}_[a-z0-9_]+")
EXTRAS = ("_rollback", "_verify")
CREATED_NAME = re.compile(r"[a-z][a-z0-9_]{1,80}")


class SqlEngine:
    """Runs SQL files; the script and its history row commit together."""

    name = "sql"

    def __init__(self, config: MigrationsConfig, root: Path) -> None:
        self.directory = root / config.directory
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
        for stem in stems:
            base = next((stem.removesuffix(e) for e in EXTRAS if stem.endswith(e)), stem)
            if not NAME.fullmatch(base) or base not in main:
                raise ConfigError(
                    f"{self.shown / stem}.sql: expected YYYYMMDD_HHMMSS_name.sql, in lower case, "
                    "with _rollback or _verify only beside a migration of that name",
                    next_step="rename the file, or move it out of the directory",
                )
            other = stamps.setdefault(base[:15], base)
            if other != base:
                raise ConfigError(
                    f"{self.shown / stem}.sql: has the timestamp of {other}; which is first?",
                    next_step="give one of them another timestamp",
                )

    def _migration(self, stem: str) -> Migration:
        parsed = self._parse(stem, self._read(stem) or "")
        rollback, verify = self._read(stem + "_rollback"), self._read(stem + "_verify")
        if rollback is not None:
            self._parse(stem + "_rollback", rollback)
        if verify is not None:
            self._refuse_writing(self._parse(stem + "_verify", verify))
        return Migration(
            name=stem, checksum=parsed.checksum, sql=parsed.text, phase=parsed.phase,
            transactional=parsed.transactional, rollback=rollback, verify=verify,
        )  # fmt: skip

    def _read(self, stem: str) -> str | None:
        path = self.directory / f"{stem}.sql"
        return (
            sqlfile.normalise(path.read_bytes(), self.shown / path.name) if path.exists() else None
        )

    def _parse(self, stem: str, text: str) -> SqlFile:
        return sqlfile.parse(self.shown / f"{stem}.sql", text)

    def _refuse_writing(self, file: SqlFile) -> None:
        for statement in file.statements:
            if statement.kind != "select_stmt":
                raise ConfigError(
                    f"{file.path}:{statement.line}: a verify script only reads; this is no SELECT",
                    next_step="write a SELECT that returns true, or rows, or none after "
                    "-- expect: none",
                )

    def create(self, name: str) -> tuple[Path, ...]:
        """Write an empty trio with this moment's timestamp and return the paths."""
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

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the rows of schema_migrations; Refused where the table is another tool's."""
        return sqlhistory.read(connection)

    def apply(
        self,
        migration: Migration,
        database: Database,
        lock: LockConfig,
        on_retry: Callable[[str], None],
    ) -> int:
        """Run one migration and its verify script, and record it."""
        file = self._parse(migration.name, migration.sql)
        return self._run(migration, file, database, lock, on_retry, direction="up")

    def undo(
        self,
        migration: Migration,
        database: Database,
        lock: LockConfig,
        on_retry: Callable[[str], None],
    ) -> int:
        """Run the rollback script and take the history row out."""
        if migration.rollback is None:
            raise StepFailed(
                f"{migration.name} has no rollback script",
                state="the migration stays applied",
                next_step=f"write {self.shown / migration.name}_rollback.sql, or restore a backup",
            )
        file = self._parse(migration.name + "_rollback", migration.rollback)
        return self._run(migration, file, database, lock, on_retry, direction="down")

    def _run(  # private; the public pair above has the readable form
        self,
        migration: Migration,
        file: SqlFile,
        database: Database,
        lock: LockConfig,
        on_retry: Callable[[str], None],
        *,
        direction: Direction,
    ) -> int:
        step = f"migrate/{migration.name}"
        if not file.transactional:
            with database.connect(step) as connection:
                # A short lock_timeout would leave an invalid index behind: CREATE INDEX
                # CONCURRENTLY waits for old snapshots too, and blocks nobody while it does.
                self._one_by_one(migration, file, connection, direction)
            return 0

        def attempt(connection: psycopg.Connection) -> None:
            with connection.transaction():
                sqlhistory.ensure(connection)
                if sqlhistory.settled(connection, migration.name, direction):
                    return  # another machine was faster; the lock row of the insert says so
                for statement in file.statements:
                    self._execute(connection, file, statement)
                if direction == "up":
                    self.verify(migration, connection)
                sqlhistory.record(connection, migration, direction)

        _, retries = with_retry(lock, database, attempt, step=step, on_retry=on_retry)
        return retries

    def _one_by_one(
        self,
        migration: Migration,
        file: SqlFile,
        connection: psycopg.Connection,
        direction: Direction,
    ) -> None:
        """Run each statement on its own, each finished one recorded, from where a run stopped."""
        sqlhistory.ensure(connection)
        if sqlhistory.settled(connection, migration.name, direction):
            return
        done = sqlhistory.finished_statements(connection, migration.name, direction, file)
        for number, statement in enumerate(file.statements[done:], start=done + 1):
            sqlhistory.drop_invalid_index(connection, statement)
            try:
                self._execute(connection, file, statement)
            except StepFailed:
                if not connection.broken:
                    sqlhistory.drop_invalid_index(connection, statement)
                raise
            sqlhistory.check_index(connection, statement, where=f"{file.path}:{statement.line}")
            sqlhistory.note_statement(connection, migration.name, direction, file, number)
        with connection.transaction():
            if direction == "up":
                self.verify(migration, connection)
            sqlhistory.record(connection, migration, direction)

    def _execute(
        self, connection: psycopg.Connection, file: SqlFile, statement: Statement
    ) -> psycopg.Cursor[tuple[object, ...]]:
        try:
            return connection.execute(statement.sql.encode())
        except psycopg.Error as error:
            if error.sqlstate in RETRIED and file.transactional:
                raise
            raise _failed(file, statement, error) from error

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run the verify script; StepFailed with file and line where it does not hold."""
        if migration.verify is None:
            return 0
        file = self._parse(migration.name + "_verify", migration.verify)
        for statement in file.statements:
            rows = self._execute(connection, file, statement).fetchall()
            wrong = _wrong(rows, expects_none=statement.expects_none)
            if wrong:
                raise StepFailed(
                    f"{file.path}:{statement.line}: {wrong}",
                    state="the verification does not hold",
                    next_step="run the statement by hand; mend the migration or the script",
                )
        return len(file.statements)

    def render(self, migration: Migration, direction: Direction) -> str:
        """Return the SQL as it would be sent."""
        text = migration.sql if direction == "up" else migration.rollback or ""
        extra = "" if direction == "up" else "_rollback"
        file = self._parse(migration.name + extra, text)
        body = [f"{statement.sql};" for statement in file.statements]
        book = sqlhistory.rendered(migration, direction)
        if file.transactional:
            return "\n\n".join(["BEGIN;", *body, book, "COMMIT;"])
        return "\n\n".join([*body, book])

    def lint(self, migration: Migration) -> tuple[Finding, ...]:
        """Return what is dangerous in the file."""
        return sqllint.findings(self._parse(migration.name, migration.sql))


def _wrong(rows: list[tuple[object, ...]], *, expects_none: bool) -> str:
    """Say what is wrong with a verify statement's rows; empty where nothing is."""
    if expects_none:
        return f"{len(rows)} rows where none was expected" if rows else ""
    if not rows:
        return "no row where at least one was expected"
    for number, row in enumerate(rows, start=1):
        if any(value is False or value is None for value in row):
            return f"row {number} is {row}; expected true"
    return ""


def _failed(file: SqlFile, statement: Statement, error: psycopg.Error) -> StepFailed:
    position = error.diag.statement_position  # 1-based, in characters of the statement
    line = statement.line + statement.sql[: int(position or 1) - 1].count("\n")
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    said = error.diag.message_primary or str(error)
    if file.transactional:
        state = "its transaction was rolled back: nothing of this migration is left"
    else:
        state = "the statements before it stay done and are recorded; this one is not"
    return StepFailed(
        redact(f"{file.path}:{line}: {said}{hint} [{error.sqlstate or 'no SQLSTATE'}]"),
        state=state,
        next_step="mend the file, or what it found, and deploy again",
    )


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
