"""What a revision runs beside its own text is approved with it: modules, data, env.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.engines.alembic.imports import closure
from tests.fix_alembic import AlembicProject

pytestmark = pytest.mark.attack

FIRST = "1a2b3c4d5e6f"


@pytest.mark.parametrize(
    "text",
    [
        "import helpers",
        "import helpers as h",
        "from helpers import drop",
        "import app.helpers",
        "from app import helpers",
        "from app.helpers import drop",
        "from .near import drop",
        "from . import near",
        "def upgrade():\n    import helpers",
        "if False:\n    pass\nelse:\n    from helpers import *",
        "import importlib\nimportlib.import_module('helpers')",
        "__import__('app.helpers')",
        "import between",
        "from pathlib import Path\nPath('data/seed.sql').read_text()",
        "open('near.sql')",
    ],
)
def test_a_module_is_found_however_it_is_imported(tmp_path: Path, text: str) -> None:
    files = {
        "versions/a.py": text,
        "helpers.py": "",
        "app/__init__.py": "",
        "app/helpers.py": "",
        "between.py": "import helpers",
        "versions/near.py": "",
        "versions/near.sql": "",
        "data/seed.sql": "",
        ".venv/pyvenv.cfg": "",
        ".venv/lib/helpers.py": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    found = {
        path.relative_to(tmp_path).as_posix()
        for path in closure([tmp_path / "versions" / "a.py"], [tmp_path])
    }

    wanted = {"helpers.py", "app/helpers.py", "versions/near.py", "versions/near.sql"}
    assert found & (wanted | {"data/seed.sql"})
    assert not any(name.startswith(".venv") for name in found)


def test_a_helper_that_was_changed_after_the_plan_refuses(
    alembic: Callable[..., AlembicProject],
) -> None:
    made = alembic("error_events")
    helper = made.backend / "tables.py"
    helper.write_text("NAME = 'note'\n")
    (made.versions.parent / "data.csv").write_text("1\n")
    made.revision(
        "second",
        FIRST,
        'from tables import NAME; op.add_column("error_events", sa.Column(NAME, sa.Text()))',
        'op.drop_column("error_events", "note")',
    )
    ran = made.project.run("plan", "--env", "uat", "--out", "plan.json")
    assert ran.code == 0, ran.err
    assert "tables.py, sha256:" in ran.out
    helper.write_text("NAME = 'evil'\n")
    (made.versions.parent / "data.csv").write_text("2\n")
    (made.versions / "more.sql").write_text("drop table error_events;")

    ran = made.project.run("deploy", "--env", "uat", "--plan", "plan.json", "--yes")

    assert ran.code == 3, ran.err
    for words in ("tables.py was edited", "data.csv was edited", "more.sql is new"):
        assert words in ran.error()[0]
