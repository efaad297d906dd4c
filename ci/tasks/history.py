"""The verbs of the history: shown, and corrected by name."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from invoke.context import Context

from ..errors import ConfigError
from ..report import deployment as report
from .task import Answer, ask, opened, verb

if TYPE_CHECKING:
    pass
from .deploy import _unrecorded


def _correction(verb_: str, doc: str) -> Callable[..., Answer]:
    """Return the body of a task that corrects the history."""

    def body(
        c: Context,
        env: str = "",
        name: str = "",
        reason: str = "",
        *,
        dry_run: bool = False,
        json: bool = False,
        debug: bool = False,
    ) -> Answer:
        return _correct(verb_, env, name, reason, dry_run=dry_run)

    body.__name__, body.__doc__ = verb_, doc
    return body


def _correct(verb_: str, env: str, name: str, reason: str, *, dry_run: bool) -> Answer:
    from ..deployment import corrections as correcting
    from ..origin import find_origin
    from ..plan import gate

    names = tuple(dict.fromkeys(part.strip() for part in name.split(",") if part.strip()))
    with opened(env) as work:
        changes = correcting.find(work, verb_, names)
        text = "\n".join(f"{verb_} {change}" for change in changes)
        if dry_run:
            return changes, text
        if not reason.strip():
            raise ConfigError(f"{verb_} needs a reason, for the record", next_step='--reason "why"')
        above = work.settings.tier != "development"
        gate.require_typed(
            env,
            work.settings.tier,
            what=f"{verb_} of {len(changes)} migrations",
            typed=ask(f'{text}\n\n  Type "{env}": ') if above else None,
            variable=os.environ.get("CONFIRM_HISTORY", ""),
        )
        origin = find_origin(work.settings.root)
        made = correcting.apply(work, verb_, names, reason=reason.strip(), origin=origin)
    return made, "\n".join(f"{verb_} {change}" for change in made)


_CORRECTS = verb(
    name="a migration, or several with commas between them", reason="why; it is recorded"
)
stamp = _CORRECTS(_correction("stamp", "Record migrations as applied without running them."))
unstamp = _CORRECTS(_correction("unstamp", "Take migrations out of the history; undoes nothing."))
baseline = _CORRECTS(
    _correction("baseline", "Begin a history: all up to the named migration are applied already.")
)
repair = _CORRECTS(_correction("repair", "Accept an edited file as what ran; old and new shown."))


@verb()
def status(
    c: Context, env: str = "", *, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Show applied, pending, edited, missing and out of order migrations; exits 0, 1 or 3."""
    from ..database import lock
    from ..deployment import backups as safekeeping
    from ..deployment import journal
    from ..plan.states import compare, waiting

    with opened(env) as work:
        history = work.database.read("status", work.engine.history.rows)
        halves = work.database.read("status", work.engine.history.partials)
        failed = work.database.read("status", work.engine.history.failed)
        on_disk = work.engine.files.list()
        states = compare(on_disk, history, halves, failed)
        there = _unrecorded(work, waiting(on_disk, states))
        holder = work.database.read("status", lock.who)
        newest = journal.history(work.database, limit=1)
        drill = safekeeping.drill_note(work)
        models = work.engine.differences(work.database)
    note = report.last_note(newest, holder)
    document = {
        "environment": env,
        "migrations": states,
        "lock": holder,
        "note": note,
        "drill": drill,
        "unrecorded": there,
        "models": models,
    }
    notes = (*(report.unrecorded_note(env, one) for one in there), models, note, drill)
    return document, report.status_text(env, states, *notes), report.status_exit(states, there)


@verb()
def history(
    c: Context, env: str = "", deployment: str = "", *, json: bool = False, debug: bool = False
) -> Answer:
    """Show what was deployed, by whom, and how it went."""
    from ..deployment import journal

    with opened(env) as work:
        if deployment:
            found, _ = journal.find(work.database, deployment)
            return found, report.deployment_text(found)
        all_ = journal.history(work.database)
        corrections = journal.corrections(work.database)
    document = {"deployments": all_, "corrections": corrections}
    return document, report.history_text(all_, corrections)
