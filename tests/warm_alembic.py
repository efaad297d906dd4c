"""Runs of a script in the Python of the Alembic projects, forked from one that has imported it all.

Started by the Python of the projects, which has nothing of Windlass.
"""

import importlib
import runpy
import sys
from pathlib import Path

from tests.warm import serve

IMPORTED = (
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.op",
    "alembic.runtime.environment",
    "alembic.script",
    "asyncpg",
    "psycopg",
    "psycopg2",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
)


def _script() -> int:
    """Run the script that sys.argv names, as Python itself would."""
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    serve(sys.argv[1], _script)
