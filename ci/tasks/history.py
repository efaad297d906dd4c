"""The verbs of the history: shown, and corrected by name."""

from collections.abc import Callable

from ..plan import leftovers
from ..report.backfill import backfills_text, open_lines
from ..report.deployment import (
    deployment_text,
    history_text,
    identity_text,
    readiness_text,
    status_exit,
    status_text,
    unrecorded_note,
)
from ..report.events import chain_text, stored_text
from . import planned
from .confirm import confirm_as
from .task import Answer, at_most_one, opened, span_of, verb


def _correction(verb_: str, doc: str) -> Callable[..., Answer]:
    """Return the body of a task that corrects the history."""

    def body(  # a flag each
        env: str = "",
        name: str = "",
        reason: str = "",
        out: str = "",
        plan: str = "",
        digest: str | None = None,
        wait_for_approval: str = "",
        *,
        dry_run: bool = False,
    ) -> Answer:
        from ..deployment import corrections

        with opened(env, changes="" if dry_run or out else verb_) as work:
            given: dict[str, str | bool] = {"name": name, "reason": reason}
            asked = planned.request(verb_, env, given, plan=plan, digest=digest)
            proposal = corrections.propose(work, asked)
            if not dry_run:
                corrections.require_reason(proposal.plan)
            changes = proposal.found
            text = _text(verb_, changes)
            answer = planned.shown(work, proposal, text, document=changes, out=out, dry_run=dry_run)
            if answer is not None:
                return answer
            planned.confirm_unapproved(
                work,
                proposal,
                text,
                what=f"{verb_} of {len(changes)} migrations",
                variable="CONFIRM_HISTORY",
            )
            planned.wait(work, proposal, wait_for_approval)
            changes = corrections.correct(work, proposal)
        return Answer(changes, _text(verb_, changes))

    body.__name__, body.__doc__ = verb_, doc
    return body


def _text(verb_: str, changes: tuple[object, ...]) -> str:
    return "\n".join(f"{verb_} {change}" for change in changes)


_CORRECTS = verb(
    name="a migration, or several with commas between them",
    reason="why; it is recorded",
    **planned.FLAGS,
)
stamp = _CORRECTS(_correction("stamp", "Record migrations as applied without running them."))
unstamp = _CORRECTS(_correction("unstamp", "Take migrations out of the history; undoes nothing."))
baseline = _CORRECTS(
    _correction("baseline", "Begin a history: all up to the named migration are applied already.")
)
repair = _CORRECTS(_correction("repair", "Accept an edited file as what ran; old and new shown."))


@verb(
    wait_until_applied="only wait until nothing that is on disk is pending, then exit 0; 3 where "
    "it still is: 10m (without a value: lock.wait)",
)
def status(env: str = "", wait_until_applied: str | bool = "") -> Answer:
    """Show applied, pending, edited, missing and out of order migrations; exits 0, 1 or 3."""
    from ..deployment import joining
    from ..deployment.status import report_status

    with opened(env) as work:
        if wait_until_applied:
            wait = work.settings.environment.lock.wait
            within = span_of("--wait-until-applied", wait_until_applied, wait)
            ready = joining.wait_until_applied(work, within=within)
            text = readiness_text(env, ready.waiting, str(within))
            return Answer(ready, text, 0 if ready.applied else 3)
        report = report_status(work)
    notes = (unrecorded_note(env, untracked) for untracked in report.unrecorded)
    text = status_text(
        env,
        report.migrations,
        *notes,
        report.models,
        report.note,
        *(leftovers.text(leftover, env) for leftover in report.leftovers),
        report.not_looked,
        report.drill,
        report.pause,
        report.identity,
        open_lines(env, report.backfills),
    )
    code = 3 if report.identity else status_exit(report.migrations, report.unrecorded)
    return Answer(report, text, code)


@verb(
    adopt="make the database this environment's, such as a copy of another's",
    reason="why; it is recorded",
    **planned.FLAGS,
)
def identity(  # a flag each
    env: str = "",
    reason: str = "",
    out: str = "",
    plan: str = "",
    digest: str | None = None,
    *,
    adopt: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Show what the database says it is, or make it this environment's; exits 3 if they differ."""
    from ..deployment import adoption
    from ..deployment import identity as identities
    from ..plan.identity import guarding

    with opened(
        env, changes="identity" if (adopt or plan) and not (dry_run or out) else ""
    ) as work:
        if not (adopt or plan):
            report = identities.report(work)
            text = identity_text(report.known, report.difference)
            return Answer(report, text, 3 if report.difference else 0)
        given: dict[str, str | bool] = {"adopt": adopt, "reason": reason}
        asked = planned.request("identity", env, given, plan=plan, digest=digest)
        proposal = adoption.propose_adoption(work, asked)
        report = proposal.found
        text = f"identity database: {report.known or 'nothing'} → {report.asked}"
        answer = planned.shown(work, proposal, text, document=report, out=out, dry_run=dry_run)
        if answer is not None:
            return answer
        guard = guarding(report.known, report.asked)
        if guard != report.asked:  # what it is now guards it, not what deploy.yml calls it
            confirm_as(guard.environment, guard.tier, text, what="the identity", variable="")
        else:
            planned.confirm_unapproved(
                work, proposal, text, what="the identity", variable="CONFIRM_HISTORY"
            )
        report = adoption.adopt(work, proposal)
    return Answer(report, text)


@verb(
    verify="recompute the chain of events, and compare it with the journal and the store's copy",
    from_store="show the events as the store has them; asks no database",
)
def history(
    env: str = "", deployment: str = "", *, verify: bool = False, from_store: bool = False
) -> Answer:
    """Show what was deployed, by whom, and how it went."""
    from ..deployment import chains, journal
    from ..deployment.status import report_history

    at_most_one(**{"deployment": deployment, "verify": verify, "from-store": from_store})
    with opened(env) as work:
        if from_store:
            stored = chains.report_stored(work)
            return Answer(stored, stored_text(stored), 1 if stored.broken else 0)
        with chains.pointing_at_the_store(work):
            if verify:
                chain = chains.verify_chain(work)
                return Answer(chain, chain_text(chain), 1 if chain.broken else 0)
            if deployment:
                record, _ = journal.find_deployment(work.database, deployment, env)
                return Answer(record, deployment_text(record))
            report = report_history(work.database)
    text = history_text(report.deployments, report.corrections)
    if report.backfills:
        text = f"{text}\n\n{backfills_text(env, report.backfills)}"
    known = identity_text(report.identity, "") if report.identity else ""
    return Answer(report, "\n\n".join(part for part in (text, known) if part))
