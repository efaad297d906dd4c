"""The verbs of the history: shown, and corrected by name."""

from collections.abc import Callable

from ..report.deployment import (
    deployment_text,
    history_text,
    identity_text,
    status_exit,
    status_text,
    unrecorded_note,
)
from .confirm import confirm, confirm_as
from .task import Answer, names_of, opened, verb


def _correction(verb_: str, doc: str) -> Callable[..., Answer]:
    """Return the body of a task that corrects the history."""

    def body(env: str = "", name: str = "", reason: str = "", *, dry_run: bool = False) -> Answer:
        from ..deployment import corrections

        names = names_of(name)
        with opened(env) as work:
            changes = corrections.find_changes(work, verb_, names)
            text = _text(verb_, changes)
            if dry_run:
                return Answer(changes, text)
            corrections.require_reason(verb_, reason)
            what = f"{verb_} of {len(changes)} migrations"
            confirm(work.settings, text, what=what, variable="CONFIRM_HISTORY")
            changes = corrections.correct(work, verb_, names, reason=reason)
        return Answer(changes, _text(verb_, changes))

    body.__name__, body.__doc__ = verb_, doc
    return body


def _text(verb_: str, changes: tuple[object, ...]) -> str:
    return "\n".join(f"{verb_} {change}" for change in changes)


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
def status(env: str = "") -> Answer:
    """Show applied, pending, edited, missing and out of order migrations; exits 0, 1 or 3."""
    from ..deployment.status import report_status

    with opened(env) as work:
        report = report_status(work)
    notes = (unrecorded_note(env, untracked) for untracked in report.unrecorded)
    text = status_text(
        env, report.migrations, *notes, report.models, report.note, report.drill, report.identity
    )
    code = 3 if report.identity else status_exit(report.migrations, report.unrecorded)
    return Answer(report, text, code)


@verb(
    adopt="make the database this environment's, such as a copy of another's",
    reason="why; it is recorded",
)
def identity(
    env: str = "", reason: str = "", *, adopt: bool = False, dry_run: bool = False
) -> Answer:
    """Show what the database says it is, or make it this environment's; exits 3 if they differ."""
    from ..deployment import identity as identities
    from ..plan.identity import guarding

    with opened(env) as work:
        report = identities.report(work)
        text = identity_text(report.known, report.difference)
        if not adopt:
            return Answer(report, text, 3 if report.difference else 0)
        what = f"{report.known or 'nothing'} → {report.asked}"
        if dry_run:
            return Answer(report, f"identity database: {what}")
        identities.require_change(report, reason)
        guard = guarding(report.known, report.asked)
        confirm_as(
            guard.environment, guard.tier, what, what="the identity", variable="CONFIRM_HISTORY"
        )
        report = identities.adopt(work, reason=reason)
    return Answer(report, f"identity database: {what}")


@verb()
def history(env: str = "", deployment: str = "") -> Answer:
    """Show what was deployed, by whom, and how it went."""
    from ..deployment import journal
    from ..deployment.status import report_history

    with opened(env) as work:
        if deployment:
            record, _ = journal.find_deployment(work.database, deployment)
            return Answer(record, deployment_text(record))
        report = report_history(work.database)
    text = history_text(report.deployments, report.corrections)
    known = identity_text(report.identity, "") if report.identity else ""
    return Answer(report, "\n\n".join(part for part in (text, known) if part))
