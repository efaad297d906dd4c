"""One migration on disk and the engine that runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.engines import Engine, open_engine
from pgwindlass.model import Migration

NAME = "20260801_000000_a"

Write = Callable[..., tuple[Engine, Migration]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write one migration and return the engine and the migration."""

    def make(sql: str, rollback: str = "", verify: str = "") -> tuple[Engine, Migration]:
        directory = tmp_path / "migrations"
        directory.mkdir(exist_ok=True)
        (directory / f"{NAME}.sql").write_text(sql)
        for extra, text in (("_rollback", rollback), ("_verify", verify)):
            if text:
                (directory / f"{NAME}{extra}.sql").write_text(text)
        engine = open_engine(MigrationsConfig(), tmp_path)
        return engine, engine.files.list()[0]

    return make
