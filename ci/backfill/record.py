"""What is recorded of backfills: how far each is, and the rows that were set aside.

Every function runs in a transaction of the caller's, with our search_path.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from ..database import trusted
from ..model import Direction
from .progress import BackfillState, State

COLUMNS = """
    migration_name, direction, statement, is_job, table_name, key_columns, state, rows_expected,
    rows_visited, rows_changed, rows_set_aside, batches, batch_rows, seconds, began_at, changed_at,
    asked, asked_by, verify_checksum
"""
ALL = f"""
    select {COLUMNS} from windlass.backfill order by changed_at, migration_name, statement
"""  # noqa: S608  # our own columns
ONE = f"""
    select {COLUMNS} from windlass.backfill
    where migration_name = %s and direction = %s and statement = %s
"""  # noqa: S608  # our own columns
HOLD = """
    select checksum, last_key, end_key from windlass.backfill
    where migration_name = %s and direction = %s and statement = %s for update
"""
BEGIN = """
    insert into windlass.backfill (migration_name, direction, statement, checksum, is_job,
        table_name, key_columns, state, end_key, rows_expected, batch_rows, verify_checksum,
        began_at, changed_at)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
            case when %s then pg_catalog.clock_timestamp() end, pg_catalog.clock_timestamp())
    on conflict (migration_name, direction, statement) do update set
        checksum = excluded.checksum, table_name = excluded.table_name,
        key_columns = excluded.key_columns, state = excluded.state, end_key = excluded.end_key,
        rows_expected = excluded.rows_expected, batch_rows = excluded.batch_rows,
        began_at = excluded.began_at, changed_at = excluded.changed_at
"""
MOVE = """
    update windlass.backfill set last_key = %s, state = 'running',
        rows_visited = rows_visited + %s, rows_changed = rows_changed + %s,
        rows_set_aside = rows_set_aside + %s, batches = batches + 1, batch_rows = %s,
        seconds = seconds + %s, changed_at = pg_catalog.clock_timestamp()
    where migration_name = %s and direction = %s and statement = %s
"""
SET_STATE = """
    update windlass.backfill set state = %s, changed_at = pg_catalog.clock_timestamp()
    where migration_name = %s and direction = %s and statement = %s
"""
ASK = """
    update windlass.backfill set asked = %s, asked_by = %s,
        changed_at = pg_catalog.clock_timestamp()
    where migration_name = %s and direction = %s and statement = %s
"""
ASIDE = """
    insert into windlass.backfill_row (migration_name, direction, statement, key, sqlstate, message)
    values (%s, %s, %s, %s, %s, %s)
"""
WAITING = sql.SQL("""
    insert into windlass.backfill (migration_name, direction, statement, checksum, is_job,
        table_name, key_columns, state, rows_expected, batch_rows, verify_checksum,
        changed_at)
    values ({migration}, {direction}, {statement}, {checksum}, true, {table},
            array[]::pg_catalog.text[], 'waiting', 0, 1, {verify}, pg_catalog.clock_timestamp())
    on conflict (migration_name, direction, statement) do nothing
""")
TAKE_AWAY = sql.SQL("delete from windlass.backfill where migration_name = {migration}")
FORGET = "delete from windlass.backfill where migration_name = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a backfill is; keys are the texts of their columns."""

    checksum: str  # of the statement
    last: tuple[str, ...] | None  # the last key that was visited; None: none was
    end: tuple[str, ...] | None  # the largest key when it began; None: there was no row


Identity = tuple[str, Direction, int]  # migration, direction, number of the statement


def read_all(connection: psycopg.Connection) -> tuple[BackfillState, ...]:
    """Return every backfill that is recorded, the one that changed last at the end."""
    if not trusted.exists(connection, "backfill"):
        return ()
    return tuple(_state(row) for row in connection.execute(ALL.encode()).fetchall())


def read(connection: psycopg.Connection, identity: Identity) -> BackfillState | None:
    """Return one; None where it is not recorded."""
    if not trusted.exists(connection, "backfill"):
        return None
    row = connection.execute(ONE.encode(), identity).fetchone()
    return _state(row) if row else None


def _state(row: tuple[object, ...]) -> BackfillState:
    names = [name.strip() for name in COLUMNS.split(",")]
    values = dict(zip(names, row, strict=True))
    renamed = {"migration_name": "migration", "is_job": "job", "table_name": "table"}
    values = {renamed.get(name, name): value for name, value in values.items()}
    values["key"] = tuple(values.pop("key_columns"))  # type: ignore[arg-type]  # an array
    return BackfillState(**values)  # type: ignore[arg-type]  # as the table's columns are


def hold(connection: psycopg.Connection, identity: Identity) -> Position | None:
    """Lock a backfill's row until the transaction ends, and return how far it is."""
    row = connection.execute(HOLD, identity).fetchone()
    if row is None:
        return None
    return Position(
        checksum=row[0],
        last=tuple(row[1]) if row[1] is not None else None,
        end=tuple(row[2]) if row[2] is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is recorded of a backfill before its first batch."""

    checksum: str
    job: bool
    table: str  # schema.name
    key: tuple[str, ...]  # the columns
    state: State  # waiting for its job, or running
    end: tuple[str, ...] | None  # the largest key; None: there is no row, or it waits
    rows_expected: int
    batch_rows: int
    verify_checksum: str  # of the verify script that proves it; empty: it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What one batch did."""

    last: tuple[str, ...]  # the last key of its range
    visited: int
    changed: int
    rows: int  # of the next batch
    seconds: float
    aside: int = 0


def begin(connection: psycopg.Connection, identity: Identity, beginning: Beginning) -> None:
    """Record a backfill that begins, or waits for its job."""
    each = beginning
    values = (each.checksum, each.job, each.table, list(each.key), each.state)
    end = list(each.end) if each.end is not None else None
    counts = (end, each.rows_expected, each.batch_rows)
    last = (each.verify_checksum, each.state != "waiting")
    connection.execute(BEGIN, (*identity, *values, *counts, *last))


def move(connection: psycopg.Connection, identity: Identity, moved: Moved) -> None:
    """Record a batch, in its transaction."""
    counts = (moved.visited, moved.changed, moved.aside, moved.rows, moved.seconds)
    connection.execute(MOVE, (list(moved.last), *counts, *identity))


def set_state(connection: psycopg.Connection, identity: Identity, state: State) -> None:
    """Record that it waits, is paused, cancelled or done."""
    connection.execute(SET_STATE, (state, *identity))


def ask(connection: psycopg.Connection, identity: Identity, wish: str, who: str) -> None:
    """Record what a person asks of it: pause, cancel, or nothing any more (empty)."""
    connection.execute(ASK, (wish, who, *identity))


def set_aside(
    connection: psycopg.Connection,
    identity: Identity,
    key: tuple[str, ...],
    sqlstate: str,
    message: str,
) -> None:
    """Record a row that could not be changed, and why."""
    connection.execute(ASIDE, (*identity, list(key), sqlstate, message))


def waiting(identity: Identity, checksum: str, table: str, verify_checksum: str) -> bytes:
    """Return the statement that leaves a backfill to a job, for a session that is another's.

    Args:
        identity: what it is called by.
        checksum: of the statement and its key.
        table: as the directive names it; its key is looked up when the job begins.
        verify_checksum: of the verify script that proves it; empty: it has none.

    """
    values = (("migration", identity[0]), ("direction", identity[1]), ("statement", identity[2]))
    named = {name: sql.Literal(value) for name, value in values}
    named |= {"checksum": sql.Literal(checksum), "verify": sql.Literal(verify_checksum)}
    text = WAITING.format(table=sql.Literal(table), **named)
    return text.as_string().encode()


def taking_away(name: str) -> bytes:
    """Return the statement that takes away what is recorded of a migration's backfills."""
    return TAKE_AWAY.format(migration=sql.Literal(name)).as_string().encode()


def forget(connection: psycopg.Connection, name: str) -> None:
    """Take away what is recorded of a migration's backfills, and the rows they set aside."""
    if trusted.exists(connection, "backfill"):
        connection.execute(FORGET, (name,))
