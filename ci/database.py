"""Connections to the target, as every step wants them, and what can be read from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ci.errors import ConfigError, Unreachable
from ci.model import Target
from ci.secret import Secret, redact, remember

T = TypeVar("T")

# Found dead after 30 + 3 × 10 s, not after the kernel's two hours.
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
CONNECT_WITHIN = 10  # seconds, per address

TARGET = """
    select (select system_identifier from pg_catalog.pg_control_system()),
           pg_catalog.current_database(), pg_catalog.current_setting('server_version_num')::int
"""

# Settings that decide what a statement means or how long it may take are pinned, never inherited.
PINNED = """
    set statement_timeout = 0;
    set lock_timeout = 0;
    set idle_in_transaction_session_timeout = 0;
    set timezone = 'UTC';
    set standard_conforming_strings = on;
    set client_connection_check_interval = '5s'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the target is. Holds no connection."""

    url: Secret
    deployment_id: str = "-"
    name: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.parameters().get("dbname", ""))
        remember(self.parameters().get("password", ""))

    def parameters(self) -> dict[str, str]:
        """Return the libpq parameters of the URL, password included: never print them.

        Raises:
            ConfigError: the URL is none that libpq reads.

        """
        try:
            found = conninfo_to_dict(self.url.reveal())
        except psycopg.ProgrammingError as error:
            raise ConfigError(
                redact(f"the database URL is none that libpq reads: {str(error).strip()}"),
                next_step="write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…",
            ) from None
        return {key: str(value) for key, value in found.items() if value is not None}

    def environment(self) -> dict[str, str | Secret]:
        """Return the PG* variables that make a child process connect here; no argv needed."""
        names = {
            "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE",
            "user": "PGUSER", "password": "PGPASSWORD", "sslmode": "PGSSLMODE",
            "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
            "passfile": "PGPASSFILE", "service": "PGSERVICE", "options": "PGOPTIONS",
            "channel_binding": "PGCHANNELBINDING",
            "sslcrl": "PGSSLCRL",
            "sslnegotiation": "PGSSLNEGOTIATION",
            "gssencmode": "PGGSSENCMODE",
            "target_session_attrs": "PGTARGETSESSIONATTRS",
        }  # fmt: skip
        found: dict[str, str | Secret] = {
            names[key]: Secret(value) if key == "password" else value
            for key, value in self.parameters().items()
            if key in names
        }
        return found | {"PGCONNECT_TIMEOUT": str(CONNECT_WITHIN)}

    @contextmanager
    def connect(
        self, step: str, *, autocommit: bool = True, dbname: str | None = None
    ) -> Iterator[psycopg.Connection]:
        """Open a connection named after the deployment and the step; closed at the end.

        Raises:
            Unreachable: nothing answers, or it does not let us in.

        """
        other = {} if dbname is None else {"dbname": dbname}
        parameters = {"connect_timeout": str(CONNECT_WITHIN), **KEEPALIVES, **self.parameters()}
        parameters |= {
            "client_encoding": "UTF8",
            "application_name": f"windlass/{self.deployment_id}/{step}",
            **other,
        }
        try:
            connection = psycopg.connect(
                make_conninfo(**parameters), autocommit=True, prepare_threshold=None
            )
        except psycopg.OperationalError as error:
            raise Unreachable(
                redact(f"the database cannot be reached: {' '.join(str(error).split())}"),
                state="nothing was changed",
                next_step="check the URL's host, port, user and password, and that it is up",
            ) from error
        with connection:
            self._pin(connection)
            connection.autocommit = autocommit
            yield connection

    def _pin(self, connection: psycopg.Connection) -> None:
        statements = [line.strip() for line in PINNED.split(";")]
        if connection.info.server_version < 140000:
            statements = [s for s in statements if "check_interval" not in s]  # new in 14
        for statement in statements:
            connection.execute(statement.encode())

    def read(self, step: str, work: Callable[[psycopg.Connection], T]) -> T:
        """Run a function on a read-only connection and return its result."""
        with self.connect(step) as connection:
            connection.execute("set default_transaction_read_only = on")
            return work(connection)


def read_target(connection: psycopg.Connection) -> Target:
    """Return which database this is."""
    row = connection.execute(TARGET).fetchone()
    if row is None:
        raise AssertionError("a select without FROM returned no row")
    return Target(system_identifier=str(row[0]), database=row[1], server_version=row[2])
