"""Opens sessions, and asks about those that say nothing any more."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from . import transient
from .pinned import OPTION, PinnedConnection
from .silence import Seen, Sight

ASKED_WITHIN = 5.0  # seconds, for a question about a session that is silent
UNSUPPORTED = "unsupported startup parameter"  # PgBouncer, of what it does not know
STATE = """
    select a.state from pg_catalog.pg_stat_activity a where a.pid operator(pg_catalog.=) %s
"""
SESSIONS = """
    select a.state, a.wait_event_type, a.wait_event, a.state_change::text
    from pg_catalog.pg_stat_activity a where a.application_name operator(pg_catalog.=) %s
    order by a.state_change desc
"""
BUSY = ("active", "fastpath function call")


class Standby(psycopg.OperationalError):
    """A run that changes something was led to a standby."""

    sqlstate = "25006"


def open_session(parameters: dict[str, str]) -> PinnedConnection:
    """Connect with the search_path in the start packet; without it, where a pooler refuses it."""
    options = f"{parameters.get('options', '')} {OPTION}".strip()
    try:
        return _connect(parameters | {"options": options})
    except psycopg.OperationalError as error:
        if UNSUPPORTED not in str(error):
            raise
    return _connect(parameters)


def reports_standby(connection: PinnedConnection) -> bool | None:
    """Tell whether the server is a standby, as it reports by itself from 14 on; None: not told."""
    reported = connection.info.parameter_status("in_hot_standby")
    return None if reported is None else reported == "on"


def require_primary(connection: PinnedConnection) -> None:
    """Raise, with the session closed, where the server is a standby.

    Raises:
        Standby: it is one.

    """
    standby = reports_standby(connection)
    if standby is None:  # 13, or a pooler
        row = connection.execute("select pg_catalog.pg_is_in_recovery()").fetchone()
        standby = row is not None and bool(row[0])
    if standby:
        connection.close()
        raise Standby("the server is a standby, which takes no change")


def _connect(parameters: dict[str, str]) -> PinnedConnection:
    return PinnedConnection.connect(
        make_conninfo(**parameters), autocommit=True, prepare_threshold=None
    )


def answer(parameters: dict[str, str], error: psycopg.OperationalError) -> transient.Answer:
    """Ask what a new connection is answered with, after an error; no password is needed."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):  # it was waited for just now
        return "none"
    ping = PGconn.ping(make_conninfo(**parameters).encode())
    if ping == Ping.REJECT:
        return "rejects"
    return "none" if ping == Ping.NO_RESPONSE else "accepts"


@contextmanager
def _question(parameters: dict[str, str]) -> Iterator[PinnedConnection]:
    with closing(open_session(_briefly(parameters))) as connection:
        connection.within = ASKED_WITHIN
        yield connection


def _briefly(parameters: dict[str, str]) -> dict[str, str]:
    return parameters | {
        "connect_timeout": f"{ASKED_WITHIN:.0f}",
        "application_name": f"{parameters['application_name'].rsplit('/', 1)[0]}/ask",
    }


def sight_of(parameters: dict[str, str], silent: PinnedConnection) -> Sight:
    """Ask the server, on another line, what it sees of a session that does not answer."""
    # A pooler keeps its session's number from us: that it answers is all that can be known.
    return sight(parameters, None if silent.pooled else silent.info.backend_pid)


def sight(parameters: dict[str, str], pid: int | None) -> Sight:
    """Ask the server, on another line, what it sees of a session; None: whether it answers."""
    try:
        with _question(parameters) as connection:
            if pid is None:
                return "runs"
            row = connection.execute(STATE, (pid,)).fetchone()
    except psycopg.OperationalError as error:
        return "silent" if answer(_briefly(parameters), error) == "none" else "runs"
    # What our role may not see of it counts as work.
    return "runs" if row is not None and (row[0] is None or row[0] in BUSY) else "ended"


def seen(parameters: dict[str, str], name: str) -> Seen:
    """Ask the server, on another line, what the sessions of an application_name do."""
    try:
        with _question(parameters) as connection:
            rows = connection.execute(SESSIONS, (name,)).fetchall()
    except psycopg.OperationalError as error:
        return Seen("silent" if answer(_briefly(parameters), error) == "none" else "works")
    if not rows:
        return Seen("gone")
    # What our role may not see of one counts as work. A session that is to send or to receive
    # something waits for its client, also in the middle of a statement.
    works = any(
        state is None or (state in BUSY and waits_for != "Client")
        for state, waits_for, _event, _change in rows
    )
    state, _, event, change = rows[0]
    return Seen("works" if works else "waits", str(change), f"{state}, {event} since {change}")
