"""Copies on a server that deploy.yml names: whose run lives, and what a killed run left.

A run holds an advisory lock for each copy from before it is created until it is gone, under a
number that its name has. So a copy whose lock nobody holds is a killed run's. The roles that own
something in the copies have the names of the live server's: their comment says whose they are.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from ..database.connection import Database

CLASS = 0x77696E64  # "wind", as pg_locks shows it
# The h tells a copy that is held from those of older releases, of which nobody knows.
NAME = re.compile(r"windlass_copy_h([0-9a-f]{8})[0-9a-f]{4}")
ROLE = re.compile(rf"({NAME.pattern})_[0-9a-f]{{4}}")
NOTE = "made by Windlass for the copies of the run "
ROLES = """
    select r.rolname::text,
           coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), '') from pg_catalog.pg_roles r
"""
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
        notes = _notes(connection)
        living = [row[0] for row in connection.execute(HELD, (CLASS,)).fetchall()]
        for name in abandoned(databases, living):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
                gone.append(name)
        dead = {f"{NOTE}{run}" for run in abandoned(_runs(notes), living)}
        named = (role for role, note in notes.items() if note in dead)
        for name in (*abandoned(notes, living), *named):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
    return tuple(gone)


def create_roles(admin: Database, names: Iterable[str], run: str) -> None:
    """Create the roles that are missing, for a run; what is another run's becomes this one's.

    `run`: a name of `new_name`, which is held.
    """
    with admin.connect("drill") as connection:
        known = _notes(connection)
        for role in names:
            if role not in known:
                connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
            if role not in known or known[role].startswith(NOTE):
                comment = sql.SQL("comment on role {} is {}")
                connection.execute(comment.format(sql.Identifier(role), f"{NOTE}{run}"))


def drop_roles(admin: Database, made: Iterable[str], run: str) -> None:
    """Drop the roles of a run: those that it made for its copies, and those of its comment.

    One that another run's copy needs stays; whoever comes after that run drops it.
    """
    with admin.connect("drill") as connection:
        own = [role for role, note in _notes(connection).items() if note == f"{NOTE}{run}"]
        for role in (*made, *own):
            with suppress(psycopg.errors.DependentObjectsStillExist):
                connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


def _runs(notes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(note.removeprefix(NOTE) for note in notes.values() if note.startswith(NOTE))


def _notes(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute(ROLES).fetchall())


def _names(connection: psycopg.Connection, query: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(query.encode()).fetchall()]
