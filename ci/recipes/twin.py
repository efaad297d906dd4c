"""Two columns of one value, kept equal by a trigger: of another name, or of another type. Pure.

The old code reads and writes the old column, the new code the new one, at the same time. Behind the
restart the old one goes.
"""

from dataclasses import dataclass
from pathlib import Path

from postgast import find_nodes, pg_query_pb2

from ..lint.parts import backfill, concurrently, short
from ..lint.quoting import alter, quoted, shown_key
from ..parser import tree
from ..parser.split import split
from ..parser.tree import Node
from . import expressions
from .order import Order
from .parts import (
    NOTHING,
    built,
    function,
    not_null,
    trigger,
    validated,
    without,
)
from .restored import again, definition, restorable, unique
from .shape import Shape
from .stage import Stage

BODY = """\
BEGIN
    IF tg_op = 'INSERT' THEN
        IF new.{new} IS NOT NULL THEN new.{old} := {back}; ELSE new.{new} := {forth}; END IF;
    ELSIF new.{new} IS DISTINCT FROM old.{new} THEN new.{old} := {back};
    ELSIF new.{old} IS DISTINCT FROM old.{old} OR new.{new} IS NULL THEN new.{new} := {forth};
    END IF;
    RETURN new;
END"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two columns; `forth` and `back` are the trees that make one of the other."""

    order: Order
    shape: Shape
    old: str
    new: str
    type: str  # of the new one; empty: that of the old one
    forth: Node
    back: Node

    @property
    def sync(self) -> str:
        """The name of the trigger, and of its function."""
        return short(f"{self.shape.key[1]}_{self.new}_sync")

    @property
    def made(self) -> tuple[str, str]:
        """What keeps both equal."""
        key = self.shape.key
        body = BODY.format(
            old=quoted(self.old),
            new=quoted(self.new),
            forth=expressions.of_row(self.forth, "new"),
            back=expressions.of_row(self.back, "new"),
        )
        made = function(key, self.sync, body)
        return made, trigger(key, self.sync, "BEFORE INSERT OR UPDATE")

    def filling(self, column: str, other: str, value: Node) -> str:
        """Return the backfill of one column from the other."""
        key, name = self.shape.key, quoted(column)
        update = f"UPDATE {shown_key(key)} SET {name} = {expressions.plain(value)} "
        return backfill(key, f"{update}WHERE {name} IS NULL AND {quoted(other)} IS NOT NULL")

    def begun(self) -> tuple[Stage, Stage]:
        """Return the new column with its trigger, and its values."""
        key, name = self.shape.key, quoted(self.new)
        added = definition(self.shape.columns[self.old], type_=self.type)
        first = Stage(
            about=f"add {key[1]} {self.new}",
            why=f"a trigger keeps {self.new} and {self.old} equal, whichever is written",
            sql=(alter(key, f"ADD COLUMN {name} {added}"), *self.made),
            rollback=(*without(key, self.sync), alter(key, f"DROP COLUMN {name}")),
        )
        filled = Stage(
            about=f"fill {key[1]} {self.new}",
            why="in batches",
            sql=(self.filling(self.new, self.old, self.forth),),
            rollback=NOTHING,
        )
        return first, filled

    @property
    def same(self) -> tuple[str, str]:
        """The CHECK that proves that no value is missing: its name, and its clause."""
        clause = f"CHECK (({quoted(self.new)} IS NULL) = ({quoted(self.old)} IS NULL))"
        return short(f"{self.shape.key[1]}_{self.new}_same"), clause

    def ended(self) -> Stage:
        """Return the drop of the old column."""
        key, column, name = self.shape.key, self.shape.columns[self.old], quoted(self.new)
        default = _default(self.shape, self.old, self.new, self.type)
        no_default = (alter(key, f"ALTER COLUMN {name} DROP DEFAULT"),) if default else ()
        filled = (*self.made, self.filling(self.old, self.new, self.back))
        same, clause = self.same
        proven = (
            alter(key, f"ADD CONSTRAINT {quoted(same)} {clause} NOT VALID"),
            alter(key, f"VALIDATE CONSTRAINT {quoted(same)}"),
        )
        return Stage(
            about=f"drop {key[1]} {self.old}",
            why=f"the new code knows {self.new} alone; undoing it makes {self.old} from it",
            sql=(
                *without(key, self.sync),
                *default,
                alter(key, f"DROP COLUMN {quoted(self.old)}"),
            ),
            rollback=(
                *no_default,
                *again(self.shape, self.old, not_null=column.not_null, filled=filled),
                *proven,
            ),
            phase="after",
        )


def renamed(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return a column of another name beside the old one.

    Raises:
        ConfigError: an option is missing, or something depends on the column.

    """
    old, new = order.require("column", "mail"), order.require("to", "email")
    return _stages(_pair(order, shape, old, new, forth=quoted(old), back=quoted(new)))


def changed_type(order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return a column of another type beside the old one.

    Raises:
        ConfigError: an option is missing, an expression is none, or something depends on the
            column.

    """
    old, kind = order.require("column", "amount"), order.require("type", "bigint")
    column = order.column_of(shape, old)
    new = order.to or short(f"{old}_new")
    forth = order.using or f"CAST({quoted(old)} AS {kind})"
    back = order.back or f"CAST({quoted(new)} AS {column.type})"
    return _stages(_pair(order, shape, old, new, forth=forth, back=back))


def _pair(order: Order, shape: Shape, old: str, new: str, *, forth: str, back: str) -> Pair:
    """Return the pair, where the table lets the old column go."""
    restorable(order, shape, old)
    order.require_new(shape, new)
    pair = Pair(
        order=order,
        shape=shape,
        old=old,
        new=new,
        type=order.type if order.recipe == "change-type" else "",
        forth=expressions.read(order, "using", forth),
        back=expressions.read(order, "back", back),
    )
    for option, expression, only in (("using", pair.forth, old), ("back", pair.back, new)):
        others = set(expressions.columns(expression)) - {only}
        if others:
            raise order.cannot(f"--{option} names {min(others)}; it is about {only} alone")
    order.require_free(shape, pair.sync)
    return pair


def _stages(pair: Pair) -> tuple[Stage, ...]:
    order, shape, old, new = pair.order, pair.shape, pair.old, pair.new
    carried = _indexes(order, shape, old, new) + _constraints(order, shape, old, new)
    proven = not_null(shape.key, new) if shape.columns[old].not_null else ()
    same = validated(shape.key, *pair.same, lasting=False)
    return (*pair.begun(), *same, *carried, *proven, pair.ended())


def _default(shape: Shape, old: str, new: str, kind: str) -> tuple[str, ...]:
    """Return what gives the new column the old one's default: the trigger has applied it so far."""
    default = shape.columns[old].default
    if not default:
        return ()
    text = f"CAST({default} AS {kind})" if kind else default
    return (alter(shape.key, f"ALTER COLUMN {quoted(new)} SET DEFAULT {text}"),)


def _named(old_name: str, old: str, new: str) -> str:
    """Return the name of what is carried over."""
    name = old_name.replace(old, new) if old in old_name else f"{old_name}_{new}"
    return short(name)


def _indexes(order: Order, shape: Shape, old: str, new: str) -> tuple[Stage, ...]:
    stages = []
    for name, index in shape.indexes.items():
        if old not in index.columns:
            continue
        other = _named(name, old, new)
        order.require_free(shape, other)
        stages.append(
            built(shape.key, other, concurrently(_index(index.definition, old, new, other)))
        )
    return tuple(stages)


def _index(text: str, old: str, new: str, name: str) -> str:
    """Return an index's definition for another column, under another name."""
    (statement,) = split(Path("index.sql"), text)
    node = pg_query_pb2.IndexStmt()
    node.CopyFrom(statement.node)
    node.idxname = name
    for element in find_nodes(node, pg_query_pb2.IndexElem):
        element.name = new if element.name == old else element.name
    _rename(node, old, new)
    return tree.sql("index_stmt", node)


def _rename(node: object, old: str, new: str) -> None:
    for ref in find_nodes(node, pg_query_pb2.ColumnRef):
        if ref.fields and ref.fields[-1].string.sval == old:
            ref.fields[-1].string.sval = new


def _constraints(order: Order, shape: Shape, old: str, new: str) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for name, constraint in shape.constraints.items():
        if old not in constraint.columns:
            continue
        other = _named(name, old, new)
        if other in shape.constraints:
            raise order.cannot(f"{shown_key(shape.key)} has a constraint {other} already")
        clause = _clause(constraint.definition, old, new)
        if constraint.kind == "u":
            order.require_free(shape, other)
            index, added = unique(shape, other, clause)
            stages.append(built(shape.key, other, index))
            stages.append(
                Stage(
                    about=f"unique {other}",
                    why="the index is there: no row is read",
                    sql=(added,),
                    rollback=(
                        alter(shape.key, f"DROP CONSTRAINT {quoted(other)}"),
                        index,
                    ),
                )
            )
            continue
        two = validated(shape.key, other, clause.removesuffix(" NOT VALID"))
        stages += two if constraint.validated else two[:1]
    return tuple(stages)


def _clause(text: str, old: str, new: str) -> str:
    """Return a constraint's definition for another column."""
    (statement,) = split(Path("constraint.sql"), f"ALTER TABLE t ADD {text}")
    node = pg_query_pb2.AlterTableStmt()
    node.CopyFrom(statement.node)
    constraint = getattr(node.cmds[0].alter_table_cmd, "def").constraint
    for names in (constraint.keys, constraint.fk_attrs):
        for item in names:
            item.string.sval = new if item.string.sval == old else item.string.sval
    _rename(constraint, old, new)
    return tree.sql("alter_table_stmt", node).removeprefix("ALTER TABLE t ADD ")
