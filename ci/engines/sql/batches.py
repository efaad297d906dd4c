"""Statements of a file that run in batches, or are recorded for a job that will run them."""

import functools
from typing import TYPE_CHECKING

import psycopg

from ...backfill import run as backfills
from ...backfill.task import BackfillTask
from ...database.connection import Database
from ...database.retry import Terms, with_retry
from ...parser.split import Statement
from . import partial

if TYPE_CHECKING:
    from .run import FileJob


def run(job: "FileJob", database: Database, terms: Terms, statement: Statement, number: int) -> int:
    """Run a statement in batches and record its end; return how often one was tried again.

    One that is a job of its own is recorded as waiting, and so is that the file is done with it.
    """
    task = task_of(job, statement, number)
    if not _is_left(job, terms, statement):
        return backfills.run(task, database, terms)

    def enqueue(connection: psycopg.Connection) -> None:
        connection.execute(job.path().encode())
        backfills.enqueue(connection, task)
        task.finish(connection)

    return with_retry(terms, database, enqueue, step=f"migrate/{job.migration.name}")[1]


def task_of(
    job: "FileJob", statement: Statement, number: int, *, alone: bool = False
) -> BackfillTask:
    """Return a statement of a file as a task; `alone`: the file's own record is not kept."""

    def note(done: int, connection: psycopg.Connection) -> None:
        if not alone:
            partial.note_finished(connection, job.migration.name, job.direction, job.file, done)

    return BackfillTask(
        migration=job.migration.name,
        direction=job.direction,
        number=number,
        path=job.file.path,
        statement=statement,
        verify=job.migration.verify,
        search_path=job.path(),
        start=functools.partial(note, number - 1),
        finish=functools.partial(note, number),
    )


def are_left(job: "FileJob", terms: Terms) -> bool:
    """Tell whether a part of the file is left to a job: what it proves is not so yet."""
    return any(_is_left(job, terms, statement) for statement in job.file.backfills)


def _is_left(job: "FileJob", terms: Terms, statement: Statement) -> bool:
    asked = statement.backfill
    return asked is not None and asked.job and job.direction == "up" and not terms.jobs
