"""CONCURRENTLY: long statements that block no session, outside any transaction.

They wait for every older snapshot, so `lock_timeout` would only cut them off and leave an invalid
index; a watchdog reports how far they are and gives up at a deadline. What a run that was cut off
left behind is recognised here, and finished or cleared away.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import psycopg

from ...database.blockers import SIGHT, Blocker, Lookout
from ...database.connection import Database
from ...database.retry import Terms
from ...errors import Place, StepFailed, WindlassError
from ...parser import tree
from ...parser.split import Statement
from .if_not_exists import already_exists, quoted, same_index
from .shadow import Incomparable, fetch_one

LOOK_EVERY = 0.5  # seconds
SAY_AGAIN = 15.0  # seconds between two notes about who is waited for
CLEARING = 30.0  # seconds for dropping what is left

PROGRESS = """
    select phase, coalesce(nullif(blocks_total, 0), nullif(tuples_total, 0), lockers_total),
           case when blocks_total > 0 then blocks_done when tuples_total > 0 then tuples_done
                else lockers_done end,
           case when blocks_total > 0 then 'blocks' when tuples_total > 0 then 'rows'
                else 'sessions' end
    from pg_catalog.pg_stat_progress_create_index where pid = %s
"""
INDEX = """
    select i.indisvalid and i.indisready,
           exists (select from pg_catalog.pg_stat_progress_create_index p
                   where p.index_relid = i.indexrelid),
           i.indexrelid::pg_catalog.regclass::text
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where c.relname = %s and c.relnamespace = (
        select relnamespace from pg_catalog.pg_class
        where oid = pg_catalog.to_regclass(%s)::pg_catalog.oid)
"""
# What a REINDEX CONCURRENTLY that was cut off leaves next to the index it was to replace.
LEFT_BY_REINDEX = """
    select i.indexrelid::pg_catalog.regclass::text
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where not i.indisvalid and c.relname::pg_catalog.text ~ '_cc(new|old)[0-9]*$'
      and (i.indrelid = pg_catalog.to_regclass(%(name)s)::pg_catalog.oid or i.indrelid = (
           select indrelid from pg_catalog.pg_index
           where indexrelid = pg_catalog.to_regclass(%(name)s)::pg_catalog.oid))
"""
DETACHING = """
    select inhdetachpending from pg_catalog.pg_inherits
    where inhparent = pg_catalog.to_regclass(%s)::pg_catalog.oid
      and inhrelid = pg_catalog.to_regclass(%s)::pg_catalog.oid
"""
OUTCOMES = {
    "createdb_stmt": (
        "select exists (select from pg_catalog.pg_database where datname = %s)",
        "dbname",
        True,
    ),
    "dropdb_stmt": (
        "select exists (select from pg_catalog.pg_database where datname = %s)",
        "dbname",
        False,
    ),
    "create_table_space_stmt": (
        "select exists (select from pg_catalog.pg_tablespace where spcname = %s)",
        "tablespacename",
        True,
    ),
    "drop_table_space_stmt": (
        "select exists (select from pg_catalog.pg_tablespace where spcname = %s)",
        "tablespacename",
        False,
    ),
    "create_subscription_stmt": (
        "select exists (select from pg_catalog.pg_subscription where subname = %s)",
        "subname",
        True,
    ),
    "drop_subscription_stmt": (
        "select exists (select from pg_catalog.pg_subscription where subname = %s)",
        "subname",
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Why the watchdog stopped a statement."""

    reason: str


def run_watched(
    connection: psycopg.Connection,
    database: Database,
    sql: str,
    terms: Terms,
    *,
    seconds: float,
) -> GaveUp | None:
    """Run one statement under the watchdog; return why it was stopped, None where it ended.

    Raises:
        psycopg.Error: the server refused it.

    """
    watchdog = _Watchdog(connection, database, terms, seconds)
    try:
        with watchdog:
            connection.execute(sql.encode())
    except psycopg.errors.QueryCanceled:
        if watchdog.gave_up is None:
            raise
        return watchdog.gave_up
    return None


def prepare(
    connection: psycopg.Connection,
    database: Database,
    statement: Statement,
    *,
    begun: bool,
    place: Place,
    note: Callable[[str], None],
) -> str:
    """Return what there is to run now; empty where nothing is.

    Args:
        connection: a session of the migration, outside a transaction.
        database: where.
        statement: what the file says.
        begun: whether an earlier run began it, and did not record its end.
        place: its file and line.
        note: is told where what it would create exists already.

    Raises:
        StepFailed: something else of that name exists, or what is left cannot be cleared away.

    """
    if begun and finished(connection, statement):
        return ""
    if already_exists(connection, statement, place=place):
        note(f"{place}: already exists")
        return ""
    return clear(connection, database, statement, place=place)


def clean_up(
    connection: psycopg.Connection, database: Database, statement: Statement, *, place: Place
) -> str:
    """Clear away what a statement left that failed; return in words what is left."""
    if connection.broken:
        return "what it left is cleared away by the next deployment"
    if statement.kind in ("drop_stmt", "alter_table_stmt"):  # a DROP or DETACH, maybe half way
        return "it may be half way, which the same command finishes"
    try:
        clear(connection, database, statement, place=place)
    except (StepFailed, psycopg.Error) as error:
        return f"what it left was not cleared away ({error})".splitlines()[0]
    return "nothing of this statement is left"


def finished(connection: psycopg.Connection, statement: Statement) -> bool:
    """Tell whether a statement that a run began, and was killed in, did its work after all."""
    kind, node = statement.kind, statement.node
    if kind == "index_stmt":
        row = connection.execute(INDEX, (node.idxname, quoted(node.relation))).fetchone()
        return bool(row and row[0] and _is_ours(connection, statement))
    if kind == "drop_stmt":
        names = [[part.string.sval for part in item.list.items] for item in node.objects]
        return all(_gone(connection, name) for name in names)
    if kind == "alter_table_stmt":
        parent, child = _detached(statement)
        return connection.execute(DETACHING, (parent, child)).fetchone() is None
    if kind in OUTCOMES:
        query, attribute, wanted = OUTCOMES[kind]
        return bool(fetch_one(connection, query, getattr(node, attribute)) is wanted)
    return False


def _is_ours(connection: psycopg.Connection, statement: Statement) -> bool:
    """Tell whether the index of that name is the statement's; what cannot be compared is not."""
    try:
        return bool(same_index(connection, statement))
    except Incomparable:
        return False


def is_gone(connection: psycopg.Connection, statement: Statement) -> bool:
    """Tell whether the index that a statement built concurrently does not exist any more."""
    if statement.kind != "index_stmt" or not statement.concurrent:
        return False
    name = (statement.node.idxname, quoted(statement.node.relation))
    return connection.execute(INDEX, name).fetchone() is None


def _gone(connection: psycopg.Connection, name: list[str]) -> bool:
    text = ".".join('"' + part.replace('"', '""') + '"' for part in name)
    return fetch_one(connection, "select pg_catalog.to_regclass(%s)::oid", text) is None


def _detached(statement: Statement) -> tuple[str, str]:
    for cmd in tree.commands(statement.node):
        if tree.subtype(cmd) == "AT_DetachPartition":
            return quoted(statement.node.relation), quoted(getattr(cmd, "def").partition_cmd.name)
    return "", ""


def clear(
    connection: psycopg.Connection, database: Database, statement: Statement, *, place: Place
) -> str:
    """Clear away what an earlier run left of this statement; return what there is to run now.

    Raises:
        StepFailed: another session builds it, it is another index, or it cannot be dropped in time.

    """
    if statement.kind == "index_stmt":
        _drop_invalid(connection, database, statement, place=place)
    if statement.kind == "reindex_stmt" and statement.node.HasField("relation"):
        values = {"name": quoted(statement.node.relation)}
        for (name,) in connection.execute(LEFT_BY_REINDEX, values).fetchall():
            _drop(connection, database, name, place=place)
    if statement.kind == "alter_table_stmt":
        parent, child = _detached(statement)
        row = connection.execute(DETACHING, (parent, child)).fetchone() if child else None
        if row is not None and row[0]:
            return f"alter table {parent} detach partition {child} finalize"
    return statement.sql


def _drop_invalid(
    connection: psycopg.Connection, database: Database, statement: Statement, *, place: Place
) -> None:
    """Drop what a killed build left; with IF NOT EXISTS the server would keep the invalid index."""
    node = statement.node
    row = connection.execute(INDEX, (node.idxname, quoted(node.relation))).fetchone()
    if row is None or row[0]:
        return
    if row[1]:
        raise StepFailed(
            f"the index {row[2]} is being built by another session",
            place=place,
            state="this statement did not run",
            next_step="wait until pg_stat_progress_create_index is empty, and start again",
        )
    other = ""
    try:
        if not same_index(connection, statement):
            other = "is not the one this file builds"
    except Incomparable as error:
        other = f"whether it is the one this file builds could not be compared ({error})"
    if other:
        raise StepFailed(
            f"an invalid index {row[2]} exists, and {other}",
            place=place,
            state="this statement did not run",
            next_step=f"look at it (\\d {row[2]} in psql), drop it, and start again",
        )
    _drop(connection, database, row[2], place=place)


def _drop(connection: psycopg.Connection, database: Database, name: str, *, place: Place) -> None:
    statement = f"drop index concurrently if exists {name}"
    gave_up = run_watched(connection, database, statement, Terms(), seconds=CLEARING)
    if gave_up is not None:
        raise StepFailed(
            f"the invalid index {name} could not be dropped: {gave_up.reason}",
            place=place,
            state="the invalid index is left, and costs every write; no query uses it",
            next_step="let the sessions named end, and start again: it drops the index first",
        )


def require_valid(connection: psycopg.Connection, statement: Statement, *, place: Place) -> None:
    """Raise unless a concurrently built index can be used."""
    node = statement.node
    if statement.kind != "index_stmt":
        return
    row = connection.execute(INDEX, (node.idxname, quoted(node.relation))).fetchone()
    if row is None or not row[0]:
        raise StepFailed(
            f"the index {node.idxname} is invalid after its build",
            place=place,
            state="the invalid index is left; the statement is not recorded as done",
            next_step="start again: it drops the invalid index and builds it anew",
        )


class _Watchdog:
    """Reports a statement's progress from a second connection, and cancels it when it must end."""

    def __init__(
        self, connection: psycopg.Connection, database: Database, terms: Terms, seconds: float
    ) -> None:
        self.connection, self.database, self.terms = connection, database, terms
        self.seconds = seconds
        self.gave_up: GaveUp | None = None
        self._waits_for = "it had not ended"
        self._said = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        deadline = time.monotonic() + self.seconds
        with closing(Lookout(self.database)) as lookout:
            while not self._over.wait(min(LOOK_EVERY, max(0.01, deadline - time.monotonic()))):
                self._best_effort(lambda: self._look(lookout))
                reason = self._lost_guard()
                if time.monotonic() >= deadline:
                    reason = f"gave up after {self.seconds:g} s: {self._waits_for}"
                if reason:
                    self.gave_up = GaveUp(reason)
                    self._best_effort(self.connection.cancel)

    def _best_effort(self, look: Callable[[], None]) -> None:
        """Watching makes the run readable; that it fails must not end what runs well."""
        try:
            look()
        except (psycopg.Error, WindlassError) as error:
            self._waits_for = f"who is waited for could not be seen: {error}".splitlines()[0]

    def _lost_guard(self) -> str:
        try:
            self.terms.guard()
        except WindlassError as error:
            return error.what
        return ""

    def _look(self, lookout: Lookout) -> None:
        watch = lookout.connection()
        pid = self.connection.info.backend_pid
        row = watch.execute(PROGRESS, (pid,)).fetchone()
        if row is not None:
            phase, total, done, unit = row
            activity = f"{unit}, {phase.removeprefix('building index: ')}"
            self.terms.progress(int(done or 0), int(total or 0) or None, activity)
        blockers = watch.execute(SIGHT, {"pid": pid}).fetchall()
        if not blockers:
            return
        words = "; ".join(Blocker(*b).text(show_queries=self.terms.show_queries) for b in blockers)
        self._waits_for = f"waiting for {words}"
        if time.monotonic() - self._said > SAY_AGAIN:
            self._said = time.monotonic()
            self.terms.note(f"waiting for the end of {words}")
