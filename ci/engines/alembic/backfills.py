"""Backfills behind a revision: `<file>_backfill.sql` beside it, always jobs of their own.

A revision commits with Alembic's heads, which know no half-done one. So what runs in batches is
recorded in the revision's transaction, and left to `invoke backfill.run`.
"""

from dataclasses import replace

import psycopg

from ...backfill import record
from ...backfill import run as backfills
from ...backfill.task import BackfillTask
from ...database.connection import Database
from ...database.retry import Terms
from ...errors import Refused
from ...model import Direction, Migration
from ...parser.file import SqlFile
from ..sql.run import set_search_path, terms_of
from .history import AlembicHistory
from .project import AlembicProject


def _keep_nothing(_connection: psycopg.Connection) -> None:
    """The heads say already that the revision is applied."""


class AlembicBackfills:
    """What the revisions of a project leave to jobs."""

    def __init__(self, project: AlembicProject, history: AlembicHistory) -> None:
        self.project, self.history = project, history

    def has_job(self, migration: Migration) -> bool:
        """Tell whether a deployment leaves a backfill of the revision to a job."""
        return migration.backfill is not None

    def recorded(self, migration: Migration, direction: Direction) -> tuple[bytes, ...]:
        """Return the statements that record them, or take them away, in the revision's session."""
        file = self._file(migration)
        if file is None:
            return ()
        if direction == "down":
            return (record.taking_away(migration.name),)
        tasks = (self._task(migration, file, n, ()) for n in range(1, len(file.statements) + 1))
        return tuple(
            record.waiting(task.identity, task.checksum, task.asked.table, task.verify_checksum)
            for task in tasks
        )

    def run_job(self, migration: Migration, number: int, database: Database, terms: Terms) -> int:
        """Run one to its end; return how often a batch was tried again."""
        file = self._file(migration)
        if file is None or number > len(file.statements):
            raise Refused(
                f"{migration.name} has no backfill at its statement {number} any more",
                next_step="bring the file back as it was deployed (git log)",
            )
        own = replace(terms_of(file, terms), jobs=True)
        path = database.read("migrate", self.history.path_in)
        return backfills.run(self._task(migration, file, number, path), database, own, as_job=True)

    def run_all(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run all of a revision, one behind the other: on a copy."""
        file = self._file(migration)
        count = len(file.statements) if file is not None else 0
        return sum(self.run_job(migration, n, database, terms) for n in range(1, count + 1))

    def _file(self, migration: Migration) -> SqlFile | None:
        return self.project.backfill(migration)

    def _task(
        self, migration: Migration, file: SqlFile, number: int, path: tuple[str, ...]
    ) -> BackfillTask:
        return BackfillTask(
            migration=migration.name,
            direction="up",
            number=number,
            path=file.path,
            statement=file.statements[number - 1],
            verify=migration.verify,
            search_path=set_search_path(path),
            start=_keep_nothing,
            finish=_keep_nothing,
        )
