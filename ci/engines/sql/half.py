"""What is sent to undo a migration that ran in part, by what is recorded of it."""

from typing import TYPE_CHECKING

import psycopg

from ...errors import StepFailed
from ...parser.split import Statement
from ...plan import half
from . import partial

if TYPE_CHECKING:
    from .run import FileJob


def to_send(job: "FileJob", connection: psycopg.Connection) -> tuple[Statement, ...]:
    """Return the statements of a file as they are sent now, each in its place.

    Raises:
        StepFailed: the migration ran in part, and what its rollback script would undo is not
            certain; nothing of the script ran.

    """
    if job.forward is None or not _is_half_done(job, connection):
        return job.file.statements
    done = partial.count(connection, job.migration.name, "up")
    missing = job.forward.statements[done:] if done is not None else ()
    unsure = half.unsure(job.file.statements, missing)
    if unsure is not None:
        stand = ", ".join(f"line {s.line}" for s in job.forward.statements[:done]) or "none"
        raise StepFailed(
            f"{job.migration.name} ran in part, and this statement of its rollback script does not "
            "say which part it undoes",
            place=job.place(unsure),
            state=f"nothing of the rollback script ran; of {job.forward.path} {done} of "
            f"{len(job.forward.statements)} statements stand: {stand}",
            next_step="deploy again, so that the migration is whole, and roll that back; or undo "
            "those statements by hand and take its record away (invoke unstamp --name "
            f"{job.migration.name})",
        )
    return tuple(half.if_exists(statement) for statement in job.file.statements)


def _is_half_done(job: "FileJob", connection: psycopg.Connection) -> bool:
    """Tell whether the migration never ran whole; its undoing may have begun already."""
    name = job.migration.name
    return partial.is_recorded(connection, name) and not job.history.applied(connection, name)
