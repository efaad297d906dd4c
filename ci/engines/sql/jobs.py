"""Backfills of SQL files that are jobs of their own."""

from dataclasses import replace

from ...backfill import run as backfills
from ...database.connection import Database
from ...database.retry import Terms
from ...errors import Refused
from ...model import Migration
from . import batches
from .files import SqlFiles
from .run import terms_of


class SqlBackfills:
    """What files leave to `invoke backfill.run`."""

    def __init__(self, files: SqlFiles) -> None:
        self.files = files

    def has_job(self, migration: Migration) -> bool:
        """Tell whether a deployment leaves a backfill of the migration to a job."""
        return any(s.backfill and s.backfill.job for s in self.files.main(migration).backfills)

    def run_job(self, migration: Migration, number: int, database: Database, terms: Terms) -> int:
        """Run one to its end; return how often a batch was tried again."""
        job = self.files.job(migration, "up")
        statements = job.file.statements
        statement = statements[number - 1] if number <= len(statements) else None
        if statement is None or statement.backfill is None:
            raise Refused(
                f"{migration.name} has no backfill at its statement {number} any more",
                next_step="bring the file back as it was deployed (git log)",
            )
        own = replace(terms_of(job.file, terms), jobs=True)
        task = batches.task_of(job, statement, number, alone=True)
        return backfills.run(task, database, own, as_job=True)
