"""Backups, proofs and restores as text. Pure."""

from datetime import datetime, timedelta
from typing import Protocol

from ..backup.retention import Backup, Choice
from ..model import Pin, Proof
from .format import seconds

TABLES_SHOWN = 12  # of those that changed since a backup


class Restoring(Protocol):
    """What a restore is going to do."""

    @property
    def backup(self) -> str:
        """The backup's id."""
        ...

    @property
    def taken_at(self) -> datetime:
        """When it was taken."""
        ...

    @property
    def database(self) -> str:
        """The new database."""
        ...

    @property
    def swap(self) -> bool:
        """Whether it takes the live database's place."""
        ...

    @property
    def changed(self) -> tuple[tuple[str, int, int], ...]:
        """Tables whose number of rows differs: name, then, now."""
        ...

    @property
    def last_drill(self) -> Proof | None:
        """The newest proof by a restore."""
        ...


class Whole(Protocol):
    """A restore that is done."""

    @property
    def database(self) -> str:
        """What it was restored into."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def tables(self) -> int:
        """How many tables' rows were compared."""
        ...

    @property
    def rows(self) -> int:
        """How many rows they have."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What needs the rows of tables that were not restored."""
        ...


def backups_text(backups: tuple[Backup, ...]) -> str:
    """Return a line for each backup, newest first."""
    if not backups:
        return "no backup"
    return "\n".join(backup_line(backup) for backup in backups)


def backup_line(backup: Backup) -> str:
    """Return the line of a backup: what it is, its proof, whether it is pinned."""
    manifest = backup.manifest
    rows = sum(count for _, count in manifest.row_counts)
    proven = f"proven by {backup.level}" if backup.level else "not proven"
    extra = [f"{len(manifest.archives)} archives"] if len(manifest.archives) > 1 else []
    extra += ["encrypted"] if manifest.encrypted_for else []
    extra += [f"pinned: {backup.pin.reason}"] if backup.pin else []
    return (
        f"{manifest.id}  {manifest.database}  {manifest.size:>14,} bytes  "
        f"PostgreSQL {manifest.server_version // 10000}  "
        f"{rows:,} rows of {len(manifest.row_counts)} tables  " + ", ".join([proven, *extra])
    )


def prune_text(choices: tuple[Choice, ...], *, dry_run: bool) -> str:
    """Return for each backup why it stays, or that it goes."""
    goes = "would go" if dry_run else "removed"
    lines = [
        f"{choice.backup.manifest.id}  {'; '.join(choice.reasons) or goes}" for choice in choices
    ]
    count = sum(not choice.reasons for choice in choices)
    return "\n".join([*lines, f"{count} {goes}, {len(choices) - count} stay"])


def proof_line(backup: str, proof: Proof) -> str:
    """Return the proof of a backup."""
    where = f" into {proof.server}" if proof.server else ""
    counted = f", {proof.rows:,} rows of {proof.tables} tables" if proof.tables else ""
    return f"{backup}: proven by {proof.level}{where}{counted}, in {seconds(proof.seconds)}"


def pin_line(backup: str, pin: Pin | None) -> str:
    """Return whether a backup is pinned now, and why."""
    return f"{backup}: pinned, {pin.reason}" if pin else f"{backup}: pinned no more"


def restore_text(plan: Restoring) -> str:
    """Return what a restore will do, to be confirmed."""
    lines = [f"restore of backup {plan.backup}, taken {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC"]
    if plan.swap:
        lines.append(f"  into {plan.database}, verified, then in the place of the live database")
    else:
        lines.append(f"  into {plan.database}; the live database is not touched")
    if plan.last_drill is not None:
        drill = plan.last_drill
        lines.append(
            f"  the last drill restored {drill.rows:,} rows in {seconds(drill.seconds)}, "
            f"on {drill.at:%Y-%m-%d}"
        )
    if plan.changed:
        lines.append("  changed since, by the server's statistics:")
        lines += [
            f"    {name}: {then:,} rows then, about {now:,} now"
            for name, then, now in plan.changed[:TABLES_SHOWN]
        ]
        if len(plan.changed) > TABLES_SHOWN:
            lines.append(f"    and {len(plan.changed) - TABLES_SHOWN} more tables")
    return "\n".join(lines)


def restored_text(env: str, done: Whole, old: str) -> str:
    """Return what was restored, and what became of the live database."""
    took = seconds(done.seconds)
    lines = [f"restored into {done.database}: {done.rows:,} rows of {done.tables} tables in {took}"]
    lines += [f"  left out: {dependent}" for dependent in done.left_out]
    if old:
        lines.append(swapped_text(env, old))
    else:
        lines.append(
            f"  to replace the live database: invoke restore --env {env} --swap {done.database}"
        )
    return "\n".join(lines)


def swapped_text(env: str, old: str) -> str:
    """Return what became of the database that served before."""
    return (
        f"  it serves now; what served before is kept as {old}\n"
        f"  next: invoke status --env {env}; to drop the old one: "
        f"invoke restore --env {env} --drop-old"
    )


def drill_note(last: Proof | None, *, at_most: timedelta | None, now: datetime) -> str:
    """Return a warning where the last drill is older than the policy says; else nothing."""
    if at_most is None:
        return ""
    if last is None:
        return "no restore drill was ever run: invoke backup.drill"
    age = now - last.at
    if age <= at_most:
        return ""
    return (
        f"the last drill was {age.days} days ago, at most {at_most.days} are allowed: "
        "invoke backup.drill"
    )
