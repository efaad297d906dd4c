"""Connections where there is no database: statements are taken, and nothing is read."""

from types import SimpleNamespace
from typing import Any

import pytest

from pgwindlass.engines.alembic.child.errors import ReadsDataError
from pgwindlass.engines.alembic.child.nowhere import Nothing, Nowhere, Unread

pytestmark = pytest.mark.unit


def test_a_new_connection_has_taken_nothing() -> None:
    connection = Nowhere()

    assert (connection.used, connection.search_path, connection.autocommit) == (False, [], False)
    assert (connection.description, connection.rowcount, connection.is_valid) == (None, -1, True)
    assert connection.info == {"windlass": 0}


def test_it_is_its_own_pool_and_cursor() -> None:
    connection = Nowhere()

    assert connection.dbapi_connection is connection.driver_connection is connection
    assert connection.cursor("name", scrollable=True) is connection


def test_a_statement_is_taken_and_a_row_is_not_there() -> None:
    connection = Nowhere()
    connection.execute("select 1", {})

    assert connection.used
    for fetch in (connection.fetchone, connection.fetchall, connection.fetchmany):
        with pytest.raises(ReadsDataError, match=r"^it reads data$"):
            fetch()


@pytest.mark.parametrize(
    ("statement", "path"),
    [
        ("set search_path to app", ["app"]),
        ("SET LOCAL search_path = 'app', \"other\" , public", ["app", "other", "public"]),
        ("  set session search_path=app; select 1", ["app"]),
        ("select set_config('search_path', 'app', false)", []),
        ("set search_paths to app", []),
    ],
)
def test_a_search_path_is_kept(statement: str, path: list[str]) -> None:
    connection = Nowhere()
    connection.executemany(statement)

    assert connection.search_path == path


def test_what_a_driver_sets_does_nothing() -> None:
    connection = Nowhere()

    assert connection.set_client_encoding("utf8", now=True) is None
    with pytest.raises(AttributeError, match="__aenter__"):
        connection.__aenter__  # noqa: B018  # Python asks so whether there is one


class Offline:
    dialect = "a dialect"

    def __init__(self) -> None:
        self.statements: list[Any] = []
        self._run_ddl_visitor = "creates types"

    def execute(self, statement: Any) -> None:
        self.statements.append(statement)


def test_offline_a_statement_is_rendered_with_its_parameters() -> None:
    connection = Offline()
    unread = Unread(connection)
    bound = SimpleNamespace(bindparams=lambda **values: ("bound", values))

    assert isinstance(unread.execute("plain"), Nothing)
    unread.execute(bound, {"a": 1}, execution_options={})

    assert connection.statements == ["plain", ("bound", {"a": 1})]
    assert (unread.dialect, unread._run_ddl_visitor) == ("a dialect", "creates types")
    with pytest.raises(ReadsDataError, match=r"^it reads data$"):
        unread.scalar("select 1")


def test_nothing_of_a_result_can_be_read() -> None:
    for read in (bool, iter, lambda result: result.scalar()):
        with pytest.raises(ReadsDataError, match=r"^it reads data$"):
            read(Nothing())
