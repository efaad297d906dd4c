"""What the chain of events says: verified, and read from the store where the database is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from ..errors import StepFailed, Unreachable, changed
from ..model import Event
from ..plan import chain
from . import events, mirror
from .status import ONE_MOMENT
from .work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What came of recomputing the chain. `broken` is empty where nothing speaks against it."""

    environment: str
    events: int
    broken: str
    number: int  # of the event where it breaks; 0: of none
    mirrored: int  # events in the store
    notes: tuple[str, ...]  # what could not be compared, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """The events as the store has them. `broken`: where they are no chain; empty: they are one."""

    environment: str
    events: tuple[Event, ...]
    broken: str
    notes: tuple[str, ...]  # objects that are not used, and why


def verify_chain(work: Work) -> ChainReport:
    """Recompute the chain, and compare it with the journal's rows and the store's copy. Reads only.

    Raises:
        Unreachable: the database does not answer, or does not let us in.
        Refused: one of our tables is not to be believed.

    """

    def read(connection: psycopg.Connection) -> tuple[tuple[Event, ...], chain.Rows]:
        connection.execute(ONE_MOMENT)
        return events.read_events(connection), events.read_rows(connection)

    stored, notes = _stored(work)  # first: what is appended meanwhile is in no mirror yet
    ours, rows = work.database.read("history", read)
    broken = (
        chain.first_break(ours)
        or stored.fork
        or chain.mirror_break(ours, stored.events)
        or chain.journal_break(ours, rows)
    )
    return ChainReport(
        environment=work.settings.name,
        events=len(ours),
        broken=broken.what if broken is not None else "",
        number=broken.number if broken is not None else 0,
        mirrored=len(stored.events),
        notes=notes,
    )


def _stored(work: Work) -> tuple[mirror.Mirrored, tuple[str, ...]]:
    """Return what the store has, and why it is not compared, where it is not."""
    try:
        stored = mirror.read(work)
    except StepFailed as error:
        nothing = mirror.Mirrored(events=(), problems=())
        return nothing, (f"not compared with a copy in the store: {error.what}",)
    return stored, stored.problems


def report_stored(work: Work) -> StoredReport:
    """Return the story of an environment as the store has it. Asks no database.

    Raises:
        StoreFailed: deploy.yml names no store, or it does not answer.

    """
    stored = mirror.read(work)
    broken = stored.fork or chain.first_break(stored.events)
    return StoredReport(
        environment=work.settings.name,
        events=stored.events,
        broken=broken.what if broken is not None else "",
        notes=stored.problems,
    )


@contextmanager
def pointing_at_the_store(work: Work) -> Iterator[None]:
    """Name the store's copy in the error of a database that does not answer."""
    try:
        yield
    except Unreachable as error:
        if work.store is None:
            raise
        command = f"invoke history --env {work.settings.name} --from-store"
        raise changed(
            error, next_step=f"{error.next_step}; what the store has: {command}"
        ) from error
