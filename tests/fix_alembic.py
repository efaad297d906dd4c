"""Real Alembic projects, each in a directory of its own, with the real CLI in its own Python."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests import warm
from tests.fix_postgres import Server
from tests.kit import ROOT, Project, Ran

Make = Callable[..., "AlembicProject"]
FIRST = "1a2b3c4d5e6f"  # the revision of guide 000
PYTHON = ROOT / ".servers" / "alembic" / "bin" / "python"
PROJECTS = Path(__file__).with_name("projects")
MIGRATIONS = """\
migrations:
  engine: alembic
  ini: backend/alembic.ini
  python: {python}
  url_variable: {variable}
"""


@dataclass
class AlembicProject:
    """A project whose migrations are Alembic's."""

    project: Project

    @property
    def backend(self) -> Path:
        return self.project.home / "backend"

    @property
    def versions(self) -> Path:
        return self.backend / "alembic" / "versions"

    def revision(self, name: str, after: str | None, upgrade: str, downgrade: str = "pass") -> str:
        """Write a revision whose functions have these lines."""
        up, down = ("\n    ".join(text.splitlines()) for text in (upgrade, downgrade))
        (self.versions / f"{name}_test.py").write_text(
            f'"""{name} of a test"""\n'
            "import sqlalchemy as sa\nfrom alembic import op\n\n"
            f"revision = {name!r}\ndown_revision = {after!r}\n"
            "branch_labels = None\ndepends_on = None\n\n\n"
            f"def upgrade() -> None:\n    {up}\n\n\n"
            f"def downgrade() -> None:\n    {down}\n"
        )
        return name

    def set(self, text: str, instead: str) -> None:
        """Change deploy.yml."""
        written = self.project.deploy_yml.read_text()
        assert text in written
        self.project.deploy_yml.write_text(written.replace(text, instead))

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `alembic …` for real."""
        url = self.project.url
        written = (self.backend / "alembic.ini").read_text()
        there = url.replace("postgresql://", "postgresql+psycopg://").replace("%", "%%")
        (self.backend / "by-hand.ini").write_text(
            written.replace("driver://user:pass@localhost/dbname", there)
        )
        return subprocess.run(
            [str(PYTHON), "-m", "alembic", "-c", "by-hand.ini", *arguments],
            cwd=self.backend,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "DATABASE_URL": url, "TODO_DATABASE": url},
            stdin=subprocess.DEVNULL,
        )

    def sql(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL in the database and return the rows."""
        with psycopg.connect(self.project.url) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def heads(self) -> list[str]:
        """Return what stands in Alembic's own table."""
        rows = self.sql("select version_num from alembic_version order by 1")
        return [str(row[0]) for row in rows]

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types."""
        rows = self.sql(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute where attnum > 0 "
            f"and not attisdropped and attrelid = '{table}'::regclass"
        )
        return {str(name): str(kind) for name, kind in rows}


@pytest.fixture(scope="session")
def warm_alembic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that is the Python of an Alembic project, forked from a warm one.

    Alembic and SQLAlchemy take a second to import; a hundred of our children begin in one run.
    """
    path = warm.start(str(PYTHON), "tests.warm_alembic")
    return warm.write_launcher(tmp_path_factory.mktemp("alembic") / "python", path)


@pytest.fixture
def alembic(
    tmp_path: Path, database16: Database, server16: Server, warm_alembic: Path
) -> Callable[..., AlembicProject]:
    """Return a function that copies one of the projects, on a database that has nothing."""

    def make(name: str, *, variable: str = "DATABASE_URL") -> AlembicProject:
        home = tmp_path / name
        made = project_of(name, home, database16, variable=variable, python=warm_alembic)
        made.project.set_backups(f'throwaway: "{server16.url()}"')
        # In a sandbox the launcher would not reach the warm Python.
        made.project.env["WINDLASS_SANDBOX"] = "off"
        return made

    return make


def project_of(
    name: str,
    home: Path,
    database: Database,
    *,
    variable: str = "DATABASE_URL",
    python: Path = PYTHON,
) -> AlembicProject:
    """Copy one of the projects into a directory that is not there yet."""
    project = Project(home, database.url.reveal())
    (project.home / "migrations").rmdir()
    shutil.copytree(PROJECTS / name / "backend", project.home / "backend")
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text + MIGRATIONS.format(python=os.path.relpath(python, project.home), variable=variable)
    )
    return AlembicProject(project)


def states(made: AlembicProject) -> dict[str, str]:
    """Return the state of each revision, as `status` says it."""
    migrations = made.project.json("status", "--env", "uat")["migrations"]
    return {migration["name"]: migration["state"] for migration in migrations}


def done(made: AlembicProject, *arguments: str, **more: str) -> Ran:
    """Run a task that must succeed."""
    ran = made.project.run(*arguments, **more)
    assert ran.code == 0, ran.err
    return ran


def deploy(made: AlembicProject) -> Ran:
    return done(made, "deploy", "--env", "uat", "--yes")


@pytest.fixture
def events(alembic: Make) -> AlembicProject:
    """The project of guide 000, deployed, with a second revision that is pending."""
    made = alembic("error_events")
    done(made, "migrate", "--env", "dev")
    made.revision(
        "second",
        FIRST,
        'op.add_column("error_events", sa.Column("note", sa.Text()))',
        'op.drop_column("error_events", "note")',
    )
    return made
