"""The unit that a restore is: announced before it acts, and found again by what was recorded.

Two markers tell what a killed run left. In the live database: a new database is being filled. In
the restored one, before it takes the live one's place: that it does. There it is read only when
it has, because both names change in one transaction.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import psycopg
from psycopg import sql

from ..backup import databases, names
from ..database import create, markers
from ..database.connection import Database, read_target
from ..database.errors import asking
from ..errors import StepFailed, WindlassError, changed
from ..model import Facts
from ..plan.leftovers import FILLING, LOADED, filling_comment
from ..plan.standing import unchanged
from . import outlast, sweep
from .facts import take_facts
from .work import Work

T = TypeVar("T")
COMMENT = "comment on database {} is {}"


@dataclass
class Filling:
    """A new database, while a backup is loaded into it."""

    work: Work
    database: Database
    key: str  # of the marker; empty: it could not be announced

    def keep(self) -> None:
        """Record that it is whole: nobody takes it for what a killed run left."""
        if self.key:
            _comment(self.work, self.database.name, None)
        self.forget()

    def keep_for_a_swap(self, backup: str) -> None:
        """Record that it is whole, and that its swap failed: the restore's next run drops it."""
        if self.key:
            name, environment = self.database.name, self.work.settings.name
            detail = {
                "database": name,
                "live": str(create.oids(self.work.database, (self.work.database.name,))[0]),
                "backup": backup,
                "again": f"invoke restore --env {environment} --swap {name}",
            }
            markers.announce(self.work.database, LOADED, detail)
        self.keep()

    def forget(self) -> None:
        """Clear the marker."""
        if self.key:
            markers.clear(self.work.database, self.key)


@contextmanager
def filled(work: Work, name: str, *, backup: str, given: bool) -> Iterator[Filling]:
    """Create a database for a backup inside the block; it is dropped where the block fails.

    `given`: its name is a person's, so that one of this name may be somebody else's. Ours is then
    made under a name that nobody else gives, and gets its own when it says whose it is.

    Raises:
        Refused: there is one of this name already.

    """
    made = names.new_name(work.database.name, "restored", datetime.now(UTC)) if given else name
    with _announced(work, name, made, backup=backup, given=given) as key:
        try:
            sweep.sweep_unlocked(work)
            create.require_absent(work.database, name)
            create.create_database(work.database, made)
        except WindlassError as error:
            if key and not outlast.passing(error):  # else it may be there: the marker tells of it
                markers.clear(work.database, key)
            raise
        filling = Filling(work, create.named(work.database, name), key)
        oid = 0
        try:
            oid = create.oids(work.database, (made,))[0]
            if key:
                _comment(work, made, filling_comment(key))
            if made != name:
                create.rename(work.database, made, name)
            yield filling
        except BaseException as error:
            told = _dropped(work, filling, name, made, oid)
            if isinstance(error, WindlassError):
                raise changed(error, state=told) from error
            raise


def _dropped(work: Work, filling: Filling, name: str, made: str, oid: int) -> str:
    """Drop what was created just now, and is of no use; return what became of it."""
    now = made
    try:
        if oid and create.oids(work.database, (name,))[0] == oid:
            now = name
        create.drop(work.database, now)
        filling.forget()
    except (WindlassError, psycopg.Error):
        return f"the database {now} may still be there, half restored: the next restore drops it"
    return f"nothing was restored; the database {name}, made for it, is dropped again"


@contextmanager
def _announced(work: Work, name: str, made: str, *, backup: str, given: bool) -> Iterator[str]:
    """Announce it, and hold what tells that its run lives; a restore goes on without either."""
    live = create.oids(work.database, (work.database.name,))[0]
    detail = {
        "database": name,
        "made": made,
        "live": str(live),
        "backup": backup,
        "given": "yes" if given else "",
    }
    with ExitStack() as stack:
        try:
            key = stack.enter_context(markers.announced(work.database, FILLING, detail))
        except markers.NotAnnounced as error:
            work.reporter.note(f"{name} is not announced ({error}): if this run is killed, drop it")
            key = ""
        yield key


def _comment(work: Work, name: str, text: str | None) -> None:
    statement = sql.SQL(COMMENT).format(sql.Identifier(name), sql.Literal(text))
    with asking(f"the database {name} is there"), work.database.session("restore") as connection:
        connection.execute(statement)


def loaded_elsewhere(work: Work, target: Database, load: Callable[[], T]) -> T:
    """Load a backup into an empty database of another server, through outages of that.

    It is tried again where the failed load left nothing in it: what is there otherwise is a part
    of the backup, which nobody but a person drops.
    """
    target.read("restore", read_target)  # it answers: what happens to it from now on may pass
    patience, own = target.patience, work.database.patience
    patience.wait, patience.note, patience.armed = own.wait, own.note, True
    outage = patience.outage()
    while True:
        try:
            return load()
        except (StepFailed, psycopg.Error) as error:
            why = outlast.passing(error)
            if not why or not _is_empty(target) or not outage.goes_on(why):
                raise


def _is_empty(target: Database) -> bool:
    try:
        return databases.is_empty(target)
    except (WindlassError, psycopg.Error):
        return False


@contextmanager
def live_told(work: Work) -> Iterator[None]:
    """Let a failure in the block say whether the live database is as it was before, as read."""
    before = _live(work)
    try:
        yield
    except StepFailed as error:
        told = unchanged(before, _live(work) if before is not None else None, work.database.name)
        raise changed(error, state="; ".join(text for text in (error.state, told) if text)) from (
            error
        )


def _live(work: Work) -> Facts | None:
    """Return what the live database is; None: it does not answer, or says nothing to us."""
    try:
        return take_facts(work.database, work.engine.history)
    except (WindlassError, psycopg.Error):
        return None
