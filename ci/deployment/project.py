"""What is done to a project's migrations before any environment is asked."""

from pathlib import Path

from ..config import Config
from ..engines import open_engine
from ..lint import severity
from ..model import Finding, PullRequestCheck
from ..rehearsal import pull_request
from .work import Work


def lint_files(config: Config) -> tuple[Finding, ...]:
    """Return what is dangerous in all migrations, by their texts alone."""
    engine = open_engine(config.migrations(), config.root)
    return severity.graded(engine.files.lint(engine.files.list(), None), None)


def check_pull_request(config: Config, base: str) -> PullRequestCheck:
    """Try the migrations that a commit does not have, on its schema; see `pull_request.check`."""
    return pull_request.check_pull_request(
        config.root,
        config.migrations(),
        base,
        server=config.throwaway(),
        sandboxed=config.sandbox(),
    )


def create_migration(config: Config, name: str, *, merge: bool = False) -> tuple[Path, ...]:
    """Write a new, empty migration, or one that merges all heads, and return its files."""
    return open_engine(config.migrations(), config.root).create(name, merge=merge)


def create_from_models(work: Work, name: str) -> tuple[Path, ...]:
    """Write a migration of what the tool's models have and the database does not."""
    return work.engine.create(name, compared=work.database)
