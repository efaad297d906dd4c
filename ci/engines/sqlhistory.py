"""The table schema_migrations, and what is recorded of files that cannot run in a transaction."""

import psycopg

from ci.engines.sqlfile import SqlFile, checksum_of
from ci.errors import Refused, StepFailed
from ci.model import Applied, Direction, Migration, Partial

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
        done_checksum text not null,
        statements int not null,
        statement_begun int
    )""",
)
EXISTS = """
    select pg_catalog.to_regclass('public.schema_migrations') is not null
       and pg_catalog.to_regclass('windlass.partial_migration') is not null
"""
INSERT = "insert into public.schema_migrations (migration_name, checksum) values (%s, %s)"
DELETE = "delete from public.schema_migrations where migration_name = %s"
UPDATE = "update public.schema_migrations set checksum = %s where migration_name = %s"
STANDS = """
    select exists (select from public.schema_migrations where migration_name = %(name)s),
           exists (select from windlass.partial_migration where migration_name = %(name)s)
"""
FORGET = "delete from windlass.partial_migration where migration_name = %s"
PARTIAL = """
    select statements_done, done_checksum from windlass.partial_migration
    where migration_name = %s and direction = %s
"""
BEGUN = """
    select statement_begun from windlass.partial_migration
    where migration_name = %s and direction = %s
"""
NOTE = """
    insert into windlass.partial_migration values (%s, %s, %s, %s, %s, %s)
    on conflict (migration_name) do update set direction = excluded.direction,
        statements_done = excluded.statements_done, done_checksum = excluded.done_checksum,
        statements = excluded.statements, statement_begun = excluded.statement_begun
"""
PARTIALS = """
    select migration_name, direction, statements_done, statements from windlass.partial_migration
    order by migration_name
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


def partials(connection: psycopg.Connection) -> tuple[Partial, ...]:
    """Return what was cut off half way; writes nothing."""
    row = connection.execute(EXISTS).fetchone()
    if row is None or not row[0]:
        return ()
    return tuple(
        Partial(name=name, direction=direction, statements_done=done, statements=count)
        for name, direction, done, count in connection.execute(PARTIALS).fetchall()
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


def stamp(connection: psycopg.Connection, migration: Migration) -> None:
    """Record a migration as applied; in the caller's transaction."""
    ensure(connection)
    connection.execute(INSERT, (migration.name, migration.checksum))
    connection.execute(FORGET, (migration.name,))


def unstamp(connection: psycopg.Connection, name: str) -> None:
    """Take the record of a migration away, also of a part of one."""
    ensure(connection)
    connection.execute(DELETE, (name,))
    connection.execute(FORGET, (name,))


def accept(connection: psycopg.Connection, file: SqlFile, migration: Migration) -> None:
    """Record the text as it is now as the one that ran; of a part of one, its beginning."""
    ensure(connection)
    connection.execute(UPDATE, (migration.checksum, migration.name))
    row = connection.execute(PARTIAL, (migration.name, "up")).fetchone()
    if row is not None:
        note_finished(connection, migration.name, "up", file, min(row[0], len(file.statements)))


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


def begun(connection: psycopg.Connection, name: str, direction: Direction) -> int | None:
    """Return the number of the statement that a run began and did not record as finished."""
    row = connection.execute(BEGUN, (name, direction)).fetchone()
    return row[0] if row else None


def note_begun(
    connection: psycopg.Connection, name: str, direction: Direction, file: SqlFile, number: int
) -> None:
    """Record that a statement which cannot run in a transaction is about to."""
    done = number - 1
    count = len(file.statements)
    connection.execute(NOTE, (name, direction, done, _prefix(file, done), count, number))


def note_finished(
    connection: psycopg.Connection, name: str, direction: Direction, file: SqlFile, done: int
) -> None:
    """Record that the first `done` statements are finished."""
    count = len(file.statements)
    connection.execute(NOTE, (name, direction, done, _prefix(file, done), count, None))


def rendered_note(
    name: str, direction: Direction, file: SqlFile, done: int, begun: int | None = None
) -> str:
    """Return the record of a finished, or begun, statement with its values, for people to read."""
    count, number = len(file.statements), begun or "null"
    values = f"'{name}', '{direction}', {done}, '{_prefix(file, done)}', {count}, {number}"
    return " ".join(NOTE.replace("%s, %s, %s, %s, %s, %s", values).split()) + ";"
