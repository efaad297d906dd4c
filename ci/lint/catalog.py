"""What exists in a database, as lint knows it: a document, by (schema, name). Pure.

`live` reads it from a server, `forward` rolls it forward by the statements of pending files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Key = tuple[str, str]  # (schema, name)
ConstraintKind = Literal["check", "foreign", "unique", "primary", "exclude", "not null"]
TEMPORARY = "pg_temp"  # the schema of temporary tables, before every other one
BUILTIN = "pg_catalog"


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column's type, and whether the server refuses NULL in it.

    type: pg_type.typname of a type of the server's own (int4, varchar), else schema.name.
    modifier: pg_attribute.atttypmod; -1: none.
    not_null: SET NOT NULL, checked for every row.
    """

    type: str
    modifier: int = -1
    not_null: bool = False


@dataclass(frozen=True, slots=True)
class CatalogConstraint:
    """A constraint of a table; `expression` is that of a check, as SQL."""

    name: str
    kind: ConstraintKind
    columns: tuple[str, ...] = ()
    validated: bool = True
    expression: str = ""
    refers: Key | None = None


@dataclass(frozen=True, slots=True)
class CatalogIndex:
    """An index; `whole` where it has all rows, and columns alone."""

    columns: tuple[str, ...]
    unique: bool = False
    valid: bool = True
    whole: bool = True
    definition: str = ""  # as SQL; empty: not known


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a partitioned table is split: r(ange), l(ist) or h(ash), and by which columns.

    columns: an empty name where an expression stands.
    """

    strategy: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogTable:
    """A table, or a materialized view.

    kind: pg_class.relkind: r, p, m.
    parents: whose inheritance child or partition it is.
    bound: of a partition, as SQL: FOR VALUES …, DEFAULT; empty where it is none.
    size: bytes with indexes, of its own alone; -1: not known.
    rows: an estimate; -1: not known.
    made: by a pending migration of the same deployment, so that nobody uses it yet.
    """

    kind: str = "r"
    columns: Mapping[str, CatalogColumn] = field(default_factory=dict)
    constraints: tuple[CatalogConstraint, ...] = ()
    indexes: Mapping[str, CatalogIndex] = field(default_factory=dict)
    parents: tuple[Key, ...] = ()
    bound: str = ""
    partitioning: Partitioning | None = None
    size: int = -1
    rows: int = -1
    made: bool = False

    def constraint(self, name: str) -> CatalogConstraint | None:
        """Return a constraint of a name; None where it has none."""
        return next((item for item in self.constraints if item.name == name), None)


@dataclass(frozen=True, slots=True)
class Function:
    """Every function of a name in one schema together: which is called, the server alone knows.

    writes: what its body does is more than to read, or cannot be seen.
    """

    builtin: bool
    volatile: bool
    writes: bool = True


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain: the type beneath it, and whether it refuses any value."""

    base: str
    constrained: bool


class Size(NamedTuple):
    """How much a statement works on; -1 where a part of it is not known."""

    size: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What exists, of what the files name.

    major: of the server; 0: not known.
    live: it was read from a database, so that a table that is not here is not there either.
    search_path: the schemas in which a name without one is looked for, in their order.
    time_zone: of the session.
    extensions: what pg_available_extensions has; None: not known.
    """

    major: int = 0
    live: bool = False
    search_path: tuple[str, ...] = ("public",)
    time_zone: str = "UTC"
    tables: Mapping[Key, CatalogTable] = field(default_factory=dict)
    domains: Mapping[Key, Domain] = field(default_factory=dict)
    enums: Mapping[Key, bool] = field(default_factory=dict)  # whether this deployment makes it
    functions: Mapping[Key, Function] = field(default_factory=dict)
    extensions: frozenset[str] | None = None

    @property
    def home(self) -> str:
        """The schema in which something is created that names none."""
        return self.search_path[0] if self.search_path else "public"

    def key(self, schema: str, name: str) -> Key:
        """Return which table a name means: the first of the search_path that is there."""
        if schema:
            return schema, name
        places = (TEMPORARY, *self.search_path)
        known = ((place, name) for place in places if (place, name) in self.tables)
        return next(known, (self.home, name))

    def is_made(self, key: Key) -> bool:
        """Tell whether a table is of this deployment, or of this session, so that none uses it."""
        table = self.tables.get(key)
        return key[0] == TEMPORARY or (table is not None and table.made)

    def type_key(self, parts: tuple[str, ...], known: Iterable[Key]) -> Key | None:
        """Return which of these types a name means; None: none of them."""
        keys = frozenset(known)
        if len(parts) > 1:
            return (parts[-2], parts[-1]) if (parts[-2], parts[-1]) in keys else None
        places = ((schema, parts[-1]) for schema in self.search_path)
        return next((key for key in places if key in keys), None)

    def function(self, parts: tuple[str, ...]) -> Function | None:
        """Return what is known of a function by its name; None: it is not there."""
        places = (parts[-2],) if len(parts) > 1 else (BUILTIN, *self.search_path)
        known = [self.functions[s, parts[-1]] for s in places if (s, parts[-1]) in self.functions]
        if len(known) < 2:
            return known[0] if known else None
        return Function(
            builtin=all(function.builtin for function in known),
            volatile=any(function.volatile for function in known),
            writes=any(function.writes for function in known),
        )

    def index(self, schema: str, name: str) -> Key | None:
        """Return whose index a name means; None where it is not known."""
        for place in (schema,) if schema else self.search_path:
            for key, table in self.tables.items():
                if key[0] == place and name in table.indexes:
                    return key
        return None

    def children(self, key: Key) -> tuple[Key, ...]:
        """Return the inheritance children or partitions of a table, without theirs."""
        return tuple(child for child, table in self.tables.items() if key in table.parents)

    def family(self, key: Key) -> tuple[Key, ...]:
        """Return a table with everything below it, itself first."""
        members = [key]
        for member in members:
            members += [child for child in self.children(member) if child not in members]
        return tuple(members)

    def size_of(self, keys: Iterable[Key]) -> Size:
        """Return what tables have together; -1 where one of them is not known."""
        tables = [self.tables.get(key) for key in keys]
        if not tables or any(table is None for table in tables):
            return Size(-1, -1)
        known = [table for table in tables if table is not None]
        sizes = [table.size for table in known]
        rows = [table.rows for table in known if table.kind != "p"]
        return Size(
            -1 if min(sizes) < 0 else sum(sizes),
            -1 if not rows or min(rows) < 0 else sum(rows),
        )


NOTHING = Catalog()


def shown(key: Key) -> str:
    """Return a table's name as findings have it: schema.name."""
    return ".".join(key)
