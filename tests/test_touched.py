"""Which files were written since a moment, by a time that no program can set."""

import os
from pathlib import Path

import pytest

from pgwindlass.engines.alembic.touched import Moment, installed_packages, written_since


def moment(directory: Path) -> Moment:
    """Return this moment, when it is over."""
    now = Moment.now(directory)
    while Moment.now(directory) == now:
        pass
    return now


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("app/models.py", True),
        ("app/models.so", True),
        ("alembic.ini", True),
        (".env", True),
        ("sitecustomize.py", True),
        ("new/package/__init__.py", True),
        ("app/data.json", False),
        (".git/hook.py", False),
        ("app/__pycache__/models.cpython-311.pyc", False),
        ("lib/python3/site-packages/a.pth", True),
        ("lib/python3/site-packages/a/__pycache__/b.cpython-311.pyc", True),
    ],
)
def test_what_a_python_reads_counts(tmp_path: Path, name: str, counts: bool) -> None:
    (tmp_path / "old.py").touch()
    began = moment(tmp_path)
    assert written_since(began, [tmp_path]) is None

    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (0, 0))

    assert written_since(began, [tmp_path]) == (file if counts else None)


def test_what_is_put_in_place_by_a_rename_or_a_link_counts(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").touch()
    (tmp_path / "other.txt").touch()
    began = moment(tmp_path)

    (tmp_path / "elsewhere.txt").rename(tmp_path / "models.py")
    assert written_since(began, [tmp_path]) == tmp_path / "models.py"
    (tmp_path / "models.py").unlink()
    (tmp_path / "package").symlink_to(tmp_path / "other.txt")
    assert written_since(began, [tmp_path]) == tmp_path / "package"


def test_a_directory_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert written_since(Moment.now(tmp_path), [tmp_path / "none"]) is None


def test_the_packages_of_a_virtual_environment_are_found_by_its_python(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)

    assert installed_packages(tmp_path / "bin" / "python") == (packages,)
