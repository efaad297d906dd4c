"""What happened, written before and after every step, in the target database.

Each record is committed at once: a killed run leaves a step without an end, which `status`
shows. The caller has brought the tables up to date before (`own_tables.prepare`).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import psycopg

from ..database import errors, trusted
from ..database.connection import Database
from ..errors import NotApproved, Refused, StepFailed
from ..model import (
    Correction,
    Deployment,
    Evidence,
    Intent,
    Outcome,
    Plan,
    Status,
    StepName,
    StepResult,
)
from ..plan import chain
from ..secret import redact
from . import events

CORRECT = """
    insert into windlass.correction (at, record) values (pg_catalog.clock_timestamp(), %s::jsonb)
"""
CORRECTIONS = "select record::text, at from windlass.correction order by id desc limit %s"
USE_APPROVAL = "insert into windlass.approval (nonce, deployment_id, approver) values (%s, %s, %s)"
USER_OF_APPROVAL = "select deployment_id from windlass.approval where nonce = %s"
USED_APPROVALS = "select nonce, deployment_id from windlass.approval"
SERVER_CLOCK = "select pg_catalog.clock_timestamp()"
OPEN = """
    insert into windlass.deployment (id, started_at, status, record, plan, intent, continues)
    values (%s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s)
    on conflict (id) do update set status = excluded.status
"""
CLOSE = """
    update windlass.deployment set finished_at = %s, status = %s, record = %s::jsonb where id = %s
"""
ABANDONED = """
    update windlass.deployment set finished_at = pg_catalog.now(), status = 'interrupted'
    where status = 'running' and id <> %s returning id
"""
# What a later run carries on, or has taken the place of, is open no more.
IS_OPEN = """
    d.intent is not null and coalesce(d.intent ->> 'ended', '') = ''
    and d.status in ('running', 'interrupted', 'failed', 'rollback failed')
    and not exists (select from windlass.deployment c where c.continues = d.id)
"""
END_OTHERS = f"""
    update windlass.deployment d
    set intent = pg_catalog.jsonb_set(d.intent, '{{ended}}', pg_catalog.to_jsonb(%s::text))
    where {IS_OPEN} and d.id <> %s
"""  # noqa: S608  # a constant of ours
BEGIN = """
    insert into windlass.step (deployment_id, ordinal, step, undo, started_at, evidence)
    values (%s, %s, %s, %s, %s, %s::jsonb)
    on conflict (deployment_id, ordinal) do update set step = excluded.step
"""
INTEND = "update windlass.deployment set intent = %s::jsonb where id = %s"
FINISH = "update windlass.step set result = %s::jsonb where deployment_id = %s and ordinal = %s"
# In the order in which the database took them: a runner's clock may be ahead, or behind. What is
# older than the chain of events is older than all that is in it.
BEGUN = """
    left join lateral (
        select e.id, e.at from windlass.event e
        where e.deployment_id = d.id and e.kind = 'deployment-begun' order by e.id limit 1
    ) as begun on true
"""
DEPLOYMENTS = f"""
    select d.record::text, d.status, d.finished_at, begun.at from windlass.deployment d {BEGUN}
    order by begun.id desc nulls last, d.started_at desc, d.id desc limit %s
"""  # noqa: S608  # a constant of ours
ONE = f"""
    select d.record::text, d.status, d.finished_at, begun.at, d.plan::text
    from windlass.deployment d {BEGUN} where d.id = %s
"""  # noqa: S608  # a constant of ours
# For tables of a version that has no events.
NO_EVENTS = "left join (select null::int as id, null::timestamptz as at) as begun on true"
STEPS = """
    select step, undo, started_at, evidence::text, result::text from windlass.step
    where deployment_id = %s order by ordinal
"""

BACKUPS = """
    select result::text from windlass.step where step = 'backup' and not undo
    and result is not null order by started_at desc limit 1000
"""


def recorded(plan: Plan) -> str:
    """Return what is kept of a plan: what decides, secrets taken out of the migrations' texts."""
    migrations = tuple(
        msgspec.structs.replace(
            migration,
            sql=redact(migration.sql),
            rollback=None if migration.rollback is None else redact(migration.rollback),
            verify=None if migration.verify is None else redact(migration.verify),
        )
        for migration in plan.migrations
    )
    return msgspec.structs.replace(plan.deciding(), migrations=migrations).canonical().decode()


class _NoRow(Exception):
    """The journal has no row where this run has written one."""


class Journal:
    """Appends the record of one deployment; opened when the deployment lock is held.

    The row and the intent are one insert: whoever finds the row knows what it was to come to.
    """

    def __init__(
        self, database: Database, deployment: Deployment, plan: Plan, intent: Intent
    ) -> None:
        self.database, self.id = database, deployment.id
        self.environment = deployment.environment
        self._ordinal = 0
        # Asked before something is written again: whether the lock is ours, and the record there.
        self.require: Callable[[], None] | None = None
        status, record = deployment.status.value, _json(deployment)
        row = (self.id, deployment.started_at, status, record, recorded(plan))
        values = (*row, _json(intent), deployment.continues or None)
        self._written(partial(self._open, values, _event(deployment)))

    def _open(self, row: tuple[object, ...], event: dict[str, Any]) -> None:
        """Write the first row; at once no other unit is open any more.

        Another one that is "running" cannot be: we hold the lock. What was left unfinished is
        carried on by this one, or has ended with it.
        """
        with self.database.session("journal") as connection, events.transaction(connection):
            events.append(connection, chain.DEPLOYMENT_BEGUN, self.id, event)
            connection.execute(OPEN, row)
            close_abandoned(connection, self.id)
            connection.execute(END_OTHERS.encode(), (self.id, self.id))

    def intend(self, intent: Intent) -> None:
        """Record that the deployment now intends something else: to go back."""
        event = {"intent": events.record_of(intent)}
        self._one(INTEND, (_json(intent), self.id), chain.DEPLOYMENT_INTENDS, event)

    @property
    def written(self) -> int:
        """How many steps the database has for certain."""
        return max(0, self._ordinal - 1)

    def begin(
        self, step: StepName, at: datetime, *, evidence: Evidence = (), undo: bool = False
    ) -> int:
        """Record that a step is about to run; return the number that `finish` takes."""
        self._ordinal += 1
        text = redact(msgspec.json.encode(evidence).decode())
        begun = {
            "ordinal": self._ordinal,
            "step": step.value,
            "undo": undo,
            "started_at": at.isoformat(),
            "evidence": evidence,
        }
        values = (self.id, self._ordinal, step.value, undo, at, text)
        self._one(BEGIN, values, chain.STEP_BEGUN, begun)
        return self._ordinal

    def finish(self, ordinal: int, result: StepResult) -> None:
        """Record how it ended."""
        ended = {"ordinal": ordinal, "result": events.record_of(result)}
        self._one(FINISH, (_json(result), self.id, ordinal), chain.STEP_ENDED, ended)

    def close(self, deployment: Deployment) -> None:
        """Record how the deployment ended."""
        values = (deployment.finished_at, deployment.status.value, _json(deployment), self.id)
        self._one(CLOSE, values, chain.DEPLOYMENT_ENDED, _event(deployment))

    def _one(
        self, statement: str, values: tuple[object, ...], kind: str, record: dict[str, Any]
    ) -> None:
        self._written(partial(self._execute, statement, values, kind, record))

    def _written(self, write: Callable[[], None]) -> None:
        outage, tries = self.database.patience.outage(), 0
        while True:
            try:
                return write()
            except _NoRow as error:
                if self.require is not None:  # it says more, where the lock is lost too
                    self.require()
                what = "the journal does not have this deployment"
                raise lacks(what, self.environment) from error
            except psycopg.Error as error:
                # The server was restarted, or the line cut: what happened must be written all
                # the same, and each statement here says the same thing when it runs twice.
                tries += 1
                why = errors.passing(error)
                if not why or (tries > 1 and not outage.goes_on(why)):
                    raise
            if self.require is not None:
                self.require()

    def _execute(
        self, statement: str, values: tuple[object, ...], kind: str, record: dict[str, Any]
    ) -> None:
        """Write an event and its row, or neither, where the row's deployment is not there."""
        with self.database.session("journal") as connection, events.transaction(connection):
            events.append(connection, kind, self.id, record)
            if connection.execute(statement.encode(), values).rowcount != 1:
                raise _NoRow


def lacks(what: str, environment: str) -> StepFailed:
    """Return the error of a server that does not have what this run has committed."""
    return StepFailed(
        f"the server that answers now lacks what this run has committed: {what}",
        state="nothing more was started; a standby that lacked the last transactions may have "
        "taken over",
        next_step=f"invoke status --env {environment} says what is applied there; then the "
        "same command again",
    )


def close_abandoned(connection: psycopg.Connection, but: str) -> None:
    """Record that every other deployment without an end was killed."""
    rows = connection.execute(ABANDONED, (but,)).fetchall()
    for (name,) in rows:
        events.append(connection, chain.DEPLOYMENT_INTERRUPTED, name, {"by": but})


def _event(deployment: Deployment) -> dict[str, Any]:
    return {"deployment": events.record_of(deployment)}


def used_approvals(database: Database) -> dict[str, str]:
    """Return the nonces of approvals that a deployment has used up, and its id."""

    def read(connection: psycopg.Connection) -> dict[str, str]:
        if not trusted.exists(connection, "approval"):
            return {}
        return dict(connection.execute(USED_APPROVALS).fetchall())

    return database.read("approval", read)


def server_clock(database: Database) -> datetime:
    """Return what time it is on the database's server: who deploys does not set that clock."""

    def read(connection: psycopg.Connection) -> datetime:
        row = connection.execute(SERVER_CLOCK).fetchone()
        if row is None:
            raise AssertionError("a select without FROM returned no row")
        moment: datetime = row[0]
        return moment

    return database.read("approval", read)


def use_approval(
    database: Database, result: StepResult, deployment: str, earlier: tuple[str, ...] = ()
) -> None:
    """Use up the approvals that a step found, under the deployment lock: each counts once.

    What this deployment, or an earlier run of its unit, used already is left as it is.

    Raises:
        NotApproved: another deployment was quicker.

    """
    approvers = [value for name, value in result.evidence if name == "approver"]
    nonces = [value for name, value in result.evidence if name == "nonce"]
    with database.session("approval") as connection, events.transaction(connection):
        for approver, nonce in zip(approvers, nonces, strict=False):
            user = connection.execute(USER_OF_APPROVAL, (nonce,)).fetchone()
            if user is not None and user[0] in (deployment, *earlier):
                continue
            used = {"approver": approver, "nonce": nonce}
            events.append(connection, "approval-used", deployment, used)
            try:
                connection.execute(USE_APPROVAL, (nonce, deployment, approver))
            except psycopg.errors.UniqueViolation as error:
                raise NotApproved(
                    f"the approval of {approver} was used by another deployment meanwhile",
                    next_step="approve the plan again",
                ) from error


def recorded_backups(database: Database) -> dict[str, str]:
    """Return the newest backups of deployments, by id, and the SHA-256 of each one's manifest.

    Newest first; "" where an older version noted none.
    """

    def read(connection: psycopg.Connection) -> list[str]:
        if not _exists(connection):
            return []
        return [row[0] for row in connection.execute(BACKUPS).fetchall()]

    results = [
        msgspec.json.decode(text, type=StepResult) for text in database.read("history", read)
    ]
    return {
        backup: result.get("manifest") or ""
        for result in results
        if (backup := result.get("backup")) is not None
    }


def record_correction(connection: psycopg.Connection, correction: Correction) -> None:
    """Record a correction of the history, in the transaction that makes it."""
    record = {"correction": events.record_of(correction)}
    events.append(connection, chain.CORRECTION, "", record)
    connection.execute(CORRECT, (_json(correction),))


def read_corrections(connection: psycopg.Connection, *, limit: int = 20) -> tuple[Correction, ...]:
    """Return the newest corrections of the history, newest first, by the database's clock."""
    if not trusted.exists(connection, "correction"):
        return ()
    rows = connection.execute(CORRECTIONS, (limit,)).fetchall()
    return tuple(
        msgspec.structs.replace(msgspec.json.decode(record, type=Correction), at=at.astimezone(UTC))
        for record, at in rows
    )


def _json(document: Deployment | StepResult | Correction | Intent) -> str:
    return redact(document.canonical().decode())


def read_steps(connection: psycopg.Connection, deployment: str) -> tuple[StepResult, ...]:
    """Return the steps of a deployment in their order; one without an end was cut off."""
    return tuple(_result(*step) for step in connection.execute(STEPS, (deployment,)).fetchall())


def _exists(connection: psycopg.Connection) -> bool:
    return trusted.exists(connection, "deployment", "step")


def read_history(connection: psycopg.Connection, *, limit: int = 20) -> tuple[Deployment, ...]:
    """Return the newest deployments, newest first, as the database took them; none: no tables."""
    if not _exists(connection):
        return ()
    rows = connection.execute(_query(connection, DEPLOYMENTS), (limit,)).fetchall()
    return tuple(_deployment(*row) for row in rows)


def _query(connection: psycopg.Connection, text: str) -> bytes:
    """Return a query of deployments that the tables here can answer."""
    known = trusted.exists(connection, "event")
    return (text if known else text.replace(BEGUN, NO_EVENTS)).encode()


def newest_deployments(database: Database, *, limit: int = 20) -> tuple[Deployment, ...]:
    """Return the same, on a connection of its own."""
    return database.read("history", lambda connection: read_history(connection, limit=limit))


def find_deployment(
    database: Database, deployment: str, environment: str
) -> tuple[Deployment, Plan]:
    """Return one deployment with its steps, and its plan.

    Raises:
        Refused: there is none of that id.

    """

    def read(connection: psycopg.Connection) -> tuple[Deployment, Plan] | None:
        if not _exists(connection):
            return None
        row = connection.execute(_query(connection, ONE), (deployment,)).fetchone()
        if row is None:
            return None
        record = _deployment(*row[:4])
        results = read_steps(connection, deployment)
        plan = msgspec.json.decode(row[4], type=Plan)
        return msgspec.structs.replace(record, results=results), plan

    deployment_and_plan = database.read("history", read)
    if deployment_and_plan is None:
        raise Refused(
            f'there is no deployment "{deployment}" in this database',
            next_step=f"invoke history --env {environment} lists them",
        )
    return deployment_and_plan


def _deployment(
    record: str, status: str, finished_at: datetime | None, recorded_at: datetime | None
) -> Deployment:
    return msgspec.structs.replace(
        msgspec.json.decode(record, type=Deployment),
        status=Status(status),
        finished_at=finished_at,
        recorded_at=recorded_at.astimezone(UTC) if recorded_at is not None else None,
    )


def _result(
    step: str, undo: bool, started_at: datetime, evidence: str, result: str | None
) -> StepResult:
    if result is not None:
        return msgspec.json.decode(result, type=StepResult)
    return StepResult(
        step=StepName(step),
        outcome=Outcome.FAILED,
        detail="was cut off; the run was killed",
        started_at=started_at,
        seconds=0.0,
        undo=undo,
        evidence=msgspec.json.decode(evidence, type=Evidence),
    )
