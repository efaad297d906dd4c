"""The verbs of backups and restores: parse, call, print, exit. Holds no logic."""

from typing import TYPE_CHECKING

from invoke.collection import Collection

from ..config import Settings
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
from .confirm import confirm
from .task import Answer, age_of, at_most_one, names_of, opened, verb

if TYPE_CHECKING:
    from ..deployment.backups import ProofReport
    from ..deployment.work import Work

WHICH = "a backup's id (default: latest)"


@verb()
def backup(env: str = "") -> Answer:
    """Take a backup, verify it, and prune old ones."""
    from ..deployment import backups

    with opened(env) as work:
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


@verb()
def backup_prune(env: str = "", *, dry_run: bool = False) -> Answer:
    """Remove the backups that no rule of backups.keep wants; only proven ones count."""
    from ..deployment import backups

    with opened(env) as work:
        choices = backups.prune(work, dry_run=dry_run)
    document = [
        {"backup": choice.backup.manifest.id, "reasons": choice.reasons} for choice in choices
    ]
    return Answer(document, prune_text(choices, dry_run=dry_run))


@verb("which", which="a backup's id", reason="why; it is recorded", release="take the pin away")
def backup_keep(which: str, env: str = "", reason: str = "", *, release: bool = False) -> Answer:
    """Pin a backup, so that no rule removes it."""
    from ..deployment import backups

    with opened(env) as work:
        if release:
            report = backups.unpin_backup(work, which)
        else:
            report = backups.pin_backup(work, which, reason)
    return Answer(report, pin_line(report.backup, report.pin))


@verb(
    from_="a backup's id (default: latest)",
    into="a new database's name, or the URL of an empty one (default: the live one's place)",
    tables="restore the rows of these alone, with commas between them; never swapped",
    at_most_older="refuse a backup older than this, such as 24h",
    no_owner="make everything this user's, where the owners are missing (default: no)",
    swap="put this restored database in place of the live one",
    drop_old="drop the databases that earlier restores put aside",
)
def restore(
    env: str = "",
    from_: str = "latest",
    into: str = "",
    tables: str = "",
    at_most_older: str = "",
    swap: str = "",
    *,
    no_owner: bool = False,
    drop_old: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Restore a backup into a new database, verify it, and put it in place of the live one."""
    from ..deployment import restores

    at_most_one(drop_old=drop_old, swap=swap, into=into)
    age = age_of("--at-most-older", at_most_older, example="24h") if at_most_older else None
    with opened(env) as work:
        if drop_old:
            return _drop_old(work, dry_run=dry_run)
        if swap:
            return _swap(work, swap, dry_run=dry_run)
        order = restores.plan_restore(
            work, from_, into=into, tables=_tables(tables), at_most_older=age
        )
        text = restore_text(order.plan)
        if dry_run:
            return Answer(order.plan, text)
        if order.plan.swap:
            _confirm(work.settings, text, what="the restore")
        report = restores.run_restore(work, order, owners=not no_owner)
    text = restored_text(env, report.restored, report.kept)
    outputs = {
        "backup": order.plan.backup,
        "database": report.restored.database,
        "kept": report.kept,
    }
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, outputs))
    return Answer(report, text)


def _tables(text: str) -> tuple[str, ...]:
    names = names_of(text)
    if text and not names:  # none would be all tables, in place of the live database
        raise ConfigError("--tables names no table", next_step="--tables orders,customers")
    return names


def _confirm(settings: Settings, text: str, *, what: str) -> None:
    confirm(settings, text, what=what, variable="CONFIRM_RESTORE")


def _swap(work: "Work", restored: str, *, dry_run: bool) -> Answer:
    from ..deployment import restores

    env = work.settings.name
    text = f"{restored} takes the place of {work.database.name}, which is kept aside"
    if dry_run:
        return Answer({"swap": restored}, text)
    _confirm(work.settings, text, what="the restore")
    report = restores.swap(work, restored)
    text = swapped_text(env, report.kept)
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, {"kept": report.kept}))
    return Answer(report, text)


def _drop_old(work: "Work", *, dry_run: bool) -> Answer:
    from ..deployment import restores

    databases = restores.old_databases(work.database, work.settings.name)
    text = "\n".join(f"{name}  {size:,} bytes" for name, size in databases)
    names = tuple(name for name, _ in databases)
    if not dry_run:
        _confirm(work.settings, text, what="dropping them")
        restores.drop_databases(work, names)
    return Answer({"dropped": names}, text)


backup_tasks = Collection("backup")
backup_tasks.add_task(backup, name="take", default=True)
backup_tasks.add_task(backup_list, name="list")
backup_tasks.add_task(backup_verify, name="verify")
backup_tasks.add_task(backup_drill, name="drill")
backup_tasks.add_task(backup_prune, name="prune")
backup_tasks.add_task(backup_keep, name="keep")
