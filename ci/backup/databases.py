"""Databases to restore into: made like another one, looked at before, and what they must have."""

from collections.abc import Iterable

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..database.connection import Database
from ..errors import Refused, StepFailed
from ..model import Manifest, Target
from ..secret import Secret
from .stream import asking, one_value

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
LOCALE = """
select pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype,
       pg_catalog.to_jsonb(d) ->> 'datlocprovider',
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale')
from pg_catalog.pg_database d where datname = pg_catalog.current_database()
"""
PROVIDERS = {"i": "icu", "b": "builtin"}
# Another version of an extension is what CREATE EXTENSION takes anyway: the default one.
AVAILABLE = "select name from pg_catalog.pg_available_extensions"
ROLES = """
select rolname, pg_catalog.pg_has_role(oid, 'MEMBER') from pg_catalog.pg_roles
"""


def require_empty(connection: psycopg.Connection, found: Target) -> None:
    """Raise `Refused` where the database has a table, a view or a sequence."""
    first = one_value(connection, ANYTHING_IN_IT)
    if first is not None:
        raise Refused(
            f"the database {found.database} is not empty: it has {first}",
            next_step="restore into a new database, compare, then swap the two by renaming",
        )


def require_parts(connection: psycopg.Connection, manifest: Manifest, *, owners: bool) -> None:
    """Raise unless the server has the extensions of a backup and, with `owners`, its roles."""
    available = {row[0] for row in connection.execute(AVAILABLE).fetchall()}
    lacking = [f"{name} {version}" for name, version in manifest.extensions
               if name not in available]  # fmt: skip
    if lacking:
        raise StepFailed(
            f"the server lacks extensions of the backup: {', '.join(lacking)}",
            state="nothing was restored",
            next_step="install their packages on the server, or restore into another one",
        )
    if owners:
        _require_roles(dict(connection.execute(ROLES).fetchall()), manifest.roles)


def _require_roles(member: dict[str, bool], roles: Iterable[str]) -> None:
    missing = [role for role in roles if role not in member]
    if missing:
        raise StepFailed(
            f"the server lacks roles that own or may use something: {', '.join(missing)}",
            state="nothing was restored",
            next_step="create them (the backup's globals.sql has them, without passwords), or "
            "restore with --no-owner: all of it will be yours",
        )
    others = [role for role in roles if not member[role]]
    if others:
        raise StepFailed(
            f"this user may not give objects to {', '.join(others)}",
            state="nothing was restored",
            next_step=f'grant "{others[0]}" to this user, use one that may, or restore with '
            "--no-owner: all of it will be yours",
        )


def create_database(admin: Database, name: str) -> Database:
    """Create an empty database with the encoding and locale of `admin`'s, and return it.

    Raises:
        Refused: there is one of this name already.
        StepFailed: the server did not create it, for lack of rights for example.

    """
    with asking("no database was created"), admin.connect("restore") as connection:
        row = connection.execute(LOCALE).fetchone()
        if row is None:
            raise AssertionError("current_database() is not in pg_database")
        statement = _create_statement(name, row)
        try:
            connection.execute(statement)
        except pg.DuplicateDatabase as error:
            raise Refused(
                f"there is a database {name} already",
                next_step="choose another name, or drop it if nobody needs it",
            ) from error
    return named(admin, name)


def named(admin: Database, name: str) -> Database:
    """Return another database of the same server."""
    url = make_conninfo(admin.url.reveal(), dbname=name)
    return Database(url=Secret(url), deployment_id=admin.deployment_id)


def drop(admin: Database, name: str) -> None:
    """Drop a database that was made here; its sessions, all of them ours, are ended."""
    with asking(f"the database {name} is still there"), admin.connect("restore") as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(
            sql.Identifier(name)
        ))  # fmt: skip


def _create_statement(
    name: str, locale: tuple[str, str, str, str | None, str | None]
) -> sql.Composed:
    encoding, collate, ctype, provider, provider_locale = locale
    # template0: what somebody once added to template1 would clash with the archive.
    statement = sql.SQL(
        "create database {} template template0 encoding {} lc_collate {} lc_ctype {}"
    ).format(sql.Identifier(name), encoding, collate, ctype)
    if provider in PROVIDERS and provider_locale is not None:
        kind = PROVIDERS[provider]
        statement += sql.SQL(" locale_provider {} {} {}").format(
            sql.Identifier(kind), sql.Identifier(f"{kind}_locale"), provider_locale
        )
    return statement
