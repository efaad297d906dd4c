"""The check of a change of the migrations before its merge: `invoke check`. Nothing live.

The base's migrations are read from git and run on an empty throwaway database; then each new one
is run, undone and rerun there, and the definitions compared with those of before.
"""

import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import psycopg

from .. import git
from ..config.sections import MigrationsConfig, SandboxSetting
from ..database.retry import Terms
from ..engines import Engine, open_checkout, open_engine
from ..errors import ChildFailed, ConfigError, StepFailed, WindlassError
from ..lint.severity import graded, listed
from ..model import Checked, Finding, Migration, PullRequestCheck
from ..parser.roles import named_roles
from ..plan.pending import in_running_order, order_problems
from ..postgres import embedded, roles, throwaway
from ..secret import Secret
from . import sets, together
from .copy import COPIED, Attempt, Copy, Definitions, Stage, clients_for, one_line

GIT_WITHIN = 120.0  # seconds; a checkout of a large repository
FAILED: dict[Stage, str] = {
    "apply": "does not run",
    "undo": "its rollback does not run",
    "again": "does not run a second time",
}


def check_pull_request(
    root: Path,
    config: MigrationsConfig,
    base: str,
    *,
    server: Secret | None = None,
    sandboxed: SandboxSetting = "auto",
) -> PullRequestCheck:
    """Return what is to say of the migrations at `root` that the commit `base` has not.

    Reads git, and runs a PostgreSQL. Verify scripts are not run: they are for a database with
    rows in it.

    Args:
        root: the directory of deploy.yml, in a git repository.
        config: what deploy.yml says of the migrations.
        base: the commit that this is merged into, in git's words: origin/main, HEAD^1.
        server: the URL of a throwaway server; None: the newest embedded one.
        sandboxed: whether the embedded one runs in a sandbox: where it can, always or never.

    Raises:
        ConfigError: git does not know `base`, or a migration here cannot be read.
        StepFailed: there is no server, or the base's own migrations do not run.

    """
    engine = open_engine(config, root, server=server)
    on_disk = engine.files.list()
    commit, of_base = _migrations_at(root, config, base)
    known = {migration.name for migration in of_base}
    new = in_running_order(migration for migration in on_disk if migration.name not in known)
    problems = order_problems(of_base, on_disk, config)
    shared = tuple(migration for migration in on_disk if migration.name in known)
    where, findings, migrations = _on_a_server(engine, server, sandboxed, shared, new)
    return PullRequestCheck(
        base=base,
        commit=commit,
        applied=len(shared),
        server=where,
        problems=problems,
        findings=findings,
        migrations=migrations,
    )


def _migrations_at(
    root: Path, config: MigrationsConfig, base: str
) -> tuple[str, tuple[Migration, ...]]:
    """Return the commit that `base` names, and its migrations."""
    try:
        commit = git.read(
            root,
            "rev-parse",
            "--verify",
            "--end-of-options",
            f"{base}^{{commit}}",
            within=GIT_WITHIN,
        )
    except ChildFailed as error:
        raise ConfigError(
            f"git does not know the commit {base} here: {error.stderr.strip() or error.what}",
            next_step="fetch it (git fetch origin main; fetch-depth: 0 in a workflow), or name "
            "another one: invoke check --base REF",
        ) from error
    with git.checked_out(root, commit, within=GIT_WITHIN) as copy:
        engine = open_checkout(config, copy, tools=root)
        return commit, engine.files.list() if engine else ()


def _on_a_server(
    engine: Engine,
    configured: Secret | None,
    sandboxed: SandboxSetting,
    shared: tuple[Migration, ...],
    new: tuple[Migration, ...],
) -> tuple[str, tuple[Finding, ...], tuple[Checked, ...]]:
    """Build the base's schema on a throwaway server, and try the new migrations there."""
    runner = roles.checker(
        named_roles(text for migration in (*shared, *new) for text in _texts(migration))
    )
    needs = throwaway.Needs(
        server_version=embedded.NEWEST * 10_000, extensions=(), roles=runner.roles
    )
    with throwaway.copied(needs, configured, sandboxed=sandboxed) as (server, admin):
        clone = server.clone(admin, runner)
        database = clone.database
        copy = Copy(
            database=database,
            admin=admin,
            lacks=("more rights than an owner's",),
            engine=engine,
            clients=clients_for(admin),
            options=COPIED,
            verifies=False,
        )
        engine.history.prepare(database)
        for migration in shared:
            _build(copy, migration)
        findings = database.read("lint", lambda connection: engine.files.lint(new, connection))
        return server.name, listed(graded(findings, None)), tuple(_try_each(copy, new))


def _texts(migration: Migration) -> tuple[str, ...]:
    return (migration.sql, migration.rollback or "")


def _build(copy: Copy, migration: Migration) -> None:
    try:
        copy.apply(migration)
    except (WindlassError, psycopg.Error) as error:
        raise StepFailed(
            f"{migration.name} of the base does not run on an empty database: {one_line(error)}",
            state="tried on a throwaway server; nothing else was touched",
            next_step="make the base's migrations build its schema from nothing; where they need "
            "an extension, name a server that has it: throwaway: URL under backups in deploy.yml",
        ) from error


def _try_each(copy: Copy, new: tuple[Migration, ...]) -> Iterator[Checked]:
    """Yield what came of each; what builds on one that failed is not tried."""
    failed, what = "", "failed"
    now: Definitions = copy.definitions()
    for members, back in together.sets(new, lambda migration: migration.rollback is not None):
        began = time.monotonic()
        attempts = () if failed else sets.attempt_set(copy, members, now, back=back)
        seconds = round((time.monotonic() - began) / len(members), 3)
        for migration, attempt in zip_longest(members, attempts):
            if attempt is None:
                reason = f"not tried, because {failed} {what}"
                because = (reason, "") if what == "failed" else ("", reason)
                yield _checked(copy, migration, 0.0, *because)
                continue
            untried = copy.not_tried(attempt)
            if back and not (attempt.undone or attempt.failed):
                untried = "its rollback comes behind one that failed"
            yield _checked(copy, migration, seconds, "" if untried else _problem(attempt), untried)
            if attempt.failed:
                failed, what = migration.name, "could not be tried" if untried else "failed"
            now = attempt.after


def _problem(attempt: Attempt) -> str:
    """Say what is wrong with a migration; empty where nothing is."""
    if attempt.differences:
        return f"its rollback does not give the schema back: {'; '.join(attempt.differences)}"
    if attempt.failed is None or attempt.error is None:
        return ""
    return f"{FAILED[attempt.failed]}: {one_line(attempt.error)}"


def _checked(
    copy: Copy, migration: Migration, seconds: float, problem: str, untried: str = ""
) -> Checked:
    return Checked(
        name=migration.name,
        title=migration.title,
        phase=migration.phase,
        transactional=migration.transactional,
        rollback=migration.rollback is not None,
        irreversible=migration.irreversible,
        seconds=seconds,
        problem=problem,
        untried=untried,
        sql=copy.engine.files.render(migration, "up", Terms()),
    )
