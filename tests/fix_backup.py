"""Backups as most tests want them: one pg_dump, no encryption, nobody watching."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from pgwindlass.backup import dump, stream
from pgwindlass.backup.restore import Restored, RestoreOptions, restore_backup
from pgwindlass.backup.verify import verify_backup
from pgwindlass.config.sections import BackupsConfig, MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.deployment.facts import take_facts
from pgwindlass.engines import open_engine
from pgwindlass.model import Manifest, Proof, ProofLevel
from pgwindlass.stores import Store
from tests.kit import ROOT

MOMENT = datetime(2026, 8, 3, 10, 15, tzinfo=UTC)
CONFIG = BackupsConfig(to="file:///unused")


def configured(**keys: Any) -> BackupsConfig:
    """Return the default configuration with some keys set."""
    return msgspec.structs.replace(CONFIG, **keys)


def silent(done: int, total: int | None) -> None:
    """Nobody watches."""


HISTORY = open_engine(MigrationsConfig(), ROOT).history


def planned_fingerprint(database: Database) -> str:
    """Return the fingerprint that a plan for this database has now."""
    return take_facts(database, HISTORY).schema_fingerprint


def take(
    database: Database,
    store: Store,
    config: BackupsConfig = CONFIG,
    *,
    deployment: str = "d1",
    at: datetime = MOMENT,
    former: Manifest | None = None,
    progress: stream.Progress = silent,
) -> Manifest:
    order = dump.Order(
        environment="uat",
        deployment=deployment,
        applied=("m1", "m2"),
        history=HISTORY.tables,
        former=former,
    )
    return dump.take(database, store, order, config, now=lambda: at, progress=progress)


def verify(
    manifest: Manifest,
    store: Store,
    config: BackupsConfig = CONFIG,
    *,
    level: ProofLevel = "rows",
    progress: stream.Progress = silent,
) -> Proof:
    return verify_backup(manifest, store, config, level=level, progress=progress)


def restore(
    manifest: Manifest,
    store: Store,
    target: Database,
    config: BackupsConfig = CONFIG,
    **wanted: Any,
) -> Restored:
    return restore_backup(
        manifest, store, target, config, progress=silent, wanted=RestoreOptions(**wanted)
    )
