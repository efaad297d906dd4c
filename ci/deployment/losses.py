"""What a rollback would lose: asked before anything is undone, automatically or by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import NamedTuple

import psycopg
from psycopg import sql

from ..backup import catalog
from ..errors import StepFailed, WindlassError
from ..model import Deployment, Manifest, Migration, Plan, Rehearsal, StepName, StepResult
from ..plan.pending import in_running_order
from ..plan.undoing import Part, Undoing, Undone, loss_words, undoing, words
from ..policy import on_failure
from ..restarters import Reverting
from ..stores import Store
from . import journal
from .facts import take_history
from .work import Work

LOOKED_AT = 200  # of the newest deployments, for those that applied what is undone
COUNT_WITHIN = "set local statement_timeout = '5s'"  # a large table is told without a count
FIND = """
    select n.nspname, c.relname from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = %(table)s and (%(schema)s = '' or n.nspname = %(schema)s)
      and c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and (%(column)s = '' or exists (
          select from pg_catalog.pg_attribute a
          where a.attrelid = c.oid and a.attname = %(column)s and not a.attisdropped))
    order by 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an automatic rollback does, decided before it undoes anything.

    stops: why it undoes no migration; empty: it undoes them.
    next_step: what a person may do then.
    service_back: whether the service goes back all the same: old code works with what stands.
    lost: what is not brought back, where it undoes them all the same.
    goes: what goes with what the deployment added.
    """

    stops: str = ""
    next_step: str = ""
    service_back: bool = False
    lost: tuple[str, ...] = ()
    goes: tuple[str, ...] = ()

    def takes_back(self, result: StepResult) -> bool:
        """Tell whether a step is taken back although the migrations stay."""
        return self.service_back and result.step is StepName.RESTART

    def stopped(self, first: WindlassError) -> StepFailed:
        """Return the error of a rollback that stopped; the first error stays the headline."""
        return StepFailed(
            first.message,
            place=first.place,
            step=first.step,
            state=self.stops,
            next_step="; ".join(part for part in (first.next_step, self.next_step) if part),
        )

    def record(self, first: WindlassError) -> str:
        """Return what the journal says of the end."""
        return "; ".join(part for part in (first.what, self.stops, *self.lost, *self.goes) if part)

    @property
    def gone(self) -> str:
        """What it does not give back; empty where that is nothing."""
        return "".join(f"; {part}" for part in (*self.lost, *self.goes))


def decide(
    plan: Plan, work: Work, results: Sequence[StepResult], *, digest: str, runs: tuple[str, ...]
) -> Decision:
    """Decide whether what stands of a plan is undone, and tell what goes with it.

    Args:
        plan: with all the migrations of the unit.
        work: the environment.
        results: those of the steps so far.
        digest: of the plan that was rehearsed and approved.
        runs: the deployments of the unit, the first one first: its backup has what stood before.

    """
    recorded = take_history(work.database, work.engine.history)
    applied = {row.name for row in recorded.applied}
    begun = {part.name for part in recorded.partials}
    ordered = in_running_order(plan.migrations)
    standing = tuple(m for m in ordered if m.name in applied | begun)
    if not standing:
        return Decision()
    outcome = undoing(
        _known(
            standing,
            digest=digest,
            runs=runs,
            database=plan.target.database,
            work=work,
        )
    )
    if outcome.stops(on_failure(work.settings)):
        return _stop(plan, standing, outcome, work, results, half=begun - applied)
    lost = tuple(loss_words(loss) for loss in outcome.losses)
    goes = tuple(_going(outcome.goes, work))
    for line in (*lost, *goes):
        work.reporter.alarm(line)
    return Decision(lost=lost, goes=goes)


def _stop(
    plan: Plan,
    standing: tuple[Migration, ...],
    outcome: Undoing,
    work: Work,
    results: Sequence[StepResult],
    *,
    half: set[str],
) -> Decision:
    """Return a decision to undo nothing; `half` are names of migrations that were cut off."""
    names = [migration.name for migration in standing if migration.name not in half]
    cut_off = [migration.name for migration in standing if migration.name in half]
    restarted = any(result.step is StepName.RESTART for result in results)
    after = any(migration.phase == "after" for migration in standing)
    back = restarted and isinstance(work.restarter, Reverting) and not after
    nothing = "no migration was undone" if back else "nothing was rolled back"
    parts = [
        f"{nothing}: {words(outcome)}",
        f"still applied: {', '.join(names)}" if names else "",
        f"begun, and not finished: {', '.join(cut_off)}" if cut_off else "",
        "the service went back to the version of before" if back else _serves(work),
    ]
    return Decision(
        stops="; ".join(part for part in parts if part),
        next_step="" if cut_off else _next(plan, names, outcome, work.deployment_id),
        service_back=back,
    )


def _serves(work: Work) -> str:
    """Say which version of the service runs; empty where the environment has no service."""
    if work.restarter is None:
        return ""
    try:
        running = work.restarter.running()
    except WindlassError as error:
        return f"which version of the service runs is not known: {error.what}"
    if not running.instance:
        return "the service is down"
    version = f"version {running.version}" if running.version else f"instance {running.instance}"
    return f"the service runs: {version}"


def _next(plan: Plan, names: list[str], outcome: Undoing, deployment: str) -> str:
    """Return the commands among which a person chooses."""
    env, lossy = plan.environment, " --lossy" if outcome.known else ""
    if outcome.irreversible:
        last = outcome.irreversible[-1][0]
        after = names[names.index(last) + 1 :]
        return (
            f"to undo what came after it: invoke rollback --env {env} --to {last}{lossy}"
            if after
            else f"what stands is in invoke status --env {env}"
        )
    what = (
        f"--deployment {deployment}"
        if len(names) == len(plan.migrations)
        else f"--steps {len(names)}"
    )
    lines = [f"to undo it all the same: invoke rollback --env {env} {what}{lossy}"]
    backup = next((loss.backup for loss in outcome.losses if loss.backup), "")
    tables = sorted({loss.table for loss in outcome.losses if loss.table})
    if backup and tables:
        lines.append(
            f"the older rows beside it: invoke restore --env {env} --from {backup} "
            f"--tables {','.join(tables)} --into NAME"
        )
    return "; ".join(lines)


def _known(
    migrations: Iterable[Migration],
    *,
    digest: str,
    runs: tuple[str, ...],
    database: str,
    work: Work,
) -> list[Undone]:
    """Return what is known of migrations of one unit: its rehearsal, and its first backup."""
    seen = _seen(digest, runs, database, work)
    rehearsed = {item.name: item for item in seen.rehearsal.migrations} if seen.rehearsal else {}
    return [
        Undone(
            migration=migration,
            up=work.engine.files.effects(migration, "up"),
            down=work.engine.files.effects(migration, "down"),
            rehearsed=rehearsed.get(migration.name),
            rows=dict(seen.backup.row_counts) if seen.backup else None,
            rows_rehearsed=dict(seen.copied.row_counts) if seen.copied else None,
            backup=seen.backup.id if seen.backup else "",
        )
        for migration in migrations
    ]


class _Seen(NamedTuple):
    """What lies in the store of one unit; None where it is not known.

    copied: the backup that the rehearsal's copy was made of.
    """

    rehearsal: Rehearsal | None = None
    backup: Manifest | None = None
    copied: Manifest | None = None


def _seen(digest: str, runs: tuple[str, ...], database: str, work: Work) -> _Seen:
    store, environment = work.store, work.settings.name
    if store is None or not runs:
        return _Seen()
    backup_of = partial(_backup_of, store, environment, database)
    try:
        rehearsal = catalog.find_rehearsal(
            store, environment=environment, database=database, plan_digest=digest
        )
        backup = next(filter(None, map(backup_of, runs)), None)
        copied = (
            catalog.find_backup(store, environment=environment, which=rehearsal.backup).manifest
            if rehearsal
            else None
        )
    except WindlassError as error:
        work.reporter.note(f"what the rehearsal and the backup say is not known: {error.what}")
        return _Seen()
    return _Seen(rehearsal, backup, copied)


def _backup_of(store: Store, environment: str, database: str, run: str) -> Manifest | None:
    return catalog.newest(store, environment=environment, database=database, deployment=run)


def going(plan: Plan, work: Work) -> tuple[str, ...]:
    """Return what a rollback by hand takes away of what the migrations themselves added."""
    if plan.direction == "up":
        return ()
    undone = [
        Undone(
            migration=migration,
            up=work.engine.files.effects(migration, "up"),
            down=work.engine.files.effects(migration, "down"),
        )
        for migration in plan.migrations
    ]
    return tuple(_going(undoing(undone).goes, work))


def _going(parts: Iterable[Part], work: Work) -> list[str]:
    """Count what is in the tables and columns that go with what added them."""

    def count(connection: psycopg.Connection) -> list[str]:
        connection.execute(COUNT_WITHIN)
        return [line for part in parts for line in _counted(connection, part)]

    try:
        return work.database.read("rollback", count)
    except (WindlassError, psycopg.Error):
        return [
            f"{part.table}{f'.{part.column}' if part.column else ''} goes with what is in it, "
            "which could not be counted"
            for part in parts
        ]


def _counted(connection: psycopg.Connection, part: Part) -> list[str]:
    schema, _, table = part.table.rpartition(".")
    tables = connection.execute(
        FIND.encode(), {"table": table, "schema": schema, "column": part.column}
    ).fetchall()
    lines = []
    for home, name in tables:
        counted = sql.Identifier(part.column) if part.column else sql.SQL("*")
        query = sql.SQL("select pg_catalog.count({}) from {}")
        row = connection.execute(query.format(counted, sql.Identifier(home, name))).fetchone()
        if row is not None and row[0]:
            where = f"{home}.{name}"
            noun = f"values of {where}.{part.column}" if part.column else f"rows of {where}"
            lines.append(f"{row[0]:,} {noun} go with what the migrations added")
    return lines


def of_rollback(migrations: tuple[Migration, ...], database: str, work: Work) -> Undoing:
    """Return what a rollback by hand loses of what stood before what applied these."""
    applied_by: dict[str, Deployment] = {}
    for deployment in reversed(journal.newest_deployments(work.database, limit=LOOKED_AT)):
        if deployment.direction == "up":
            applied_by |= dict.fromkeys(deployment.migrations, deployment)
    undone = list[Undone]()
    for by, members in groupby(migrations, lambda migration: applied_by.get(migration.name)):
        digest, id_ = (by.plan_digest, by.id) if by else ("", "")
        undone += _known(
            members, digest=digest, runs=(id_,) if id_ else (), database=database, work=work
        )
    return undoing(undone)
