"""The tables where migration tools keep what ran: no part of the schema that is compared. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """A table by name; what begins with its name, such as its index, belongs to it."""

    name: str
    schema: str = ""  # empty: whichever

    @property
    def pattern(self) -> str:
        """It and what belongs to it, as pg_dump takes names of tables."""
        return f"{self.schema or '*'}.{self.name}*"


def excluded(tables: Iterable[HistoryTable]) -> str:
    """Return the conditions that leave the tables out of a query on pg_class c, pg_namespace n."""
    return "".join(f"\n          and not ({_condition(table)})" for table in tables)


def _condition(table: HistoryTable) -> str:
    named = f"pg_catalog.starts_with(c.relname::text, {sql.Literal(table.name).as_string()})"
    if not table.schema:
        return named
    return f"n.nspname = {sql.Literal(table.schema).as_string()} and {named}"
