"""What a Python caller needs. `import pgwindlass` offers all of it, imported on first use.

Nothing here asks a person: calling the function is the yes. Policy holds all the
same: a deployment from Python finds and uses up an approval as one from the terminal does.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import config
from .backfill.progress import BackfillState
from .backup.retention import Backup
from .config import Config, Settings
from .deployment import backfills, backups, proposals, restores, resuming, rights, swaps
from .deployment import pause as pauses
from .deployment.chains import ChainReport, verify_chain
from .deployment.events import recording
from .deployment.orders import Request
from .deployment.proposals import PlanReport
from .deployment.restores import RestoreReport
from .deployment.rights import GrantsReport
from .deployment.status import StatusReport, report_status
from .deployment.work import Reporter, Work, open_work
from .errors import ConfigError
from .model import Deployment, Pause, Plan
from .origin import new_deployment_id
from .report.silent import Silent
from .secret import remember_environment


def load(path: str | Path = "deploy.yml") -> Config:
    """Read a `deploy.yml`. Each environment is checked when it is opened.

    Args:
        path: the file; relative paths in it start at its directory.

    Returns:
        The configuration; `names` are its environments.

    Raises:
        ConfigError: there is no such file, or it is no strict YAML mapping.

    """
    return config.load(Path(path))


@contextmanager
def open_environment(
    source: Config | Settings,
    name: str = "",
    *,
    reporter: Reporter | None = None,
    show_queries: bool = False,
) -> Iterator[Work]:
    """Open an environment for as long as the block. Every other function takes it.

    An embedded database runs as long as the block.

    Args:
        source: what `load` returned; or one environment of it, `config.environment(name, ...)`,
            with variables that are not those of this process.
        name: the environment, where `source` is a configuration.
        reporter: is told what happens while it happens; None: no one is.
        show_queries: show the queries of sessions that block a migration to the reporter; they
            may hold personal data.

    Yields:
        The opened environment.

    Raises:
        ConfigError: there is no such environment, or a key, type or variable is wrong.

    """
    remember_environment(os.environ)
    with open_work(
        _settings(source, name),
        deployment_id=new_deployment_id(datetime.now(UTC)),
        reporter=reporter or Silent(),
        show_queries=show_queries,
    ) as work:
        yield work


def _settings(source: Config | Settings, name: str) -> Settings:
    if isinstance(source, Config):
        return source.environment(name)
    if name not in ("", source.name):
        raise ConfigError(
            f"the settings are those of {source.name}, not of {name}",
            next_step="leave the name out, or pass the whole configuration",
        )
    return source


def status(environment: Work) -> StatusReport:
    """Return the state of an environment: its migrations, its lock, its last deployment.

    Reads only, and what it reads of the database is of one moment.

    Args:
        environment: by `open_environment`.

    Returns:
        The report. `migrations` has a state for each migration that is on disk or in the history.

    Raises:
        Unreachable: the database does not answer, or does not let us in.
        LockTimeout: a table whose definition is read stayed locked.
        ConfigError: a migration file cannot be read.

    """
    return report_status(environment)


def make_plan(environment: Work, *, rehearse: bool = False) -> PlanReport:
    """Return exactly what a deployment would do now. Reads only.

    Args:
        environment: by `open_environment`.
        rehearse: rehearse it on a restored copy first, as a deployment would.

    Returns:
        The report. `plan` is what `deploy` takes, `digest` is what an approval is of.

    Raises:
        Refused: something that is applied does not fit the files, or the rehearsal says no.
        Unreachable: the database does not answer, or does not let us in.

    """
    return proposals.report_plan(environment, rehearse=rehearse)


def deploy(
    environment: Work,
    plan: Plan | None = None,
    *,
    digest: str | None = None,
    break_glass: str = "",
) -> Deployment:
    """Deploy: backup, migrate, restart, smoke test, by the environment's policy.

    Args:
        environment: by `open_environment`.
        plan: one that was looked at before, of `make_plan`; None: made now.
        digest: the digest that the plan must have; None: any.
        break_glass: the reason to leave out approval and rehearsal; it is recorded.

    Returns:
        The record, as the journal has it; `id` is what `rollback` takes.

    Raises:
        Refused: policy says no; nothing was changed.
        NotApproved: an approval is asked for, and none of exactly this plan counts.
        PlanChanged: the database or the files are not what was planned; nothing was run.
        LockHeld: another deployment is running.
        StepFailed: a step failed; what ran before it stays.
        RolledBack: a step failed, and what can be undone was undone.
        Interrupted: Ctrl-C.

    """
    work = _renewed(environment)
    with recording(work, "deploy"):
        proposal = proposals.propose_deployment(
            work, plan=plan, digest=digest, break_glass=break_glass
        )
        return proposals.carry_out(work, proposal)


def rollback(  # noqa: PLR0913  # four of them exclude each other
    environment: Work,
    *,
    name: str = "",
    deployment: str = "",
    to: str = "",
    steps: int = 0,
    force: bool = False,
    lossy: bool = False,
) -> Deployment:
    """Undo migrations by their rollback scripts; give exactly one of the first four.

    Args:
        environment: by `open_environment`.
        name: one applied migration.
        deployment: the id of a deployment: all that it applied.
        to: an applied migration that stays: all after it are undone.
        steps: how many of the newest to undo.
        force: also where a later migration that stays touches the same tables.
        lossy: also where values of before are not brought back.

    Returns:
        The record of the rollback, which is a deployment with the direction "down".

    Raises:
        ConfigError: none or several of the four are given.
        Refused: what is named is not applied, has no rollback script, or others build on it; or
            its rollback loses values of before.
        StepFailed: a step failed; what ran before it stays.

    """
    work = _renewed(environment)
    with recording(work, "rollback"):
        proposal = proposals.propose_rollback(
            work, name=name, deployment=deployment, to=to, steps=steps, force=force, lossy=lossy
        )
        return proposals.carry_out(work, proposal)


def resume(environment: Work) -> Deployment | object | None:
    """Go on with what a run left unfinished, forward or backward, as it began.

    Args:
        environment: by `open_environment`.

    Returns:
        The record of the run that went on; of a restore or a correction what that task returns;
        None where nothing is unfinished.

    Raises:
        Refused: a file, a setting or the history has changed since it began.
        StepFailed: a step failed; its state says what stands.
        RolledBack: what was begun is taken back.
        Interrupted: Ctrl-C.

    """
    work = _renewed(environment)
    if (rest := resuming.propose(work)) is not None:
        return rest.carry_out().document
    proposal = proposals.propose_resume(work)
    return None if proposal is None else proposals.carry_out(work, proposal)


def take_backup(environment: Work) -> Backup:
    """Take a backup, verify it, and prune old ones by `backups.keep`.

    Args:
        environment: by `open_environment`.

    Returns:
        The backup with its proof; `manifest.id` is what `restore` takes.

    Raises:
        LockHeld: a deployment is running.
        StepFailed: there is no store, or the backup is not complete, and is removed.

    """
    work = _renewed(environment)
    with recording(work, "backup"):
        return backups.take(work).backup


def restore(
    environment: Work,
    which: str = "latest",
    *,
    into: str = "",
    tables: tuple[str, ...] = (),
    at_most_older: timedelta | None = None,
    owners: bool = True,
) -> RestoreReport:
    """Restore a backup into a new database and verify it.

    Without `into` and `tables` it then takes the place of the live database, which is kept aside.

    Args:
        environment: by `open_environment`.
        which: a backup's id.
        into: a new database's name, or the URL of an empty one, without a password.
        tables: restore the rows of these alone, such as "orders" or "sales.orders".
        at_most_older: refuse an older backup.
        owners: give every object to its owner; else the user owns all objects.

    Returns:
        What was restored, and under which name the old live database is kept; empty: none is.

    Raises:
        ConfigError: there is no such backup, or the URL holds a password.
        Refused: the backup is too old, or the database is not empty, or its server is none that
            deploy.yml names.
        NotApproved: an approval is asked for, and none of exactly this restore counts.
        StepFailed: it was not restored; what was created for it is dropped again.

    """
    given = {"from": which, "into": into, "tables": ",".join(tables)}
    if at_most_older is not None:
        given["at-most-older"] = f"{at_most_older / timedelta(milliseconds=1):.0f}ms"
    arguments = {name: value for name, value in given.items() if value}
    if not owners:
        arguments["no-owner"] = ""
    work = _renewed(environment)
    request = Request(verb="restore", arguments=arguments)
    if (done := swaps.ended(work, request)) is not None:
        return restores.report_of(done)
    with recording(work, "restore"):
        return restores.run_restore(work, restores.propose_restore(work, request))


def grants(environment: Work, roles: str = "", *, owner: str = "") -> GrantsReport:
    """Return the SQL that gives each role what its job needs, and no more. Reads only.

    Args:
        environment: by `open_environment`.
        roles: which, and their names, such as "plan,backup=reader"; empty: migrate, plan, backup
            and restore, named DATABASE_JOB.
        owner: the role that owns the tables; empty: the owner of the database.

    Returns:
        The report. `grants` has the statements of each role, in the order they are to be run.

    Raises:
        ConfigError: there is no such role, or a name cannot be one's.
        Refused: the owner does not exist, or is a superuser.

    """
    return rights.report_grants(environment, roles, owner)


def verify_history(environment: Work) -> ChainReport:
    """Recompute the chain of events, and compare it with the journal and the store's copy.

    Reads only.

    Args:
        environment: by `open_environment`.

    Returns:
        The report. `broken` says the first place that does not fit; empty: nothing speaks against
        the history.

    Raises:
        Unreachable: the database does not answer, or does not let us in.
        Refused: one of Windlass's tables is not to be believed.

    """
    return verify_chain(environment)


def pause(environment: Work, reason: str, *, within: timedelta | None = None) -> Pause:
    """Let nothing be deployed or corrected; rollback and restore stay possible. Recorded.

    Args:
        environment: by `open_environment`.
        reason: why.
        within: how long; None: until somebody lifts it.

    Returns:
        The pause, as everybody who is refused reads it.

    Raises:
        ConfigError: there is no reason.
        Refused: the database is another environment's.
        LockHeld: a deployment is running, and Windlass's tables are of an older version.

    """
    work = _renewed(environment)
    with recording(work, "pause"):
        return pauses.pause(work, reason, within=within)


def lift_pause(environment: Work, reason: str) -> Pause | None:
    """Lift the pause, recorded.

    Args:
        environment: by `open_environment`.
        reason: why.

    Returns:
        What it was; None: there was none.

    Raises:
        ConfigError: there is a pause, and no reason to lift it.
        Refused: the database is another environment's.

    """
    work = _renewed(environment)
    with recording(work, "resume"):
        return pauses.lift(work, reason)


def run_backfills(environment: Work, name: str = "") -> tuple[BackfillState, ...]:
    """Run the backfills that deployments left as jobs, to their end. Recorded.

    Args:
        environment: by `open_environment`.
        name: of a migration; empty: each whose backfill is open.

    Returns:
        How each ended; one that a person paused meanwhile is open still.

    Raises:
        Refused: one is paused, a deployment is not finished, or a file is another one.
        LockHeld: a deployment is running.
        StepFailed: a row cannot be changed, or a verify script does not hold.

    """
    work = _renewed(environment)
    with recording(work, "backfill.run"):
        return backfills.run(work, name)


def _renewed(work: Work) -> Work:
    """Return the environment with a deployment id of its own, which one record alone may have."""
    identifier = new_deployment_id(datetime.now(UTC))
    database = replace(work.database, deployment_id=identifier)
    return replace(work, deployment_id=identifier, database=database)
