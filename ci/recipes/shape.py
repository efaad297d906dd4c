"""A table as a recipe sees it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]  # (schema, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; each text is SQL as the server writes it."""

    type: str
    not_null: bool = False
    default: str = ""
    collation: str = ""  # other than its type's own
    identity: bool = False
    generated: bool = False
    sequence: str = ""  # that it owns, as `serial` makes one
    uses: tuple[str, ...] = ()  # what else depends on it: views, triggers, policies, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index that is no constraint's."""

    definition: str
    columns: tuple[str, ...]  # all that it names, in an expression and a WHERE too; the key's first
    leads: str = ""  # the first column of its key; empty: an expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A constraint of the table: c(heck), f(oreign), p(rimary), u(nique), x (exclusion)."""

    kind: str
    definition: str
    columns: tuple[str, ...]
    validated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a table has.

    kind: pg_class.relkind, r or p.
    referring: the tables and constraints that refer to a column, by column.
    taken: names of relations and functions in its schema.
    """

    key: Key
    kind: str = "r"
    inherits: bool = False  # it has parents or children
    columns: Mapping[str, Column] = field(default_factory=dict)
    indexes: Mapping[str, Index] = field(default_factory=dict)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    referring: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()

    @property
    def primary(self) -> tuple[str, ...]:
        """The columns of the primary key; empty: it has none."""
        keys = (c.columns for c in self.constraints.values() if c.kind == "p")
        return next(keys, ())
