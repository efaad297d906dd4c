"""What env.py says of how it runs revisions; it needs a connection to say it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ...database.connection import Database, read_target
from ...database.retry import Terms
from ...errors import ConfigError, Refused, StepFailed
from . import bookkeeping, run
from .pipe import ReportedError
from .project import AlembicProject

NOT_AT_HEAD = "Target database is not up to date"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSettings:
    """What env.py says about how it runs revisions."""

    heads: bookkeeping.Heads
    transaction_per_migration: bool
    models: bool


class AlembicEnvironment:
    """A project's env.py, asked in the project's own Python."""

    def __init__(self, project: AlembicProject) -> None:
        self.project = project
        self._settings: EnvSettings | None = None

    def ask(self, database: Database | None, do: str, request: dict[str, object]) -> dict[str, Any]:
        """Ask something of the child, with a connection to a database where there is one."""
        if database is None:
            return self.project.child.ask({"do": do, **request})
        with database.connect(do) as connection:
            return self.project.child.ask({"do": do, **_place(connection), **request})

    def settings(self, connection: psycopg.Connection) -> EnvSettings:
        """Return where the heads are kept, and the like; env.py alone knows."""
        if self._settings is not None:
            return self._settings
        try:
            answer = self.project.child.ask({"do": "bookkeeping", **_place(connection)})
        except ReportedError as error:
            raise error.failed(next_step="mend env.py; alembic current shows the same") from error
        self._settings = EnvSettings(
            heads=bookkeeping.Heads(table=str(answer["table"]), schema=str(answer["schema"])),
            transaction_per_migration=bool(answer["transaction_per_migration"]),
            models=bool(answer["models"]),
        )
        return self._settings

    def write_revision(
        self,
        message: str,
        database: Database | None = None,
        *,
        autogenerate: bool = False,
        merge: bool = False,
    ) -> tuple[Path, ...]:
        """Let Alembic write a revision, and return its path.

        Raises:
            ConfigError: there is no message.
            Refused: there are several heads, or the database to compare with is not at head.

        """
        if not message.strip():
            raise ConfigError(
                "a revision needs a message", next_step='invoke create --name "add user full name"'
            )
        heads = self.project.graph.heads()
        request = {"message": message, "autogenerate": autogenerate, "merge": merge}
        try:
            answer = self.ask(database, "create", {"create": request})
        except ReportedError as error:
            raise _not_written(error, heads) from error
        return self.project.written(answer["paths"])


def _place(connection: psycopg.Connection) -> dict[str, object]:
    """Return where a connection goes, as a request that only reads has it."""
    terms, target = Terms(), read_target(connection)
    database, rung = run.database_of(connection), terms.lock.timeout[-1]
    return run.place_of(database, target, "windlass/-/alembic", terms, rung)


def _not_written(error: ReportedError, heads: tuple[str, ...]) -> Refused | StepFailed:
    """Return what to say where Alembic wrote no revision."""
    if NOT_AT_HEAD in error.words:
        return Refused(
            "Target database is not up to date: models are compared with a database at head",
            next_step="invoke migrate --env ENV first, then invoke create",
        )
    if len(heads) > 1:
        return Refused(
            f"Multiple head revisions are present: {', '.join(heads)}",
            next_step="merge them first: invoke create --merge --name merge_heads",
        )
    return error.failed(next_step="mend env.py or the models, and invoke create")
