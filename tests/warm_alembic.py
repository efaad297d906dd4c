"""Runs of a script in the Python of the Alembic projects, forked from one that has imported it all.

Started by the Python of the projects, which has nothing of Windlass.
"""

import importlib
import runpy
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from tests.warm import ROOT, serve

CHILD = ROOT / "ci" / "engines" / "alembic" / "child" / "__main__.py"
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
    if sys.argv[0] == str(CHILD):
        exec(COMPILED, {"__name__": "__main__", "__file__": str(CHILD)})  # it has its modules
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def _import_child() -> CodeType:
    """Import the modules of Windlass's own script once, not in each fork; return its code."""
    code = compile(CHILD.read_bytes(), str(CHILD), "exec")
    names: dict[str, Any] = {"__name__": "child", "__file__": str(CHILD)}
    exec(code, names)
    names["load"]()
    importlib.import_module(f"{names['NAME']}.main")
    return code


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    COMPILED = _import_child()
    serve(sys.argv[1], _script)
