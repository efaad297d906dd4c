"""A transaction of ours through an outage: what was cut off is read before it is sent again."""

from collections.abc import Callable

import msgspec
import psycopg

from ..database import own_tables, trusted
from ..database.connection import Database
from ..errors import StepFailed
from ..model import Correction
from . import journal, outlast
from .work import Work

RECORDS = "select record::text from windlass.correction order by id desc limit %s"
NEWEST = 1000  # corrections that are looked through for one that was made a moment ago


def record(
    work: Work,
    corrections: tuple[Correction, ...],
    change: Callable[[psycopg.Connection], None],
    *,
    require: Callable[[], None],
) -> None:
    """Change something and record it in one transaction, both or neither, once.

    Where its COMMIT was cut off, the record says whether it is done.

    Args:
        work: the environment; the caller holds its lock.
        corrections: the records of the change.
        change: makes it, in the transaction.
        require: raises where the deployment lock is lost and others ran meanwhile.

    Raises:
        StepFailed: the server did not do it, or does not say whether it did.

    """
    outage = work.database.patience.outage()
    while True:
        try:
            own_tables.prepare(work.database, work.terms())
            with work.database.connect("history") as connection, connection.transaction():
                require()
                change(connection)
                for correction in corrections:
                    journal.record_correction(connection, correction)
        except (StepFailed, psycopg.Error) as error:
            why = outlast.passing(error)
            if not why:
                raise
            if not outage.goes_on(why):
                raise _not_known(work, why) from error
        else:
            return
        if is_recorded(work.database, corrections):
            return


def is_recorded(database: Database, corrections: tuple[Correction, ...]) -> bool:
    """Tell whether these corrections, made a moment ago, are in the journal. Reads only."""

    def read(connection: psycopg.Connection) -> tuple[Correction, ...]:
        if not trusted.exists(connection, "correction"):
            return ()
        rows = connection.execute(RECORDS, (NEWEST,)).fetchall()
        return tuple(msgspec.json.decode(record, type=Correction) for (record,) in rows)

    # By the time of our own clock, which is in the record: it tells one from every other.
    known = database.read("history", read)
    marks = {(record.at, record.migration, record.plan_digest) for record in known}
    return all((made.at, made.migration, made.plan_digest) in marks for made in corrections)


def _not_known(work: Work, why: str) -> StepFailed:
    name, patience = work.settings.name, work.database.patience
    return StepFailed(
        f"{why}, also after {patience.wait}",
        state="not known: the database does not say whether the change was committed; it is made "
        "and recorded in one transaction, both or neither",
        next_step=f"when it answers: invoke history --env {name} shows the correction, or the same "
        "command makes it",
    )
