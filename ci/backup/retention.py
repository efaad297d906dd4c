"""Which backups stay and which may go. Pure: nothing here reads or deletes anything.

Only verified backups count: where new ones fail, or cannot be read, the old ones stay.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..config.sections import KeepConfig
from ..model import LEVELS, Manifest, Pin, Proof, ProofLevel

FLOOR = 2  # verified backups that stay, whatever the rules say

# Two backups of one period have the same label; the newest of a period is the one that stays.
PERIODS: dict[str, Callable[[datetime], str]] = {
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: f"{at:%G-W%V}",  # ISO 8601: a week belongs to the year of its Thursday
    "monthly": lambda at: f"{at:%Y-%m}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup with all that lies beside its manifest."""

    manifest: Manifest
    proofs: tuple[Proof, ...] = ()
    pin: Pin | None = None

    @property
    def level(self) -> ProofLevel | None:
        """The highest level it was verified at; None: not yet."""
        levels = [proof.level for proof in self.proofs]
        return max(levels, key=LEVELS.index, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backup and why it stays; without a reason it may go."""

    backup: Backup
    reasons: tuple[str, ...]


def choose(
    backups: tuple[Backup, ...],
    keep: KeepConfig,
    *,
    needed: Mapping[str, str],
    system_identifier: str,
    now: datetime,
) -> tuple[Choice, ...]:
    """Return for each backup of one database why it stays, newest first.

    Args:
        backups: all of one database name in one environment.
        keep: the rules; a backup stays where any of them wants it.
        needed: backup ids that undo a deployment still in the history, and that deployment.
        system_identifier: of the server we deploy to; others' backups are never touched.
        now: the clock.

    """
    ordered = tuple(sorted(backups, key=_age, reverse=True))
    candidates = [b for b in ordered if b.manifest.system_identifier == system_identifier]
    verified = [b for b in candidates if b.level is not None]
    reasons: dict[str, list[str]] = {backup.manifest.key: [] for backup in ordered}
    for backup in ordered:
        why, manifest = reasons[backup.manifest.key], backup.manifest
        if backup.pin is not None:
            why.append(f"pinned by {backup.pin.by}: {backup.pin.reason}")
        if manifest.id in needed:
            why.append(f"undoes deployment {needed[manifest.id]}")
        if backup not in candidates:
            why.append(f"of another server, {manifest.system_identifier}: not ours to prune")
        elif backup.level is None and sum(_age(other) > _age(backup) for other in verified) < FLOOR:
            why.append(f"not proven, and fewer than {FLOOR} proven ones are newer")
    for backup, rule in _by_rules(verified, keep, now):
        reasons[backup.manifest.key].append(rule)
    retained = [backup for backup in verified if reasons[backup.manifest.key]]
    others = [backup for backup in verified if backup not in retained]
    for backup in others[: max(0, FLOOR - len(retained))]:
        reasons[backup.manifest.key].append(f"never fewer than {FLOOR}")
    return tuple(Choice(backup=b, reasons=tuple(reasons[b.manifest.key])) for b in ordered)


def _age(backup: Backup) -> tuple[datetime, str]:
    return backup.manifest.taken_at, backup.manifest.key


def _by_rules(verified: list[Backup], keep: KeepConfig, now: datetime) -> list[tuple[Backup, str]]:
    reasons = [(backup, f"last {keep.last}") for backup in verified[: keep.last]]
    for rule, label in PERIODS.items():
        newest: dict[str, Backup] = {}
        for backup in verified:
            newest.setdefault(label(backup.manifest.taken_at.astimezone(UTC)), backup)
        periods = list(newest.items())[: getattr(keep, rule)]
        reasons += [(backup, f"{rule} {period}") for period, backup in periods]
    since = now - timedelta(days=keep.days)
    if keep.days:
        recent = [backup for backup in verified if backup.manifest.taken_at >= since]
        reasons += [(backup, f"younger than {keep.days} days") for backup in recent]
    return reasons
