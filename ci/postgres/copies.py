"""Copies on a server that deploy.yml names: whose run lives, and what a killed run left.

A run holds an advisory lock for each copy from before it is created until it is gone, under a
number that its name has. So a copy whose lock nobody holds is a killed run's.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from ..database.connection import Database

CLASS = 0x77696E64  # "wind", as pg_locks shows it
# The h tells a copy that is held from those of older releases, of which nobody knows.
NAME = re.compile(r"windlass_copy_h([0-9a-f]{8})[0-9a-f]{4}")
ROLE = re.compile(rf"({NAME.pattern})_[0-9a-f]{{4}}")
HELD = """
    select l.objid::bigint from pg_catalog.pg_locks l
    where l.locktype operator(pg_catalog.=) 'advisory' and l.granted
      and l.classid::bigint operator(pg_catalog.=) %s
"""


def new_name() -> str:
    """Return the name of a copy that is held."""
    return f"windlass_copy_h{secrets.token_hex(6)}"


def new_role(copy: str) -> str:
    """Return the name of a role that a copy has for itself."""
    return f"{copy}_{secrets.token_hex(2)}"


def number(name: str) -> int | None:
    """Return the number that the lock of a copy, or of a copy's role, has; None: it has none."""
    match = NAME.fullmatch(name) or ROLE.fullmatch(name)
    return int(match.groups()[-1], 16) if match else None


def abandoned(names: Iterable[str], held: Iterable[int]) -> tuple[str, ...]:
    """Return those of the databases or roles that are copies', and that no run holds."""
    living = set(held)
    numbers = {name: number(name) for name in names}
    return tuple(name for name, own in numbers.items() if own is not None and own not in living)


@contextmanager
def held(admin: Database, name: str) -> Iterator[None]:
    """Say inside the block that the run of a copy lives."""
    with admin.connect("copy") as connection:
        own = number(name)
        if own is not None:
            # As the server counts: signed.
            signed = own - (1 << 32) if own >= 1 << 31 else own
            connection.execute("select pg_catalog.pg_advisory_lock(%s, %s)", (CLASS, signed))
        yield


def sweep(admin: Database) -> tuple[str, ...]:
    """Drop the copies of killed runs, and their roles; return the databases that went.

    One that somebody is connected to stays, and so does what our role may not drop.
    """
    gone = []
    with admin.connect("sweep") as connection:
        # The names first: who creates a copy holds its lock already.
        databases = _names(connection, "select datname from pg_catalog.pg_database")
        roles = _names(connection, "select rolname from pg_catalog.pg_roles")
        living = [row[0] for row in connection.execute(HELD, (CLASS,)).fetchall()]
        for name in abandoned(databases, living):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
                gone.append(name)
        for name in abandoned(roles, living):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
    return tuple(gone)


def _names(connection: psycopg.Connection, query: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(query.encode()).fetchall()]
