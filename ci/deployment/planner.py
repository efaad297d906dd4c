"""The plan for the database as it is now: what a deployment would do, and what an undo would."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from ..backup.dump import folder
from ..database import lock, orphans
from ..errors import LockHeld, Refused
from ..model import About, Direction, Facts, Migration, Plan, StepName
from ..origin import find_origin
from ..plan.make import make_plan
from ..plan.pending import pending
from ..plan.states import NOTHING, built_on, is_graph, up_to
from . import losses, rehearsals
from .contents import take_sources
from .facts import lint_findings, sizes_of_tables, take_facts, take_history
from .work import Work


def end_orphans(work: Work) -> None:
    """End what a killed run left behind, so that not even reading waits for it.

    It takes the deployment lock: only then is the run dead. Where another deployment has the lock,
    it does nothing.
    """
    if not orphans.any_left(work.database):
        return
    with suppress(LockHeld), lock.hold(work.database, wait=0):
        orphans.end_orphans(work.database, work.reporter.note)


def current_plan(
    work: Work,
    *,
    to: str | None = None,
    steps: int | None = None,
    only: tuple[str, ...] | None = None,
    without: frozenset[StepName] = frozenset(),
) -> Plan:
    """Return what a deployment would do right now. Reads; changes nothing.

    `to` names the last migration to run, as its tool calls it; `steps` says how many; `only` says
    which may be among them; `without` leaves steps out (`migrate`, `--break-glass`).
    """
    facts = take_facts(work.database, work.engine.history)
    named = work.engine.names.resolve(to) if to is not None else None
    migrations = pending(
        work.settings,
        work.engine.files.list(),
        facts,
        names=work.engine.names,
        to=named,
        steps=steps,
        only=only,
    )
    return _plan(work, facts, migrations, direction="up", without=without)


def back_plan(
    work: Work, names: tuple[str, ...], *, without: frozenset[StepName] = frozenset()
) -> Plan:
    """Return the plan of which these migrations are, whatever of them is applied now.

    A run that goes on taking a deployment back undoes those that are.
    """
    facts = take_facts(work.database, work.engine.history)
    migrations = tuple(m for m in work.engine.files.list() if m.name in names)
    return _plan(work, facts, migrations, direction="up", without=without)


def with_about(work: Work, plan: Plan) -> Plan:
    """Return the plan with what its reader should know, and what does not decide."""
    tables = sizes_of_tables(plan.migrations, work)
    rehearsal = rehearsals.rehearsal_of(plan, work.store)
    parameters = work.database.parameters()
    about = About(
        made_at=datetime.now(UTC),
        origin=find_origin(work.settings.root),
        tables=tables,
        findings=lint_findings(plan, work, tables, rehearsal) if plan.direction == "up" else (),
        host=parameters.get("host") or parameters.get("hostaddr") or "this machine",
        backup_to=work.store.address(folder(plan.environment, plan.target.database))
        if work.store
        else "",
        models=work.engine.differences(work.database),
        rehearsal=rehearsal,
        notes=losses.going(plan, work),
    )
    return msgspec.structs.replace(plan, about=about)


def newest_applied(
    work: Work, *, steps: int | None = None, to: str | None = None
) -> tuple[str, ...]:
    """Return the names of the newest applied migrations: so many, or all after one that stays.

    Raises:
        Refused: the one that stays is not applied, or there is nothing to undo.

    """
    history = take_history(work.database, work.engine.history)
    on_disk = work.engine.files.list()
    recorded = {row.name for row in history.applied} | {
        partial.name for partial in history.partials
    }
    applied = _in_order(on_disk, recorded)
    if to is not None:
        named = work.engine.names.resolve(to)
        if named != NOTHING and named not in applied:
            raise _not_undone(work.settings.name, f"{to} is not applied")
        staying = _staying(on_disk, applied, named)
        selected = [name for name in applied if name not in staying]
    else:
        selected = applied[-(steps or 0) :]
    if not selected or steps == 0:
        raise _not_undone(work.settings.name, "there is nothing to undo")
    return tuple(selected)


def _in_order(on_disk: tuple[Migration, ...], names: Iterable[str]) -> list[str]:
    """Return names in the order they run; those without a file by name."""
    graph = is_graph(on_disk)
    place = {migration.name: at for at, migration in enumerate(on_disk, start=1)} if graph else {}
    return sorted(names, key=lambda name: (place.get(name, 0), name))


def _staying(on_disk: tuple[Migration, ...], applied: list[str], last: str) -> frozenset[str]:
    """Return what stays applied when everything after `last` is undone."""
    if last == NOTHING:
        return frozenset()
    if is_graph(on_disk):
        return up_to(on_disk, [last])
    return frozenset(applied[: applied.index(last) + 1])


def _not_undone(environment: str, what: str) -> Refused:
    return Refused(what, next_step=f"invoke status --env {environment} shows what is applied")


def undo_plan(
    work: Work,
    names: tuple[str, ...],
    *,
    force: bool = False,
    without: frozenset[StepName] = frozenset(),
) -> Plan:
    """Return a plan that undoes these applied migrations, newest first.

    `force` undoes one although a later one that stays touches the same tables.

    Raises:
        Refused: one is not applied, has no file or rollback script, or a later one builds on it.

    """
    facts = take_facts(work.database, work.engine.history)
    applied = {row.name for row in facts.history} | {p.name for p in facts.partials}
    on_disk = work.engine.files.list()
    files = {migration.name: migration for migration in on_disk}
    selected = []
    for name in _in_order(on_disk, {work.engine.names.resolve(name) for name in names}):
        migration = files.get(name)
        if name not in applied or migration is None or migration.rollback is None:
            raise _not_undone(
                work.settings.name, f"{name} {_why_not(migration, applied=name in applied)}"
            )
        selected.append(migration)
    staying = [
        migration
        for migration in on_disk
        if migration.name in applied and migration not in selected
    ]
    _refuse_below_others(work.settings.name, on_disk, selected, staying)
    if not force and not is_graph(on_disk):
        _refuse_what_others_build_on(work, selected, staying)
    plan = _plan(work, facts, tuple(selected), direction="down", without=without)
    decision = losses.of_rollback(plan.migrations, plan.target.database, work)
    return msgspec.structs.replace(plan, losses=decision.losses)


def _why_not(migration: Migration | None, *, applied: bool) -> str:
    """Return why a migration cannot be undone."""
    if not applied:
        return "is not applied"
    if migration is None:
        return "has no file"
    if migration.irreversible:
        return f"is irreversible: {migration.irreversible}"
    return "has no rollback script"


def _refuse_below_others(
    environment: str,
    on_disk: tuple[Migration, ...],
    selected: list[Migration],
    staying: list[Migration],
) -> None:
    """Refuse to take one out of the middle of a graph: its tool cannot record the gap."""
    stay = {migration.name for migration in staying}
    for migration in selected:
        dependents = [n for n in _in_order(on_disk, built_on(on_disk, migration.name)) if n in stay]
        if dependents:
            raise _not_undone(
                environment,
                f"{migration.name} has applied revisions built on it: {', '.join(dependents)}",
            )


def _refuse_what_others_build_on(
    work: Work, selected: list[Migration], staying: list[Migration]
) -> None:
    for migration in selected:
        tables = work.engine.files.tables(migration)
        later = [m for m in staying if m.name > migration.name]
        touching = {m.name: work.engine.files.tables(m) & tables for m in later}
        blocking = {name: shared for name, shared in touching.items() if shared}
        if blocking:
            words = ", ".join(f"{n} ({', '.join(sorted(t))})" for n, t in blocking.items())
            raise Refused(
                f"{migration.name} has later migrations on the same tables: {words}",
                next_step="undo those first (invoke rollback --to NAME undoes all after NAME), or "
                "add --force when you know that they do not need it",
            )


def _plan(
    work: Work,
    facts: Facts,
    migrations: tuple[Migration, ...],
    *,
    direction: Direction,
    without: frozenset[StepName],
) -> Plan:
    return make_plan(
        work.settings,
        facts,
        migrations,
        engine=(work.engine.name, work.engine.runner.version()),
        direction=direction,
        without=without,
        sources=take_sources(work),
    )
