"""The models of a project, compared with a database by Alembic; and its heads, merged by it."""

from pathlib import Path

from ...database.connection import Database
from ...errors import ConfigError
from .environment import AlembicEnvironment
from .history import AlembicHistory
from .pipe import ReportedError
from .project import AlembicProject


class AlembicModels:
    """What env.py calls target_metadata."""

    def __init__(
        self, project: AlembicProject, environment: AlembicEnvironment, history: AlembicHistory
    ) -> None:
        self.project, self.environment, self.history = project, environment, history

    def differences(self, database: Database) -> str:
        """Say how the models differ from the database, as `alembic check` would."""
        history = database.read("models", self.history.rows)
        settings = database.read("models", self.environment.settings)
        if not settings.models:
            return "models: env.py names none (target_metadata)"
        pending = len(self.project.graph.revisions.keys() - {row.name for row in history})
        if pending or len(self.project.graph.heads()) > 1:
            return "models: compared when the database is at its one head"
        try:
            differences = self.environment.ask(database, "check", {})["differences"]
        except ReportedError as error:
            return f"models: could not be compared: {error}"
        if not differences:
            return "models: equal to the database"
        return f"models: the database lacks {len(differences)} changes: {', '.join(differences)}"

    def autogenerate(self, name: str, database: Database) -> tuple[Path, ...]:
        """Let Alembic write a revision with what the models have and the database has not.

        Raises:
            ConfigError: there is no message.
            Refused: the database is not at head.

        """
        return self.environment.write_revision(name, database, autogenerate=True)


class AlembicBranches:
    """The heads of a project."""

    def __init__(self, project: AlembicProject, environment: AlembicEnvironment) -> None:
        self.project, self.environment = project, environment

    def merge(self, name: str) -> tuple[Path, ...]:
        """Let Alembic write a merge of all heads; ConfigError where there is nothing to merge."""
        if len(self.project.graph.heads()) < 2:
            raise ConfigError("there is one head: nothing to merge", next_step="leave out --merge")
        return self.environment.write_revision(name, merge=True)
