"""Databases created like another one: created, named, dropped."""

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..errors import Refused
from ..secret import Secret
from .connection import Database
from .errors import asking, one_value

LOCALE = """
select pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype,
       pg_catalog.to_jsonb(d) ->> 'datlocprovider',
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale')
from pg_catalog.pg_database d where datname = pg_catalog.current_database()
"""
OIDS = "select datname, oid::bigint from pg_catalog.pg_database where datname = any (%s)"
# Whose the new one may be: in its owner's hands, an archive's objects can be their owners'.
OWNER = """
select pg_catalog.pg_get_userbyid(datdba)::text from pg_catalog.pg_database
where datname = pg_catalog.current_database() and pg_catalog.pg_has_role(datdba, 'MEMBER')
"""
PROVIDERS_SINCE = 150000  # server_version of CREATE DATABASE … LOCALE_PROVIDER
PROVIDERS = {"i": "icu", "b": "builtin"}


def create_database(admin: Database, name: str, *, encoding: str = "") -> Database:
    """Create an empty database with the encoding and locale of `admin`'s, and return it.

    `encoding`: another one, as the server names it; the locale is C then, which fits every one.

    It has the owner of `admin`'s where our role is a member of that one; else it is ours.

    Raises:
        Refused: there is one of this name already.
        StepFailed: the server did not create it, for lack of rights for example.

    """
    with asking("no database was created"), admin.connect("restore") as connection:
        row = connection.execute(LOCALE).fetchone()
        if row is None:
            raise AssertionError("current_database() is not in pg_database")
        if encoding not in ("", row[0]):
            row = (encoding, "C", "C", "c", None)
        statement = _create_statement(name, row)
        if row[3] == "c" and connection.info.server_version >= PROVIDERS_SINCE:
            statement += sql.SQL(" locale_provider libc")
        if owner := one_value(connection, OWNER):
            statement += sql.SQL(" owner {}").format(sql.Identifier(str(owner)))
        try:
            connection.execute(statement)
        except pg.DuplicateDatabase as error:
            raise _exists(name) from error
    return named(admin, name)


def require_absent(admin: Database, name: str) -> None:
    """Raise Refused where the server has a database of this name."""
    if oids(admin, (name,))[0]:
        raise _exists(name)


def rename(admin: Database, name: str, new: str) -> None:
    """Rename a database that was created here, and that nobody uses.

    Raises:
        Refused: there is one of the new name already.
        StepFailed: the server did not rename it.

    """
    with asking(f"the database {name} is still there"), admin.connect("restore") as connection:
        statement = sql.SQL("alter database {} rename to {}")
        try:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(new)))
        except pg.DuplicateDatabase as error:
            raise _exists(new) from error


def _exists(name: str) -> Refused:
    return Refused(
        f"the database {name} already exists",
        next_step="choose another name, or drop it if it is no longer needed",
    )


def named(admin: Database, name: str) -> Database:
    """Return another database of the same server."""
    url = make_conninfo(admin.url.reveal(), dbname=name)
    return Database(url=Secret(url), deployment_id=admin.deployment_id, owners=admin.owners)


def oids(admin: Database, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the oids of databases of the same server; 0 for one that is not there.

    A database that was dropped and created again has another one.
    """

    def read(connection: psycopg.Connection) -> dict[str, int]:
        return dict(connection.execute(OIDS, (list(names),)).fetchall())

    by_name = admin.read("restore", read)
    return tuple(by_name.get(name, 0) for name in names)


def drop(admin: Database, name: str) -> None:
    """Drop a database that was created here; its sessions, all of them ours, are ended."""
    with asking(f"the database {name} is still there"), admin.connect("restore") as connection:
        connection.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )


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
