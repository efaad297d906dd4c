"""Runs one revision in the project's own Alembic, with our timeouts, our record and our eyes."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psycopg
from psycopg import sql

from ...config.duration import Duration
from ...database import own_tables
from ...database.blockers import Watch
from ...database.connection import KEEPALIVES, KEPT_BY_SERVER, Database, read_target
from ...database.pinned import PIN
from ...database.retry import RETRIED, Session, Terms, Watching, milliseconds, with_retry_elsewhere
from ...errors import ConfigError, Place, StepFailed, WindlassError
from ...model import Direction, Migration, Target
from ...parser.file import SqlFile
from ...parser.split import Statement, split
from ...secret import Secret, redact
from ..sql import concurrently, partial
from ..sql.run import run_verify_script, terms_of
from . import bookkeeping
from .pipe import Child, Event, ReportedError

# What SQLAlchemy asks of the catalog when a revision inspects the schema.
REFLECTION = ("select pg_catalog.", "select information_schema.")
GONE_WITHIN = 5.0  # seconds for the server to roll back what a child left
TERMINATE = """
    select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where pid = %s
"""
THEIR_PATH = b"select pg_catalog.current_setting('search_path')"
SET_PATH = "select pg_catalog.set_config('search_path', %s, false)"
SESSION_EXISTS = "select exists (select from pg_catalog.pg_stat_activity where pid = %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionJob:
    """One revision to run, and what belongs to it."""

    child: Child
    migration: Migration
    direction: Direction
    heads: tuple[str, str]  # schema and name of the table that says what is applied
    head: SqlFile  # its directives; its path is the revision's
    verify: SqlFile | None = None
    backfills: tuple[bytes, ...] = ()  # the statements that record what is left to jobs


def place_of(
    database: Database, target: Target, step: str, terms: Terms, rung: Duration
) -> dict[str, object]:
    """Return the part of a request that says where to connect, and how; with the password.

    `settings` are what a session of SQLAlchemy begins with, whatever its driver; libpq reads the
    variables of `env` for others. `step` is the application's name there.
    """
    lock_timeout = milliseconds(rung)
    limit = milliseconds(terms.lock.statement_timeout)
    name = sql.Literal(step).as_string()
    settings = [
        "set timezone = 'UTC'",
        "set standard_conforming_strings = on",
        f"set lock_timeout = {lock_timeout}",
        f"set statement_timeout = {limit}",
        # A revision may work in Python between two statements, as long as one may run.
        f"set idle_in_transaction_session_timeout = {limit}",
        f"select pg_catalog.set_config('application_name', {name}, false)",
        *(f"set {setting} = {value}" for setting, value in KEPT_BY_SERVER.items()),
    ]
    if target.server_version >= 140000:  # refused by servers on macOS and Windows
        settings.append(
            "do $$begin perform pg_catalog.set_config('client_connection_check_interval', '5s', "
            "false); exception when others then null; end$$"
        )
    variables = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in database.environment().items()
    }
    options = (
        f"{variables.get('PGOPTIONS', '')} -c timezone=UTC -c lock_timeout={lock_timeout} "
        f"-c statement_timeout={limit}"
    )
    return {
        "connect": {**KEEPALIVES, **database.parameters()},
        "identity": [target.system_identifier, target.database],
        "settings": settings,
        "env": {**variables, "PGOPTIONS": options.strip(), "PGAPPNAME": step},
    }


def run_revision(job: RevisionJob, database: Database, terms: Terms) -> int:
    """Run the revision and record it, both or neither; return the number of retries.

    A revision with an `autocommit_block` commits what is before it, and is not retried after
    that.

    Raises:
        StepFailed: it failed; says file, line and what is left.
        LockTimeout: a table stayed locked until `lock.wait` was over.

    """
    with database.connect(f"migrate/{job.migration.name}") as connection:
        own_tables.ensure(connection)
        attempts = _RevisionRun(
            job=job,
            database=database,
            terms=terms_of(job.head, terms),
            target=read_target(connection),
            begun=partial.begun(connection, job.migration.name, job.direction) is not None,
        )
    return with_retry_elsewhere(attempts.terms, database, attempts.attempt, ready=True)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RevisionRun:
    """One revision, while it is tried."""

    job: RevisionJob
    database: Database
    terms: Terms
    target: Target
    begun: bool  # by an earlier run that was cut off

    def attempt(self, rung: Duration, watching: Watching) -> None:
        """Try once; what failed has left no session behind."""
        migration = self.job.migration
        step = f"windlass/{self.database.deployment_id}/migrate/{migration.name}"
        request = {
            "do": "run",
            "run": {"revision": migration.name, "direction": self.job.direction},
            **place_of(self.database, self.target, step, self.terms, rung),
        }
        with ExitStack() as stack:
            listener = _Listener(self, stack, watching, rung)
            try:
                self.job.child.ask(
                    request,
                    listen=listener.on,
                    printed=self.terms.note,
                    within=None,
                    sight=self.database.sight,
                )
            except ReportedError as error:
                listener.end_session()
                if error.sqlstate in RETRIED and not listener.committed:
                    raise psycopg.errors.lookup(error.sqlstate)(error.words) from error
                _fail(self.job, listener, error)
            except BaseException:
                listener.end_session()
                raise


def _heads(event: Event) -> tuple[str, str]:
    return str(event["schema"]), str(event["table"])


def _search_path(session: Session) -> str:
    """Return the path that the statements of a revision have now."""
    return str(session.execute(THEIR_PATH).fetchall()[0][0])


def _fail(job: RevisionJob, listener: "_Listener", error: ReportedError) -> NoReturn:
    place = listener.place if error.sqlstate and listener.place else error.place
    state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    raise StepFailed(
        f"{error.message}{state}",
        place=place or Place(str(job.head.path)),
        state="what ran before and in its autocommit_block stays done; it is not recorded as "
        "applied"
        if listener.committed
        else "its transaction was rolled back: nothing of this revision is left",
        next_step=f"look at what is left; finish it by hand and invoke stamp --name "
        f"{job.migration.name}, or mend the revision so that it can run again, and deploy"
        if listener.committed
        else "mend the revision, or what it found, and start again",
    ) from error


@dataclass
class _Listener:
    """Answers what a running revision asks; sees what it has committed."""

    run: _RevisionRun
    stack: ExitStack
    watching: Watching
    rung: Duration
    pid: int = 0
    watch: Watch | None = None
    place: Place | None = None  # of the statement that runs
    committed: bool = False
    observed: ExitStack = field(default_factory=ExitStack)
    build: Statement | None = None
    path: str = ""  # the search_path that the index of `build` is looked for with

    def on(self, event: Event, session: Callable[[], Session]) -> str:
        """Answer one event; return what to run instead."""
        if event["at"] == "begins":
            self.begins(event)
            return ""
        if event["at"] == "statement":
            return self.statement(event, session())
        if event["at"] == "done":
            self.done(session())
        else:
            self.applied(session())
        return ""

    def begins(self, event: Event) -> None:
        """Refuse an env.py that keeps the heads elsewhere than it said when the plan was made."""
        job = self.run.job
        if _heads(event) == job.heads:
            return
        now, then = (".".join(map(str, names)) for names in (_heads(event), job.heads))
        raise StepFailed(
            redact(f"env.py keeps the heads in {now}, and said {then} when the plan was made"),
            place=Place(str(job.head.path)),
            state="this revision did not run",
            next_step="name the table and its schema in env.py (version_table, "
            "version_table_schema), whatever else is in the environment, and plan again",
        )

    def statement(self, event: Event, session: Session) -> str:
        """Look at a statement before it runs."""
        self.run.terms.guard()
        if not self.pid:
            self.pid = event["pid"]
            self.watch = self.stack.enter_context(self.watching(self.pid))
        self.place = place = Place.parse(event["where"])
        text = str(event["sql"])
        if event["alone"]:
            self.commits()
            instead = self.concurrent(text, session, place)
            if instead:
                return instead
        self.observed = ExitStack()
        if not text.lstrip().lower().startswith(REFLECTION):
            self.observed.enter_context(self.run.terms.observe(session, str(place), text))
        return ""

    def commits(self) -> None:
        """Note, before the first statement that commits by itself, that the revision has begun."""
        if self.committed:
            return
        job = self.run.job
        with self.run.database.connect("migrate") as connection:
            partial.note_begun(connection, job.migration.name, job.direction, job.head, 1)
        self.committed = True
        if self.watch is not None:
            self.watch.armed = False  # what cannot be tried again waits as its lock_timeout says

    def concurrent(self, text: str, session: Session, place: Place) -> str:
        """Prepare a CONCURRENTLY: it has its own deadline, and an earlier run may have begun it."""
        try:
            statement = next(iter(split(Path(place.file), text)), None)
        except ConfigError:  # of a dialect that only the driver makes whole
            return ""
        if statement is None or not statement.concurrent:
            return ""
        self.path = _search_path(session)
        with self.run.database.connect("migrate") as connection:
            connection.execute(SET_PATH, (self.path,))
            if self.run.begun and concurrently.finished(connection, statement):
                self.run.terms.note(f"{place}: already exists")
                return "do 'begin end'"
            concurrently.clear(connection, self.run.database, statement, place=place)
        self.build = statement
        session.execute(b"set lock_timeout = 0")
        within = milliseconds(self.run.terms.lock.concurrently)
        session.execute(f"set statement_timeout = {within}".encode())
        return ""

    def done(self, session: Session) -> None:
        """Look at what a statement did."""
        self.observed.close()
        self.observed = ExitStack()
        if self.build is not None:
            self.build = None
            session.execute(f"set lock_timeout = {milliseconds(self.rung)}".encode())
            within = milliseconds(self.run.terms.lock.statement_timeout)
            session.execute(f"set statement_timeout = {within}".encode())

    def applied(self, session: Session) -> None:
        """Verify and record it, in its own transaction."""
        if self.run.job.verify is not None and self.run.job.direction == "up":
            run_verify_script(self.run.job.verify, session)
        self.run.terms.guard()
        path = sql.Literal(_search_path(session)).as_string()
        session.execute(PIN)
        for statement in (
            *bookkeeping.note(self.run.job.migration, self.run.job.direction),
            *self.run.job.backfills,
        ):
            session.execute(statement)
        # Triggers that the revision deferred run at the commit, with the path that it had.
        session.execute(f"select pg_catalog.set_config('search_path', {path}, true)".encode())

    def end_session(self) -> None:
        """End the session of a child that failed, and with it what it held.

        While the error is handled, which ends the watching too.
        """
        self.observed.__exit__(*sys.exc_info())
        if not self.pid:
            return
        with (
            suppress(WindlassError, psycopg.Error),
            self.run.database.connect("migrate") as connection,
        ):
            connection.execute(TERMINATE, (self.pid,))
            deadline = time.monotonic() + GONE_WITHIN
            while time.monotonic() < deadline:
                row = connection.execute(SESSION_EXISTS, (self.pid,)).fetchone()
                if not row or not row[0]:
                    break
                time.sleep(0.02)
            if self.build is not None and self.place is not None:
                connection.execute(SET_PATH, (self.path,))
                concurrently.clear(connection, self.run.database, self.build, place=self.place)
