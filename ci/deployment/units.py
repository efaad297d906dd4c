"""The unit of work that is open, as the journal has it: found, taken up, ended."""

from collections.abc import Collection

import msgspec
import psycopg

from ..database import own_tables, trusted
from ..database.connection import Database
from ..errors import Refused
from ..model import Deployment, Intent, Migration, Plan, Status
from ..plan import continuing
from ..plan.continuing import Going, OpenUnit, Unit
from ..plan.differences import differences
from . import journal, nonces
from .work import Work

SINCE = 3  # the version of our tables that knows intents

OPEN = f"""
    select d.id from windlass.deployment d where {journal.IS_OPEN}
    order by d.started_at desc limit 1
"""  # noqa: S608  # a constant of ours
CHAIN = """
    with recursive chain as (
        select id, continues from windlass.deployment where id = %s
        union
        select d.id, d.continues from windlass.deployment d join chain c on d.id = c.continues
    )
    select d.id, d.status, d.record::text, d.intent::text, d.plan::text
    from windlass.deployment d join chain using (id)
"""
INTENT_OF = "select intent::text from windlass.deployment where id = %s"


def read_open(connection: psycopg.Connection) -> OpenUnit | None:
    """Return the unit of work that is not done; None where every one is. Reads only."""
    known = trusted.exists(connection, "deployment", "step", "version")
    if not known or own_tables.read_version(connection) < SINCE:
        return None
    row = connection.execute(OPEN).fetchone()
    if row is None:
        return None
    rows = {row[0]: row[1:] for row in connection.execute(CHAIN, (row[0],)).fetchall()}
    chain = _first_to_last(row[0], rows)
    status, record, intent_text, _ = rows[row[0]]
    intent = msgspec.json.decode(intent_text, type=Intent)
    approved = None
    for identifier in chain:
        plan_digest = msgspec.json.decode(rows[identifier][1], type=Deployment).plan_digest
        if plan_digest == intent.plan_digest:
            approved = msgspec.json.decode(rows[identifier][3], type=Plan)
            break
    return OpenUnit(
        id=row[0],
        status=Status(status),
        intent=intent,
        chain=chain,
        results=tuple(
            result for identifier in chain for result in journal.read_steps(connection, identifier)
        ),
        approved=approved,
        environment=msgspec.json.decode(record, type=Deployment).environment,
    )


def _first_to_last(last: str, rows: dict[str, tuple[str, str, str, str]]) -> tuple[str, ...]:
    chain = [last]
    while True:
        before = msgspec.json.decode(rows[chain[0]][1], type=Deployment).continues
        if not before or before not in rows or before in chain:
            return tuple(chain)
        chain.insert(0, before)


def find_open(database: Database) -> OpenUnit | None:
    """Return the same, on a connection of its own."""
    return database.read("history", read_open)


def names_of(work: Work, deployment: str) -> tuple[str, ...]:
    """Return the migrations of the unit that a deployment is a run of.

    Raises:
        Refused: there is no such deployment, or it undid migrations.

    """
    record = journal.find_deployment(work.database, deployment, work.settings.name)[0]

    def read(connection: psycopg.Connection) -> str | None:
        if own_tables.read_version(connection) < SINCE:
            return None
        row = connection.execute(INTENT_OF, (deployment,)).fetchone()
        return row[0] if row else None

    text = work.database.read("history", read)
    if text is None:
        return record.migrations
    return msgspec.json.decode(text, type=Intent).migrations


def fresh(plan: Plan, verb: str, arguments: tuple[tuple[str, str], ...]) -> Unit:
    """Return the unit that begins with a plan."""
    partials = {partial.name for partial in plan.partials}
    return Unit(
        intent=Intent(
            verb=verb,
            arguments=arguments,
            direction=plan.direction,
            migrations=tuple(migration.name for migration in plan.migrations),
            steps=tuple(planned.name for planned in plan.steps),
            before=tuple(sorted({name for name, _ in plan.history} - partials)),
            schema_fingerprint=plan.schema_fingerprint,
            leftovers=plan.leftovers,
            plan_digest=plan.digest,
        ),
        migrations=plan.migrations,
    )


def take_up(
    work: Work, plan: Plan, unit: OpenUnit, way: Going, begun: Unit, *, digest: str = ""
) -> Unit:
    """Return an open unit as the run of this plan goes on with it.

    Args:
        work: the environment.
        plan: what is left of it, and for a forward unit what came on top.
        unit: as the journal has it.
        way: on, joined or back.
        begun: the unit of the plan alone.
        digest: of the plan that the caller was given; empty: none was.

    """
    old = unit.intent
    applied = {name for name, _ in plan.history}
    half = {partial.name for partial in plan.partials}
    names = list(old.migrations)
    if way in (Going.ON, Going.JOINED) and old.direction == "up":
        new = {migration.name for migration in plan.migrations}
        kept = [n for n in old.migrations if n in applied and n not in new and n not in old.before]
        names = [*kept, *(migration.name for migration in plan.migrations)]
    files = {migration.name: migration for migration in work.engine.files.list()}
    ordered = [name for name in files if name in set(names)] + [n for n in names if n not in files]
    migrations = tuple(files[name] for name in ordered if name in files)
    same_end = tuple(ordered) == old.migrations and way is not Going.JOINED
    exact = same_end and digest in ("", old.plan_digest) and not problem(plan, unit, migrations)
    typed = old if way is not Going.JOINED else begun.intent
    intent = msgspec.structs.replace(
        typed,
        migrations=tuple(ordered),
        steps=begun.intent.steps if way is not Going.BACK else old.steps,
        before=old.before,
        schema_fingerprint=old.schema_fingerprint,
        leftovers=old.leftovers,
        plan_digest=old.plan_digest if exact else plan.digest,
        approvals=old.approvals if exact else (),
        back=old.back if way is Going.BACK else "",
    )
    return Unit(
        intent=intent,
        migrations=migrations,
        continues=unit.id,
        chain=unit.chain,
        results=unit.results,
        inherits=exact
        and bool(old.approvals)
        and nonces.are_of(
            work, old.nonces, unit.chain, done=not continuing.remaining(old, applied, half)
        ),
    )


def problem(plan: Plan, unit: OpenUnit, migrations: tuple[Migration, ...]) -> str:
    """Say how what is left is not the rest of the plan that began the unit; empty: it is."""
    if unit.approved is None:
        return "the plan that it began with is not in the journal"
    words = continuing.history_problem(unit.approved, plan, migrations)
    anew = continuing.as_approved(unit.approved, plan, migrations)
    if words or anew.digest == unit.intent.plan_digest:
        return words
    texts = differences(unit.approved, anew)
    return "; ".join(texts[:5]) or "the plan was written in another form"


def require_rest(plan: Plan, unit: OpenUnit, migrations: tuple[Migration, ...]) -> None:
    """Refuse to go on, above development, with anything but the rest of what was begun.

    Raises:
        Refused: a file, a setting or the history has changed since.

    """
    words = problem(plan, unit, migrations)
    if words and plan.tier != "development":
        raise Refused(
            f"deployment {unit.id} cannot be resumed as it began: {words}",
            state="this command changed nothing",
            next_step="bring back what it began with (git log); or begin anew with what there is "
            f"now: {unit.intent.command(plan.environment)}",
        )


def applied_now(work: Work) -> Collection[str]:
    """Return what is applied, or partly applied. Read-only."""
    applied, half = _applied_and_half(work)
    return applied | half


def left_now(work: Work, intent: Intent) -> tuple[str, ...]:
    """Return which migrations of a unit are not as it wants them now. Read-only."""
    applied, half = _applied_and_half(work)
    return continuing.left(intent, applied | half, half)


def _applied_and_half(work: Work) -> tuple[set[str], set[str]]:
    from .facts import take_history

    recorded = take_history(work.database, work.engine.history)
    return {row.name for row in recorded.applied}, {part.name for part in recorded.partials}
