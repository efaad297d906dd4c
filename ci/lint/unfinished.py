"""What a set of migrations leaves half done, by its texts: begun, and finished by none of them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..parser import tree
from ..parser.split import Statement
from ..parser.tree import Node
from . import names, rules
from .catalog import Key
from .forward import Step
from .rule import Remark

Mark = tuple[str, Key, str]  # rule, table, constraint or trigger; "": any, or every trigger
USERS = "\x00user"  # every trigger but those of foreign keys; no name has a NUL


class Begun(NamedTuple):
    """Where something was begun: the file, its statement and that one's number, from 0."""

    file: Path
    number: int
    statement: Statement
    remark: Remark


def unfinished(steps: Iterable[Step]) -> Mapping[Path, tuple[Begun, ...]]:
    """Return what statements, in running order, begin and leave, by the file that begins it."""
    open_: dict[Mark, Begun] = {}
    for step in steps:
        for key in _finished(step):
            for other in [other for other in open_ if _is_of(other, key)]:
                del open_[other]
        for key, remark in _begun(step):
            open_[key] = Begun(step.file.path, step.number, step.statement, remark)
    paths = dict.fromkeys(begun.file for begun in open_.values())
    return {path: tuple(b for b in open_.values() if b.file == path) for path in paths}


def _is_of(begun: Mark, finished: Mark) -> bool:
    rule, table, name = finished
    if begun[:2] != (rule, table):
        return False
    if name == USERS:
        return begun[2] != ""
    # A constraint without a name has one that the server chose; of triggers, "" is all of them.
    nameless = begun[2] == "" and rule == rules.NOT_VALID_CONSTRAINT.id
    return name == "" or begun[2] == name or nameless


def _begun(step: Step) -> Iterator[tuple[Mark, Remark]]:
    if step.statement.kind != "alter_table_stmt":
        return
    table = names.key_of(step.statement.node.relation, step.before)
    for cmd in tree.commands(step.statement.node):
        subtype, constraint = tree.subtype(cmd), getattr(cmd, "def").constraint
        if subtype == "AT_AddConstraint" and _is_half(constraint):
            name = str(constraint.conname)
            shown = name or f"a constraint of {table[1]}"
            remark = rules.NOT_VALID_CONSTRAINT.says(name=shown)
            yield (rules.NOT_VALID_CONSTRAINT.id, table, name), remark
        elif subtype in ("AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser"):
            name = USERS if subtype == "AT_DisableTrigUser" else str(cmd.name)
            shown = str(cmd.name) or f"every trigger of {table[1]}"
            remark = rules.DISABLED_TRIGGER.says(name=shown)
            yield (rules.DISABLED_TRIGGER.id, table, name), remark


def _is_half(constraint: Node) -> bool:
    """Tell whether a constraint is NOT VALID; one that is NOT ENFORCED, since 18, is whole."""
    enforced = constraint.is_enforced or names.contype(constraint) == "CONSTR_NOTNULL"
    return bool(constraint.skip_validation and enforced)


def _finished(step: Step) -> Iterator[Mark]:
    """Yield what a statement finishes, or takes away."""
    kind, node = step.statement.kind, step.statement.node
    if kind == "alter_table_stmt":
        yield from _altered(step)
    elif kind == "drop_stmt":
        for item in node.objects:
            parts = names.texts(item.list.items)
            if parts and tree.dropped_tables(node):
                table = step.before.key(parts[-2] if len(parts) > 1 else "", parts[-1])
                yield rules.NOT_VALID_CONSTRAINT.id, table, ""
                yield rules.DISABLED_TRIGGER.id, table, ""


def _altered(step: Step) -> Iterator[Mark]:
    table = names.key_of(step.statement.node.relation, step.before)
    for cmd in tree.commands(step.statement.node):
        subtype, name = tree.subtype(cmd), str(cmd.name)
        if subtype in ("AT_ValidateConstraint", "AT_DropConstraint"):
            yield rules.NOT_VALID_CONSTRAINT.id, table, name
        elif subtype == "AT_SetNotNull":  # since 18 NOT NULL may be one that is NOT VALID
            yield from _half_not_null(step, table, name)
        elif subtype.startswith("AT_Enable") and "Trig" in subtype:
            yield rules.DISABLED_TRIGGER.id, table, USERS if subtype.endswith("User") else name


def _half_not_null(step: Step, table: Key, column: str) -> Iterator[Mark]:
    known = step.before.tables.get(table)
    for constraint in known.constraints if known is not None else ():
        if constraint.kind == "not null" and constraint.columns == (column,):
            yield rules.NOT_VALID_CONSTRAINT.id, table, constraint.name
