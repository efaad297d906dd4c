"""What is recorded of revisions: Alembic's own heads, and our checksums of what ran.

Alembic writes the heads when it runs a revision. A correction is ours: no code of the project runs
for it. What the project says of the table is text, and quoted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from ...database import trusted
from ...database.pinned import OPTION
from ...errors import Refused
from ...model import Direction, Migration

READ = "select revision, checksum, applied_at from windlass.alembic_revision"
ADD = sql.SQL("""
    insert into windlass.alembic_revision (revision, checksum) values ({name}, {checksum})
    on conflict (revision) do update
    set checksum = excluded.checksum, applied_at = excluded.applied_at
""")
REMOVE = sql.SQL("delete from windlass.alembic_revision where revision = {name}")
FORGET = sql.SQL("delete from windlass.partial_migration where migration_name = {name}")


# What a session of the project begins with where its URL says nothing; ours is pinned to another
# path. What was set for the role and the database, as the server itself orders it.
SEARCH_PATH = r"""
    select coalesce(
        (select pg_catalog.substr(entry, 13)
         from pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) entry
         where entry like 'search\_path=%%'
           and s.setrole in (0, (select r.oid from pg_catalog.pg_roles r
                                 where r.rolname = session_user))
           and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d
                                     where d.datname = pg_catalog.current_database()))
         order by s.setrole <> 0 and s.setdatabase <> 0 desc, s.setrole <> 0 desc,
                  s.setdatabase <> 0 desc limit 1),
        (select boot_val from pg_catalog.pg_settings where name = 'search_path'))
"""
IN_OPTIONS = re.compile(r"(?:-c\s*|--)search_path=((?:\\.|\S)+)")  # of libpq's `options`
# The first schema of a path that has the table; else the first that exists, as for a new table.
SCHEMA = """
    select n.nspname
    from pg_catalog.unnest(%s::text[]) with ordinality p(name, at)
    join pg_catalog.pg_namespace n
      on n.nspname = case p.name when '$user' then session_user::text else p.name end
    left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = %s
    order by c.oid is null, p.at limit 1
"""
# Columns of the project's own that a row cannot do without; nothing is known of their values.
NEEDED = """
    select attname::text from pg_catalog.pg_attribute
    where attrelid = %s::pg_catalog.regclass and attnum > 0 and not attisdropped
      and attname <> 'version_num' and attnotnull and not atthasdef and attidentity = ''
      and not exists (select from pg_catalog.pg_type t
                      where t.oid = atttypid and t.typdefault is not null)
    order by attnum
"""
# As Alembic creates it.
CREATE = sql.SQL("""
    create table if not exists {table} (version_num pg_catalog.varchar(32) not null,
    constraint {key} primary key (version_num))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Where env.py lets Alembic keep the heads.

    schema: empty: where the table is found by the search path, or would be created.
    search_path: that env.py sets in its session; empty: what the role and the database have.
    """

    table: str
    schema: str = ""
    search_path: tuple[str, ...] = ()

    def schema_in(self, connection: psycopg.Connection) -> str:
        """Return the schema, looked for by the search path where env.py names none."""
        if self.schema:
            return self.schema
        path = self.path_in(connection)
        row = connection.execute(SCHEMA, (list(path), self.table)).fetchone()
        return str(row[0]) if row else "public"

    def path_in(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Return the search path that a session of the project has here."""
        return self.search_path or _search_path(connection)

    def read(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Return the heads of the database; an absent table has none.

        Raises:
            Refused: the table is not to be believed.

        """
        schema = self.schema_in(connection)
        if not trusted.exists(connection, self.table, schema=schema):
            return ()
        name = sql.Identifier(schema, self.table)
        query = sql.SQL("select version_num from {} order by 1").format(name)
        return tuple(row[0] for row in connection.execute(query).fetchall())

    def write(self, connection: psycopg.Connection, heads: Iterable[str]) -> None:
        """Make these the heads, in a transaction of the caller's; the table comes where missing.

        Raises:
            Refused: a row needs values that only the project knows.

        """
        schema, wanted = self.schema_in(connection), set(heads)
        name = sql.Identifier(schema, self.table)
        if not trusted.exists(connection, self.table, schema=schema):
            key = sql.Identifier(f"{self.table}_pkc")
            connection.execute(CREATE.format(table=name, key=key))
        before = set(self.read(connection))
        for head in sorted(before - wanted):
            connection.execute(
                sql.SQL("delete from {} where version_num = {}").format(name, sql.Literal(head))
            )
        new = sorted(wanted - before)
        if new:
            self._require_writable(connection, name)
        for head in new:
            connection.execute(
                sql.SQL("insert into {} (version_num) values ({})").format(name, sql.Literal(head))
            )

    def _require_writable(self, connection: psycopg.Connection, name: sql.Identifier) -> None:
        table = name.as_string(connection)
        needed = [column for (column,) in connection.execute(NEEDED, (table,)).fetchall()]
        if needed:
            raise Refused(
                f"the table {self.table} has columns that need a value: {', '.join(needed)}",
                next_step="give them a default (alter table ... alter column ... set default ...), "
                "or let Alembic write the row: alembic stamp",
            )


def _search_path(connection: psycopg.Connection) -> tuple[str, ...]:
    """Return the names of the path that a session of this URL begins with here."""
    options = connection.info.get_parameters().get("options", "").replace(OPTION, "")
    given = IN_OPTIONS.findall(options)
    row = connection.execute(SEARCH_PATH).fetchone()
    path = given[-1].replace("\\", "") if given else str(row[0]) if row else ""
    return tuple(name.strip().strip('"') for name in path.split(","))


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
