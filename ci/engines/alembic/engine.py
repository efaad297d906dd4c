"""The `alembic` engine: the project's own Alembic, under the policy that every engine has.

Each revision is a run of its own, in one transaction with its record, whatever env.py does with
several: a lock is held no longer than its revision, and what failed is retried alone.
"""

from pathlib import Path

import psycopg

from ...backfill import record
from ...config.sections import MigrationsConfig
from ...database import own_tables
from ...database.connection import Database
from ...database.retry import Terms
from ...errors import Place, StepFailed
from ...model import Direction, Migration
from ...secret import Secret
from .. import Engine
from ..sql import partial
from ..sql.run import run_verify_script, set_search_path
from . import bookkeeping, run
from .backfills import AlembicBackfills
from .environment import AlembicEnvironment
from .files import AlembicFiles
from .history import AlembicHistory
from .models import AlembicBranches, AlembicModels
from .project import AlembicProject


def open_alembic(config: MigrationsConfig, root: Path, server: Secret | None = None) -> Engine:
    """Return the engine of the project below `root`; `server` is for copies, None: one of ours."""
    project = AlembicProject(config, root, server)
    environment = AlembicEnvironment(project)
    files = AlembicFiles(project, environment, config.search_path)
    history = AlembicHistory(project, environment)
    backfills = AlembicBackfills(project, history)
    return Engine(
        name="alembic",
        files=files,
        names=AlembicNames(project),
        history=history,
        corrections=AlembicCorrections(project, history),
        runner=AlembicRunner(project, history, backfills),
        untracked=files,
        backfills=backfills,
        models=AlembicModels(project, environment, history),
        branches=AlembicBranches(project, environment),
    )


class AlembicNames:
    """Revisions, in Alembic's words."""

    def __init__(self, project: AlembicProject) -> None:
        self.project = project

    def resolve(self, text: str) -> str:
        """Return the revision that a person means: its beginning, head, branch@head."""
        return self.project.graph.named(text)

    def unknown(self, name: str) -> str:
        """Say it in Alembic's words."""
        return f"{self.project.shown}: Can't locate revision identified by '{name}'"

    def never_ran(self, name: str) -> str:
        """Say that it is not in the history."""
        return f"{name} is not in the history"

    def no_file(self, name: str) -> str:
        """Say that an applied revision has no file, and what Alembic says."""
        return f"{name} is applied and has no file (Can't locate revision identified by '{name}')"

    def failed(self, name: str) -> str:
        """Say that a revision began, and did not end."""
        return f"{name} failed when the tool itself ran it, and is not resolved"

    def rollback_script(self, name: str) -> str:
        """Return the function of its file."""
        return f"the downgrade() of revision {name}"


class AlembicCorrections:
    """Changes Alembic's heads, and our records. No code of the project runs."""

    def __init__(self, project: AlembicProject, history: AlembicHistory) -> None:
        self.project, self.history = project, history

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the revision as applied without running it."""
        applied = {row.name for row in self.history.rows(connection)}
        self._write_heads(connection, applied | {migration.name})
        self.accept(connection, migration)

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record of a revision away, which makes what it builds on the head."""
        applied = {row.name for row in self.history.rows(connection)}
        if name in applied:
            migration = self.project.migration(self.project.revision(name))
            self._write_heads(connection, applied - {name})
            own_tables.ensure(connection)
            for statement in bookkeeping.note(migration, "down"):
                connection.execute(statement)
        if partial.exists(connection):
            partial.forget(connection, name)
        record.forget(connection, name)

    def _write_heads(self, connection: psycopg.Connection, applied: set[str]) -> None:
        heads = self.history.environment.settings(connection).heads
        heads.write(connection, self.project.graph.maximal(applied))

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the revision's text as it is now as the one that ran."""
        own_tables.ensure(connection)
        for statement in bookkeeping.note(migration, "up"):
            connection.execute(statement)


class AlembicRunner:
    """Runs revisions in their own Python, and keeps a checksum of each with Alembic's heads.

    On a copy that is the Python that read them. For terms that say that the gate let them through
    it is another one, which is started then: only that one learns the database's address.
    """

    def __init__(
        self, project: AlembicProject, history: AlembicHistory, backfills: AlembicBackfills
    ) -> None:
        self.project, self.history, self.backfills = project, history, backfills

    def version(self) -> str:
        """Return the versions of what runs revisions, and a hash of env.py and alembic.ini."""
        return self.project.version()

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one revision and its verify script, and record it."""
        return self._run(migration, "up", database, terms)

    def undo(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run its downgrade() and take the record away."""
        if migration.rollback is None:
            raise StepFailed(
                f"{migration.name}: its downgrade() does nothing",
                state="the revision stays applied",
                next_step="write it, or restore a backup",
            )
        return self._run(migration, "down", database, terms)

    def _run(
        self, migration: Migration, direction: Direction, database: Database, terms: Terms
    ) -> int:
        """Run a revision unless the heads say already what it would make them say."""
        with database.connect("migrate") as connection:
            applied = {row.name for row in self.history.rows(connection)}
            begun = {part.name: part.direction for part in self.history.partials(connection)}
        # Asked first: a revision that was cut off on its way up is in no history.
        if direction == "down" and begun.get(migration.name) == "up":
            raise StepFailed(
                f"{migration.name} was cut off in the middle, outside a transaction",
                state="what it committed is left; downgrade() takes back a whole revision",
                next_step=f"finish it: invoke deploy; or take back by hand what is left, then "
                f"invoke unstamp --name {migration.name}",
            )
        if (migration.name in applied) == (direction == "up"):
            return 0
        self._refuse_changed(migration)
        left = direction == "up" and self.backfills.has_job(migration)
        child = self.project.approved_child() if terms.approved else self.project.child()
        job = run.RevisionJob(
            child=child,
            migration=migration,
            direction=direction,
            heads=self.history.heads(database),
            head=self.project.head(migration),
            verify=None if left else self.project.verify(migration),
            backfills=self.backfills.recorded(migration, direction),
        )
        retries = run.run_revision(job, database, terms)
        now = {row.name for row in database.read("migrate", self.history.rows)}
        if (migration.name in now) != (direction == "up"):
            raise StepFailed(
                f"{migration.name} ran, and the heads of the database do not say so",
                state="env.py rolled it back, or keeps its heads elsewhere",
                next_step="let env.py call context.run_migrations() in context.begin_transaction()",
            )
        if left and terms.jobs:
            retries += self.backfills.run_all(migration, database, terms)
            database.read("verify", lambda c: self.verify(migration, c), own_session=True)
        return retries

    def _refuse_changed(self, migration: Migration) -> None:
        """Refuse to run a file that is not what was planned: Alembic reads it anew."""
        revision = self.project.revision(migration.name)
        if self.project.source(revision) != migration.sql:
            raise StepFailed(
                "changed since it was planned",
                place=Place(str(self.project.path(revision))),
                state="this revision did not run",
                next_step="see who writes into this directory, and plan again",
            )

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run the verify script; StepFailed with file and line where it does not hold."""
        file = self.project.verify(migration)
        if file is None:
            return 0
        connection.execute(set_search_path(self.history.path_in(connection)).encode())
        return run_verify_script(file, connection)
