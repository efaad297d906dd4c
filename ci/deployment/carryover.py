"""The chain of events in a database that went back: the later events are carried over into it.

A restore takes them from the live database it replaces (`kept_journal` takes the journal's rows).
Where that cannot be read, and where a database went back without us, the store's mirror has them.
A `restored` event links both: the events between the backup's last one and it were carried over.
"""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from ..errors import StepFailed, WindlassError
from ..model import Event
from ..plan import chain
from . import events, mirror
from .work import Work

LIVE, STORE = "the live database", "the store"
END_DEPLOYMENT = """
    update windlass.deployment set finished_at = %s::timestamptz, status = %s, record = %s::jsonb
    where id = %s
"""
END_STEP = "update windlass.step set result = %s::jsonb where deployment_id = %s and ordinal = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a database that went back does not know any more."""

    source: str  # where it was read; empty: nowhere
    events: tuple[Event, ...] = ()  # the whole chain, or all that the store has of it


def collect(work: Work) -> Carried:
    """Return the events of the live database.

    Where it cannot be read, the store's copy of the events; that neither can be is an alarm.
    """
    try:
        live = Carried(source=LIVE, events=work.database.read("restore", events.read_events))
    except (WindlassError, psycopg.Error) as error:
        why = error.what if isinstance(error, WindlassError) else str(error)
        work.reporter.alarm(f"the journal of the live database cannot be read: {why}")
        return _stored(work)
    return live if live.events else _stored(work)


def _stored(work: Work) -> Carried:
    """Return what the store has; as far as it is a chain."""
    if work.store is None:
        return Carried(source="")
    try:
        stored = mirror.read(work)
    except StepFailed as error:
        work.reporter.alarm(f"the journal's copy in the store cannot be read: {error.what}")
        return Carried(source="")
    broken = stored.fork or chain.first_break(stored.events)
    if broken is not None:
        work.reporter.alarm(f"the journal's copy in the store is used up to there: {broken.what}")
    end = broken.number if broken is not None else len(stored.events) + 1
    return Carried(source=STORE, events=tuple(e for e in stored.events if e.number < end))


def carry_on(connection: psycopg.Connection, carried: Carried, *, why: str) -> None:
    """Append what a database does not know any more, and a `restored` event, which says why.

    In a transaction of the caller's. Nothing is appended where there never was a chain, and none
    of another chain.
    """
    own = events.read_events(connection)
    after = own[-1].number if own else 0
    if not own and not carried.events:
        return
    hashes = {event.number: event.hash for event in carried.events}
    same = not own or hashes.get(after) == own[-1].hash
    new = tuple(event for event in carried.events if same and event.number > after)
    for event in new:
        events.insert(connection, event)
        _end(connection, event)
    record = {"after": after, "carried": len(new), "source": carried.source, "reason": why}
    events.append(connection, chain.RESTORED, "", record)


def _end(connection: psycopg.Connection, event: Event) -> None:
    """Let what the backup caught in its middle end as its event says, where its row is there."""
    if event.kind == chain.DEPLOYMENT_ENDED:
        ended = event.record["deployment"]
        values = (ended["finished_at"], ended["status"], chain.text_of(ended), event.deployment)
        connection.execute(END_DEPLOYMENT, values)
    if event.kind == chain.STEP_ENDED:
        result = chain.text_of(event.record["result"])
        connection.execute(END_STEP, (result, event.deployment, event.record["ordinal"]))


def from_store(work: Work, *, tell: Callable[[str], None]) -> None:
    """Carry events over from the store where the database went back without us.

    That is a point in time of the server's own backup, a snapshot, or a chain whose end was cut
    off. Under the deployment lock, before anything is appended.
    """
    if work.store is None:
        return
    try:
        newest = mirror.newest(work)
        known = work.database.read("restore", events.read_events) if newest is not None else ()
        if newest is None or any(event.hash.startswith(newest.hash) for event in known):
            return
        carried = _stored(work)
    except StepFailed as error:
        tell(f"the journal is not compared with its copy in the store: {error.what}")
        return
    after = known[-1] if known else None
    continues = after is None or any(event.hash == after.hash for event in carried.events)
    if not continues or not carried.events[after.number if after else 0 :]:
        return  # `mirror.send` tells of it
    tell(
        f"the journal ended with event {after.number if after else 0}, and the store has "
        f"{len(carried.events)}: the database went back; the later events are carried over"
    )
    with work.database.session("restore") as connection, events.transaction(connection):
        carry_on(connection, carried, why="the database went back, or its end was cut off")
