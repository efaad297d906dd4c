"""The events in the store beside the backups: a database that is lost leaves its story.

Objects are written once and never again (`If-None-Match`, a link), and signed where the
environment signs. A store that does not take one is an alarm, and fails no deployment.
"""

from dataclasses import dataclass

import msgspec
import psycopg

from ..backup.stream import whole
from ..errors import UNCHANGED, StoreFailed, Untrusted, WindlassError
from ..model import Event, StoredEvents
from ..plan import chain
from ..stores import Store
from . import events
from .work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What the store has of an environment's events; `problems`: objects that are not to be used.

    `fork`: where two objects disagree.
    """

    events: tuple[Event, ...]
    problems: tuple[str, ...]
    fork: chain.Break | None = None


def send(work: Work) -> None:
    """Bring the mirror up to date. Failures are alarms."""
    if work.store is None:
        return
    try:
        _send(work, work.store)
    except (WindlassError, psycopg.Error) as error:
        what = error.what if isinstance(error, WindlassError) else str(error)
        work.reporter.alarm(f"the journal is not mirrored in the store: {what}")


def newest(work: Work) -> chain.Range | None:
    """Return what the newest object of the mirror has, by its name; None: there is none.

    Raises:
        StoreFailed: the store does not answer.

    """
    if work.store is None:
        return None
    ranges = chain.ranges_of(work.store.keys(chain.folder(work.settings.name)))
    return ranges[-1] if ranges else None


def _send(work: Work, store: Store) -> None:
    environment = work.settings.name
    ranges = chain.ranges_of(store.keys(chain.folder(environment)))
    newest = ranges[-1].last if ranges else 0
    ours = work.database.read("mirror", lambda c: events.read_events(c, after=newest - 1))
    if _ahead(ours, ranges):  # the database went back, or was written anew
        ours = work.database.read("mirror", events.read_events)
        work.reporter.alarm(
            f"the store's copy of the journal has events that the database {work.database.name} "
            f"has not: invoke history --env {environment} --verify says which"
        )
    pending = chain.missing(ours, ranges)
    if not pending:
        return
    document = StoredEvents(database=work.database.name, events=pending)
    key = chain.key_of(environment, pending)
    try:
        store.write(key, [document.canonical()], once=True)
    except StoreFailed:
        if key not in set(store.keys(key)):  # another run was faster, with the same events
            raise


def _ahead(ours: tuple[Event, ...], ranges: tuple[chain.Range, ...]) -> bool:
    """Tell whether the newest mirrored event is not one of the database's."""
    hashes = {event.number: event.hash[:16] for event in ours}
    return bool(ranges) and hashes.get(ranges[-1].last) != ranges[-1].hash


def read(work: Work) -> Mirrored:
    """Return the events that the store has, by number.

    Raises:
        StoreFailed: the store does not answer, or deploy.yml names none.

    """
    store, environment = work.store, work.settings.name
    if store is None:
        raise StoreFailed(
            "deploy.yml has no backups section, so there is no mirror of the journal",
            state=UNCHANGED,
            next_step="write backups: {to: s3://BUCKET/PREFIX}",
        )
    parts: list[tuple[Event, ...]] = []
    problems: list[str] = []
    for range_ in chain.ranges_of(store.keys(chain.folder(environment))):
        try:
            stored = msgspec.json.decode(whole(store, range_.key), type=StoredEvents)
        except Untrusted as error:
            problems.append(error.what)
        except (msgspec.DecodeError, UnicodeDecodeError):
            problems.append(f"{store.address(range_.key)} holds no events")
        else:
            parts.append(stored.events)
    joined, fork = chain.joined(parts)
    return Mirrored(events=joined, problems=tuple(problems), fork=fork)
