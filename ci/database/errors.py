"""A server's refusals as errors of ours, with the remedy each has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ..errors import State, StepFailed
from ..secret import redact
from . import transient

REMEDIES: dict[type[psycopg.Error], str] = {
    pg.InsufficientPrivilege: (
        "grant pg_read_all_data (and BYPASSRLS where tables have row security) to this user"
    ),
    pg.OutOfMemory: "raise max_locks_per_transaction on the server",
    pg.LockNotAvailable: "start again when the statement that holds the table has ended",
}


def in_words(error: psycopg.Error) -> str:
    """Return what the server, or the line to it, said, on one line and with its SQLSTATE."""
    code = error.sqlstate or "the connection was lost"
    return redact(f"the database did not do it: {' '.join(str(error).split())} [{code}]")


def passing(error: psycopg.Error) -> str:
    """Say what passes by itself in a statement's failure; empty where nothing does.

    Without an SQLSTATE it is the line that was lost; a session whose run stood still too long is
    ended with an error of another class.
    """
    lines = psycopg.OperationalError | psycopg.InterfaceError
    broken = error.sqlstate is None and isinstance(error, lines)
    return transient.reason(error.sqlstate, broken=broken)


def one_value(connection: psycopg.Connection, query: LiteralString | sql.Composed) -> object:
    """Return the first value of a query; None where it has no row."""
    row = connection.execute(query).fetchone()
    return row[0] if row else None


@contextmanager
def asking(state: State, next_step: str = "") -> Iterator[None]:
    """Translate what psycopg raises; `state` is what is true then, as in `translated`."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error, state, next_step) from error


def translated(error: psycopg.Error, state: State, next_step: str = "") -> StepFailed:
    """Return our error for one of the server's; `state` is what is true now.

    `next_step` is the command that tries again, where it is another one than before.
    """
    remedies = (text for kind, text in REMEDIES.items() if isinstance(error, kind))
    message = " ".join(str(error).split())
    return StepFailed(
        redact(f"the database did not answer as it should: {message} ({error.sqlstate or 'cut'})"),
        state=state,
        next_step=next(
            remedies,
            f"check the connection and the server's log, then {next_step or 'start again'}",
        ),
    )
