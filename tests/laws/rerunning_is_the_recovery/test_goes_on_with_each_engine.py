"""The same with Alembic and Prisma: how many are undone is the unit's, not the run's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_alembic import AlembicProject
from tests.forks import Forks
from tests.kit import Project

Applied = Callable[[], list[str]]


def of_prisma(tmp_path: Path, database: Database) -> tuple[Project, list[str], Applied]:
    project = Project(tmp_path / "shop", database.url.reveal(), engine="prisma")
    names = [
        project.migration(
            f"2026080{n}000000_t{n}", f"create table t{n} (n int);", f"drop table t{n};"
        )
        for n in range(1, 5)
    ]

    def applied() -> list[str]:
        query = "select migration_name from _prisma_migrations where rolled_back_at is null"
        with psycopg.connect(project.url) as connection:
            return sorted(row[0] for row in connection.execute(query).fetchall())

    return project, names, applied


def of_alembic(
    make: Callable[..., AlembicProject], names: tuple[str, ...] = ("aa01", "aa02", "aa03", "aa04")
) -> tuple[Project, list[str], Applied]:
    made, after = make("error_events"), None
    for file in made.versions.glob("*.py"):
        file.unlink()
    for name in names:
        made.revision(
            name,
            after,
            f"op.create_table('t_{name}', sa.Column('n', sa.Integer()))",
            f"op.drop_table('t_{name}')",
        )
        after = name

    def applied() -> list[str]:
        heads = made.heads()
        return list(names[: names.index(heads[0]) + 1]) if heads else []

    return made.project, list(names), applied


@pytest.mark.parametrize("engine", ["alembic", "prisma"])
def test_a_killed_run_is_gone_on_with(
    request: pytest.FixtureRequest, tmp_path: Path, warm: Forks, database16: Database, engine: str
) -> None:
    project, names, applied = (
        of_prisma(tmp_path, database16)
        if engine == "prisma"
        else of_alembic(request.getfixturevalue("alembic"))
    )

    def run(*argv: str, **more: Any) -> int:
        task, *flags = argv
        env = project.variables()
        (end,) = warm.run(task, "--env", "dev", *flags, cwd=project.home, env=env, **more)
        assert end["code"] in (0, -9), end["words"]
        return int(end["code"])

    assert run("migrate", "--steps", "3", at=f"after item {names[0]}") == -9
    assert applied() == names[:1]
    assert run("migrate", "--steps", "3") == 0
    assert applied() == names[:3]
    assert run("deploy", at=f"before item {names[3]}") == -9
    assert run("resume") == 0
    assert applied() == names

    assert run("rollback", "--steps", "2", at=f"after item {names[3]}") == -9
    assert applied() == names[:3]
    assert run("rollback", "--steps", "2") == 0
    assert applied() == names[:2]
    assert run("rollback", "--to", names[0], at=f"after item {names[1]}") == -9
    assert run("resume") == 0
    assert applied() == names[:1]
    assert run("resume") == 0  # nothing is unfinished
    assert applied() == names[:1]
