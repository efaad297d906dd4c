"""What the smaller tasks do: one step alone, outside a deployment, with the same drivers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

import psycopg

from ci import backup as backups_
from ci import lock
from ci import rehearse as rehearsals
from ci.errors import ConfigError, StepFailed
from ci.facts import take_facts
from ci.model import Manifest, StepName
from ci.planning import current_plan
from ci.restarters import Running
from ci.steps import Work, store_of

if TYPE_CHECKING:
    from ci.smoke import SmokeReport


def backup(work: Work) -> Manifest:
    """Take a backup under the deployment lock, read it back, and return its manifest."""
    work.reporter.started(StepName.BACKUP)
    with lock.hold(work.database, wait=work.settings.environment.lock.wait.seconds):
        facts = take_facts(work.database, work.engine)
        manifest = backups_.take(
            work.database,
            store_of(work),
            environment=work.settings.name,
            deployment=work.deployment_id,
            applied=tuple(row.name for row in facts.history),
            now=lambda: datetime.now(UTC),
            progress=_bytes(work),
        )
    _verify(work, manifest, "rows")
    return manifest


def backups(work: Work) -> tuple[Manifest, ...]:
    """Return the environment's backups, newest first."""
    return backups_.manifests(store_of(work), environment=work.settings.name)


def verify_backup(work: Work, which: str, depth: str) -> tuple[Manifest, backups_.Verified]:
    """Read one backup back and return what was proven."""
    if depth not in ("checksum", "rows"):
        raise ConfigError(
            f'"{depth}" is no depth of a proof', next_step="--depth checksum or --depth rows"
        )
    work.reporter.started(StepName.PROOF)
    manifest = backups_.find(store_of(work), environment=work.settings.name, which=which)
    return manifest, _verify(work, manifest, cast("Literal['checksum', 'rows']", depth))


def _verify(
    work: Work, manifest: Manifest, depth: Literal["checksum", "rows"]
) -> backups_.Verified:
    return backups_.verify(
        manifest, store_of(work), depth=depth, clients=None, progress=_bytes(work)
    )


def restore(work: Work, which: str, into: str) -> backups_.Restored:
    """Restore a backup into a new database on the same server; the live one is not touched."""
    manifest = backups_.find(store_of(work), environment=work.settings.name, which=which)
    name = into or f"{work.database.name}_restored_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    work.reporter.started(StepName.BACKUP)
    target = backups_.create_database(work.database, name)
    return backups_.restore(manifest, store_of(work), target, clients=None, progress=_bytes(work))


def rehearse(work: Work) -> tuple[rehearsals.Rehearsed, ...]:
    """Rehearse the pending migrations on a copy restored from the newest backup."""
    plan = current_plan(work)
    reason = rehearsals.cannot(work.database, plan.target.server_version)
    if reason:
        raise StepFailed(
            f"no rehearsal: {reason}", state="nothing was changed",
            next_step="rehearse on an environment whose server the embedded one can stand in for",
        )  # fmt: skip
    manifest = backups_.find(store_of(work), environment=work.settings.name, which="latest")
    work.reporter.started(StepName.REHEARSAL)
    return rehearsals.rehearse(plan.migrations, manifest, store_of(work), work.engine, _bytes(work))


def restart(work: Work) -> Running:
    """Restart the service."""
    if work.restarter is None:
        raise _no_section(work, "restart")
    work.reporter.started(StepName.RESTART)
    return work.restarter.restart()


def smoke(work: Work) -> "SmokeReport":
    """Run the smoke tests."""
    from ci.smoke import run_checks  # requests takes 0.1 s to import

    checks = work.settings.environment.smoke
    if checks is None:
        raise _no_section(work, "smoke")
    work.reporter.started(StepName.SMOKE)
    return run_checks(
        checks, progress=lambda done, total: work.reporter.progress(done, total, "rounds")
    )


def verify(work: Work) -> int:
    """Run the verify scripts of what is applied, and return how many there are."""
    applied = {row.name for row in take_facts(work.database, work.engine).history}
    scripts = [m for m in work.engine.on_disk() if m.name in applied and m.verify is not None]

    def look(connection: psycopg.Connection) -> None:
        for migration in scripts:
            work.engine.verify(migration, connection)

    work.database.read("verify", look)
    return len(scripts)


def _bytes(work: Work) -> backups_.Progress:
    return lambda done, total: work.reporter.progress(done, total, "bytes")


def _no_section(work: Work, section: str) -> ConfigError:
    return ConfigError(
        f"{work.settings.where()}: environments.{work.settings.name}.{section}: missing",
        next_step=f"write a {section} section",
    )
