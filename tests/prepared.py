"""A project that many tests begin with: made once in a process, put back for each test."""

import copy
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from tests.fix_postgres import Server
from tests.kit import Project


class Prepared:
    """A project's directory and its database, which can be had again as they were.

    Both keep their names: what was recorded of them, and signed, stays true.
    """

    def __init__(self, project: Project, server: Server) -> None:
        self._project, self._server = project, server
        self._kept = project.home.with_name(f"{project.home.name}.kept")
        shutil.copytree(project.home, self._kept, symlinks=True)
        self._name = str(conninfo.conninfo_to_dict(project.url)["dbname"])
        self._template = f"of_{self._name}"
        self._execute("create database {} template {}", self._template, self._name)

    @contextmanager
    def again(self) -> Iterator[Project]:
        """Yield the project as it was; what belongs to it afterwards is dropped."""
        shutil.rmtree(self._project.home)
        shutil.copytree(self._kept, self._project.home, symlinks=True)
        self._drop(self._name)
        self._execute("create database {} template {}", self._name, self._template)
        project = copy.copy(self._project)
        project.env = dict(self._project.env)
        yield project
        for (name,) in self._databases():
            if name.startswith(f"{self._name}_"):
                self._drop(name)

    def close(self) -> None:
        """Drop the databases."""
        self._drop(self._name)
        self._drop(self._template)

    def _drop(self, name: str) -> None:
        self._execute("drop database if exists {} with (force)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _databases(self) -> list[tuple[str]]:
        with psycopg.connect(self._server.url(), autocommit=True) as admin:
            return admin.execute("select datname from pg_catalog.pg_database").fetchall()


@contextmanager
def prepared(
    home: Path, server: Server, make: Callable[[Path, str], Project]
) -> Iterator[Prepared]:
    """Make a project once, in a directory and with a database of its own."""
    name = f"t_{home.parent.name}".replace("-", "_")
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    ready = Prepared(make(home, server.url(name)), server)
    yield ready
    ready.close()
