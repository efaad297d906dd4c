"""A column made again as it was: its indexes, its constraints, its NOT NULL. Pure."""

import re

from ..lint.parts import concurrently
from ..lint.quoting import alter, quoted, shown_key
from .order import Order
from .parts import not_null_check
from .shape import Column, Shape

# As pg_get_constraintdef writes it.
UNIQUE = re.compile(r"UNIQUE( NULLS NOT DISTINCT)? \((.+?)\)( INCLUDE \(.+?\))?( .*)?")
KINDS = {"p": "the primary key", "x": "the exclusion constraint"}


def restorable(order: Order, shape: Shape, name: str) -> None:
    """Refuse a column that something depends on which no recipe can carry over.

    Raises:
        ConfigError: names it.

    """
    column = order.column_of(shape, name)
    shown = f"{shown_key(shape.key)}.{quoted(name)}"
    reasons = [
        f"{KINDS[constraint.kind]} {each} has it"
        for each, constraint in shape.constraints.items()
        if name in constraint.columns and constraint.kind in KINDS
    ]
    reasons += [f"{each} refers to it" for each in shape.referring.get(name, ())]
    reasons += [f"{each} depends on it" for each in column.uses]
    if column.identity or column.sequence:
        reasons.append(f"it counts up by itself ({column.sequence or 'identity'})")
    if column.generated:
        reasons.append("it is generated from other columns")
    if reasons:
        raise order.cannot(f"{shown}: {'; '.join(reasons)}")


def definition(column: Column, *, type_: str = "") -> str:
    """Return a column's type as ADD COLUMN takes it."""
    collation = f" COLLATE {column.collation}" if column.collation and not type_ else ""
    return f"{type_ or column.type}{collation}"


def again(
    shape: Shape, name: str, *, not_null: bool, filled: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return what makes a dropped column again.

    Args:
        shape: the table as it was.
        name: of the column.
        not_null: it is to be NOT NULL; `filled` sees to it that it can be.
        filled: what gives it its values.

    """
    key, column = shape.key, shape.columns[name]
    statements = [alter(key, f"ADD COLUMN {quoted(name)} {definition(column)}")]
    statements += filled
    if column.default:  # not before: a row that comes meanwhile would have it, and not its value
        statements.append(alter(key, f"ALTER COLUMN {quoted(name)} SET DEFAULT {column.default}"))
    statements += [
        concurrently(index.definition) for index in shape.indexes.values() if name in index.columns
    ]
    for each, constraint in shape.constraints.items():
        if name in constraint.columns:
            statements += _constraint(shape, each)
    if not_null:
        check, added = not_null_check(key, name)
        statements += [
            added,
            alter(key, f"VALIDATE CONSTRAINT {quoted(check)}"),
            alter(key, f"ALTER COLUMN {quoted(name)} SET NOT NULL"),
            alter(key, f"DROP CONSTRAINT {quoted(check)}"),
        ]
    return tuple(statements)


def _constraint(shape: Shape, name: str) -> list[str]:
    """Return what makes a constraint again, without reading the table under a strong lock."""
    key, constraint = shape.key, shape.constraints[name]
    if constraint.kind == "u":
        return unique(shape, name, constraint.definition)
    clause = constraint.definition.removesuffix(" NOT VALID")
    added = [alter(key, f"ADD CONSTRAINT {quoted(name)} {clause} NOT VALID")]
    if constraint.validated:
        added.append(alter(key, f"VALIDATE CONSTRAINT {quoted(name)}"))
    return added


def unique(shape: Shape, name: str, text: str) -> list[str]:
    """Return a unique constraint, its index built beside the writers."""
    match = UNIQUE.fullmatch(text)
    if match is None:
        raise AssertionError(f"not as the server writes a unique constraint: {text}")
    nulls, columns, include, when = (part or "" for part in match.groups())
    return [
        f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {shown_key(shape.key)} "
        f"({columns}){include}{nulls}",
        alter(shape.key, f"ADD CONSTRAINT {quoted(name)} UNIQUE USING INDEX {quoted(name)}{when}"),
    ]
