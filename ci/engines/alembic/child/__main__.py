"""Runs the package that lies in this directory, by a name that no module of a project has.

It is started as a file: that one is always compiled from its text. The directory leaves sys.path
first, because a project's own modules may have the names of ours.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

NAME = "windlass_child"
INSTALLED = ("alembic.autogenerate", "alembic.command", "alembic.config", "sqlalchemy")


def ignore_written_bytecode() -> None:
    """Let the project's modules be compiled from their texts: what was approved are the texts.

    A `.pyc` beside them with a fitting time and size would run instead, and git ignores it. So
    would one beside ours, where Windlass lies in the project.
    """
    places = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    installed = tuple(os.path.realpath(place) + os.sep for place in places)
    usual = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: Any, fullname: str) -> Any:
        path = os.path.realpath(loader.get_filename(fullname))
        if path.startswith(installed):
            return usual(loader, fullname)
        return loader.source_to_code(loader.get_data(path), path)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]


def load() -> None:
    """Make the package importable by its name."""
    init = Path(__file__).with_name("__init__.py")
    package = importlib.util.spec_from_file_location(NAME, init)
    if package is None or package.loader is None:
        raise ImportError(f"{init}: no module")
    module = importlib.util.module_from_spec(package)
    sys.modules[NAME] = module
    package.loader.exec_module(module)


if __name__ == "__main__":
    sys.path.pop(0)
    for name in INSTALLED:  # from their bytecode, wherever the system has put them
        importlib.import_module(name)
    ignore_written_bytecode()
    load()
    sys.exit(importlib.import_module(f"{NAME}.main").main())
