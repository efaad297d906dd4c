"""What each engine says of a migration, in its tool's own words."""

from pathlib import Path

import pytest

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.engines.alembic.engine import open_alembic
from pgwindlass.engines.prisma.engine import open_prisma
from pgwindlass.engines.sql.engine import open_sql
from pgwindlass.plan.pending import RefusalTexts
from tests.unit.examples import A

pytestmark = pytest.mark.unit


def names(engine: str, root: Path) -> RefusalTexts:
    """Return the names of an engine, whose files are in db."""
    if engine == "sql":
        return open_sql(MigrationsConfig(directory="db"), root).names
    if engine == "prisma":
        return open_prisma(MigrationsConfig(engine="prisma", directory="db"), root).names
    for name in ("alembic.ini", "python"):
        (root / name).touch()
    config = MigrationsConfig(engine="alembic", ini="alembic.ini", python="python")
    return open_alembic(config, root).names


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("sql", f"{A} is applied and has no file"),
        ("prisma", f"{A} is applied and has no file"),
        ("alembic", f"{A} is applied and has no file (Can't locate revision identified by '{A}')"),
    ],
)
def test_a_migration_without_a_file_is_told_in_the_tools_own_words_too(
    tmp_path: Path, engine: str, told: str
) -> None:
    assert names(engine, tmp_path).no_file(A) == told


@pytest.mark.parametrize(("engine", "code"), [("sql", ""), ("prisma", "P3009: "), ("alembic", "")])
def test_what_the_tool_itself_failed_at_has_its_code(
    tmp_path: Path, engine: str, code: str
) -> None:
    assert names(engine, tmp_path).failed(A) == (
        f"{code}{A} failed when the tool itself ran it, and is not resolved"
    )


@pytest.mark.parametrize(
    ("engine", "place"),
    [
        ("sql", f"db/{A}_rollback.sql"),
        ("prisma", f"db/{A}/rollback.sql"),
        ("alembic", f"the downgrade() of revision {A}"),
    ],
)
def test_the_place_of_a_rollback_script_is_its_engines(
    tmp_path: Path, engine: str, place: str
) -> None:
    assert names(engine, tmp_path).rollback_script(A) == place
