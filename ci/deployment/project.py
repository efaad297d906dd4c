"""What is done to a project's migrations before any environment is asked."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg

from .. import recipes
from ..config import Config
from ..engines import open_engine
from ..lint import severity
from ..lint.fix import Trio
from ..model import Finding, PullRequestCheck
from ..recipes import live
from ..recipes.order import Order
from ..recipes.shape import Shape
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


def create_recipe(work: Work, order: Order, *, dry_run: bool = False) -> tuple[Trio, ...]:
    """Write the migrations of a recipe for a table as an environment's database has it.

    Args:
        work: the environment whose database is asked; it is read, and not changed.
        order: what was asked for.
        dry_run: nothing is written.

    Returns:
        the migrations, in running order.

    Raises:
        ConfigError: the recipe cannot be made for this table, or the engine has no files of SQL.

    """
    path = tuple(work.settings.shared.migrations.search_path)

    def read(connection: psycopg.Connection) -> Shape:
        return live.read_shape(connection, order.table, path)

    stages = recipes.stages(order.recipe, order, work.database.read("create", read))
    newest = max((migration.name for migration in work.engine.files.list()), default="")
    begin = recipes.first_stamp(newest, datetime.now(UTC))
    trios = recipes.trios(stages, begin)
    if not dry_run:
        work.engine.add(trios)
    return trios
