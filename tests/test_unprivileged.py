"""Each engine as the owner of the database, who is no superuser, with a sandbox and without one."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg import sql

from pgwindlass import bubblewrap
from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests.fix_alembic import project_of
from tests.fix_postgres import Server
from tests.kit import Project

REHEARSED = "    lock: {timeout: [100ms, 200ms], wait: 3s}\n  production:"


@pytest.fixture
def owned(server16: Server, new_database: Callable[[Server], Database]) -> Iterator[Database]:
    """Return a database that a role without any attribute owns, as that role."""
    database, owner = new_database(server16), sql.Identifier(f"owner_{secrets.token_hex(6)}")
    name = sql.Identifier(database.name)
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login").format(owner))
        connection.execute(sql.SQL("alter database {} owner to {}").format(name, owner))
    role = owner.as_string().strip('"')
    yield replace(database, url=Secret(database.url.reveal().replace("postgres@", f"{role}@")))
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(name))
        connection.execute(sql.SQL("drop role {}").format(owner))


def written(engine: Literal["sql", "prisma", "alembic"], home: Path, owned: Database) -> Project:
    """Write a project of each kind, whose acceptance rehearses what it deploys."""
    if engine == "alembic":
        project = project_of("error_events", home, owned).project
    else:
        project = Project(home, owned.url.reveal(), engine=engine)
        project.migration(
            "20260801_000000_orders",
            "create table orders (id int primary key);\ninsert into orders values (1);",
            "drop table orders;",
        )
    text = project.deploy_yml.read_text()
    asked = REHEARSED.replace("\n", "\n    steps: {rehearsal: required}\n", 1)
    project.deploy_yml.write_text(text.replace(REHEARSED, asked, 1))
    return project


@pytest.mark.sampled(6)
@pytest.mark.parametrize("boxed", [True, False], ids=["in a sandbox", "without one"])
@pytest.mark.parametrize("engine", ["sql", "prisma", "alembic"])
def test_an_owner_who_is_no_superuser_rehearses_deploys_drills_and_rolls_back(
    tmp_path: Path, owned: Database, engine: Literal["sql", "prisma", "alembic"], boxed: bool
) -> None:
    if boxed and (why := bubblewrap.missing_reason()):
        pytest.skip(why)
    project = written(engine, tmp_path / "shop", owned)
    if not boxed:
        project.env = {"WINDLASS_SANDBOX": "off"}
        text = project.deploy_yml.read_text()
        project.deploy_yml.write_text(text.replace('backups"}', 'backups", sandbox: "off"}', 1))

    told = ""
    for arguments in (
        ("doctor", "--env", "uat"),
        ("deploy", "--env", "uat", "--yes"),
        ("status", "--env", "uat"),
        ("backup.drill", "--env", "uat"),
        ("rollback", "--env", "uat", "--steps", "1"),
    ):
        ran = project.run(*arguments, CONFIRM_ROLLBACK="yes")
        assert ran.code == 0, f"{arguments}\n{ran.out}{ran.err}"
        told += ran.out + ran.err

    assert "✓ rehearsal" in told
    assert ("in a sandbox" in told) == boxed, told
