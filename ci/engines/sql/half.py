"""What is sent to undo a migration that ran in part: for what was never made, nothing.

A rollback script is of the whole migration. Of one that was cut off, each DROP in it becomes DROP
IF EXISTS. A statement that changes rows, or anything else, does not say of which statement of the
migration it is the undoing: where one that did not run may be meant, a person decides.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import postgast
import psycopg

from ...errors import StepFailed
from ...parser import tree
from ...parser.split import Statement
from . import partial

if TYPE_CHECKING:
    from .run import FileJob

# Of a statement of the migration that did not run nothing is left to undo but what DROP IF EXISTS
# passes over, where it would only have made something.
MAKES = frozenset(
    {
        "create_stmt",
        "create_table_as_stmt",
        "index_stmt",
        "view_stmt",
        "create_seq_stmt",
        "create_schema_stmt",
        "create_enum_stmt",
        "create_domain_stmt",
        "composite_type_stmt",
        "create_function_stmt",
        "create_trig_stmt",
        "create_extension_stmt",
    }
)
ADDS = frozenset({"AT_AddColumn", "AT_AddConstraint"})
DROPS = frozenset({"AT_DropColumn", "AT_DropConstraint"})


def to_send(job: "FileJob", connection: psycopg.Connection) -> tuple[Statement, ...]:
    """Return the statements of a file as they are sent now, each in its place.

    Raises:
        StepFailed: the migration ran in part, and what its rollback script would undo is not
            certain; nothing of the script ran.

    """
    if job.forward is None or not _is_half_done(job, connection):
        return job.file.statements
    done = partial.count(connection, job.migration.name, "up")
    unsure = [s for s in job.file.statements if not _is_certain(s)]
    missing = job.forward.statements[done:] if done is not None else ()
    if unsure and not all(_only_makes(statement) for statement in missing):
        stand = ", ".join(f"line {s.line}" for s in job.forward.statements[:done]) or "none"
        raise StepFailed(
            f"{job.migration.name} ran in part, and this statement of its rollback script does not "
            "say which part it undoes",
            place=job.place(unsure[0]),
            state=f"nothing of the rollback script ran; of {job.forward.path} {done} of "
            f"{len(job.forward.statements)} statements stand: {stand}",
            next_step="deploy again, so that the migration is whole, and roll that back; or undo "
            "those statements by hand and take its record away (invoke unstamp --name "
            f"{job.migration.name})",
        )
    return tuple(_if_exists(statement) for statement in job.file.statements)


def _is_half_done(job: "FileJob", connection: psycopg.Connection) -> bool:
    """Tell whether the migration never ran whole; its undoing may have begun already."""
    name = job.migration.name
    return partial.is_recorded(connection, name) and not job.history.applied(connection, name)


def _is_certain(statement: Statement) -> bool:
    if statement.kind == "alter_table_stmt":
        return all(tree.subtype(cmd) in DROPS for cmd in tree.commands(statement.node))
    return statement.kind in ("drop_stmt", "variable_set_stmt")


def _only_makes(statement: Statement) -> bool:
    if statement.kind == "alter_table_stmt":
        return all(tree.subtype(cmd) in ADDS for cmd in tree.commands(statement.node))
    return statement.kind in MAKES


def _if_exists(statement: Statement) -> Statement:
    """Return a DROP that passes over what is not there; another statement as it is."""
    if statement.kind not in ("drop_stmt", "alter_table_stmt"):
        return statement
    parsed = postgast.parse(statement.sql)
    node = getattr(parsed.stmts[0].stmt, statement.kind)
    dropping = [node] if statement.kind == "drop_stmt" else []
    if statement.kind == "alter_table_stmt":
        dropping = [cmd for cmd in tree.commands(node) if tree.subtype(cmd) in DROPS]
        if not dropping:
            return statement
        dropping.append(node)
    for part in dropping:
        part.missing_ok = True
    return replace(statement, sql=postgast.deparse(parsed), node=node)
