"""Runs one migration file: in one transaction with its history row, or statement by statement."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
import psycopg
from psycopg import sql

from ...config.sections import LockConfig
from ...database.connection import Database, is_pooled
from ...database.pinned import PATH, PIN
from ...database.retry import RETRIED, Session, Terms, limits, with_retry
from ...errors import ConfigError, Place, StepFailed
from ...model import Direction, Migration
from ...parser import tree
from ...parser.file import SqlFile
from ...parser.split import Statement
from ...secret import redact, redact_to
from . import batches, bookkeeping, committing, concurrently, half, if_not_exists, partial

# None: the line was cut. The others: the server ended the session (admin_shutdown, crash_shutdown,
# cannot_connect_now, idle_in_transaction_session_timeout).
LOST = frozenset({None, "57P01", "57P02", "57P03", "25P03"})
LONGEST = 8000  # characters of a server's message

OUR_SESSION = f"set search_path = {PATH}".encode()


def set_search_path(search_path: tuple[str, ...]) -> str:
    """Return the statement that sets the search_path of one transaction."""
    names = sql.SQL(", ").join(map(sql.Identifier, search_path)).as_string()
    return f"set local search_path = {names or chr(39) * 2};"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileJob:
    """One file to run, and what belongs to it."""

    migration: Migration
    direction: Direction
    file: SqlFile
    verify: SqlFile | None
    search_path: tuple[str, ...]
    history: bookkeeping.HistoryRows
    forward: SqlFile | None = None  # the migration that a rollback script is of
    failure: str = ""  # the tool's code for a migration that failed, before its message

    def modes(self) -> str:
        """Return what every transaction of the file begins with, besides the limits."""
        return f"set transaction {self.file.begin};\n" if self.file.begin else ""

    def path(self) -> str:
        """Return the search_path that statements of the file have; ours have our own."""
        return set_search_path(self.search_path)

    def session(self) -> str:
        """Return the same for a statement outside a transaction."""
        return self.path().replace("set local", "set", 1)

    def place(self, statement: Statement) -> Place:
        """Return file and line of a statement."""
        return Place(str(self.file.path), statement.line)


def terms_of(file: SqlFile, terms: Terms) -> Terms:
    """Return the terms with the file's own timeouts in place of the environment's.

    Raises:
        ConfigError: the file would wait for a lock for longer than a statement may run.

    """
    lock = terms.lock
    try:
        own = msgspec.structs.replace(
            lock,
            timeout=(file.lock_timeout,) if file.lock_timeout else lock.timeout,
            statement_timeout=file.statement_timeout or lock.statement_timeout,
            concurrently=file.statement_timeout or lock.concurrently,
        )
        own.__post_init__()
    except ValueError as error:
        raise ConfigError(
            str(error),
            place=Place(str(file.path)),
            next_step="write -- windlass: statement_timeout=… above lock_timeout",
        ) from None
    return replace(terms, lock=own)


def run_file(job: FileJob, database: Database, terms: Terms) -> int:
    """Run the file and record it, both or neither; return the number of retries."""
    step = f"migrate/{job.migration.name}"
    own = terms_of(job.file, terms)
    try:
        if not job.file.transactional:
            return _one_by_one(job, database, own, step)
        return with_retry(
            own, database, functools.partial(_whole, job, own), step=step, settings=job.modes()
        )[1]
    except psycopg.Error as error:  # of our own statements; those of the file have their line
        if error.sqlstate in LOST:
            raise StepFailed(
                redact(f"the connection was lost: {error}".splitlines()[0]),
                place=Place(str(job.file.path)),
                state="a transaction in progress was rolled back, unless its COMMIT had arrived",
                next_step="look at the server and the network, and start again",
            ) from error
        raise StepFailed(
            redact(f"its record could not be written: {error}".splitlines()[0]),
            place=Place(str(job.file.path)),
            state="what is not recorded was rolled back, but for what cannot run in a transaction",
            next_step="mend what it says (invoke doctor looks at the rights), and start again",
        ) from error


def _whole(job: FileJob, terms: Terms, connection: psycopg.Connection) -> None:
    """Run everything in the caller's transaction; the history row commits with it."""
    _refuse_behind_a_pooler(job, connection)
    bookkeeping.ensure(job.history, connection)
    if bookkeeping.already_recorded(job.history, connection, job.migration.name, job.direction):
        return  # another machine was faster; the lock row of the insert says so
    statements = half.to_send(job, connection)
    connection.execute(job.path().encode())
    for statement in statements:
        _execute(job, terms, connection, statement)
    _record(job, terms, connection)


def _record(job: FileJob, terms: Terms, connection: psycopg.Connection) -> None:
    if job.verify is not None and not batches.are_left(job, terms):
        connection.execute(job.path().encode())
        run_verify_script(job.verify, connection)
    terms.guard()
    with _ours(job, connection):
        bookkeeping.record(job.history, connection, job.migration, job.direction)


@contextmanager
def _ours(job: FileJob, connection: psycopg.Connection) -> Iterator[None]:
    """Write the history as who deploys and with our search_path, whatever the file has set.

    The file's own path is set again: triggers that it deferred run at the commit.
    """
    connection.execute(b"reset session authorization; reset role; " + PIN)
    yield
    connection.execute(job.path().encode())


def _refuse_behind_a_pooler(job: FileJob, connection: psycopg.Connection) -> None:
    """Refuse what would leave a setting in a session of others, or could have none of its own."""
    if not is_pooled(connection):
        return
    for statement in job.file.statements:
        if tree.sets_the_session(statement.kind, statement.node):
            reason = "SET would stay in a session that others use"
        elif not statement.transactional:
            reason = "a statement outside a transaction has no settings of its own"
        else:
            continue
        raise StepFailed(
            f"behind a pooler {reason}",
            place=job.place(statement),
            state="this migration did not run",
            next_step="use the address of the server itself in deploy.yml",
        )


def _one_by_one(job: FileJob, database: Database, terms: Terms, step: str) -> int:
    """Run each statement on its own, each finished one recorded, from where a run stopped."""
    name, retries, statements = job.migration.name, 0, job.file.statements

    def in_transaction(work: Callable[[psycopg.Connection], int | None]) -> int | None:
        nonlocal retries
        result, tries = with_retry(terms, database, work, step=step, settings=job.modes())
        retries += tries
        return result

    def begin(connection: psycopg.Connection) -> int | None:
        nonlocal statements
        _refuse_behind_a_pooler(job, connection)
        bookkeeping.ensure(job.history, connection)
        if bookkeeping.already_recorded(job.history, connection, name, job.direction):
            return None
        count = partial.finished_statements(connection, name, job.direction, job.file)
        statements = half.to_send(job, connection)
        connection.execute(job.path().encode())
        # An index that was dropped since, because it was another one: it is built once more.
        last = job.file.statements[count - 1] if count else None
        return count - 1 if last and concurrently.is_gone(connection, last) else count

    done = in_transaction(begin)
    if done is None:
        return retries
    if done < job.file.together:
        in_transaction(functools.partial(_together, job, terms, statements))
        done = job.file.together
    for number, statement in enumerate(statements[done:], start=done + 1):
        with_record = functools.partial(
            in_transaction, functools.partial(_with_record, job, terms, statement, number)
        )
        retries += _by_kind(job, database, terms, statement, number, with_record)
    in_transaction(functools.partial(_record, job, terms))
    return retries


def _by_kind(  # one statement, and what it may need
    job: FileJob,
    database: Database,
    terms: Terms,
    statement: Statement,
    number: int,
    with_record: Callable[[], object],
) -> int:
    """Run one statement and record it; return the retries that `with_record` does not count."""
    if statement.backfill is not None:
        return batches.run(job, database, terms, statement, number)
    if committing.may_commit(statement):
        committing.run(job, database, terms, number, with_record)
    elif statement.transactional:
        with_record()
    else:
        return _outside(job, database, terms, statement, number)
    return 0


def _with_record(
    job: FileJob,
    terms: Terms,
    statement: Statement,
    number: int,
    connection: psycopg.Connection,
) -> None:
    """Run one statement and record it, in the caller's transaction."""
    connection.execute(job.path().encode())
    _execute(job, terms, connection, statement)
    with _ours(job, connection):
        partial.note_finished(connection, job.migration.name, job.direction, job.file, number)


def _together(
    job: FileJob,
    terms: Terms,
    statements: tuple[Statement, ...],
    connection: psycopg.Connection,
) -> None:
    """Run what is before the batches of a file, and record it, in the caller's transaction."""
    count = job.file.together
    connection.execute(job.path().encode())
    for statement in statements[:count]:
        _execute(job, terms, connection, statement)
    with _ours(job, connection):
        partial.note_finished(connection, job.migration.name, job.direction, job.file, count)


def _outside(
    job: FileJob, database: Database, terms: Terms, statement: Statement, number: int
) -> int:
    """Run a statement that cannot run in a transaction, and record it before and after.

    A run killed in between does not record whether it ended: the catalog is asked.
    """
    name, direction, place, retries = job.migration.name, job.direction, job.place(statement), 0
    step = f"migrate/{name}"
    with database.connect(step) as connection:
        begun = partial.begun(connection, name, direction) == number
        connection.execute(job.session().encode())
        text = concurrently.prepare(
            connection, database, statement, begun=begun, place=place, note=terms.note
        )
        if text:
            terms.guard()
            connection.execute(OUR_SESSION)
            partial.note_begun(connection, name, direction, job.file, number)
            connection.execute(job.session().encode())
            retries = _send(job, database, terms, connection, statement, text)
        connection.execute(OUR_SESSION)
        partial.note_finished(connection, name, direction, job.file, number)
    return retries


def _send(
    job: FileJob,
    database: Database,
    terms: Terms,
    connection: psycopg.Connection,
    statement: Statement,
    text: str,
) -> int:
    if not statement.concurrent:

        def alone(own: psycopg.Connection) -> None:
            own.execute(job.session().encode())
            with terms.observe(own, str(job.place(statement)), text):
                _sent(job, own, statement, text)

        step = f"migrate/{job.migration.name}"
        return with_retry(terms, database, alone, step=step, in_transaction=False)[1]
    seconds = terms.lock.concurrently.seconds
    try:
        with terms.observe(connection, str(job.place(statement)), text):
            gave_up = concurrently.run_watched(connection, database, text, terms, seconds=seconds)
    except psycopg.Error as error:
        left = concurrently.clean_up(connection, database, statement, place=job.place(statement))
        raise _failed(job.file, statement, error, left=left, code=job.failure) from error
    if gave_up is not None:
        left = concurrently.clean_up(connection, database, statement, place=job.place(statement))
        raise StepFailed(
            gave_up.reason,
            place=job.place(statement),
            state=f"{left}; the statements before it stay done and are recorded",
            next_step="let the sessions named end, or give it longer (lock.concurrently), and "
            "start again",
        )
    concurrently.require_valid(connection, statement, place=job.place(statement))
    return 0


def _execute(
    job: FileJob, terms: Terms, connection: psycopg.Connection, statement: Statement
) -> None:
    terms.guard()
    place = job.place(statement)
    existing = if_not_exists.already_exists(connection, statement, place=place)
    if existing:
        terms.note(f"{place}: {existing}; no lock was taken")
        return
    with terms.observe(connection, str(place), statement.sql):
        _sent(job, connection, statement, statement.sql)


def _sent(
    job: FileJob, connection: psycopg.Connection, statement: Statement, text: str
) -> psycopg.Cursor[tuple[object, ...]]:
    try:
        return connection.execute(text.encode())
    except psycopg.Error as error:
        if error.sqlstate in RETRIED:
            raise
        raise _failed(job.file, statement, error, code=job.failure) from error


def require_reading(file: SqlFile) -> None:
    """Raise ConfigError where a verify script does more than read."""
    for statement in file.statements:
        if statement.kind != "select_stmt":
            raise ConfigError(
                "a verify script only reads; this is no SELECT",
                place=Place(str(file.path), statement.line),
                next_step="write a SELECT that returns true, or rows, or none after "
                "-- expect: none",
            )


def run_verify_script(file: SqlFile, connection: Session) -> int:
    """Run a verify script; StepFailed with file and line where it does not hold."""
    for statement in file.statements:
        try:
            rows = connection.execute(statement.sql.encode()).fetchall()
        except psycopg.Error as error:
            if error.sqlstate in RETRIED:
                raise
            raise _failed(file, statement, error) from error
        problem = _wrong(rows, statement.expects)
        if problem:
            raise StepFailed(
                problem,
                place=Place(str(file.path), statement.line),
                state="the verification does not hold",
                next_step="run the statement by hand; mend the migration or the script",
            )
    return len(file.statements)


def _wrong(rows: list[tuple[object, ...]], expects: int | None) -> str:
    """Say what is wrong with a verify statement's rows; empty where nothing is."""
    if expects is not None:
        wanted = "none was" if expects == 0 else f"{expects} were"
        return f"{len(rows)} rows where {wanted} expected" if len(rows) != expects else ""
    if not rows:
        return "no row where at least one was expected"
    for number, row in enumerate(rows, start=1):
        if any(value is False or value is None for value in row):
            return f"row {number} is {row}; expected true"
    return ""


def render_file(job: FileJob, terms: Terms) -> str:
    """Return the SQL as it would be sent, bookkeeping included."""
    own = terms_of(job.file, terms).lock
    begin = f"BEGIN;\n{limits(own.timeout[0], own)}\n{job.modes()}{job.path()}"
    record = job.history.rendered(job.migration, job.direction)
    if job.file.transactional:
        body = [_with_semicolon(statement.sql) for statement in job.file.statements]
        return "\n\n".join([begin, *body, f"{record}\nCOMMIT;"])
    parts = [
        _rendered_alone(job, begin, number, own)
        for number in range(1, len(job.file.statements) + 1)
    ]
    return "\n\n".join([*parts, f"{begin}\n\n{record}\nCOMMIT;"])


def _rendered_alone(job: FileJob, begin: str, number: int, lock: LockConfig) -> str:
    """Return what is sent for one statement of a file that is no transaction."""
    statement = job.file.statements[number - 1]
    note = functools.partial(partial.rendered_note, job.migration.name, job.direction, job.file)
    if statement.backfill is not None:
        by = statement.backfill.key or "the primary key"
        body = f"-- in batches by ranges of {by}, each with its record:\n"
        return f"{begin}\n\n{body}{_with_semicolon(statement.sql)}\nCOMMIT;"
    if statement.transactional:
        return f"{begin}\n\n{_with_semicolon(statement.sql)}\n\n{note(number)}\nCOMMIT;"
    rung = int(lock.timeout[0].seconds * 1000)
    waits = "" if statement.concurrent else f"set lock_timeout = {rung};\n"
    before = f"{job.session()}\n{note(number - 1, begun=number)}\n{waits}"
    return f"{before}\n{_with_semicolon(statement.sql)}\n\n{note(number)}"


def _with_semicolon(text: str) -> str:
    """Return a statement with its semicolon, which must not end up in a comment."""
    return f"{text}\n;" if "--" in text.rsplit("\n", 1)[-1] else f"{text};"


def _failed(
    file: SqlFile, statement: Statement, error: psycopg.Error, *, left: str = "", code: str = ""
) -> StepFailed:
    position = error.diag.statement_position  # 1-based, in characters of the statement
    line = statement.line + statement.sql[: int(position or 1) - 1].count("\n")
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    message = error.diag.message_primary or str(error)
    before = f"{code}: " if code else ""
    if file.transactional:
        state = "its transaction was rolled back: nothing of this migration is left"
    else:
        state = "the statements before it stay done and are recorded; this one is not"
    next_step = "mend the file, or what it found, and start again"
    if error.sqlstate == psycopg.errors.QueryCanceled.sqlstate:
        next_step = "-- windlass: statement_timeout=2h in the head of the file gives it longer"
    return StepFailed(
        f"{before}{redact_to(message + hint, LONGEST)} [{error.sqlstate or 'no SQLSTATE'}]",
        place=Place(str(file.path), line),
        state=f"{left}; {state}" if left else state,
        next_step=next_step,
    )
