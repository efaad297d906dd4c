"""How the models differ from the database, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def describe(operations: Iterable[Any]) -> list[str]:
    """Return the differences of Alembic's operations in words; Windlass's own tables are none."""
    differences = [
        difference for operation in operations for difference in _flat(operation.as_diffs())
    ]
    return [text for text in map(_describe_difference, differences) if text]


def _flat(differences: Any) -> Iterator[tuple[Any, ...]]:
    for difference in differences:
        if isinstance(difference, list):
            yield from _flat(difference)
        else:
            yield difference


def _describe_difference(difference: tuple[Any, ...]) -> str:
    """Return a difference in words: what would have to be done to the database."""
    kind, rest = str(difference[0]), difference[1:]
    if kind.startswith("modify_") or kind in ("add_column", "remove_column"):
        schema, table = rest[0], rest[1]
        column = getattr(rest[2], "name", rest[2])
        more = f" from {rest[4]} to {rest[5]}" if kind.startswith("modify_") else ""
        name = f"{table}.{column}{more}"
    else:
        item = rest[0]
        of = getattr(item, "table", None)
        schema = getattr(of if of is not None else item, "schema", None)
        name = str(getattr(item, "name", None) or item)
        name += f" of {of.name}" if of is not None else ""
    return "" if schema == "windlass" else f"{kind.replace('_', ' ')} {name}"
