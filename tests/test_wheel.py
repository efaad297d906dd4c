"""What is shipped: sdist and wheel built, installed in an empty environment, and deployed with.

The repository it is installed for has a package `ci` of its own, as many have.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.version import __version__
from tests.kit import ROOT, tables

NAME = f"pgwindlass-{__version__}"
# What a build frontend calls: https://peps.python.org/pep-0517/
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools changes the list
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""
DEPLOY_YML = """\
project: shop
environments:
  dev: {tier: development, database: "${DATABASE_URL}"}
"""
OWN = '"""The repository\'s own."""\nOWNER = "the repository"\n'
WHERE = "import json, ci, pgwindlass; print(json.dumps([ci.OWNER, pgwindlass.__file__]))"


def ran(*argv: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program that has to succeed and return what it printed."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**bare(), **(env or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bare() -> dict[str, str]:
    """Return the environment without what names another Python."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


def files_of_the_package() -> list[str]:
    """Return the files of ci/ that git knows or would take, relative to ci/."""
    listed = ran("git", "ls-files", "-z", "-co", "--exclude-standard", "ci", cwd=ROOT)
    paths = (Path(name) for name in listed.split("\0") if name)
    return sorted(str(path.relative_to("ci")) for path in paths if (ROOT / path).is_file())


@dataclass(frozen=True)
class Built:
    """The artefacts: the wheel of the checkout, the sdist, and the wheel of the sdist."""

    wheel: Path
    sdist: Path
    again: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build in a copy, so that nothing is left in the checkout."""
    source, dist, again = (tmp_path_factory.mktemp(name) for name in ("source", "dist", "again"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in files_of_the_package():
        (source / "ci" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "ci" / name, source / "ci" / name)
    ran(sys.executable, "-W", "error", "-c", BUILD, dist, cwd=source)
    sdist = dist / f"{NAME}.tar.gz"
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", again, sdist, cwd=source)
    wheel = f"{NAME}-py3-none-any.whl"
    return Built(dist / wheel, sdist, again / wheel)


def pip(*argv: str | Path, cwd: Path) -> None:
    ran(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *argv, cwd=cwd)


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_the_wheel_has_every_file_of_the_package_and_no_top_level_ci(built: Built) -> None:
    shipped = names(built.wheel)

    assert {name.split("/")[0] for name in shipped} == {"pgwindlass", f"{NAME}.dist-info"}
    packaged = [name for name in shipped if name.startswith("pgwindlass/")]
    assert packaged == sorted(f"pgwindlass/{name}" for name in files_of_the_package())
    with zipfile.ZipFile(built.wheel) as archive:
        scripts = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert scripts == "[console_scripts]\nwindlass = pgwindlass.tasks:main\n"


def test_the_sdist_builds_the_same_wheel(built: Built) -> None:
    assert names(built.again) == names(built.wheel)
    with zipfile.ZipFile(built.again) as one, zipfile.ZipFile(built.wheel) as other:
        for name in one.namelist():
            assert one.read(name) == other.read(name), name
    with tarfile.open(built.sdist) as archive:
        assert f"{NAME}/LICENSE" in archive.getnames()


@dataclass(frozen=True)
class Installed:
    """A repository with a `ci` of its own, and the environment Windlass is installed in."""

    python: Path
    home: Path
    url: str

    def run(self, *argv: str) -> str:
        return ran(*argv, cwd=self.home, env={"DATABASE_URL": self.url})

    @property
    def windlass(self) -> str:
        return str(self.python.with_name("windlass"))

    def migration(self, name: str, sql: str) -> None:
        (self.home / "migrations" / f"{name}.sql").write_text(sql)
        (self.home / "migrations" / f"{name}_rollback.sql").write_text("select 1;")


@pytest.fixture(scope="module")
def python(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel of the sdist in an empty environment; what it needs comes by a path."""
    place = tmp_path_factory.mktemp("installed")
    ran(sys.executable, "-m", "venv", "--without-pip", place / "env", cwd=place)
    interpreter = place / "env" / "bin" / "python"
    pip("--python", interpreter, "install", "--no-deps", "--no-index", built.again, cwd=place)
    # Path files in a directory that is on the path by one are not read, so the editable
    # installation of the tests stays unseen.
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = ran(interpreter, "-c", where, cwd=place).strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A repository with a package `ci` of its own."""
    root = tmp_path / "shop"
    (root / "ci").mkdir(parents=True)
    (root / "ci" / "__init__.py").write_text(OWN)
    ran("git", "init", "--quiet", cwd=root)
    return root


@pytest.fixture
def installed(python: Path, home: Path, database16: Database) -> Installed:
    """That repository, set up by `windlass init`, with a database."""
    ran(python.with_name("windlass"), "init", cwd=home)
    (home / "deploy.yml").write_text(DEPLOY_YML)
    return Installed(python, home, database16.url.reveal())


def test_a_repository_with_a_ci_of_its_own_deploys_by_windlass_and_by_invoke(
    installed: Installed,
) -> None:
    tasks = installed.home / "tasks.py"
    assert "from pgwindlass.tasks import ns\n" in tasks.read_text()
    tasks.write_text("from ci import OWNER\n" + tasks.read_text() + "assert OWNER\n")

    installed.migration("20260801_000000_a", "create table a (id int primary key);")
    done = json.loads(installed.run(installed.windlass, "deploy", "--env", "dev", "--json"))
    installed.migration("20260802_000000_b", "create table b (id int primary key);")
    more = installed.run(str(installed.python), "-m", "invoke", "deploy", "--env", "dev")

    assert done["migrations"] == ["20260801_000000_a"]
    assert more.startswith("deployed in ")
    assert tables(installed.url) >= {"a", "b"}


def test_its_own_ci_is_imported_beside_the_installed_package(python: Path, home: Path) -> None:
    owner, place = json.loads(ran(python, "-c", WHERE, cwd=home))

    assert owner == "the repository"
    assert Path(place).is_relative_to(python.parent.parent)


def test_a_top_level_ci_in_the_wheel_would_not_be_found_there(
    python: Path, home: Path, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    shutil.copytree(ROOT / "ci", packages / "ci")

    def errors_of_the_import(cwd: Path) -> str:
        return subprocess.run(
            [python, "-c", "from ci.tasks import ns"],
            cwd=cwd,
            env={**bare(), "PYTHONPATH": str(packages)},
            capture_output=True,
            text=True,
            check=False,
        ).stderr

    assert errors_of_the_import(tmp_path) == ""
    assert "ModuleNotFoundError: No module named 'ci.tasks'" in errors_of_the_import(home)
