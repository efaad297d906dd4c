"""What a database says it is: written at the first deployment above development, then asked."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg

from ..database import own_tables, trusted
from ..database.connection import Database
from ..database.retry import Terms
from ..model import Correction, DatabaseIdentity, Origin
from ..origin import find_origin
from ..plan import identity as rules
from . import carryover, journal, kept_journal
from .kept_journal import KeptJournal
from .work import Work

READ = "select project, environment, tier from windlass.identity"
WRITE = """
    insert into windlass.identity (project, environment, tier, written_by, deployment_id)
    values (%s, %s, %s, %s, %s)
    on conflict (only_one) do update set project = excluded.project,
        environment = excluded.environment, tier = excluded.tier, at = pg_catalog.now(),
        written_by = excluded.written_by, deployment_id = excluded.deployment_id
"""
CLEAR = "delete from windlass.identity"
COPY = "a copy, of no environment"
STEP = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityReport:
    """What the database says, what the environment is, and how they differ ("": they do not)."""

    known: DatabaseIdentity | None
    asked: DatabaseIdentity
    difference: str


def asked_of(work: Work) -> DatabaseIdentity:
    """Return what deploy.yml says that the database is."""
    settings = work.settings
    return DatabaseIdentity(
        project=settings.shared.project, environment=settings.name, tier=settings.tier
    )


def read(connection: psycopg.Connection) -> DatabaseIdentity | None:
    """Return what the database says it is; None where nothing is recorded.

    Raises:
        Refused: the table is not to be believed.

    """
    if not trusted.exists(connection, "identity"):
        return None
    row = connection.execute(READ).fetchone()
    return DatabaseIdentity(project=row[0], environment=row[1], tier=row[2]) if row else None


def report(work: Work) -> IdentityReport:
    """Return what the database says it is, and what it is taken for. Reads only."""
    known, asked = work.database.read(STEP, read), asked_of(work)
    return IdentityReport(known=known, asked=asked, difference=rules.difference(known, asked))


def warning(known: DatabaseIdentity | None, work: Work) -> str:
    """Return what a verb that only reads says; empty where the database is the environment's."""
    why = rules.difference(known, asked_of(work))
    return f"this is another database: {why}; nothing is changed in it from here" if why else ""


def require(work: Work) -> None:
    """Do nothing where the database is the environment's, or says nothing. Reads only.

    Raises:
        Refused: it is another project's, another environment's, or of a stricter tier.

    """
    rules.require_same(work.database.read(STEP, read), asked_of(work), work.database.name)


def record(work: Work, origin: Origin) -> None:
    """Record what the database is, above development; under the lock, with the tables prepared."""
    with work.database.session(STEP) as connection, connection.transaction():
        known = read(connection)
        rules.require_same(known, asked_of(work), work.database.name)
        wanted = rules.recorded(known, asked_of(work))
        if wanted is not None:
            write(connection, wanted, origin, work.deployment_id)


def require_own_or_none(work: Work, database: Database) -> None:
    """Raise Refused where a database that shall take the live one's place is another one's."""
    known = replace(database, owners=None, kept=None).read(STEP, read)
    rules.require_same(known, asked_of(work), database.name)


def record_swap(
    work: Work,
    restored: Database,
    correction: Correction,
    *,
    kept: KeptJournal,
    unit: dict[str, str],
) -> str:
    """Record in a restored database that it takes the live one's place, and what it is.

    `kept` is the live one's journal. `unit` tells of this swap: the marker with it is returned,
    and cleared when the swap is done.
    """
    # Its tables belong to who owned them when the backup was taken.
    database = replace(restored, owners=None, kept=None)
    carried = carryover.collect(work)
    marker = kept_journal.record_restore(
        database, correction, kept=kept, unit=unit, carried=carried
    )
    with database.connect(STEP) as connection, connection.transaction():
        wanted = rules.recorded(None, asked_of(work))
        write(connection, wanted, correction.origin, work.deployment_id)
    return marker


def clear_copy(work: Work, restored: Database, *, backup: str) -> None:
    """Take away what a restored copy says it is: it is no environment's database, and says so."""
    database = replace(restored, owners=None, kept=None)
    known = database.read(STEP, read)
    if known is None:
        return
    own_tables.prepare(database, Terms())
    origin = find_origin(work.settings.root)
    correction = Correction(
        verb="restore",
        migration="database",
        before=words(known),
        after=COPY,
        reason=f"restored from {backup} beside the live database",
        origin=origin,
        at=datetime.now(UTC),
    )
    with database.connect(STEP) as connection, connection.transaction():
        write(connection, None, origin, work.deployment_id)
        journal.record_correction(connection, correction)


def write(
    connection: psycopg.Connection, wanted: DatabaseIdentity | None, origin: Origin, deployment: str
) -> None:
    """Write what the database is, in a transaction of the caller's; None: it says nothing more."""
    if wanted is None:
        connection.execute(CLEAR)
        return
    who = f"{origin.deployer}@{origin.host}"
    values = (wanted.project, wanted.environment, wanted.tier, who, deployment)
    connection.execute(WRITE, values)


def words(identity: DatabaseIdentity | None) -> str:
    """Return what a database says it is, for people."""
    return str(identity) if identity is not None else "nothing"
