"""The plan on a restored copy: applied, verified, rolled back, compared, applied again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ci import backup, throwaway
from ci.config import BackupsConfig
from ci.database import Database
from ci.engines import Engine
from ci.errors import StepFailed
from ci.facts import take_facts
from ci.locktimeout import Terms
from ci.model import Manifest, Migration
from ci.stores import Store


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One migration on the copy. `rolled_back` is False where it has no rollback script."""

    name: str
    seconds: float
    rolled_back: bool


def rehearse(
    migrations: tuple[Migration, ...],
    manifest: Manifest,
    store: Store,
    config: BackupsConfig,
    engine: Engine,
    progress: Callable[[int, int | None], None],
) -> tuple[Rehearsed, ...]:
    """Run the migrations on a throw-away copy restored from a backup; nothing of it is left.

    Raises:
        StepFailed: one does not apply, or a rollback script does not give the schema back.

    """
    with (
        throwaway.running(manifest, config.throwaway) as server,
        throwaway.copy(server) as copy,
    ):
        backup.restore(manifest, store, copy, config, progress=progress)
        return tuple(_one(migration, copy, engine) for migration in migrations)


def _one(migration: Migration, copy: Database, engine: Engine) -> Rehearsed:
    before = take_facts(copy, engine).schema_fingerprint
    started = time.monotonic()
    _apply(migration, copy, engine)
    seconds = time.monotonic() - started
    if migration.rollback is None:
        return Rehearsed(migration.name, seconds, rolled_back=False)
    engine.undo(migration, copy, Terms())
    if take_facts(copy, engine).schema_fingerprint != before:
        raise StepFailed(
            f"{migration.name}: the rollback script does not give the schema back as it was",
            state="seen on the copy; nothing was changed in the database",
            next_step="compare pg_dump -s before the migration and after its rollback, and mend "
            f"{migration.name}_rollback.sql",
        )
    _apply(migration, copy, engine)
    return Rehearsed(migration.name, seconds, rolled_back=True)


def _apply(migration: Migration, copy: Database, engine: Engine) -> None:
    try:
        engine.apply(migration, copy, Terms())
    except StepFailed as error:
        raise StepFailed(
            error.what,
            state="seen on the copy; nothing was changed in the database",
            next_step=error.next_step,
        ) from error
