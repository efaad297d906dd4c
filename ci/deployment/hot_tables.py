"""Refuses what locks a table of `hot_tables` without a word of it in the file."""

from .. import policy
from ..errors import Place, Refused
from ..lint.rules import HOT_TABLE
from ..model import Plan, Rehearsal
from ..rehearsal import hot
from .work import Work


def refuse_unspoken(plan: Plan, work: Work, rehearsal: Rehearsal) -> None:
    """Refuse a lock of a hot table, or of its rows, that was seen on the copy."""
    tables = work.settings.shared.hot_tables
    files = {migration.name: migration for migration in plan.migrations}
    for migration in rehearsal.migrations:
        reasons = work.engine.files.reasons(files[migration.name], HOT_TABLE.id)
        lock = hot.unspoken(migration, tables, reasons)
        if lock is None:
            continue
        what = HOT_TABLE.says(
            relation=lock.relation,
            what=f"{lock.mode} held {lock.blocks} up for {lock.seconds:.1f} s on the copy",
        ).message
        _refuse(what, lock.relation, Place.parse(lock.statement.where), plan, work)


def refuse_named(plan: Plan, work: Work) -> None:
    """Refuse a text that names a hot table, where no rehearsal shows what it locks."""
    tables = work.settings.shared.hot_tables
    for migration in plan.migrations if tables else ():
        reasons = work.engine.files.reasons(migration, HOT_TABLE.id)
        table = hot.unspoken_name(work.engine.files.tables(migration), tables, reasons)
        if table:
            what = HOT_TABLE.says(
                relation=table, what=f"{migration.name} names it, and is not rehearsed here"
            ).message
            _refuse(what, table, None, plan, work)


def _refuse(what: str, table: str, place: Place | None, plan: Plan, work: Work) -> None:
    if not policy.LINT_STOPS[plan.tier]:
        work.reporter.note(f"{place}: {what}" if place else what)
        return
    raise Refused(
        what,
        place=place,
        next_step=f"write into the file: -- windlass: allow {HOT_TABLE.id} {table} REASON",
    )
