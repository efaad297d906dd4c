"""Nothing outside a driver knows which driver it has, and every registry names them all."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from pgwindlass.config import sections
from pgwindlass.engines import HISTORIES
from pgwindlass.engines.alembic.history import AlembicHistory
from pgwindlass.engines.prisma.engine import HISTORY as PRISMA
from pgwindlass.engines.sql.engine import HISTORY as SQL
from pgwindlass.stores import Scheme
from tests.kit import ROOT

CI = ROOT / "ci"
KINDS = ("engines", "stores", "approvals", "restarters")
CONFIGS = {
    kind.__name__: kind.__struct_config__.tag
    for union in (sections.ApprovalConfig, sections.RestartConfig)
    for kind in get_args(union)
}
ENGINES = get_args(sections.MigrationsConfig.__annotations__["engine"])
NAMES = {*ENGINES, *Scheme, *CONFIGS.values()}
TABLES = ("schema_migrations", "_prisma_migrations", "alembic_version")
NO_DRIVER = {"restarters.several"}  # several members of a service, each by its own driver
WRITTEN = {CI / "config" / "sections.py"}  # what deploy.yml may say, kind by kind


def outside() -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module that is no driver."""
    for path in sorted(CI.rglob("*.py")):
        if path.relative_to(CI).parts[0] not in KINDS and path not in WRITTEN:
            yield path, ast.parse(path.read_text())


def compared(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what is compared, or matched."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.MatchValue):
            yield node.value


def told_apart(tree: ast.Module) -> Iterator[str]:
    """Yield the names of classes that something is told apart by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            yield from re.findall(r"\w+", ast.unparse(node.args[1]))
        elif isinstance(node, ast.MatchClass):
            yield from re.findall(r"\w+", ast.unparse(node.cls))


def test_no_module_is_written_for_one_driver() -> None:
    imported, asked, named = [], [], []
    for path, tree in outside():
        where = path.relative_to(CI)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, _, driver = node.module.partition(".")
                if driver and package in KINDS and node.module not in NO_DRIVER:
                    imported.append(f"{where}: {node.module}")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named += [f"{where}:{node.lineno}: {t}" for t in TABLES if t in node.value]
        asked += [f"{where}: {name}" for name in told_apart(tree) if name in CONFIGS]
        asked += [
            f"{where}:{node.lineno}: {node.value}"
            for each in compared(tree)
            for node in ast.walk(each)
            if isinstance(node, ast.Constant)
            if isinstance(node.value, str) and node.value in NAMES
        ]

    assert (imported, asked, named) == ([], [], [])


def test_the_tables_of_a_history_are_its_drivers() -> None:
    assert {SQL.name, PRISMA.name} < set(TABLES)
    assert AlembicHistory.tables == ()  # where it is, env.py says
    assert {SQL, PRISMA} < set(HISTORIES)
    assert {table.name for table in HISTORIES} == set(TABLES)


@pytest.mark.timeout(300)
def test_mypy_sees_a_driver_that_a_registry_forgot(tmp_path: Path) -> None:
    """Each registry without its first case, in one run of mypy."""
    shadows: list[str] = []
    for kind in KINDS:
        source = ROOT / ".venv" / "types" / "pgwindlass" / kind / "__init__.py"
        text, (first, second) = source.read_text(), _first_two_cases(source.read_text())
        shadow = tmp_path / f"{kind}.py"
        shadow.write_text(text[:first] + text[second:])
        shadows += ["--shadow-file", str(source), str(shadow)]

    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", f"--cache-dir={tmp_path}/cache"]
        + shadows
        + [f".venv/types/pgwindlass/{kind}/__init__.py" for kind in KINDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    for kind in KINDS:
        assert re.search(
            rf'{kind}/__init__.py:\d+: error: Argument 1 to "assert_never"', ran.stdout
        )


def _first_two_cases(text: str) -> tuple[int, int]:
    """Return where the first two cases begin."""
    first, second, *_ = (found.start() for found in re.finditer(r"^        case ", text, re.M))
    return first, second
