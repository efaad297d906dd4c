"""Which call of `create --recipe` writes a change that old and new code survive. Pure.

With the names of the statement; a word in capitals is what its author alone knows.
"""

import shlex

from postgast import pg_query_pb2

from ..parser import tree
from ..parser.tree import Node
from . import names
from .catalog import Catalog, Key
from .forward import Step


def recipe(name: str, key: Key, column: str, **options: str) -> str:
    """Return the call, as a shell takes it; an option without a value is left out."""
    words = ["--recipe", name, "--table", ".".join(key), "--column", column]
    for option, value in options.items():
        words += [f"--{option}", value] if value else []
    return f"invoke create {shlex.join(words)}"


def change_type(key: Key, column: str, definition: Node) -> str:
    """Return the call for ALTER COLUMN TYPE."""
    kind, using = tree.type_name(definition.type_name), tree.expression(definition.raw_default)
    return recipe("change-type", key, column, type=kind, using=using)


def add_not_null(key: Key, definition: Node) -> str:
    """Return the call for ADD COLUMN … NOT NULL without a value."""
    kind = tree.type_name(definition.type_name)
    return recipe("add-not-null-column", key, str(definition.colname), type=kind, value="VALUE")


def foreign_key(key: Key, constraint: Node, catalog: Catalog) -> str:
    """Return the call for a foreign key of one column; empty: it has several."""
    columns, others = names.texts(constraint.fk_attrs), names.texts(constraint.pk_attrs)
    if len(columns) != 1:
        return ""
    refers = ".".join(names.key_of(constraint.pktable, catalog))
    references = f"{refers}({others[0]})" if others else refers
    return recipe("add-foreign-key", key, columns[0], references=references)


def of_squawk(step: Step, rule: str) -> str:
    """Return the calls for what a rule of squawk's says of a statement; empty: there is none."""
    node, catalog = step.statement.node, step.before
    if rule == "renaming-column" and step.statement.kind == "rename_stmt":
        if node.rename_type != pg_query_pb2.ObjectType.OBJECT_COLUMN:
            return ""
        key = names.key_of(node.relation, catalog)
        return recipe("rename-column", key, str(node.subname), to=str(node.newname))
    if rule == "ban-drop-column" and step.statement.kind == "alter_table_stmt":
        key = names.key_of(node.relation, catalog)
        columns = [c for c in tree.commands(node) if tree.subtype(c) == "AT_DropColumn"]
        return "; ".join(recipe("drop-column", key, str(cmd.name)) for cmd in columns)
    return ""
