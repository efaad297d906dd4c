"""Which backups stay, and the removal of the others, under the deployment lock."""

from collections.abc import Callable
from datetime import datetime

from ..backup import catalog, retention
from ..backup.prune import finish, remove_backups
from ..backup.retention import Choice
from ..config.sections import BackupsConfig
from ..database.connection import Database, read_target
from ..errors import ConfigError, Refused
from ..model import Manifest
from ..stores import Store
from . import journal


def prunable(
    database: Database,
    store: Store,
    config: BackupsConfig,
    *,
    environment: str,
    now: datetime,
) -> tuple[Choice, ...]:
    """Return for each backup of this database why it stays, newest first; without a reason it goes.

    The caller holds the deployment lock: a backup that is being verified elsewhere would look
    like one without a proof.

    Raises:
        ConfigError: deploy.yml does not say what to keep.
        Refused: the newest backup is not proven; while new ones fail, the old ones stay.

    """
    if config.keep is None:
        raise ConfigError(
            "backups.keep is missing: nothing is pruned",
            next_step="write keep: {last: 5, daily: 7, weekly: 4, monthly: 12} under backups",
        )
    target = database.read("prune", read_target)
    stored = catalog.backups(store, environment=environment, database=target.database)
    own_backups = [b for b in stored if b.manifest.system_identifier == target.system_identifier]
    if own_backups and own_backups[0].level is None:
        raise Refused(
            f"the newest backup, {own_backups[0].manifest.id}, is not proven: while new ones fail, "
            "the old ones stay",
            next_step=f"invoke backup.verify --env {environment}",
        )
    needed = {
        d.backup: d.id for d in journal.newest_deployments(database) if d.backup and d.migrations
    }
    return retention.choose(
        stored,
        config.keep,
        needed=needed,
        system_identifier=target.system_identifier,
        now=now,
    )


def prune(
    database: Database,
    store: Store,
    choices: tuple[Choice, ...],
    *,
    environment: str,
    done: Callable[[Manifest], None],
) -> int:
    """Remove what may go, and what a pruning that was cut off left; return how many went."""
    finished = finish(store, environment=environment, database=_database_name(database))
    for manifest in finished:
        done(manifest)
    removed = tuple(choice.backup for choice in choices if not choice.reasons)
    remove_backups(store, removed, done=done)
    return len(removed) + len(finished)


def _database_name(database: Database) -> str:
    return database.read("prune", read_target).database
