"""The verbs of backups and restores: parse, call, print, exit. Holds no logic."""

from typing import TYPE_CHECKING, Any

from invoke.collection import Collection

from ..errors import ConfigError
from ..report import runner, summary
from ..report.backup import (
    backup_line,
    backups_text,
    pin_line,
    proof_line,
    prune_text,
    restore_text,
    restored_text,
    swapped_text,
)
from . import planned
from .task import Answer, at_most_one, names_of, opened, verb

if TYPE_CHECKING:
    from ..backup.retention import Choice
    from ..database.markers import Marker
    from ..deployment.backups import ProofReport
    from ..deployment.orders import Proposal, Request
    from ..deployment.work import Work

WHICH = "a backup's id (default: latest)"


@verb()
def backup(env: str = "") -> Answer:
    """Take a backup, verify it, and prune old ones."""
    from ..deployment import backups

    with opened(env, changes="backup") as work:
        report = backups.take(work)
    line = backup_line(report.backup)
    runner.tell(lambda run: summary.backup_page(report.backup, line, run.environment))
    return Answer(report.backup, line + report.pruned)


@verb()
def backup_list(env: str = "") -> Answer:
    """List the backups of an environment, newest first."""
    from ..deployment import backups

    with opened(env) as work:
        all_backups = backups.list_backups(work)
    return Answer(all_backups, backups_text(all_backups))


@verb(which=WHICH, level="checksum, rows or restore (default: rows)")
def backup_verify(env: str = "", which: str = "latest", level: str = "rows") -> Answer:
    """Prove a backup: read back, decoded and counted, or restored into a throwaway server."""
    from ..deployment import backups

    with opened(env) as work:
        report = backups.verify_backup(work, which, level)
    return _proven(report)


@verb(which=WHICH)
def backup_drill(env: str = "", which: str = "latest") -> Answer:
    """Restore a backup into a throwaway server, compare everything, and record the time."""
    from ..deployment import backups

    with opened(env) as work:
        report = backups.verify_backup(work, which, "restore")
    return _proven(report)


def _proven(report: "ProofReport") -> Answer:
    line = proof_line(report.backup, report.proof)
    runner.tell(lambda run: summary.proof_page(report.backup, report.proof, line, run.environment))
    return Answer(report, line)


@verb(**planned.FLAGS)
def backup_prune(
    env: str = "",
    out: str = "",
    plan: str = "",
    digest: str | None = None,
    wait_for_approval: str = "",
    *,
    dry_run: bool = False,
) -> Answer:
    """Remove the backups that no rule of backups.keep wants; only proven ones count."""
    from ..deployment import keeping

    with opened(env, changes="" if dry_run or out else "backup.prune") as work:
        asked = planned.request("backup.prune", env, {}, plan=plan, digest=digest)
        proposal = keeping.propose_prune(work, asked)
        choices = proposal.found
        text = prune_text(choices, dry_run=True)
        answer = planned.shown(
            work, proposal, text, document=_choices(choices), out=out, dry_run=dry_run
        )
        if answer is not None:
            return answer
        planned.wait(work, proposal, wait_for_approval)
        choices = keeping.prune(work, proposal)
    return Answer(_choices(choices), prune_text(choices, dry_run=False))


def _choices(choices: "tuple[Choice, ...]") -> list[dict[str, object]]:
    return [{"backup": choice.backup.manifest.id, "reasons": choice.reasons} for choice in choices]


@verb(
    "which",
    which="a backup's id",
    reason="why; it is recorded",
    release="take the pin away",
    **planned.FLAGS,
)
def backup_keep(
    which: str,
    env: str = "",
    reason: str = "",
    out: str = "",
    plan: str = "",
    digest: str | None = None,
    wait_for_approval: str = "",
    *,
    release: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Pin a backup, so that no rule removes it."""
    from ..deployment import keeping

    with opened(env, changes="" if dry_run or out else "backup.keep") as work:
        given: dict[str, str | bool] = {"which": which, "reason": reason, "release": release}
        asked = planned.request("backup.keep", env, given, plan=plan, digest=digest)
        proposal = keeping.propose_pin(work, asked)
        text = "\n".join(proposal.plan.correction.changes if proposal.plan.correction else ())
        document = {"changes": text.splitlines()}
        answer = planned.shown(work, proposal, text, document=document, out=out, dry_run=dry_run)
        if answer is not None:
            return answer
        planned.wait(work, proposal, wait_for_approval)
        report = keeping.pin(work, proposal)
    return Answer(report, pin_line(report.backup, report.pin))


@verb(
    from_="a backup's id (default: latest)",
    into="a new database's name, or the URL of an empty one (default: the live one's place)",
    tables="restore the rows of these alone, with commas between them; never swapped",
    at_most_older="refuse a backup older than this, such as 24h",
    no_owner="make everything this user's, where the owners are missing (default: no)",
    as_superuser="let the archive's SQL run as this user, also where that is a superuser "
    "(default: no)",
    swap="put this restored database in place of the live one",
    drop_old="drop the databases that earlier restores put aside",
    leaves="subscriptions and replication slots that stay with the database put aside",
    **planned.FLAGS,
)
def restore(  # a flag each
    env: str = "",
    from_: str = "",
    into: str = "",
    tables: str = "",
    at_most_older: str = "",
    swap: str = "",
    leaves: str = "",
    out: str = "",
    plan: str = "",
    digest: str | None = None,
    wait_for_approval: str = "",
    *,
    no_owner: bool = False,
    as_superuser: bool = False,
    drop_old: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Restore a backup into a new database, verify it, and put it in place of the live one."""
    from ..deployment import restores, swaps

    at_most_one(drop_old=drop_old, swap=swap, into=into)
    given: dict[str, str | bool] = {
        "from": from_,
        "into": into,
        "tables": _tables(tables),
        "at-most-older": at_most_older,
        "swap": swap,
        "leaves": leaves,
        "no-owner": no_owner,
        "as-superuser": as_superuser,
        "drop-old": drop_old,
    }
    with opened(env, changes="" if dry_run or out else "restore") as work:
        asked = planned.request("restore", env, given, plan=plan, digest=digest)
        if not (dry_run or out) and (done := swaps.ended(work, asked)) is not None:
            return _ended(env, asked, done)
        if asked.has("drop-old"):
            return _drop_old(work, asked, out=out, wait=wait_for_approval, dry_run=dry_run)
        if asked.has("swap"):
            return _swap(work, asked, out=out, wait=wait_for_approval, dry_run=dry_run)
        proposal = restores.propose_restore(work, asked)
        order = proposal.found
        text = restore_text(order.plan)
        answer = planned.shown(work, proposal, text, document=order.plan, out=out, dry_run=dry_run)
        if answer is not None:
            return answer
        if order.plan.swap or order.target is not None:
            _confirm(work, proposal, text, what="the restore")
        planned.wait(work, proposal, wait_for_approval)
        report = restores.run_restore(work, proposal)
    text = restored_text(env, report.restored, report.kept)
    outputs = {
        "backup": order.plan.backup,
        "database": report.restored.database,
        "kept": report.kept,
    }
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, outputs))
    return Answer(report, text)


def _ended(env: str, asked: "Request", done: "Marker") -> Answer:
    from ..deployment import restores, swaps

    text = swapped_text(env, done.get("kept"))
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, {"kept": done.get("kept")}))
    report = swaps.report_of(done) if asked.has("swap") else restores.report_of(done)
    return Answer(report, text)


def _tables(text: str) -> str:
    if text and not names_of(text):  # none would be all tables, in place of the live database
        raise ConfigError("--tables names no table", next_step="--tables orders,customers")
    return text


def _confirm(work: "Work", proposal: "Proposal[Any]", text: str, *, what: str) -> None:
    planned.confirm_unapproved(work, proposal, text, what=what, variable="CONFIRM_RESTORE")


def _swap(work: "Work", asked: "Request", *, out: str, wait: str, dry_run: bool) -> Answer:
    from ..deployment import swaps

    env, restored = work.settings.name, asked.get("swap")
    proposal = swaps.propose_swap(work, asked)
    text = f"{restored} takes the place of {work.database.name}, which is kept aside"
    document = {"swap": restored}
    answer = planned.shown(work, proposal, text, document=document, out=out, dry_run=dry_run)
    if answer is not None:
        return answer
    _confirm(work, proposal, text, what="the restore")
    planned.wait(work, proposal, wait)
    report = swaps.swap(work, proposal)
    text = swapped_text(env, report.kept)
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, {"kept": report.kept}))
    return Answer(report, text)


def _drop_old(work: "Work", asked: "Request", *, out: str, wait: str, dry_run: bool) -> Answer:
    from ..deployment import swaps

    proposal = swaps.propose_drop(work, asked)
    text = "\n".join(f"{name}  {size:,} bytes" for name, size in proposal.found)
    document = {"dropped": tuple(name for name, _ in proposal.found)}
    answer = planned.shown(work, proposal, text, document=document, out=out, dry_run=dry_run)
    if answer is not None:
        return answer
    _confirm(work, proposal, text, what="dropping them")
    planned.wait(work, proposal, wait)
    return Answer({"dropped": swaps.drop_databases(work, proposal)}, text)


backup_tasks = Collection("backup")
backup_tasks.add_task(backup, name="take", default=True)
backup_tasks.add_task(backup_list, name="list")
backup_tasks.add_task(backup_verify, name="verify")
backup_tasks.add_task(backup_drill, name="drill")
backup_tasks.add_task(backup_prune, name="prune")
backup_tasks.add_task(backup_keep, name="keep")
