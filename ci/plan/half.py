"""What undoes a migration that ran in part: for what was never made, nothing. Pure.

A rollback script is of the whole migration. Of one that was cut off, each DROP in it becomes DROP
IF EXISTS. A statement that changes rows, or anything else, does not say of which statement of the
migration it is the undoing: where one that did not run may be meant, a person decides.
"""

from collections.abc import Iterable
from dataclasses import replace

import postgast

from ..parser import tree
from ..parser.split import Statement

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


def unsure(rollback: Iterable[Statement], missing: Iterable[Statement]) -> Statement | None:
    """Return the first statement of a rollback script that may undo what never ran; None: none.

    Args:
        rollback: the script.
        missing: the statements of the migration that did not run.

    """
    if all(_only_makes(statement) for statement in missing):
        return None
    return next((statement for statement in rollback if not _is_certain(statement)), None)


def _is_certain(statement: Statement) -> bool:
    if statement.kind == "alter_table_stmt":
        return all(tree.subtype(cmd) in DROPS for cmd in tree.commands(statement.node))
    return statement.kind in ("drop_stmt", "variable_set_stmt")


def _only_makes(statement: Statement) -> bool:
    if statement.kind == "alter_table_stmt":
        return all(tree.subtype(cmd) in ADDS for cmd in tree.commands(statement.node))
    return statement.kind in MAKES


def if_exists(statement: Statement) -> Statement:
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
