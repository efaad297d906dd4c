"""The journal of the live database, kept when a restored one takes its place.

A backup knows what had happened when it was taken, and nothing since: what was deployed after it,
and how the deployment ended whose own backup it is, the live database alone knows.
"""

import json
from dataclasses import dataclass

import msgspec
import psycopg

from ..database import markers, own_tables, trusted
from ..database.connection import Database
from ..database.errors import one_value
from ..database.retry import Terms
from ..model import Correction
from ..plan import chain
from ..plan.leftovers import SWAP
from . import carryover, events, journal
from .carryover import Carried

DEPLOYMENTS = """
    select pg_catalog.to_jsonb(d)::text from windlass.deployment d order by d.started_at, d.id
"""
STEPS = "select pg_catalog.to_jsonb(s)::text from windlass.step s"
CORRECTIONS = "select at, record::text from windlass.correction order by id"
APPROVALS = "select nonce, deployment_id, approver, at from windlass.approval"

# A deployment that the backup knows has the end that the live database knows.
KEEP_DEPLOYMENT = """
    insert into windlass.deployment
    select r.* from pg_catalog.jsonb_populate_record(null::windlass.deployment, %s::jsonb) r
    on conflict (id) do update set finished_at = excluded.finished_at,
        status = excluded.status, record = excluded.record
"""
KEEP_STEP = """
    insert into windlass.step
    select r.* from pg_catalog.jsonb_populate_record(null::windlass.step, %s::jsonb) r
    on conflict (deployment_id, ordinal) do update set result = excluded.result
"""
KEEP_CORRECTION = """
    insert into windlass.correction (at, record)
    select %(at)s, %(record)s::jsonb where not exists (
        select from windlass.correction c where c.at = %(at)s and c.record = %(record)s::jsonb)
"""
KEEP_APPROVAL = """
    insert into windlass.approval (nonce, deployment_id, approver, at) values (%s, %s, %s, %s)
    on conflict (nonce) do nothing
"""
# Nobody knows how it ended: it ran when the backup was taken, and the live journal lacks it.
RAN_DURING_BACKUP = """
    select id, record::text, pg_catalog.now() from windlass.deployment
    where status = 'running' and not id = any (%s)
"""
CHAINED = "select exists (select from windlass.event)"
END = """
    update windlass.deployment
    set finished_at = %s, status = 'interrupted', record = %s::jsonb where id = %s
"""


# What an attempt recorded that did not come true, and markers of when the backup was taken.
FORGET_ATTEMPT = """
    delete from windlass.correction where record ->> 'verb' = 'restore'
        and pg_catalog.starts_with(record ->> 'reason', %s)
"""
FORGET_EVENTS = """
    delete from windlass.event where id > (
        select (record ->> 'after')::bigint from windlass.event where kind = 'restored'
        order by id desc limit 1)
"""
FORGET_MARKERS = "delete from windlass.marker"


class _Row(msgspec.Struct):
    """A row of a deployment, as far as it is read here."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJournal:
    """What the live database has recorded; rows as the tables have them."""

    deployments: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    corrections: tuple[tuple[object, ...], ...] = ()
    approvals: tuple[tuple[object, ...], ...] = ()


def read(database: Database) -> KeptJournal:
    """Return the journal of the live database; under the deployment lock, when nothing runs.

    Its tables are brought to the newest version first: both journals have the same columns.
    """
    own_tables.prepare(database, Terms())

    def rows(connection: psycopg.Connection) -> KeptJournal:
        trusted.exists(connection, *own_tables.NAMES)
        return KeptJournal(
            deployments=tuple(text for (text,) in connection.execute(DEPLOYMENTS).fetchall()),
            steps=tuple(text for (text,) in connection.execute(STEPS).fetchall()),
            corrections=tuple(connection.execute(CORRECTIONS).fetchall()),
            approvals=tuple(connection.execute(APPROVALS).fetchall()),
        )

    return database.read("journal", rows)


def record_restore(
    database: Database,
    correction: Correction,
    *,
    kept: KeptJournal,
    unit: dict[str, str],
    carried: Carried,
) -> str:
    """Record in a restored database, in one transaction, that it takes the live one's place.

    Returns the marker of that swap, with what `unit` says of it. An attempt that did not come
    true leaves nothing here. `carried` are the events that the backup does not know.
    """
    own_tables.prepare(database, Terms())
    with database.connect("journal") as connection, events.transaction(connection):
        connection.execute(FORGET_MARKERS)
        if connection.execute(FORGET_ATTEMPT, (f"swapped for {unit['restored']},",)).rowcount:
            connection.execute(FORGET_EVENTS)
        carryover.carry_on(connection, carried, why=correction.after)
        _write(connection, kept)
        journal.record_correction(connection, correction)
        return markers.insert(connection, SWAP, database.deployment_id, unit)


def _write(connection: psycopg.Connection, kept: KeptJournal) -> None:
    for deployment in kept.deployments:
        connection.execute(KEEP_DEPLOYMENT, (deployment,))
    for step in kept.steps:
        connection.execute(KEEP_STEP, (step,))
    for at, record in kept.corrections:
        connection.execute(KEEP_CORRECTION, {"at": at, "record": record})
    for approval in kept.approvals:
        connection.execute(KEEP_APPROVAL, approval)
    known = [msgspec.json.decode(text, type=_Row).id for text in kept.deployments]
    # Where no chain has begun, its first event tells of these rows as they are then.
    chained = bool(one_value(connection, CHAINED))
    for name, text, now in connection.execute(RAN_DURING_BACKUP, (known,)).fetchall():
        record = json.loads(text) | {
            "error": "was running when the backup was taken",
            "status": "interrupted",
            "finished_at": now.isoformat(),
        }
        if chained:
            events.append(connection, chain.DEPLOYMENT_ENDED, name, {"deployment": record})
        connection.execute(END, (now, json.dumps(record), name))
    journal.close_abandoned(connection, "")  # who ran here is dead: we hold the lock
    # What was not done is gone with what it was done to: nobody goes on with it.
    connection.execute(journal.END_OTHERS.encode(), ("restore", ""))
