"""What env.py says of how it runs revisions.

Nobody approved it yet when it is asked: it has no database, or a copy without rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from ...database.connection import Database, read_target
from ...database.retry import Terms
from ...errors import UNCHANGED, ConfigError, Refused, StepFailed, WindlassError
from ...postgres import throwaway
from . import bookkeeping, run
from .pipe import ReportedError, read_answer
from .project import AlembicProject

READS_DATA = "ReadsDataError"  # of the child
NOT_AT_HEAD = "Target database is not up to date"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSettings:
    """What env.py says about how it runs revisions."""

    heads: bookkeeping.Heads
    transaction_per_migration: bool
    models: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The same as env.py tells it: nothing of it is known to be true."""

    table: str
    schema: str
    search_path: tuple[str, ...]
    transaction_per_migration: bool
    models: bool


class AlembicEnvironment:
    """A project's env.py, asked in the project's own Python."""

    def __init__(self, project: AlembicProject) -> None:
        self.project = project
        self._settings: EnvSettings | None = None

    def ask(self, copy: Database | None, do: str, request: dict[str, object]) -> dict[str, Any]:
        """Ask something of the child, with the address of a copy where there is one.

        Never with that of the environment's database: this is before any approval.
        """
        child = self.project.child()
        if copy is None:
            return child.ask({"do": do, **request})
        with copy.connect(do) as connection:
            return child.ask({"do": do, **_place(copy, connection), **request})

    def settings(self, connection: psycopg.Connection) -> EnvSettings:
        """Return where the heads are kept, and the like; env.py alone knows.

        Of the connection only the server's version is used, and only where env.py does not say it
        without a database: then it is asked on an empty one of that version.
        """
        if self._settings is not None:
            return self._settings
        try:
            answer = self._told(connection.info.server_version)
        except ReportedError as error:
            raise error.failed(next_step="mend env.py; alembic current shows the same") from error
        told = read_answer(self.project.child().place, answer, Told)
        self._settings = EnvSettings(
            heads=bookkeeping.Heads(
                table=told.table, schema=told.schema, search_path=told.search_path
            ),
            transaction_per_migration=told.transaction_per_migration,
            models=told.models,
        )
        return self._settings

    def _told(self, server_version: int) -> dict[str, Any]:
        try:
            return self.ask(None, "bookkeeping", {})
        except ReportedError as error:
            if error.kind != READS_DATA:
                raise
            needs = throwaway.Needs(server_version=server_version, extensions=(), roles=())
            try:
                with throwaway.copied(needs, self.project.server) as (_, database):
                    return self.ask(database, "bookkeeping", {})
            except WindlassError as second:
                raise StepFailed(
                    f"{error}; and env.py asks a database before it runs the migrations, which "
                    f"before an approval is an empty one: {second.what}",
                    state=UNCHANGED,
                    next_step="let env.py read no data before context.run_migrations(), or name a "
                    "server for copies: throwaway: URL under backups",
                ) from error

    def write_revision(
        self,
        message: str,
        copy: Database | None = None,
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
            answer = self.ask(copy, "create", {"create": request})
        except ReportedError as error:
            raise _not_written(error, heads) from error
        place = self.project.child().place
        return self.project.written(read_answer(place, answer["paths"], tuple[str, ...]))


def _place(copy: Database, connection: psycopg.Connection) -> dict[str, object]:
    """Return where a copy is, as a request that only reads has it."""
    terms, target = Terms(), read_target(connection)
    return run.place_of(copy, target, "windlass/-/alembic", terms, terms.lock.timeout[-1])


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
