"""The sessions of databases that our role may not end: a swap waits for them in vain."""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

SHOWN = 3  # sessions that are named; the others are counted
# A superuser ends every session, and nobody else one of a superuser's.
UNENDABLE = """
    select a.pid, a.usename::text, coalesce(a.application_name, ''), r.rolsuper
    from pg_catalog.pg_stat_activity a
    join pg_catalog.pg_roles r on r.oid = a.usesysid
    where a.datname = any(%(names)s) and a.pid <> pg_catalog.pg_backend_pid()
      and not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
      and (r.rolsuper or not (
          pg_catalog.pg_has_role(r.oid, 'USAGE')
          or pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))
    order by 1
"""


@dataclass(frozen=True, slots=True)
class OtherSession:
    """A session that our role may not end."""

    pid: int
    user: str
    application: str
    superuser: bool


def unendable(connection: psycopg.Connection, names: Iterable[str]) -> tuple[OtherSession, ...]:
    """Return the sessions of these databases that our role may not end, the oldest pid first."""
    rows = connection.execute(UNENDABLE, {"names": list(names)}).fetchall()
    return tuple(OtherSession(*row) for row in rows)


def sessions_text(sessions: Iterable[OtherSession]) -> str:
    """Name sessions: `shop_app (pid 17, worker)`."""
    texts = [
        f"{session.user} (pid {session.pid}{session.application and f', {session.application}'})"
        for session in sessions
    ]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def remedy(sessions: Iterable[OtherSession], user: str) -> str:
    """Return how such sessions go: by a right, or by their own end where no right would do."""
    if any(session.superuser for session in sessions):
        return "end the sessions of superusers where they come from: no other role may"
    name = user.replace('"', '""')
    return f'grant pg_signal_backend to "{name}"'
