"""Rows for the base tables: the same ones for the same seed, whichever migrations have run."""

import json
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg

FEWEST = 20  # rows; below, some table would get none
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

FIRST_NAMES = ("Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Niklaus", "Zoë")
LAST_NAMES = ("Allen", "Dijkstra", "Hopper", "Liskov", "Lovelace", "O'Neill", "Turing", "Wirth")
TEMPLATES = ("django", "node", "postgres", "rust")
STATES = ("CREATING", "ERROR", "RUNNING", "STOPPED")
PATHS = ("/api/chat", "/api/errors", "/api/v1/environments")
# Taken in turn, so that each of them occurs however few rows there are.
ROLES = ("system", "user", "assistant", "tool")
TASKS = ("Buy milk", "Call the dentist", "List my tasks", "Water the plants", "Write to Zoë")

NO_CODE = object()  # this payload has no status_code at all
# What clients really send; all but the first four and "503" are no status code.
STATUS_CODES: tuple[object, ...] = (
    404,
    422,
    500,
    502,
    NO_CODE,
    "503",
    "n/a",
    None,
    500.5,
    99_999_999_999,
    NO_CODE,
    500,
)

# No column here that a later migration adds; and a role is copied as text, which ENUM and VARCHAR
# both read.
COPY = {
    "users": "copy users (id, email, first_name, last_name, created_at) from stdin",
    "environments": "copy environments (id, name, template_id, status, user_id, created_at, "
    "updated_at) from stdin",
    "error_events": "copy error_events (environment_id, payload, created_at) from stdin",
    "conversations": "copy conversations (id, user_id, title, created_at) from stdin",
    "messages": "copy messages (conversation_id, role, content, created_at) from stdin",
}
# The users' ids are ours, since others refer to them; the sequence has to go on behind them.
ADVANCE = "select setval(pg_get_serial_sequence('users', 'id'), max(id)) from users"

Row = tuple[object, ...]


def fill(connection: psycopg.Connection, rows: int = 10_000, seed: int = 1) -> dict[str, int]:
    """Fill the base tables with `rows` rows in total, all or none; return how many each got.

    The tables must not hold users yet.

    Raises:
        ValueError: fewer rows than every table needs to get one.

    """
    if rows < FEWEST:
        raise ValueError(f"rows is {rows}; expected at least {FEWEST}")
    rows_by_table = _make(rows, random.Random(seed))
    with connection.transaction():
        for table, lines in rows_by_table.items():
            _copy(connection, COPY[table], lines)
        connection.execute(ADVANCE)
    return {table: len(lines) for table, lines in rows_by_table.items()}


def _make(rows: int, rng: random.Random) -> dict[str, list[Row]]:
    users = list(_users(rows // 10, rng))
    environments = list(_environments(rows // 20, len(users), rng))
    events = list(_error_events(rows // 4, [str(row[0]) for row in environments], rng))
    conversations = list(_conversations(rows // 10, len(users), rng))
    rest = rows - len(users) - len(environments) - len(events) - len(conversations)
    return {
        "users": users,
        "environments": environments,
        "error_events": events,
        "conversations": conversations,
        "messages": list(_messages(rest, [str(row[0]) for row in conversations], rng)),
    }


def _copy(connection: psycopg.Connection, statement: str, lines: Iterable[Row]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for line in lines:
            copy.write_row(line)


def _users(count: int, rng: random.Random) -> Iterator[Row]:
    for number in range(1, count + 1):
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        yield number, f"user{number}@example.com", first, last, _when(number)


def _environments(count: int, users: int, rng: random.Random) -> Iterator[Row]:
    for number in range(1, count + 1):
        template, at = rng.choice(TEMPLATES), _when(number).replace(tzinfo=None)
        owner = rng.randint(1, users)
        yield _id(rng), f"{template}-{number}", template, rng.choice(STATES), owner, at, at


def _error_events(count: int, environments: Sequence[str], rng: random.Random) -> Iterator[Row]:
    for number in range(1, count + 1):
        payload: dict[str, object] = {
            "message": f"error {number}",
            "stack": "Error\n    at handle (server.js:1:1)",
            "method": rng.choice(("GET", "POST")),
            "path": rng.choice(PATHS),
        }
        code = STATUS_CODES[number % len(STATUS_CODES)]
        if code is not NO_CODE:
            payload["status_code"] = code
        yield rng.choice(environments), json.dumps(payload), _when(number)


def _conversations(count: int, users: int, rng: random.Random) -> Iterator[Row]:
    for number in range(1, count + 1):
        yield _id(rng), rng.randint(1, users), f"conversation {number}", _when(number)


def _messages(count: int, conversations: Sequence[str], rng: random.Random) -> Iterator[Row]:
    for number in range(count):
        turn, place = divmod(number, len(conversations))
        role = ROLES[(turn + place) % len(ROLES)]
        yield conversations[place], role, rng.choice(TASKS), _when(number)


def _when(number: int) -> datetime:
    return BEGAN + timedelta(minutes=number)


def _id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
