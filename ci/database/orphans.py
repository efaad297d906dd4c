"""Sessions that a killed run of ours left behind, found by their application_name and ended."""

import time
from collections.abc import Callable

import psycopg

from ..errors import StepFailed, Unchanged
from .connection import Database

WITHIN = 10.0  # seconds for an ended session to go

# An idle one holds nothing; behind a pooler its name may be left from an earlier client.
FIND = """
    select pid, application_name from pg_catalog.pg_stat_activity
    where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
      and application_name ~ '^windlass/[^/]+/migrate/'
      and application_name not like 'windlass/' || %s || '/%%'
      and state is distinct from 'idle'
"""
OWN = """
    select pid from pg_catalog.pg_stat_activity
    where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
      and application_name like 'windlass/' || %s || '/migrate/%%'
      and state is distinct from 'idle'
"""
# A session is its login's. Where that works as another role (ALTER ROLE … SET role), that role may
# neither look at it nor end it.
AS_LOGIN = "set local role none"
END = "select pg_catalog.pg_terminate_backend(%s)"


def any_left(database: Database) -> bool:
    """Tell whether a deployment left a session behind; it may be one that runs now."""

    def look(connection: psycopg.Connection) -> bool:
        connection.execute(AS_LOGIN)
        return connection.execute(FIND, (database.deployment_id,)).fetchone() is not None

    return database.read("lock", look)


def end_orphans(database: Database, note: Callable[[str], None]) -> None:
    """End the statements of dead deployments; called under the deployment lock, when all are dead.

    Raises:
        StepFailed: one does not end.

    """
    with database.session("lock") as connection:
        deadline = time.monotonic() + WITHIN
        ended: set[int] = set()
        while orphans := _find(connection, database.deployment_id):
            for pid, name in orphans:
                if pid not in ended:
                    _terminate(connection, pid, name)
                    note(f"ended pid {pid}, left behind by {name}")
                    ended.add(pid)
            if time.monotonic() > deadline:
                raise _refuses(orphans[0][0], orphans[0][1])
            time.sleep(0.02)


def end_own(database: Database) -> None:
    """End what this run itself left at work on a line that was cut; afterwards nothing commits.

    Raises:
        StepFailed: one does not end.

    """
    with database.session("lock") as connection:
        deadline = time.monotonic() + WITHIN
        while own := _own(connection, database.deployment_id):
            name = f"windlass/{database.deployment_id}"
            for pid in own:
                _terminate(connection, pid, name)
            if time.monotonic() > deadline:
                raise _refuses(own[0], name)
            time.sleep(0.02)


def _own(connection: psycopg.Connection, deployment_id: str) -> list[int]:
    with connection.transaction():
        connection.execute(AS_LOGIN)
        return [row[0] for row in connection.execute(OWN, (deployment_id,)).fetchall()]


def _find(connection: psycopg.Connection, deployment_id: str) -> list[tuple[int, str]]:
    with connection.transaction():
        connection.execute(AS_LOGIN)
        return connection.execute(FIND, (deployment_id,)).fetchall()


def _terminate(connection: psycopg.Connection, pid: int, name: str) -> None:
    try:
        with connection.transaction():
            connection.execute(AS_LOGIN)
            connection.execute(END, (pid,))
    except psycopg.errors.InsufficientPrivilege:
        raise _refuses(pid, name) from None


def _refuses(pid: int, name: str) -> StepFailed:
    return StepFailed(
        f"pid {pid}, left behind by {name}, could not be ended",
        state=Unchanged("its transaction may still commit"),
        next_step=f"as a role that may: select pg_terminate_backend({pid})",
    )
