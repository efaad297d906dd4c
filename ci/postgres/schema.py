"""The definitions of a database in another one: no rows, no owners, none of Windlass's own."""

from collections.abc import Iterable

from psycopg.conninfo import make_conninfo

from .. import process
from ..database.children import child_name, judged
from ..database.connection import Database
from ..database.history_table import HistoryTable
from . import definitions
from .clients import Clients

LOCK_WAIT = "--lock-wait-timeout=5s"  # of pg_dump, for a table that is locked


def copy_definitions(
    source: Database, copy: Database, clients: Clients, history: Iterable[HistoryTable] = ()
) -> None:
    """Create in an empty database what another one has.

    Args:
        source: is only read.
        copy: an empty database.
        clients: whose pg_dump and pg_restore do it.
        history: the tables of the engine's own, which are left out.

    Raises:
        ChildFailed: the one did not read, or the other did not create.

    """
    read, loaded = child_name(source, "schema"), child_name(copy, "schema")
    from_there = source.environment(streaming=True) | {"PGAPPNAME": read}
    to_here = copy.environment(streaming=True) | {"PGAPPNAME": loaded}
    dump = clients.command(
        "pg_dump",
        "--format=custom",
        "--schema-only",
        "--no-password",
        LOCK_WAIT,
        *definitions.not_ours(history),
        env=from_there,
    )
    name = make_conninfo(dbname=copy.name)
    load = clients.command(
        "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={name}", env=to_here
    )
    rows = process.stream(dump, purpose=clients.purpose, env=from_there, judge=judged(source, read))
    judge = judged(copy, loaded)
    for _ in process.pipe(load, rows, purpose=clients.purpose, env=to_here, judge=judge):
        pass
