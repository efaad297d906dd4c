"""What tables hold before and after: rows counted, values summed over a hash of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ..database.connection import Database
from ..database.history_table import HistoryTable, excluded

# The tables named, small ones, and those whose rows a foreign key changes along with theirs.
REACHED = """
with recursive named as (
    select c.oid from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
      and (c.relname = any (%(names)s) and c.relkind in ('r', 'p')
           or c.relkind = 'r' and pg_catalog.pg_relation_size(c.oid) <= %(small)s
              and pg_catalog.has_schema_privilege(n.oid, 'USAGE')
              and pg_catalog.has_table_privilege(c.oid, 'SELECT'))
), reached as (
    select oid from named
    union
    select f.conrelid from reached r join pg_catalog.pg_constraint f on f.confrelid = r.oid
    where f.contype = 'f' and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
)
select n.nspname, c.relname,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1)
from reached r join pg_catalog.pg_class c on c.oid = r.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where true
"""
SMALL = 1024**2  # bytes of a table that is read although no migration names it

TableName = tuple[str, str]  # schema and table, not quoted


@dataclass(frozen=True, slots=True)
class ColumnContent:
    """How many values a column has, nulls aside, and a sum over a hash of each."""

    values: int
    hashed: int


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table holds."""

    rows: int
    columns: Mapping[str, ColumnContent]


Tables = Mapping[TableName, TableContent]


def read_tables(
    copy: Database, names: Iterable[str], history: tuple[HistoryTable, ...] = ()
) -> dict[TableName, TableContent]:
    """Return what the tables of these names hold, whatever their schema, and what small ones do.

    Each is read once; `history` has the tool's own tables, which are left out.
    """
    query = f"{REACHED}{excluded(history)} order by 1, 2".encode()
    with copy.connect("rehearse") as connection:
        tables = connection.execute(query, {"names": list(names), "small": SMALL}).fetchall()
        return {
            (schema, name): _read_table(connection, schema, name, cols)
            for schema, name, cols in tables
        }


def _read_table(
    connection: psycopg.Connection, schema: str, name: str, columns: list[str]
) -> TableContent:
    aggregates = [
        sql.SQL("count({0}), coalesce(sum(pg_catalog.hashtextextended({0}::text, 0)), 0)").format(
            sql.Identifier(column)
        )
        for column in columns
    ]
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join([sql.SQL("count(*)"), *aggregates]), sql.Identifier(schema, name)
    )
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  # an aggregate has one row
    values = [int(value) for value in row]
    return TableContent(
        rows=values[0],
        columns={
            column: ColumnContent(values[1 + 2 * at], values[2 + 2 * at])
            for at, column in enumerate(columns)
        },
    )


def lost(before: Tables, after: Tables) -> dict[str, str]:
    """Return what existed before and does not exist after, by the table's or column's name.

    Tables, rows, columns, values; in words that begin with the name.
    """
    losses: dict[str, str] = {}
    for name, table in before.items():
        now, shown = after.get(name), ".".join(name)
        if now is None:
            losses[shown] = f"{shown} with {table.rows:,} rows"
            continue
        if now.rows != table.rows:
            fewer = table.rows - now.rows
            losses[shown] = f"{shown}: {abs(fewer):,} rows {'fewer' if fewer > 0 else 'more'}"
        for column, values in table.columns.items():
            words = _lost_values(values, now.columns.get(column), same_rows=now.rows == table.rows)
            if words:
                losses[f"{shown}.{column}"] = f"{shown}.{column} {words}"
    return losses


def grown(before: Tables, after: Tables) -> frozenset[str]:
    """Return the names, as of `lost`, of the tables that have more rows after."""
    return frozenset(
        ".".join(name)
        for name, table in before.items()
        if name in after and after[name].rows > table.rows
    )


def _lost_values(before: ColumnContent, after: ColumnContent | None, *, same_rows: bool) -> str:
    """Say what became of a column's values; empty where they are the same, or went with rows."""
    if after is None:
        return f"with {before.values:,} values" if before.values else ""
    if not same_rows or before == after:
        return ""
    if after.values < before.values:
        return f"without {before.values - after.values:,} of its {before.values:,} values"
    return "with other values"


def dropped(before: Tables, after: Tables) -> tuple[str, ...]:
    """Return what a rollback takes away with values in it: tables and columns.

    A column whose values are under a new name was renamed, not taken away.
    """
    losses = []
    for name, table in before.items():
        now, shown = after.get(name), ".".join(name)
        if now is None:
            losses += [f"{shown} with {table.rows:,} rows"] if table.rows else []
            continue
        renamed = [now.columns[name] for name in now.columns if name not in table.columns]
        losses += [
            f"{shown}.{column} with {values.values:,} values"
            for column, values in table.columns.items()
            if column not in now.columns and values.values and values not in renamed
        ]
    return tuple(losses)
