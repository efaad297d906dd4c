"""CALL and DO of a file with transaction=off, which may commit inside.

Whether they do is in code that the parser does not read. So they are sent in a transaction with
their record first, as any statement; the server refuses the first COMMIT there, and takes back what
was done before it. Then they are sent alone. What such a statement has committed is not known from
outside: it is recorded as begun, and one that did not end is not begun again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg

from ...database.connection import Database
from ...database.pinned import PATH
from ...database.retry import Terms, milliseconds
from ...errors import StepFailed
from ...parser.split import Statement
from ...secret import redact_to
from . import partial

if TYPE_CHECKING:
    from .run import FileJob

COMMITS = "2D000"  # invalid_transaction_termination
LONGEST = 8000  # characters of a server's message


def may_commit(statement: Statement) -> bool:
    """Tell whether a statement may commit inside."""
    return statement.kind in ("call_stmt", "do_stmt")


def run(
    job: "FileJob",
    database: Database,
    terms: Terms,
    number: int,
    in_transaction: Callable[[], object],
) -> None:
    """Run a statement and record it: together, or before and after where it commits inside.

    Args:
        job: the file.
        database: where.
        terms: how long it may wait and run.
        number: of the statement, from 1.
        in_transaction: runs it in one transaction with its record.

    Raises:
        StepFailed: it failed, or an earlier run began it and did not see its end.

    """
    name, direction = job.migration.name, job.direction
    with database.connect(f"migrate/{name}") as connection:
        if partial.begun(connection, name, direction) == number:
            raise _not_resumable(
                job, number, "was begun by an earlier run, which did not see it end"
            )
    try:
        in_transaction()
    except StepFailed as error:
        if getattr(error.__cause__, "sqlstate", None) != COMMITS:
            raise
        _alone(job, database, terms, number)


def _alone(job: "FileJob", database: Database, terms: Terms, number: int) -> None:
    """Run it outside a transaction; it is tried once, because a part of it may stay done."""
    name, direction = job.migration.name, job.direction
    statement, lock = job.file.statements[number - 1], terms.lock
    terms.note(f"{job.place(statement)}: commits inside: not resumable, and run once")
    with database.connect(f"migrate/{name}") as connection:
        terms.guard()
        partial.note_begun(connection, name, direction, job.file, number)
        connection.execute(
            f"set lock_timeout = {milliseconds(lock.timeout[-1])}; "
            f"set statement_timeout = {milliseconds(lock.concurrently)}; {job.session()}".encode()
        )
        try:
            with terms.observe(connection, str(job.place(statement)), statement.sql):
                connection.execute(statement.sql.encode())
        except psycopg.Error as error:
            message = redact_to(error.diag.message_primary or str(error), LONGEST)
            raise _not_resumable(
                job, number, f"failed: {message} [{error.sqlstate or 'no SQLSTATE'}]"
            ) from error
        connection.execute(
            f"reset session authorization; reset role; set search_path = {PATH}".encode()
        )
        partial.note_finished(connection, name, direction, job.file, number)


def _not_resumable(job: "FileJob", number: int, problem: str) -> StepFailed:
    name = job.migration.name
    return StepFailed(
        f"this statement commits inside, and {problem}",
        place=job.place(job.file.statements[number - 1]),
        state="what it committed stays, and how far it came is not known from outside; the "
        "statements before it stay done and are recorded",
        next_step=f"look how far it came; finish it by hand, and invoke stamp --name {name}; or, "
        f"where all of the file may run once more, invoke unstamp --name {name} and start again",
    )
