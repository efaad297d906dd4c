"""What a set of migrations leaves half done, by its texts: begun, and finished by none of them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..parser import tree
from ..parser.file import SqlFile
from ..parser.split import Statement
from ..parser.tree import Node
from . import rules
from .rules import Remark

Key = tuple[str, str, str]  # rule, table without its schema, constraint or trigger; "": any


class Begun(NamedTuple):
    """Where something was begun."""

    file: Path
    statement: Statement
    remark: Remark


def unfinished(files: Iterable[SqlFile]) -> Mapping[Path, tuple[Begun, ...]]:
    """Return what files, in running order, begin and leave, by the file that begins it."""
    open_: dict[Key, Begun] = {}
    for file in files:
        for statement in file.statements:
            for key in _finished(statement):
                for other in [other for other in open_ if _is_of(other, key)]:
                    del open_[other]
            for key, remark in _begun(statement):
                open_[key] = Begun(file.path, statement, remark)
    paths = dict.fromkeys(begun.file for begun in open_.values())
    return {path: tuple(b for b in open_.values() if b.file == path) for path in paths}


def _is_of(begun: Key, finished: Key) -> bool:
    rule, table, name = finished
    return begun[:2] == (rule, table) and (name == "" or begun[2] in (name, ""))


def _begun(statement: Statement) -> Iterator[tuple[Key, Remark]]:
    if statement.kind != "alter_table_stmt":
        return
    table = str(statement.node.relation.relname)
    for cmd in tree.commands(statement.node):
        subtype, constraint = tree.subtype(cmd), getattr(cmd, "def").constraint
        if subtype == "AT_AddConstraint" and constraint.skip_validation:
            name = str(constraint.conname)
            remark = rules.NOT_VALID_CONSTRAINT.says(name=name or f"a constraint of {table}")
            yield (rules.NOT_VALID_CONSTRAINT.id, table, name), remark
        elif subtype in ("AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser"):
            name = str(cmd.name)
            remark = rules.DISABLED_TRIGGER.says(name=name or f"every trigger of {table}")
            yield (rules.DISABLED_TRIGGER.id, table, name), remark


def _finished(statement: Statement) -> Iterator[Key]:
    """Yield what a statement finishes, or takes away."""
    kind, node = statement.kind, statement.node
    if kind == "alter_table_stmt":
        yield from _altered(node)
    elif kind == "drop_stmt":
        for table in tree.dropped_tables(node):
            yield rules.NOT_VALID_CONSTRAINT.id, table, ""
            yield rules.DISABLED_TRIGGER.id, table, ""


def _altered(node: Node) -> Iterator[Key]:
    table = str(node.relation.relname)
    for cmd in tree.commands(node):
        subtype, name = tree.subtype(cmd), str(cmd.name)
        if subtype in ("AT_ValidateConstraint", "AT_DropConstraint"):
            yield rules.NOT_VALID_CONSTRAINT.id, table, name
        elif subtype.startswith("AT_Enable") and "Trig" in subtype:
            yield rules.DISABLED_TRIGGER.id, table, name
