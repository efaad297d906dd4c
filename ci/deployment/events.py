"""The chain of events in the target database: appended, read, and carried over by a restore.

Each event is appended in the transaction of the journal's row that it mirrors. Two writers take
turns by a lock of the transaction; the number is the table's key, so that none can come twice.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg

from ..database import trusted
from ..database.connection import Database
from ..errors import ConfigError, StepFailed, Unchanged, Unreachable, WindlassError
from ..model import Event, Origin
from ..origin import find_origin
from ..plan import chain
from ..secret import redact
from .work import Work

# One after the other: each event has the hash of the one before it. A transaction that has its
# turn takes milliseconds. The server ends one whose run stands still, such as that of a machine
# that was suspended: the deployment lock may be lost, and the next run waits for the turn alone.
STANDS_STILL = "20s"
WAITS = "60s"
TURN = """
    set local idle_in_transaction_session_timeout = '{stands_still}';
    select pg_catalog.set_config('lock_timeout', '{waits}', true)
    where pg_catalog.current_setting('lock_timeout') = '0';
    select pg_catalog.pg_advisory_xact_lock(7452012384611)
"""
HEAD = """
    select pg_catalog.clock_timestamp(), e.id, e.hash
    from (select) as one left join lateral (
        select id, hash from windlass.event order by id desc limit 1
    ) as e on true
"""
LAST_OF = """
    select kind, record::text from windlass.event where deployment_id = %s order by id desc limit 1
"""
INSERT = """
    insert into windlass.event (id, at, kind, deployment_id, record, previous, hash)
    overriding system value values (%s, %s, %s, %s, %s::jsonb, %s, %s)
"""
ALL = """
    select id, at, kind, deployment_id, record::text, previous, hash from windlass.event
    where id > %s order by id
"""
DEPLOYMENTS = "select id, record::text, status from windlass.deployment"
STEPS = "select deployment_id, ordinal, evidence::text, result::text from windlass.step"
CORRECTIONS = "select record::text from windlass.correction"
BEGUN = """
    select exists (select from windlass.event where deployment_id = %s and kind = %s)
"""
# A refusal is recorded at once or not at all: nobody waits for it.
BRIEFLY = "set local lock_timeout = '2s'; set local statement_timeout = '5s'"
ISOLATION = "set transaction isolation level read committed"
STEP = "event"
UNWRITTEN = "the journal could not be written"


def append(
    connection: psycopg.Connection, kind: str, deployment: str, record: dict[str, Any]
) -> None:
    """Append an event, in a transaction of the caller's, before the row that it mirrors.

    One that this deployment has appended last already is there: a statement that is run a second
    time, because the line was cut, says the same thing.

    Raises:
        StepFailed: another session has its turn, and does not end.

    """
    if not trusted.exists(connection, "event"):
        raise AssertionError("an event is appended before the tables are there")
    text = redact(chain.text_of(record))
    _take_turn(connection)
    at, number, last = connection.execute(HEAD).fetchone() or (None, None, None)
    if number is None:
        before = chain.snapshot(read_rows(connection))
        first = chain.follow((0, ""), at=at, kind=chain.BEGUN, deployment="", record=before)
        insert(connection, first)
        number, last = first.number, first.hash
    elif deployment:
        newest = connection.execute(LAST_OF, (deployment,)).fetchone()
        if newest is not None and (newest[0], json.loads(newest[1])) == (kind, json.loads(text)):
            return
    head = (number, last)
    insert(
        connection,
        chain.follow(head, at=at, kind=kind, deployment=deployment, record=json.loads(text)),
    )


def _take_turn(connection: psycopg.Connection) -> None:
    turn = TURN.format(stands_still=STANDS_STILL, waits=WAITS)
    try:
        connection.execute(turn.encode())
    except psycopg.errors.LockNotAvailable as error:
        raise StepFailed(
            "another session writes into the journal, and does not end",
            state=Unchanged("this is not in the journal"),
            next_step="look for it in pg_stat_activity, where application_name begins with "
            "windlass/ and state is not idle; when it has ended, start again",
        ) from error


def insert(connection: psycopg.Connection, event: Event) -> None:
    """Insert an event as it is; the caller has seen to it that it is the next one."""
    text = chain.text_of(event.record)
    values = (event.number, event.at, event.kind, event.deployment, text, event.previous)
    connection.execute(INSERT, (*values, event.hash))


@contextmanager
def transaction(connection: psycopg.Connection) -> Iterator[None]:
    """Begin a transaction in which a writer sees what the one before it has committed."""
    with connection.transaction():
        connection.execute(ISOLATION)
        yield


def read_events(connection: psycopg.Connection, *, after: int = 0) -> tuple[Event, ...]:
    """Return the events, in order; none where nothing was ever deployed.

    Raises:
        Refused: the table is not to be believed.

    """
    if not trusted.exists(connection, "event"):
        return ()
    return tuple(
        Event(
            number=number,
            at=at,
            kind=kind,
            deployment=deployment,
            record=json.loads(record),
            previous=previous,
            hash=hash_,
        )
        for number, at, kind, deployment, record, previous, hash_ in connection.execute(
            ALL, (after,)
        ).fetchall()
    )


def read_rows(connection: psycopg.Connection) -> chain.Rows:
    """Return the rows of the journal, as the chain compares them."""
    deployments: dict[str, tuple[str, str]] = {}
    steps: dict[tuple[str, int], tuple[str, str]] = {}
    corrections: list[str] = []
    if trusted.exists(connection, "deployment", "step"):
        for name, record, status in connection.execute(DEPLOYMENTS).fetchall():
            deployments[name] = (_canonical(record), status)
        for name, ordinal, evidence, result in connection.execute(STEPS).fetchall():
            ended = "" if result is None else _canonical(result)
            steps[name, ordinal] = (_canonical(evidence), ended)
    if trusted.exists(connection, "correction"):
        corrections = [_canonical(text) for (text,) in connection.execute(CORRECTIONS).fetchall()]
    return chain.Rows(deployments=deployments, steps=steps, corrections=tuple(corrections))


def _canonical(text: str) -> str:
    return chain.text_of(json.loads(text))


def record_of(document: msgspec.Struct) -> dict[str, Any]:
    """Return a document as an event has it: what its JSON says."""
    decoded: dict[str, Any] = json.loads(redact(msgspec.json.encode(document).decode()))
    return decoded


@contextmanager
def recording(work: Work, verb: str) -> Iterator[None]:
    """Record why a task that changes something ended, where the journal has nothing of it.

    That is a refusal, or a failure before the journal was opened. It is raised as it was, recorded
    or not; nothing is created for it. An empty `verb` records nothing.
    """
    try:
        yield
    except WindlassError as error:
        if verb and not isinstance(error, (ConfigError, Unreachable)):
            _note(work, verb, error)
        raise


def _note(work: Work, verb: str, error: WindlassError) -> None:
    origin = find_origin(work.settings.root)
    record = {
        "task": verb,
        "environment": work.settings.name,
        "refusal": type(error).__name__,
        "exit_code": error.exit_code,
        "what": error.what,
        "origin": record_of(origin),
    }
    try:
        _append_alone(work.database, "refused" if error.exit_code == 3 else "failed", record)
    except (WindlassError, psycopg.Error) as second:
        error.add_note(f"and it could not be recorded: {redact(str(second))}")
        if not error.unwritten:
            work.reporter.note(f"this is not in the history: {UNWRITTEN}")


def _append_alone(database: Database, kind: str, record: dict[str, Any]) -> None:
    """Append one event, unless the journal has this run already, or the database has no tables."""
    name = database.deployment_id
    with database.session(STEP) as connection:
        if not trusted.exists(connection, "event", "deployment"):
            return
        with transaction(connection):
            connection.execute(BRIEFLY)
            row = connection.execute(BEGUN, (name, chain.DEPLOYMENT_BEGUN)).fetchone()
            if row is None or not row[0]:
                append(connection, kind, name, record)


def append_now(database: Database, kind: str, record: dict[str, Any]) -> None:
    """Append one event in a transaction of its own; the caller has prepared the tables."""
    with database.session(STEP) as connection, transaction(connection):
        append(connection, kind, database.deployment_id, record)


def who(origin: Origin) -> str:
    """Return who did something, and where, as the journal shows it."""
    return f"{origin.deployer}@{origin.host}"
