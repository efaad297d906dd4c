"""What runs in the project's Python: it finds there nothing but Alembic, SQLAlchemy and itself."""

import ast
import sys
from pathlib import Path

import pytest

from tests.unit.pure import CODE

pytestmark = pytest.mark.unit
FILES = sorted((CODE / "engines" / "alembic" / "child").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_imports_what_a_project_has_and_its_neighbours(file: Path) -> None:
    allowed = {*sys.stdlib_module_names, "alembic", "sqlalchemy"}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            root = (node.module or "").partition(".")[0]
            assert node.level == 1 if node.level else root in allowed
