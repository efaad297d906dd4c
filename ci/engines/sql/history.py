"""The history of the `sql` engine: the table schema_migrations."""

import psycopg

from ...database import trusted
from ...errors import Refused
from ...model import Applied, Direction, Failed, Migration

COLUMNS = """
    select attname::text from pg_catalog.pg_attribute
    where attrelid = pg_catalog.to_regclass('public.schema_migrations')
      and attnum > 0 and not attisdropped
"""
READ = """
    select migration_name, checksum, applied_at from public.schema_migrations
    order by migration_name
"""
CREATE = """
    create table if not exists public.schema_migrations (
        migration_name text primary key,
        checksum text,
        applied_at timestamptz not null default pg_catalog.now()
    )"""
INSERT = "insert into public.schema_migrations (migration_name, checksum) values (%s, %s)"
HOLD = "lock table public.schema_migrations in row exclusive mode"
DELETE = "delete from public.schema_migrations where migration_name = %s"
UPDATE = "update public.schema_migrations set checksum = %s where migration_name = %s"
APPLIED = "select exists (select from public.schema_migrations where migration_name = %s)"
OURS = {"migration_name", "checksum", "applied_at"}


class SchemaMigrations:
    """schema_migrations(migration_name, checksum, applied_at), a row for each applied migration."""

    table = "schema_migrations"
    create = CREATE

    def exists(self, connection: psycopg.Connection) -> bool:
        """Tell whether the table is there; Refused where it is not to be believed."""
        return trusted.exists(connection, self.table, schema="public")

    def hold(self, connection: psycopg.Connection) -> None:
        """Let nobody give it a trigger from here to the end; Refused where it has one."""
        connection.execute(HOLD)
        trusted.look_again(connection)
        self.exists(connection)

    def read(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the history; an absent table is an empty one. Writes nothing.

        A checksum without an algorithm's name was written by another tool and cannot be compared.

        Raises:
            Refused: a table of that name belongs to another tool, or is not to be believed.

        """
        if not self.exists(connection):
            return ()
        columns = {row[0] for row in connection.execute(COLUMNS).fetchall()}
        if not columns >= OURS:
            raise Refused(
                f"public.schema_migrations is {_owner(columns)}, not ours: it has no column "
                f"{', '.join(sorted(OURS - columns))}",
                next_step="take that tool's table out of the way (alter table … rename), and "
                "record what is applied: insert into schema_migrations (migration_name) values "
                "('…')",
            )
        return tuple(
            Applied(name=name, checksum=c if c and c.startswith("sha256:") else None, applied_at=at)
            for name, c, at in connection.execute(READ).fetchall()
        )

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:  # noqa: ARG002
        """Return nothing: the row and the script commit together."""
        return ()

    def applied(self, connection: psycopg.Connection, name: str) -> bool:
        """Tell whether a migration has its row."""
        row = connection.execute(APPLIED, (name,)).fetchone()
        return bool(row and row[0])

    def add(self, connection: psycopg.Connection, migration: Migration) -> int:
        """Write the row; return how many were written."""
        return connection.execute(INSERT, (migration.name, migration.checksum)).rowcount

    def remove(self, connection: psycopg.Connection, name: str) -> int:
        """Take the row away; return how many went."""
        return connection.execute(DELETE, (name,)).rowcount

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record a migration that was applied in another way."""
        self.add(connection, migration)

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record away without undoing anything."""
        self.remove(connection, name)

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the text as it is now as the one that ran."""
        connection.execute(UPDATE, (migration.checksum, migration.name))

    def rendered(self, migration: Migration, direction: Direction) -> str:
        """Return the bookkeeping statement with its values, for people to read."""
        if direction == "up":
            values = f"'{migration.name}', '{migration.checksum}'"
            return INSERT.replace("%s, %s", values) + ";"
        return DELETE.replace("%s", f"'{migration.name}'") + ";"


def _owner(columns: set[str]) -> str:
    if columns == {"version", "dirty"}:
        return "golang-migrate's table"
    if columns == {"version"}:
        return "a table of dbmate or Rails"
    return "another tool's table"
