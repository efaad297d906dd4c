"""The plan on a restored copy: applied, verified, rolled back, compared, applied again."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci import backup, embedded
from ci.database import Database
from ci.engines import Engine
from ci.errors import StepFailed
from ci.facts import take_facts
from ci.locktimeout import Terms
from ci.model import Manifest, Migration
from ci.stores import Store

EXTENSIONS = "select extname from pg_catalog.pg_extension"
CARRIED = frozenset({"plpgsql", "vector"})  # by the embedded server


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One migration on the copy. `rolled_back` is False where it has no rollback script."""

    name: str
    seconds: float
    rolled_back: bool


def cannot(database: Database, server_version: int) -> str:
    """Return why the embedded server cannot hold a copy of this database; empty where it can."""
    major = server_version // 10000
    if major not in embedded.MAJORS:
        known = " and ".join(str(m) for m in embedded.MAJORS)
        return f"the embedded server is PostgreSQL {known}; the target is {major}"
    found = database.read("facts", lambda c: {r[0] for r in c.execute(EXTENSIONS).fetchall()})
    if found - CARRIED:
        return f"the embedded server lacks {', '.join(sorted(found - CARRIED))}"
    return ""


def rehearse(
    migrations: tuple[Migration, ...],
    manifest: Manifest,
    store: Store,
    engine: Engine,
    progress: Callable[[int, int | None], None],
) -> tuple[Rehearsed, ...]:
    """Run the migrations on a throw-away copy restored from a backup; nothing of it is left.

    Raises:
        StepFailed: one does not apply, or a rollback script does not give the schema back.

    """
    with tempfile.TemporaryDirectory(prefix="windlass-") as name:
        Path(name).chmod(0o755)  # the server runs as another user when we are root
        major = manifest.server_version // 10000
        with embedded.running(Path(name) / "pg", major=major) as url:
            admin = Database(url=url, deployment_id="rehearsal")
            copy = backup.create_database(admin, "rehearsal")
            backup.restore(manifest, store, copy, clients=None, progress=progress)
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
