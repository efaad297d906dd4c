"""A server as RDS has it: nobody is a superuser, and the roles are made by `invoke grants`."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import MAJORS, Server
from tests.kit import Project, Ran

TABLES = """
create table orders (id int generated always as identity primary key, total int);
insert into orders (total) select generate_series(1, 5);
create sequence tickets;
"""


@dataclass
class Cloud:
    """A database whose owner has no login, and the master user who is no superuser."""

    server: Server
    project: Project
    name: str  # of the database, and the beginning of every role's

    @property
    def owner(self) -> str:
        return f"{self.name}_owner"

    @property
    def master(self) -> str:
        return f"{self.name}_master"

    @property
    def app(self) -> str:
        return f"{self.name}_app"

    def role(self, job: str) -> str:
        return f"{self.name}_{job}"

    def url(self, role: str = "postgres", database: str = "") -> str:
        return self.server.url(database or self.name).replace("postgres@", f"{role}@")

    def sql(
        self, text: str, role: str = "postgres", database: str = ""
    ) -> list[tuple[object, ...]]:
        """Run SQL as a role; return the rows of the last statement."""
        with psycopg.connect(self.url(role, database), autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, job: str, *arguments: str, **more: str) -> Ran:
        """Run the program with the URL of a job's role."""
        return self.project.run(*arguments, DATABASE_URL=self.url(self.role(job)), **more)

    def grants(self, *arguments: str) -> str:
        """Return what `invoke grants` prints, asked as the master user."""
        env = {"DATABASE_URL": self.url(self.master)}
        ran = self.project.run("grants", "--env", "uat", *arguments, **env)
        assert ran.code == 0, ran.err
        return ran.out

    def apply(self, *arguments: str) -> None:
        """Run what `invoke grants` prints, as the master user."""
        self.sql(self.grants(*arguments), self.master)

    def drop(self) -> None:
        pattern = self.name + r"\_%"
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            names = connection.execute(
                "select datname from pg_database where datname = %s or datname like %s",
                (self.name, pattern),
            ).fetchall()
            for (name,) in names:
                connection.execute(
                    sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
                )
            roles = connection.execute(
                "select rolname from pg_roles where rolname like %s order by rolname like %s",
                (pattern, r"%\_master"),
            ).fetchall()
            for (name,) in roles:
                who = sql.Identifier(name)
                connection.execute(sql.SQL("drop owned by {} cascade").format(who))
            for (name,) in roles:
                who = sql.Identifier(name)
                connection.execute(sql.SQL("drop role {}").format(who))


def made(server: Server, home: Path) -> Cloud:
    """Make the master user, the owner, the application's role and the database."""
    name = f"g{secrets.token_hex(4)}"
    cloud = Cloud(server, Project(home, server.url(name)), name)
    cloud.sql(
        f"create role {cloud.master} login createdb createrole; "
        f"grant pg_signal_backend to {cloud.master} with admin option;"
        + (
            f"grant pg_read_all_data to {cloud.master} with admin option;"
            if server.major >= 14
            else ""
        ),
        database="postgres",
    )
    for text in (
        f"create role {cloud.owner}",
        f"create role {cloud.app} login",
        f"grant {cloud.owner} to {cloud.master}",
        f"create database {name} owner {cloud.owner}",
    ):
        cloud.sql(text, cloud.master, database="postgres")
    if server.major <= 14:
        cloud.sql(f"alter schema public owner to {cloud.owner}")
    with cloud.project.deploy_yml.open("a") as file:
        file.write(f"migrations: {{owners: [{cloud.owner}]}}\n")
    cloud.project.migration("20260801_000000_orders", TABLES, "drop table orders;")
    return cloud


@contextmanager
def granted(server: Server, home: Path) -> Iterator[Cloud]:
    """Such a database with the roles of `invoke grants`, and its first migration deployed."""
    cloud = made(server, home)
    try:
        cloud.apply()
        ran = cloud.run("migrate", "deploy", "--env", "uat", "--yes")
        assert ran.code == 0, ran.out + ran.err
        cloud.apply()
        yield cloud
    finally:
        cloud.drop()


@pytest.fixture(scope="module")
def cloud16(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """One on PostgreSQL 16, for all tests of a module: each gives back what it took."""
    with granted(servers(16), tmp_path_factory.mktemp("cloud") / "shop") as cloud:
        yield cloud


@pytest.fixture
def newest_cloud(servers: Callable[[int], Server], tmp_path: Path) -> Iterator[Cloud]:
    """One on the newest server."""
    with granted(servers(max(MAJORS)), tmp_path / "shop") as cloud:
        yield cloud
