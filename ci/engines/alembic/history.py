"""What ran, by Alembic's own heads and our checksums."""

import psycopg

from ...database import own_tables
from ...database.connection import Database, is_pooled
from ...database.history_table import HistoryTable
from ...errors import Refused
from ...model import Applied, Failed, Partial
from ..sql import partial
from . import bookkeeping
from .environment import AlembicEnvironment
from .pipe import ReportedError
from .project import AlembicProject


class AlembicHistory:
    """Reads the heads in a session of ours, wherever env.py says that it keeps them."""

    tables: tuple[HistoryTable, ...] = ()  # env.py says where: it is compared as any other

    def __init__(self, project: AlembicProject, environment: AlembicEnvironment) -> None:
        self.project, self.environment = project, environment

    def prepare(self, database: Database) -> None:
        """Let Alembic create its version table, wherever env.py wants it; and create ours."""
        try:
            self.environment.ask(database, "prepare", {})
        except ReportedError as error:
            raise error.failed(next_step="mend env.py, and do it again") from error
        with database.connect("migrate") as connection:
            own_tables.ensure(connection)

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many revisions are applied, and by what.

        Raises:
            Refused: a pooler is between: a setting would stay in a session of others.

        """
        if is_pooled(connection):
            raise Refused(
                "the address is a pooler's: what Alembic sets would stay in sessions of others",
                next_step="write the address of the server itself into database:",
            )
        applied, settings = len(self.rows(connection)), self.environment.settings(connection)
        heads = self.project.graph.heads()
        several = f", {len(heads)} heads: {', '.join(heads)}" if len(heads) > 1 else ""
        alone = (
            ""
            if settings.transaction_per_migration
            else "; alembic upgrade by hand holds every lock to the end of the last revision: set "
            "transaction_per_migration=True in env.py (here each has its own transaction)"
        )
        missing = self.project.child().unsandboxed
        where = f"read without a sandbox: {missing}" if missing else "read in a sandbox"
        return f"{applied} applied{several}, {self.project.version()}, {where}{alone}"

    def rows(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the heads of the database and all that they build on.

        Of what was run by Alembic alone neither checksum nor time is known.
        """
        heads = self.environment.settings(connection).heads.read(connection)
        graph, known = self.project.graph, bookkeeping.recorded(connection)
        reached = graph.reached(heads)
        self.project.applied = reached
        ordered = [name for name in graph.revisions if name in reached]
        rows = []
        for name in (*sorted(reached - set(ordered)), *ordered):
            checksum, at = known.get(name, (None, None))
            rows.append(Applied(name=name, checksum=checksum, applied_at=at))
        return tuple(rows)

    def heads(self, database: Database) -> tuple[str, str]:
        """Return schema and name of the table of the heads in a database."""

        def read(connection: psycopg.Connection) -> tuple[str, str]:
            heads = self.environment.settings(connection).heads
            return heads.schema_in(connection), heads.table

        return database.read("history", read)

    def path_in(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Return the search path that a session of the project has here."""
        return self.environment.settings(connection).heads.path_in(connection)

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return the revisions whose autocommit_block was cut off."""
        return partial.partials(connection)

    def failed(self, _connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return nothing: Alembic records no beginnings."""
        return ()
