"""The table schema_migrations, and what is recorded of files that cannot run in a transaction."""

import psycopg

from ci.engines.sqlfile import SqlFile, Statement, checksum_of
from ci.errors import Refused, StepFailed
from ci.model import Applied, Direction, Migration

COLUMNS = """
    select attname::text from pg_catalog.pg_attribute
    where attrelid = pg_catalog.to_regclass('public.schema_migrations')
      and attnum > 0 and not attisdropped
"""
READ = """
    select migration_name, checksum, applied_at from public.schema_migrations
    order by migration_name
"""
# `if not exists` alone would race: two first runs collide in the catalog, so ONE_AT_A_TIME
# comes first. Two runs of one migration would collide on its history row in the same way.
ONE_AT_A_TIME = "select pg_catalog.pg_advisory_xact_lock(7452012384610)"
CREATE = (
    "create schema if not exists windlass",
    """
    create table if not exists public.schema_migrations (
        migration_name text primary key,
        checksum text,
        applied_at timestamptz not null default pg_catalog.now()
    )""",
    """
    create table if not exists windlass.partial_migration (
        migration_name text primary key,
        direction text not null,
        statements_done int not null,
        done_checksum text not null
    )""",
)
EXISTS = """
    select pg_catalog.to_regclass('public.schema_migrations') is not null
       and pg_catalog.to_regclass('windlass.partial_migration') is not null
"""
INSERT = "insert into public.schema_migrations (migration_name, checksum) values (%s, %s)"
DELETE = "delete from public.schema_migrations where migration_name = %s"
STANDS = """
    select exists (select from public.schema_migrations where migration_name = %(name)s),
           exists (select from windlass.partial_migration where migration_name = %(name)s)
"""
FORGET = "delete from windlass.partial_migration where migration_name = %s"
PARTIAL = """
    select statements_done, done_checksum from windlass.partial_migration
    where migration_name = %s and direction = %s
"""
NOTE = """
    insert into windlass.partial_migration values (%s, %s, %s, %s)
    on conflict (migration_name) do update set direction = excluded.direction,
        statements_done = excluded.statements_done, done_checksum = excluded.done_checksum
"""
INDEX = """
    select i.indisvalid and i.indisready,
           exists (select from pg_catalog.pg_stat_progress_create_index p
                   where p.index_relid = i.indexrelid),
           i.indexrelid::pg_catalog.regclass::text
    from pg_catalog.pg_index i where i.indexrelid = pg_catalog.to_regclass(%s)
"""
OURS = {"migration_name", "checksum", "applied_at"}


def read(connection: psycopg.Connection) -> tuple[Applied, ...]:
    """Return the history; an absent table is an empty one. Writes nothing.

    A checksum without an algorithm's name was written by another tool and cannot be compared.

    Raises:
        Refused: a table of that name belongs to another tool.

    """
    columns = {row[0] for row in connection.execute(COLUMNS).fetchall()}
    if not columns:
        return ()
    if not columns >= OURS:
        raise Refused(
            f"public.schema_migrations is {_owner(columns)}, not ours: it has no column "
            f"{', '.join(sorted(OURS - columns))}",
            next_step="take that tool's table out of the way (alter table … rename), and record "
            "what is applied: insert into schema_migrations (migration_name) values ('…')",
        )
    return tuple(
        Applied(name=name, checksum=c if c and c.startswith("sha256:") else None, applied_at=at)
        for name, c, at in connection.execute(READ).fetchall()
    )


def _owner(columns: set[str]) -> str:
    if columns == {"version", "dirty"}:
        return "golang-migrate's table"
    if columns == {"version"}:
        return "a table of dbmate or Rails"
    return "another tool's table"


def ensure(connection: psycopg.Connection) -> None:
    """Create the tables where they are missing; where they stand, take no lock on them.

    In a transaction of the caller's, no other run is in its own until that one ends: a second
    one waits for its `lock_timeout` and tries again, and then finds the work done.
    """
    with connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        row = connection.execute(EXISTS).fetchone()
        if row is None or not row[0]:
            for statement in CREATE:
                connection.execute(statement.encode())


def settled(connection: psycopg.Connection, name: str, direction: Direction) -> bool:
    """Tell whether the history already says what the run would make it say.

    A migration that was cut off half way is neither applied nor undone.
    """
    row = connection.execute(STANDS, {"name": name}).fetchone()
    applied, partial = row or (False, False)
    return bool(applied) if direction == "up" else not (applied or partial)


def record(connection: psycopg.Connection, migration: Migration, direction: Direction) -> None:
    """Write or remove the history row, and forget the partial run; in the caller's transaction."""
    if direction == "up":
        changed = connection.execute(INSERT, (migration.name, migration.checksum)).rowcount
        expected = 1
    else:
        row = connection.execute(STANDS, {"name": migration.name}).fetchone()
        expected = int(bool(row and row[0]))  # none where only a part of it ever ran
        changed = connection.execute(DELETE, (migration.name,)).rowcount
    if changed != expected:
        raise StepFailed(
            f"the history row of {migration.name} changed while it ran: {changed} rows",
            state="its transaction was rolled back",
            next_step="find who else writes schema_migrations, and deploy again",
        )
    connection.execute(FORGET, (migration.name,))


def rendered(migration: Migration, direction: Direction) -> str:
    """Return the bookkeeping statement with its values, for people to read."""
    if direction == "up":
        values = f"'{migration.name}', '{migration.checksum}'"
        return INSERT.replace("%s, %s", values) + ";"
    return DELETE.replace("%s", f"'{migration.name}'") + ";"


def _prefix(file: SqlFile, count: int) -> str:
    return checksum_of(";\n".join(statement.sql for statement in file.statements[:count]))


def finished_statements(
    connection: psycopg.Connection, name: str, direction: Direction, file: SqlFile
) -> int:
    """Return how many statements an earlier run finished; Refused where their text has changed."""
    row = connection.execute(PARTIAL, (name, direction)).fetchone()
    if row is None:
        return 0
    done, checksum = row
    if checksum != _prefix(file, done):
        raise Refused(
            f"{file.path}: {done} of its statements ran already, and their text has changed since",
            state="nothing was changed now; what ran before stays done",
            next_step="bring the file back as it was (git log), deploy, and write a new migration",
        )
    return int(done)


def note_statement(
    connection: psycopg.Connection, name: str, direction: Direction, file: SqlFile, done: int
) -> None:
    """Record that the first `done` statements are finished."""
    connection.execute(NOTE, (name, direction, done, _prefix(file, done)))


def _built(statement: Statement) -> str:
    """Return the index that a CREATE INDEX CONCURRENTLY names, quoted; empty for all else."""
    if statement.kind != "index_stmt" or not statement.node.concurrent:
        return ""
    relation = statement.node.relation
    parts = [part for part in (relation.schemaname, statement.node.idxname) if part]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def drop_invalid_index(connection: psycopg.Connection, statement: Statement) -> None:
    """Drop what a killed build left; IF NOT EXISTS would take the invalid index for a good one."""
    name = _built(statement)
    row = connection.execute(INDEX, (name,)).fetchone() if name else None
    if row is None or row[0]:
        return
    if row[1]:
        raise StepFailed(
            f"the index {row[2]} is being built by another session",
            state="this statement did not run",
            next_step="wait until pg_stat_progress_create_index is empty, and deploy again",
        )
    connection.execute(f"drop index concurrently {row[2]}".encode())


def check_index(connection: psycopg.Connection, statement: Statement, *, where: str) -> None:
    """Raise unless a concurrently built index is valid."""
    name = _built(statement)
    row = connection.execute(INDEX, (name,)).fetchone() if name else None
    if row is not None and not row[0]:
        raise StepFailed(
            f"{where}: the index {row[2]} is invalid after its build",
            state="the invalid index is left; the statement is not recorded as done",
            next_step="deploy again: it drops the invalid index and builds it anew",
        )
