"""What is recorded of revisions: Alembic's own heads, and our checksums of what ran.

The table of the heads is only read here: Alembic writes it, in whatever shape a project gave it.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from ...database import trusted
from ...model import Direction, Migration

READ = "select revision, checksum, applied_at from windlass.alembic_revision"
ADD = sql.SQL("""
    insert into windlass.alembic_revision (revision, checksum) values ({name}, {checksum})
    on conflict (revision) do update
    set checksum = excluded.checksum, applied_at = excluded.applied_at
""")
REMOVE = sql.SQL("delete from windlass.alembic_revision where revision = {name}")
FORGET = sql.SQL("delete from windlass.partial_migration where migration_name = {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Where env.py lets Alembic keep the heads."""

    table: str
    schema: str

    def exist(self, connection: psycopg.Connection) -> bool:
        """Tell whether the table is there; Refused where it is not to be believed."""
        return trusted.exists(connection, self.table, schema=self.schema)

    def read(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Return the heads of the database; an absent table has none."""
        name = sql.Identifier(self.schema, self.table)
        if not self.exist(connection):
            return ()
        query = sql.SQL("select version_num from {} order by 1").format(name)
        return tuple(row[0] for row in connection.execute(query).fetchall())


def recorded(connection: psycopg.Connection) -> dict[str, tuple[str, datetime]]:
    """Return checksum and time of the revisions that were run here; writes nothing."""
    if not trusted.exists(connection, "alembic_revision"):
        return {}
    return {name: (text, at) for name, text, at in connection.execute(READ.encode()).fetchall()}


def note(migration: Migration, direction: Direction) -> tuple[bytes, ...]:
    """Return the statements that record a revision; for the transaction of its own."""
    name = sql.Literal(migration.name)
    record = ADD if direction == "up" else REMOVE
    upsert = record.format(name=name, checksum=sql.Literal(migration.checksum))
    return tuple(part.as_string().encode() for part in (upsert, FORGET.format(name=name)))
