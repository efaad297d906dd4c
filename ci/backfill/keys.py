"""Which key a table is split by. Pure."""

from dataclasses import dataclass

from ..parser.backfill import Backfill, Split
from ..parser.ranges import KeyColumn

# Types whose order and whose text are one: what is written as text and read back is equal.
TYPES = frozenset(
    {"int2", "int4", "int8", "numeric", "uuid", "text", "varchar", "date", "timestamp"}
) | {"timestamptz"}
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexColumn:
    """A column of an index, as the catalog has it."""

    name: str
    type: str  # in pg_catalog; "schema.name" elsewhere
    not_null: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueIndex:
    """A unique index of the table."""

    name: str
    primary: bool
    whole: bool  # valid, of every row, checked at once, of columns alone
    columns: tuple[IndexColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What the catalog says of the table."""

    name: str  # schema.name, in quotes where needed
    kind: str  # pg_class.relkind
    inherited: bool  # other tables inherit from it, which are no partitions
    indexes: tuple[UniqueIndex, ...]
    aggregates: frozenset[str]  # of the functions that the statement calls by name


class Unsuitable(ValueError):
    """The table cannot be split so; the words say why."""


def choose(facts: TableFacts, asked: Backfill, split: Split) -> tuple[KeyColumn, ...]:
    """Return the columns of the key that the directive asks for.

    Raises:
        Unsuitable: there is none, or it orders no rows; or the statement changes it.

    """
    if facts.kind not in ("r", "p"):
        raise Unsuitable(f"{facts.name} is {KINDS.get(facts.kind, 'no table')}")
    if facts.inherited and not split.only:
        raise Unsuitable(
            f"other tables inherit from {facts.name}, and its key is not theirs: write ONLY, and a "
            "backfill for each"
        )
    if facts.aggregates:
        name = min(facts.aggregates)
        raise Unsuitable(f"{name}() is an aggregate, which is over rows of different batches")
    index = _index(facts, asked)
    for column in index.columns:
        if not column.not_null:
            raise Unsuitable(f"{column.name} of {index.name} may be null, and null has no range")
        if column.type not in TYPES:
            raise Unsuitable(f"{column.name} of {index.name} is of the type {column.type}")
        if column.name in split.columns_set:
            raise Unsuitable(
                f"the statement sets {column.name}, a column of the key: a row could be met twice"
            )
    return tuple(KeyColumn(column.name, column.type) for column in index.columns)


def _index(facts: TableFacts, asked: Backfill) -> UniqueIndex:
    if not asked.key:
        index = next((index for index in facts.indexes if index.primary), None)
        if index is None:
            raise Unsuitable(
                f"{facts.name} has no primary key: name a unique index of it, key=INDEX"
            )
        return _whole(index)
    name = asked.key[1:-1] if asked.key.startswith('"') else asked.key.lower()
    index = next((index for index in facts.indexes if index.name == name), None)
    if index is None:
        raise Unsuitable(f"{facts.name} has no unique index {name}")
    return _whole(index)


def _whole(index: UniqueIndex) -> UniqueIndex:
    if not index.whole:
        raise Unsuitable(
            f"{index.name} is invalid, deferrable, partial or of expressions, so that it does not "
            "order every row"
        )
    return index
