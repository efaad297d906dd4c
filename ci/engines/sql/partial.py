"""What is recorded of files that cannot run in one transaction: which statements are done."""

import psycopg

from ...database import trusted
from ...errors import Place, Refused
from ...model import Direction, Partial
from ...parser.file import SqlFile, checksum_of

RECORDED = "select exists (select from windlass.partial_migration where migration_name = %s)"
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


def exists(connection: psycopg.Connection) -> bool:
    """Tell whether the table is there."""
    return trusted.exists(connection, "partial_migration")


def is_recorded(connection: psycopg.Connection, name: str) -> bool:
    """Tell whether a part of a migration is recorded."""
    row = connection.execute(RECORDED, (name,)).fetchone()
    return bool(row and row[0])


def forget(connection: psycopg.Connection, name: str) -> None:
    """Take the record of a part away."""
    connection.execute(FORGET, (name,))


def count(connection: psycopg.Connection, name: str, direction: Direction) -> int | None:
    """Return how many statements are recorded as done; None where no part is recorded."""
    row = connection.execute(PARTIAL, (name, direction)).fetchone()
    return int(row[0]) if row else None


def partials(connection: psycopg.Connection) -> tuple[Partial, ...]:
    """Return what was cut off half way; writes nothing."""
    if not exists(connection):
        return ()
    return tuple(
        Partial(name=name, direction=direction, statements_done=done, statements=count)
        for name, direction, done, count in connection.execute(PARTIALS).fetchall()
    )


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
            f"{done} of its statements ran already, and their text has changed since",
            place=Place(str(file.path)),
            state="what ran before stays done",
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
