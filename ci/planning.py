"""The plan for the database as it is now: what a deployment would do, and what an undo would."""

from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from ci import backup as backups
from ci import lock, orphans, rehearsing, reviewing
from ci.errors import LockHeld, Refused
from ci.facts import take_facts
from ci.model import About, Direction, Facts, Migration, Plan, StepName
from ci.origin import find_origin
from ci.plan import make_plan, pending
from ci.work import Work


def clear_the_way(work: Work) -> None:
    """End what a killed run left behind, so that not even reading waits for it.

    Under the deployment lock, for only then is it dead; where somebody has that, he deploys now.
    """
    with suppress(LockHeld), lock.hold(work.database, wait=0):
        orphans.end(work.database, work.reporter.note)


def current_plan(
    work: Work,
    *,
    to: str | None = None,
    steps: int | None = None,
    without: frozenset[StepName] = frozenset(),
) -> Plan:
    """Return what a deployment would do right now. Reads; changes nothing.

    `to` names the last migration to run, `steps` says how many; `without` leaves steps out
    (`migrate`, `--break-glass`).
    """
    facts = take_facts(work.database, work.engine)
    chosen = pending(work.settings, work.engine.on_disk(), facts, to=to, steps=steps)
    return _plan(work, facts, chosen, direction="up", without=without)


def described(work: Work, plan: Plan) -> Plan:
    """Return the plan with what its reader should know beside what decides."""
    tables = reviewing.sizes(plan.migrations, work)
    rehearsal = rehearsing.rehearsal_of(plan, work)
    parameters = work.database.parameters()
    about = About(
        made_at=datetime.now(UTC),
        origin=find_origin(work.settings.root),
        tables=tables,
        findings=reviewing.findings(plan, work, tables, rehearsal)
        if plan.direction == "up"
        else (),
        host=parameters.get("host") or parameters.get("hostaddr") or "this machine",
        backup_to=work.store.address(backups.folder(plan.environment, plan.target.database))
        if work.store
        else "",
        rehearsal=rehearsal,
    )
    return msgspec.structs.replace(plan, about=about)


def newest_applied(
    work: Work, *, steps: int | None = None, to: str | None = None
) -> tuple[str, ...]:
    """Return the names of the newest applied migrations: so many, or all after one that stays.

    Raises:
        Refused: the one that stays is not applied, or there is nothing to undo.

    """
    facts = take_facts(work.database, work.engine)
    applied = sorted({row.name for row in facts.history} | {p.name for p in facts.partials})
    if to is not None and to not in applied:
        raise _not_undone(work, f"{to} is not applied")
    found = [n for n in applied if n > to] if to is not None else applied[-(steps or 0) :]
    if not found or steps == 0:
        raise _not_undone(work, "there is nothing to undo")
    return tuple(found)


def _not_undone(work: Work, what: str) -> Refused:
    return Refused(
        what, next_step=f"invoke status --env {work.settings.name} shows what is applied"
    )


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
    facts = take_facts(work.database, work.engine)
    applied = {row.name for row in facts.history} | {p.name for p in facts.partials}
    files = {migration.name: migration for migration in work.engine.on_disk()}
    chosen = []
    for name in sorted(names):
        migration = files.get(name)
        if name not in applied or migration is None or migration.rollback is None:
            why = (
                "is not applied" if name not in applied
                else "has no file" if migration is None
                else "has no rollback script"
            )  # fmt: skip
            raise _not_undone(work, f"{name} {why}")
        chosen.append(migration)
    if not force:
        staying = [files[n] for n in sorted(applied - set(names)) if n in files]
        _refuse_what_others_build_on(work, chosen, staying)
    return _plan(work, facts, tuple(chosen), direction="down", without=without)


def _refuse_what_others_build_on(
    work: Work, chosen: list[Migration], staying: list[Migration]
) -> None:
    for migration in chosen:
        tables = work.engine.tables(migration)
        later = [m for m in staying if m.name > migration.name]
        touching = {m.name: work.engine.tables(m) & tables for m in later}
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
        engine=(work.engine.name, work.engine.version()),
        direction=direction,
        without=without,
    )
