"""The table of Prisma Migrate 5 to 7: rows that the real CLI reads as its own.

Applied is a row with `finished_at` and without `rolled_back_at`; failed has neither; rolled back
rows are ignored, and there may be several of a name. Source: schema-engine's
sql_migration_persistence.rs and apply_migrations.rs, and Prisma's page "migrate resolve".
"""

import psycopg
from psycopg import sql

from ...database import trusted
from ...errors import Refused
from ...model import Applied, Direction, Failed, Migration

CREATE = """
    create table if not exists {table} (
        id varchar(36) primary key not null,
        checksum varchar(64) not null,
        finished_at timestamptz,
        migration_name varchar(255) not null,
        logs text,
        rolled_back_at timestamptz,
        started_at timestamptz not null default pg_catalog.now(),
        applied_steps_count integer not null default 0
    )"""
READ = """
    select distinct on (migration_name) migration_name, checksum, finished_at from {table}
    where finished_at is not null and rolled_back_at is null order by 1, finished_at desc
"""
FAILED = """
    select migration_name, started_at, coalesce(logs, '') from {table}
    where finished_at is null and rolled_back_at is null order by started_at
"""
ROWS = """
    select finished_at is not null, rolled_back_at is not null from {table}
    where migration_name = %s
"""
INSERT = """
    insert into {table} (id, checksum, finished_at, migration_name, logs, applied_steps_count)
    values (pg_catalog.gen_random_uuid()::text, %s, pg_catalog.clock_timestamp(), %s, %s, %s)
"""
UNDONE = """
    update {table} set rolled_back_at = pg_catalog.clock_timestamp()
    where migration_name = %s and finished_at is not null and rolled_back_at is null
"""
RESOLVED = """
    update {table} set rolled_back_at = pg_catalog.clock_timestamp()
    where migration_name = %s and finished_at is null and rolled_back_at is null
"""
ACCEPTED = """
    update {table} set checksum = %s
    where migration_name = %s and finished_at is not null and rolled_back_at is null
"""
PREFIX = "sha256:"  # ours; Prisma's column has the hash alone


def never_applied(name: str) -> str:
    """Say so with Prisma's code."""
    return f"P3011: {name} was never applied, so it cannot be marked as rolled back"


class PrismaMigrations:
    """_prisma_migrations in the first schema of the search path."""

    table = "_prisma_migrations"

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.name = sql.Identifier(schema, self.table).as_string()
        self.create = CREATE.format(table=self.name)

    def _query(self, query: str) -> bytes:
        return query.format(table=self.name).encode()

    def exists(self, connection: psycopg.Connection) -> bool:
        """Tell whether the table is there; Refused where it is not to be believed."""
        return trusted.exists(connection, self.table, schema=self.schema)

    def hold(self, connection: psycopg.Connection) -> None:
        """Let nobody give it a trigger from here to the end; Refused where it has one."""
        connection.execute(self._query("lock table {table} in row exclusive mode"))
        trusted.look_again(connection)
        self.exists(connection)

    def read(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied; an absent table is an empty history."""
        if not self.exists(connection):
            return ()
        return tuple(
            Applied(name=name, checksum=PREFIX + checksum, applied_at=at)
            for name, checksum, at in connection.execute(self._query(READ)).fetchall()
        )

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what Prisma's own CLI began, and neither ended nor was resolved."""
        if not self.exists(connection):
            return ()
        return tuple(
            Failed(name=name, started_at=at, said=logs)
            for name, at, logs in connection.execute(self._query(FAILED)).fetchall()
        )

    def applied(self, connection: psycopg.Connection, name: str) -> bool:
        """Tell whether a migration is applied."""
        return (True, False) in connection.execute(self._query(ROWS), (name,)).fetchall()

    def add(self, connection: psycopg.Connection, migration: Migration) -> int:
        """Write the finished row; it commits with the script."""
        values = (migration.checksum.removeprefix(PREFIX), migration.name, None, 1)
        return connection.execute(self._query(INSERT), values).rowcount

    def remove(self, connection: psycopg.Connection, name: str) -> int:
        """Mark the row as rolled back; Prisma then takes the migration for pending."""
        return connection.execute(self._query(UNDONE), (name,)).rowcount

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record it as `migrate resolve --applied` does."""
        if self.applied(connection, migration.name):
            raise Refused(
                f"P3008: {migration.name} is recorded as applied already",
                next_step="nothing is to be done",
            )
        connection.execute(self._query(RESOLVED), (migration.name,))
        values = (migration.checksum.removeprefix(PREFIX), migration.name, "", 0)
        connection.execute(self._query(INSERT), values)

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Mark a failed one as rolled back, as `migrate resolve --rolled-back` does."""
        rows = connection.execute(self._query(ROWS), (name,)).fetchall()
        if not rows:
            raise Refused(
                never_applied(name),
                next_step="invoke status lists what is in the history",
            )
        if all(finished for finished, _ in rows):
            raise Refused(
                f"P3012: {name} is not in a failed state, so it cannot be marked as rolled back",
                next_step="undo it with its rollback.sql: invoke rollback --name NAME",
            )
        connection.execute(self._query(RESOLVED), (name,))

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the text as it is now as the one that ran."""
        values = (migration.checksum.removeprefix(PREFIX), migration.name)
        connection.execute(self._query(ACCEPTED), values)

    def rendered(self, migration: Migration, direction: Direction) -> str:
        """Return the bookkeeping statement with its values, for people to read."""
        if direction == "up":
            hash_ = migration.checksum.removeprefix(PREFIX)
            values = f"'{hash_}', pg_catalog.clock_timestamp(), '{migration.name}', null, 1"
            text = INSERT.replace("%s, pg_catalog.clock_timestamp(), %s, %s, %s", values)
        else:
            text = UNDONE.replace("%s", f"'{migration.name}'")
        return " ".join(text.format(table=self.name).split()) + ";"
