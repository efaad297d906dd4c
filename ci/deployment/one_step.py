"""What the smaller tasks do: one step alone, outside a deployment, with the same drivers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ..config import Settings
from ..database import lock, own_tables
from ..errors import ConfigError, Interrupted, Terminated, WindlassError, more
from ..model import Finding, Migration, Plan, Rehearsal, StepName, Unrecorded
from ..plan.pending import in_running_order
from ..rehearsal import existing
from ..restarters import Running
from ..restarters.several import Several
from . import facts, identity, pause, restarting, rolling, serving, steps, telling
from .planner import current_plan
from .rehearsals import rehearsal_of, rehearse_now
from .work import Work

if TYPE_CHECKING:
    from ..smoke import SmokeReport

LOCKED_WITHIN = 10.0  # seconds: a person waits for it, and a deployment may take hours


class Restarted(Running, frozen=True, kw_only=True):
    """What serves after a restart by hand, and the requests that it lost; None: none counted."""

    requests_asked: int | None = None
    requests_lost: int | None = None
    longest_gap: float | None = None  # seconds


def rehearse_pending(work: Work) -> Rehearsal | None:
    """Rehearse what a deployment would do now, on a copy; None: nothing is pending."""
    plan = current_plan(work)
    if not plan.migrations:
        return None
    work.reporter.started(StepName.REHEARSAL)
    return rehearse_now(plan, work)


def rehearse_as_planned(work: Work, plan: Plan) -> None:
    """Rehearse as a deployment would: not where policy has none; say why it is skipped.

    Raises:
        Refused: a lock was held for too long, or something unknown cannot be rehearsed.

    """
    if not plan.has(StepName.REHEARSAL):
        work.reporter.note(f"{plan.environment} rehearses nothing, by its policy")
        return
    work.reporter.started(StepName.REHEARSAL)
    outcome = steps.rehearse_plan(plan, work)
    work.reporter.note(outcome.reason if isinstance(outcome, steps.Skipped) else outcome.detail)


def lint_pending(work: Work) -> tuple[Finding, ...]:
    """Read the pending migrations for what is dangerous to the database as it is."""
    plan = current_plan(work)
    return facts.lint_findings(plan, work, rehearsal_of(plan, work.store))


def fix_pending(work: Work) -> tuple[Path, ...]:
    """Write what lint proposes in the place of pending migrations, and return the files.

    Applied ones are never touched: their texts are what ran.

    Raises:
        ConfigError: a migration cannot be taken apart, or is no file of SQL; nothing was written.

    """
    plan = current_plan(work)
    return work.database.read(
        "lint", lambda connection: work.engine.fix(plan.migrations, connection)
    )


def unrecorded(work: Work, migrations: tuple[Migration, ...]) -> tuple[Unrecorded, ...]:
    """Return the migrations that are not recorded and whose objects exist, compared."""
    ordered = in_running_order(migrations)
    untracked = existing.find_untracked(work.database, work.engine, ordered)
    return existing.compare_untracked(
        untracked, work.database, work.engine, work.settings.shared.backups
    )


def restart_service(work: Work) -> Restarted:
    """Restart the service, under the deployment lock and announced as a deployment's restart is.

    Raises:
        Refused: the database is another environment's, or the environment is paused.
        LockHeld: a deployment, or another restart, held the lock for all of the short wait.

    """
    if work.restarter is None:
        raise _no_section(work.settings, "restart")
    identity.require(work)
    pause.require_running(work)
    with _locked(work) as own:
        own.reporter.started(StepName.RESTART)
        own.watch.start(own.settings.environment.smoke)
        try:
            running, _ = rolling.restart(own, work.restarter)
        except WindlassError as error:
            told = _with_members(error, own)
            raise serving.with_losses(told, own.watch.stop()) from error
        except KeyboardInterrupt as error:
            raise _interrupted(error, own) from error
        finally:
            counted = own.watch.stop()
            rolling.forget(own)
    serving.warn_of_losses(work, counted)
    return Restarted(
        instance=running.instance,
        version=running.version,
        image=running.image,
        detail=f"{running.detail or 'restarted'}; {own.watch.words(counted)}",
        requests_asked=counted.asked if counted else None,
        requests_lost=counted.lost if counted else None,
        longest_gap=round(counted.longest_gap, 3) if counted else None,
    )


def _interrupted(error: KeyboardInterrupt, work: Work) -> Interrupted:
    """Return the error of a restart that was stopped: what serves then is read."""
    by_sigterm = isinstance(error, Terminated)
    return Interrupted(
        "stopped by SIGTERM" if by_sigterm else "stopped by Ctrl-C",
        state=f"the restart had begun; {telling.serves(work)}",
        next_step=f"invoke restart --env {work.settings.name} restarts it anew",
        by_sigterm=by_sigterm,
    )


def _with_members(error: WindlassError, work: Work) -> WindlassError:
    """Return an error that says which version runs on which member, where there are several."""
    if not isinstance(work.restarter, Several):
        return error
    told = rolling.stands(work, work.restarter)
    return more(error, told)


@contextmanager
def _locked(work: Work) -> Iterator[Work]:
    """Hold the deployment lock inside the block; what killed runs left running is over there."""
    wait = min(work.settings.environment.lock.wait.seconds, LOCKED_WITHIN)
    with lock.hold(
        work.database,
        wait=wait,
        on_wait=lambda holder: work.reporter.note(f"waiting for {holder}"),
    ) as held:
        own = replace(work, guard=held.guard, held=True)
        identity.require(own)
        pause.require_running(own)
        own_tables.prepare(own.database, own.terms())
        restarting.end_left(own)
        held.require()
        yield own


def run_smoke_tests(work: Work) -> "SmokeReport":
    """Run the smoke tests."""
    from ..smoke import run_checks  # requests takes 0.1 s to import

    checks = work.settings.environment.smoke
    if checks is None:
        raise _no_section(work.settings, "smoke")
    work.reporter.started(StepName.SMOKE)
    return run_checks(
        checks, progress=lambda done, total: work.reporter.progress(done, total, "rounds")
    )


def run_verify_scripts(work: Work) -> int:
    """Run the verify scripts of what is applied, and return how many there are."""
    applied = {row.name for row in work.database.read("history", work.engine.history.rows)}
    scripts = [m for m in work.engine.files.list() if m.name in applied and m.verify is not None]

    def look(connection: psycopg.Connection) -> None:
        for migration in scripts:
            work.engine.runner.verify(migration, connection)

    work.database.read("verify", look, own_session=True)
    return len(scripts)


def _no_section(settings: Settings, section: str) -> ConfigError:
    return ConfigError(
        f"environments.{settings.name}.{section}: missing",
        place=settings.where(),
        next_step=f"write a {section} section",
    )
