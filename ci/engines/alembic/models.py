"""The models of a project, compared with a database by Alembic; and its heads, merged by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ...database.connection import Database
from ...errors import ConfigError, WindlassError
from ...postgres import throwaway
from ...postgres.clients import find_clients
from ...postgres.schema import copy_definitions
from ...secret import redact
from .environment import AlembicEnvironment
from .history import AlembicHistory
from .pipe import ReportedError, read_answer
from .project import AlembicProject


class AlembicModels:
    """What env.py calls target_metadata."""

    def __init__(
        self, project: AlembicProject, environment: AlembicEnvironment, history: AlembicHistory
    ) -> None:
        self.project, self.environment, self.history = project, environment, history

    def differences(self, database: Database) -> str:
        """Say how the models differ from the database, as `alembic check` would.

        Alembic compares them with a copy of its definitions: nobody approved what it imports.
        """
        history = database.read("models", self.history.rows)
        settings = database.read("models", self.environment.settings)
        if not settings.models:
            return "models: env.py names none (target_metadata)"
        pending = len(self.project.graph.revisions.keys() - {row.name for row in history})
        if pending or len(self.project.graph.heads()) > 1:
            return "models: compared when the database is at its one head"
        try:
            with self._copied(database) as copy:
                answer = self.environment.ask(copy, "check", {})
            place = self.environment.project.child().place
            differences = read_answer(place, answer.get("differences"), tuple[str, ...])
        except ReportedError as error:
            return f"models: could not be compared: {error}"
        except (WindlassError, psycopg.Error) as error:
            what = error.what if isinstance(error, WindlassError) else str(error)
            return redact(f"models: could not be compared on a copy: {' '.join(what.split())}")
        if not differences:
            return "models: equal to the database"
        return f"models: the database lacks {len(differences)} changes: {', '.join(differences)}"

    def autogenerate(self, name: str, database: Database) -> tuple[Path, ...]:
        """Let Alembic write a revision with what the models have and the database has not.

        Raises:
            ConfigError: there is no message.
            Refused: the database is not at head.
            StepFailed: there is no server for a copy of its definitions.

        """
        with self._copied(database) as copy:
            return self.environment.write_revision(name, copy, autogenerate=True)

    @contextmanager
    def _copied(self, database: Database) -> Iterator[Database]:
        """Copy the definitions and the heads of a database into one that is thrown away."""

        def read(connection: psycopg.Connection) -> tuple[throwaway.Needs, tuple[str, ...], bool]:
            heads = self.environment.settings(connection).heads
            tls = connection.pgconn.ssl_in_use
            return throwaway.read_needs(connection), heads.read(connection), tls

        needs, heads, tls = database.read("models", read)
        clients = find_clients(needs.server_version, tls=tls)
        with throwaway.copied(needs, self.project.server) as (_, copy):
            copy_definitions(database, copy, clients)
            with copy.connect("models") as connection, connection.transaction():
                self.environment.settings(connection).heads.write(connection, heads)
            yield copy


class AlembicBranches:
    """The heads of a project."""

    def __init__(self, project: AlembicProject, environment: AlembicEnvironment) -> None:
        self.project, self.environment = project, environment

    def merge(self, name: str) -> tuple[Path, ...]:
        """Let Alembic write a merge of all heads; ConfigError where there is nothing to merge."""
        if len(self.project.graph.heads()) < 2:
            raise ConfigError("there is one head: nothing to merge", next_step="leave out --merge")
        return self.environment.write_revision(name, merge=True)
