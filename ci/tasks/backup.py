"""The verbs of backups and restores: parse, call, print, exit. Holds no logic."""

import os
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context

from ..errors import ConfigError
from ..report import backup as backup_report
from ..report import runner, summary
from .task import Answer, ask, at_most_one, opened, verb

if TYPE_CHECKING:
    from ..deployment.work import Work
    from ..model import Origin, Proof

WHICH = "a backup's id (default: latest)"


@verb()
def backup(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Take a backup, read it back, and let old ones go."""
    from ..deployment import backups as safekeeping

    with opened(env) as work:
        taken = safekeeping.take(work)
    line = backup_report.backup_line(taken.backup)
    runner.tell(lambda run: summary.backup_page(taken.backup, line, run.environment))
    return taken.backup, line + taken.pruned


@verb()
def backup_list(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """List the backups of an environment, newest first."""
    from ..deployment import backups as safekeeping

    with opened(env) as work:
        found = safekeeping.listed(work)
    return found, backup_report.backups_text(found)


@verb(which=WHICH, level="checksum, rows or restore (default: rows)")
def backup_verify(
    c: Context,
    env: str = "",
    which: str = "latest",
    level: str = "rows",
    *,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Prove a backup: read back, decoded and counted, or restored into a throwaway server."""
    from ..deployment import backups as safekeeping

    with opened(env) as work:
        manifest, proof = safekeeping.verify(work, which, level)
    return _proven(manifest.id, proof)


@verb(which=WHICH)
def backup_drill(
    c: Context, env: str = "", which: str = "latest", *, json: bool = False, debug: bool = False
) -> Answer:
    """Restore a backup into a throwaway server, compare all of it, and record the time."""
    from ..deployment import backups as safekeeping

    with opened(env) as work:
        manifest, proof = safekeeping.verify(work, which, "restore")
    return _proven(manifest.id, proof)


def _proven(backup: str, proof: "Proof") -> Answer:
    line = backup_report.proof_line(backup, proof)
    runner.tell(lambda run: summary.proof_page(backup, proof, line, run.environment))
    return {"backup": backup, "proof": proof}, line


@verb()
def backup_prune(
    c: Context, env: str = "", *, dry_run: bool = False, json: bool = False, debug: bool = False
) -> Answer:
    """Remove the backups that no rule of backups.keep wants; only proven ones count."""
    from ..deployment import backups as safekeeping

    with opened(env) as work:
        choices = safekeeping.prune(work, dry_run=dry_run)
    document = [{"backup": one.backup.manifest.id, "reasons": one.reasons} for one in choices]
    return document, backup_report.prune_text(choices, dry_run=dry_run)


@verb("which", which="a backup's id", reason="why; it is recorded", release="take the pin away")
def backup_keep(
    c: Context,
    which: str,
    env: str = "",
    reason: str = "",
    *,
    release: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Pin a backup, so that no rule removes it."""
    from ..deployment import backups as safekeeping

    if not (release or reason.strip()):
        raise ConfigError("a pin needs a reason, for the record", next_step='--reason "why"')
    with opened(env) as work:
        if release:
            manifest = safekeeping.release(work, which)
            return {"backup": manifest.id, "pin": None}, f"{manifest.id}: pinned no more"
        manifest, pin = safekeeping.keep(work, which, reason.strip(), _origin(work))
    return {"backup": manifest.id, "pin": pin}, f"{manifest.id}: pinned, {pin.reason}"


def _origin(work: "Work") -> "Origin":
    from ..origin import find_origin

    return find_origin(work.settings.root)


@verb(
    from_="a backup's id (default: latest)",
    into="a new database's name, or the URL of an empty one (default: in the live one's place)",
    tables="restore the rows of these alone, with commas between them; never swapped",
    at_most_older="refuse a backup older than this, such as 24h",
    no_owner="make everything this user's, where the owners are missing (default: no)",
    swap="put this database, restored before, in the live one's place",
    drop_old="drop the databases that earlier restores put aside",
)
def restore(
    c: Context,
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
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Restore a backup into a new database, verify it, and put it in the live one's place."""
    from ..deployment import backups as safekeeping

    at_most_one(drop_old=drop_old, swap=swap, into=into)
    with opened(env) as work:
        if drop_old:
            return _drop_old(work, dry_run=dry_run)
        if swap:
            text = f"{swap} takes the place of {work.database.name}, which is kept aside"
            if dry_run:
                return {"swap": swap}, text
            _confirm(work, text, what="the restore")
            old = safekeeping.swap(work, swap, _origin(work), what=swap)
            text = backup_report.swapped_text(env, old)
            runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, {"kept": old}))
            return {"swap": swap, "kept": old}, text
        plan = safekeeping.plan_restore(
            work, from_, into=into, tables=tables, at_most_older=at_most_older
        )
        text = backup_report.restore_text(plan)
        if dry_run:
            return plan, text
        if plan.swap:
            _confirm(work, text, what="the restore")
        done, old = safekeeping.restore(
            work, plan, _origin(work), into=into, tables=tables, owners=not no_owner
        )
    text = backup_report.restored_text(env, done, old)
    outputs = {"backup": plan.backup, "database": done.database, "kept": old}
    runner.tell(lambda _: summary.text_page(f"Restored: {env}", text, outputs))
    return {"restored": done, "kept": old}, text


def _confirm(work: "Work", text: str, *, what: str) -> None:
    """Have somebody type the environment's name above development."""
    from ..plan import gate

    env, tier = work.settings.name, work.settings.tier
    typed = ask(f'{text}\n\n  Type "{env}": ') if tier != "development" else None
    gate.require_typed(
        env,
        tier,
        what=what,
        typed=typed,
        variable=os.environ.get("CONFIRM_RESTORE", ""),
        named="CONFIRM_RESTORE",
    )


def _drop_old(work: "Work", *, dry_run: bool) -> Answer:
    from ..deployment import backups as safekeeping

    found = safekeeping.old_ones(work)
    text = "\n".join(f"{name}  {size:,} bytes" for name, size in found)
    if not dry_run:
        _confirm(work, text, what="dropping them")
        safekeeping.drop_old(work, tuple(name for name, _ in found))
    return {"dropped": [name for name, _ in found]}, text


backups = Collection("backup")
backups.add_task(backup, name="take", default=True)
backups.add_task(backup_list, name="list")
backups.add_task(backup_verify, name="verify")
backups.add_task(backup_drill, name="drill")
backups.add_task(backup_prune, name="prune")
backups.add_task(backup_keep, name="keep")
