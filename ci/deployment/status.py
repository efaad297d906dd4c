"""What an environment is, and what was deployed to it: documents, read in one moment each."""

from dataclasses import dataclass

import psycopg

from ..backfill import record as backfills
from ..backfill.progress import BackfillState
from ..database import errors, lock
from ..database.connection import Database
from ..engines import Engine
from ..model import Correction, DatabaseIdentity, Deployment, Migration, Pause, Unrecorded
from ..plan import continuing
from ..plan.leftovers import Leftover
from ..plan.pending import in_running_order
from ..plan.states import MigrationState, compare, waiting
from ..rehearsal import existing
from ..report.deployment import last_note
from . import identity, journal, pause, sweep, units
from .backups import drill_warning
from .work import Work

# One snapshot for all that is read. It is allowed here: no query has run in the transaction.
ONE_MOMENT = "set transaction isolation level repeatable read"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The state of an environment. An empty text says that there is nothing to say."""

    environment: str
    migrations: tuple[MigrationState, ...]  # in the order they run
    lock: str  # who holds the deployment lock
    note: str  # what the last deployment left, where it did not end as it should
    drill: str  # a warning where the last restore drill is too long ago
    unrecorded: tuple[Unrecorded, ...]  # pending, and some of what they create exists
    models: str  # how the models of the engine's tool differ from the database
    identity: str = ""  # how the database is not the environment's
    pause: str = ""  # who paused the environment, since when and why
    leftovers: tuple[Leftover, ...] = ()  # what killed runs left, and what ends it
    # What could not be looked for, and why: the role lacks a right, or the store does not answer.
    not_looked: str = ""
    backfills: tuple[BackfillState, ...] = ()  # that are open


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReport:
    """The newest deployments and corrections by hand, newest first."""

    deployments: tuple[Deployment, ...]
    corrections: tuple[Correction, ...]
    identity: DatabaseIdentity | None = None  # what the database says it is
    backfills: tuple[BackfillState, ...] = ()  # the one that changed last at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What the database holds in one snapshot."""

    migrations: tuple[MigrationState, ...]
    lock: str
    newest: tuple[Deployment, ...]
    unfinished: str  # what a run left that is not done, and how to go on
    unrecorded: tuple[Unrecorded, ...]  # not compared yet
    identity: DatabaseIdentity | None
    pause: Pause | None
    backfills: tuple[BackfillState, ...]
    left: sweep.Left
    not_looked: str


def report_status(work: Work) -> StatusReport:
    """Return the state of the environment. Reads only.

    What the database holds is read in one read-only transaction of one snapshot. The store is
    asked for the last drill after it; so is the engine's tool for its models, which has a
    connection of its own. A throwaway server is started only where something exists that a
    pending migration would create.

    Raises:
        Unreachable: the database does not answer, or does not let us in.
        LockTimeout: a table whose definition is read stayed locked.
        ConfigError: a migration file cannot be read.

    """
    database, engine = work.database, work.engine
    on_disk = engine.files.list()
    moment = database.read("status", lambda connection: _read_moment(connection, engine, on_disk))
    shared = work.settings.shared
    return StatusReport(
        environment=work.settings.name,
        migrations=moment.migrations,
        lock=moment.lock,
        note=moment.unfinished
        if moment.unfinished and not moment.lock
        else last_note(moment.newest, moment.lock),
        drill=drill_warning(work),
        unrecorded=existing.compare_untracked(moment.unrecorded, database, engine, shared.backups),
        models=engine.differences(database),
        identity=identity.warning(moment.identity, work),
        pause=f"{work.settings.name} is {moment.pause}" if moment.pause is not None else "",
        leftovers=sweep.told_of(work, moment.left),
        not_looked=moment.not_looked,
        backfills=tuple(state for state in moment.backfills if state.is_open),
    )


def _left(connection: psycopg.Connection) -> tuple[sweep.Left, str]:
    """Return what killed runs left, or why a role that may not look does not know it."""
    try:
        with connection.transaction():
            return sweep.read_left(connection), ""
    except psycopg.errors.InsufficientPrivilege as error:
        return sweep.Left(), f"what killed runs left is not known: {errors.in_words(error)}"


def _read_moment(
    connection: psycopg.Connection, engine: Engine, on_disk: tuple[Migration, ...]
) -> _Moment:
    connection.execute(ONE_MOMENT)
    history, unit = engine.history, units.read_open(connection)
    applied, partials = history.rows(connection), history.partials(connection)
    states = compare(on_disk, applied, partials, history.failed(connection))
    names = {row.name for row in applied} | {partial.name for partial in partials}
    left, not_looked = _left(connection)
    return _Moment(
        migrations=states,
        left=left,
        not_looked=not_looked,
        lock=lock.who(connection),
        newest=journal.read_history(connection, limit=1),
        unfinished=continuing.unfinished(unit, names, partials) if unit is not None else "",
        identity=identity.read(connection),
        pause=pause.read(connection),
        backfills=backfills.read_all(connection),
        unrecorded=existing.read_untracked(  # the last one: it sets the search_path
            connection, engine, in_running_order(waiting(on_disk, states))
        ),
    )


def report_history(database: Database) -> HistoryReport:
    """Return what was deployed, and what was corrected by hand. Reads only.

    Raises:
        Unreachable: the database does not answer, or does not let us in.

    """

    def read(connection: psycopg.Connection) -> HistoryReport:
        connection.execute(ONE_MOMENT)
        return HistoryReport(
            deployments=journal.read_history(connection),
            corrections=journal.read_corrections(connection),
            identity=identity.read(connection),
            backfills=backfills.read_all(connection),
        )

    return database.read("history", read)
