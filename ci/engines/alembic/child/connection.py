"""Where a connection of the project goes, and what runs on the driver's own connection."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Any

import sqlalchemy
from sqlalchemy.engine import make_url

from .errors import ProjectError

IDENTITY = (
    "select (select system_identifier from pg_catalog.pg_control_system()),"
    " pg_catalog.current_database(), pg_catalog.pg_backend_pid()"
)
SCHEMA_OF = (
    "select coalesce((select relnamespace::pg_catalog.regnamespace::text from pg_catalog.pg_class"
    " where oid operator(pg_catalog.=) pg_catalog.to_regclass(pg_catalog.quote_ident('{}'))),"
    " pg_catalog.current_schema()::text, 'public')"
)
DRIVERS = ("psycopg", "psycopg2", "asyncpg")  # in the order of preference
# What a URL or its connect_args say about where to go and as whom; the rest is the project's.
WHERE = frozenset(
    {
        "host",
        "hostaddr",
        "port",
        "user",
        "password",
        "passfile",
        "dbname",
        "database",
        "service",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "ssl",
        "application_name",
        "dsn",
    }
)


def driver_of(written: str) -> str:
    """Return the scheme of the URL in the ini file, or of a driver that is installed here."""
    with contextlib.suppress(sqlalchemy.exc.ArgumentError):
        url = make_url(written)
        if url.get_backend_name() == "postgresql" and "+" in url.drivername:
            return str(url.drivername)
    installed = [name for name in DRIVERS if importlib.util.find_spec(name)]
    if not installed:
        raise ProjectError(f"none of {', '.join(DRIVERS)} is installed with Alembic")
    default = make_url("postgresql://").get_dialect().driver
    return "postgresql" if default in installed else f"postgresql+{installed[0]}"


def fetch_rows(connection: Any, sql: str) -> list[Any]:
    """Run a statement on the driver's own connection, in whatever transaction it has."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return [list(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


def schema_of(context: Any) -> str:
    """Return the schema in which this session finds the table of the heads, or would create it."""
    name = context.version_table.replace("'", "''")
    dbapi = context.connection.connection.dbapi_connection
    rows = fetch_rows(dbapi, SCHEMA_OF.format(name))
    return str(rows[0][0])
