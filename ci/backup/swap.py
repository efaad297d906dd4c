"""Put a restored database in the live database's place: two renames in one transaction.

The old one is kept under a dated name until somebody drops it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ..database.connection import Database
from ..database.create import named
from ..database.errors import asking, one_value
from ..database.sessions import remedy, sessions_text, unendable
from ..errors import Refused, StepFailed, Unreachable

WITHIN = 30.0  # seconds in which the sessions of both databases must be gone
PAUSE = 0.2  # seconds between two looks at sessions that we may not end
LONGEST_NAME = 63  # bytes; the server would cut a longer one, and two could become one
KEPT = "_before_restore_"
MAINTENANCE = ("postgres", "template1")  # to connect to while the two are renamed
END_SESSIONS = """
select pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
where datname = any(%s) and pid <> pg_catalog.pg_backend_pid()
"""
SETTINGS = """
select d.datconnlimit, pg_catalog.pg_get_userbyid(d.datdba), d.datacl is not null
from pg_catalog.pg_database d where d.datname = %s
"""
CONFIGURED = """
select coalesce(r.rolname, ''), pg_catalog.unnest(s.setconfig)
from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on d.oid = s.setdatabase
left join pg_catalog.pg_roles r on r.oid = s.setrole
where d.datname = %s order by 1, 2
"""
GRANTS = """
select coalesce(r.rolname, 'public'), a.grantee = 0, a.privilege_type, a.is_grantable
from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where d.datname = %s and a.grantee <> d.datdba order by 1, 3
"""
# Lists, quoted by the server itself as they were written.
LISTS = frozenset(
    {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"}
)
OLD_ONES = """
select datname, pg_catalog.pg_database_size(oid) from pg_catalog.pg_database
where pg_catalog.left(datname, pg_catalog.length(%(name)s)) = %(name)s order by 1
"""
CHANGED = """
select schemaname || '.' || relname, n_live_tup from pg_catalog.pg_stat_user_tables
where schemaname <> 'windlass' order by 1
"""


def swap_databases(
    live: Database,
    restored: str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str:
    """Rename the live database away and the restored one into its place; return the old one's name.

    The restored one gets the live database's owner, grants and settings first. New connections are
    refused and all others ended meanwhile; superusers may still come, and are ended again.

    Raises:
        StepFailed: sessions kept coming for 30 s; nothing was renamed.

    """
    name = live.name
    old = f"{name[: LONGEST_NAME - len(KEPT) - 15]}{KEPT}{now():%Y%m%d_%H%M%S}"
    with (
        asking(f"nothing was renamed: {name} is as it was, {restored} holds the backup"),
        _maintenance(live).connect("swap") as connection,
    ):
        _dress(connection, name, restored)
        limit = _limit(connection, name)
        _limit_to(connection, name, 0)
        try:
            _rename(connection, name, old, restored)
        except BaseException:
            _limit_to(connection, name, limit)
            raise
        _limit_to(connection, name, limit)
        _limit_to(connection, old, limit)
    return old


def _maintenance(live: Database) -> Database:
    """Return a database of the same server that is not renamed, and lets us in."""
    *first, last = (name for name in MAINTENANCE if name != live.name)
    for name in first:
        other = named(live, name)
        with suppress(Unreachable), other.connect("swap"):
            return other
    return named(live, last)


def _rename(connection: psycopg.Connection, name: str, old: str, restored: str) -> None:
    deadline = time.monotonic() + WITHIN
    rename = sql.SQL("alter database {} rename to {}").format
    while True:
        _end_sessions(connection, name, restored, deadline)
        try:
            with connection.transaction():
                connection.execute(rename(sql.Identifier(name), sql.Identifier(old)))
                connection.execute(rename(sql.Identifier(restored), sql.Identifier(name)))
        except pg.ObjectInUse as error:  # after the server itself waited for 5 s
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"sessions kept coming to {name} for {WITHIN:.0f} s: "
                    f"{error.diag.message_detail or error}",
                    state=f"nothing was renamed: {name} is as it was, {restored} holds the backup",
                    next_step="stop what connects as a superuser, then swap again: "
                    f"invoke restore --swap {restored}",
                ) from error
        else:
            return


def _end_sessions(
    connection: psycopg.Connection, name: str, restored: str, deadline: float
) -> None:
    """End all sessions of both databases; wait for those that our role may not end."""
    while True:
        others = unendable(connection, (name, restored))
        if not others:
            try:
                connection.execute(END_SESSIONS, ([name, restored],))
            except pg.InsufficientPrivilege:  # one came in between
                others = unendable(connection, (name, restored))
            else:
                return
        if others and time.monotonic() > deadline:
            user = str(one_value(connection, "select current_user::text"))
            raise StepFailed(
                f"{user} may not end the sessions of {sessions_text(others)}, which stayed for "
                f"{WITHIN:.0f} s",
                state=f"nothing was renamed: {name} is as it was, {restored} holds the backup",
                next_step=f"{remedy(others, user)}, then swap again: invoke restore "
                f"--swap {restored}",
            )
        time.sleep(PAUSE)


def _dress(connection: psycopg.Connection, name: str, restored: str) -> None:
    """Give the restored database what belongs to a database itself, which no dump holds."""
    row = connection.execute(SETTINGS, (name,)).fetchone()
    if row is None:
        raise Refused(
            f"the database {name} to swap with does not exist",
            next_step="write the live database's own address into database:",
        )
    _, owner, has_grants = row
    target = sql.Identifier(restored)
    connection.execute(
        sql.SQL("alter database {} owner to {}").format(target, sql.Identifier(owner))
    )
    for role, setting in connection.execute(CONFIGURED, (name,)).fetchall():
        key, _, value = setting.partition("=")
        of = sql.SQL("role {} in database {}").format(sql.Identifier(role), target)
        whom = of if role else sql.SQL("database {}").format(target)
        written = sql.SQL(value) if key in LISTS else sql.Literal(value)
        connection.execute(
            sql.SQL("alter {} set {} to {}").format(whom, sql.Identifier(*key.split(".")), written)
        )
    if has_grants:
        connection.execute(sql.SQL("revoke all on database {} from public").format(target))
        for role, public, privilege, grantable in connection.execute(GRANTS, (name,)).fetchall():
            grantee = sql.SQL("public") if public else sql.Identifier(role)
            connection.execute(
                sql.SQL("grant {} on database {} to {}{}").format(
                    sql.SQL(privilege),
                    target,
                    grantee,
                    sql.SQL(" with grant option" if grantable else ""),
                )
            )


def _limit(connection: psycopg.Connection, name: str) -> int:
    row = connection.execute(SETTINGS, (name,)).fetchone()
    return int(row[0]) if row else -1


def _limit_to(connection: psycopg.Connection, name: str, limit: int) -> None:
    connection.execute(
        sql.SQL("alter database {} connection limit {}").format(sql.Identifier(name), limit)
    )


def kept(live: Database) -> tuple[tuple[str, int], ...]:
    """Return the old databases that restores have kept of the live database, and their bytes."""
    start = live.name[: LONGEST_NAME - len(KEPT) - 15] + KEPT
    with asking("nothing was changed"), live.connect("restore") as connection:
        rows = connection.execute(OLD_ONES, {"name": start}).fetchall()
    return tuple((name, size) for name, size in rows)


def rows_now(live: Database) -> dict[str, int]:
    """Return about how many rows each table has now, by the server's statistics."""

    def read(connection: psycopg.Connection) -> dict[str, int]:
        return dict(connection.execute(CHANGED).fetchall())

    return live.read("restore", read)
