"""Databases to restore into: created like another one, checked before, and what they must have."""

from collections.abc import Iterable

import psycopg

from ..database.connection import Database
from ..database.errors import one_value
from ..errors import Refused, StepFailed
from ..model import Manifest, Target

ANYTHING_IN_IT = """
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
        and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e')
order by 1 limit 1
"""
# Another version of an extension is what CREATE EXTENSION takes anyway: the default one.
AVAILABLE = "select name from pg_catalog.pg_available_extensions"
ROLES = """
select rolname, pg_catalog.pg_has_role(oid, 'MEMBER') from pg_catalog.pg_roles
"""

LOCK_SLOTS = """
select pg_catalog.current_setting('max_locks_per_transaction')::int
       * (pg_catalog.current_setting('max_connections')::int
          + pg_catalog.current_setting('max_prepared_transactions')::int)
"""


def lock_slots(connection: psycopg.Connection) -> int:
    """Return how many objects all sessions of a server may lock together.

    Source: the documentation of max_locks_per_transaction.
    """
    return int(str(one_value(connection, LOCK_SLOTS)))


def require_empty(connection: psycopg.Connection, target: Target) -> None:
    """Raise `Refused` where the database has a table, a view or a sequence."""
    first = one_value(connection, ANYTHING_IN_IT)
    if first is not None:
        raise Refused(
            f"the database {target.database} is not empty: it has {first}",
            next_step="restore into a new database, compare, then swap the two by renaming",
        )


def is_empty(database: Database) -> bool:
    """Tell whether a database has no table, no view and no sequence."""
    return database.read("restore", lambda c: one_value(c, ANYTHING_IN_IT)) is None


def require_parts(connection: psycopg.Connection, manifest: Manifest, *, owners: bool) -> None:
    """Raise unless the server has the extensions of a backup and, with `owners`, its roles."""
    available = {row[0] for row in connection.execute(AVAILABLE).fetchall()}
    missing = [
        f"{name} {version}" for name, version in manifest.extensions if name not in available
    ]
    if missing:
        raise StepFailed(
            f"the server lacks extensions of the backup: {', '.join(missing)}",
            state="nothing was restored",
            next_step="install their packages on the server, or restore into another one",
        )
    if owners:
        known: dict[str, bool] = dict(connection.execute(ROLES).fetchall())
        _require_roles(known, manifest.roles, manifest.owners or manifest.roles)


def _require_roles(member: dict[str, bool], roles: Iterable[str], owners: Iterable[str]) -> None:
    missing = [role for role in roles if role not in member]
    if missing:
        raise StepFailed(
            f"the server lacks roles that own or may use something: {', '.join(missing)}",
            state="nothing was restored",
            next_step="create them (the backup's globals.sql has them, without passwords), or "
            "restore with --no-owner: every object will be yours",
        )
    others = [role for role in owners if not member[role]]
    if others:
        raise StepFailed(
            f"this user may not give objects to {', '.join(others)}",
            state="nothing was restored",
            next_step=f'grant "{others[0]}" to this user, use one that may, or restore with '
            "--no-owner: every object will be yours",
        )
