"""Connections where there is no database: they take statements, and have nothing to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .errors import ReadsDataError

SEARCH_PATH = re.compile(
    r"\s*set\s+(?:session\s+|local\s+)?search_path\s*(?:=|\bto\b)\s*([^;]+)", re.IGNORECASE
)


class Nowhere:
    """The driver's connection where there is no database: takes statements, has nothing to read.

    What it does not know does nothing: drivers have many calls that set something.
    """

    def __init__(self) -> None:
        self.info: dict[str, Any] = {"windlass": 0}
        self.used = False
        self.search_path: list[str] = []
        self.description, self.rowcount, self.is_valid = None, -1, True
        self.autocommit = False

    @property
    def dbapi_connection(self) -> Nowhere:
        """Itself: there is no pool."""
        return self

    driver_connection = dbapi_connection

    def cursor(self, *_: Any, **__: Any) -> Nowhere:
        """Return itself: nothing is kept."""
        return self

    def execute(self, statement: Any, *_: Any, **__: Any) -> None:
        """Take a statement, and keep a search_path: the heads may be looked for by it."""
        self.used = True
        if match := SEARCH_PATH.match(str(statement)):
            self.search_path = [name.strip().strip("\"'") for name in match[1].split(",")]

    executemany = execute

    def fetchone(self) -> Any:
        """Say that there is nothing."""
        raise ReadsDataError("it reads data")

    fetchall = fetchmany = fetchone

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class Unread:
    """The connection in offline mode: takes statements, and has nothing to read."""

    def __init__(self, connection: Any) -> None:
        self._connection, self.dialect = connection, connection.dialect

    def execute(self, statement: Any, parameters: Any = None, **_: Any) -> Any:
        """Render a statement."""
        if parameters:
            statement = statement.bindparams(**parameters)
        self._connection.execute(statement)
        return Nothing()

    def __getattr__(self, name: str) -> Any:
        if name == "_run_ddl_visitor":  # of types and tables that SQLAlchemy creates
            return self._connection._run_ddl_visitor
        raise ReadsDataError("it reads data")


class Nothing:
    """The result of a statement that was not run."""

    def __getattr__(self, name: str) -> Any:
        raise ReadsDataError("it reads data")

    def __iter__(self) -> Iterator[Any]:
        raise ReadsDataError("it reads data")

    def __bool__(self) -> bool:
        raise ReadsDataError("it reads data")
