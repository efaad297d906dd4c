"""The catalog that lint rolls forward is the one that the server has behind the same statements."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.lint.catalog import Catalog, CatalogTable
from pgwindlass.lint.forward import steps
from pgwindlass.lint.live import read_catalog
from pgwindlass.parser import tree
from pgwindlass.parser.file import SqlFile, parse
from pgwindlass.parser.split import Statement
from tests import forms
from tests.fix_postgres import Server

# The server refuses these, which is what lint says of them, or an object of them is not there.
REFUSED = frozenset(
    {"concurrently-on-partitioned", "enum-used-at-once", "extension-missing", "opaque"}
)
# They name what this server does not have, or are not of one database.
ELSEWHERE = frozenset({"drop-owned", "privilege", "password-literal"})


def different(live: Catalog, ahead: Catalog) -> dict[str, object]:
    """What of the server's tables was not foreseen; of one made by a query only its columns."""
    rest: dict[str, object] = {}
    for key, table in live.tables.items():
        foreseen = ahead.tables.get(key)
        if foreseen is not None and not foreseen.columns:
            foreseen = replace(foreseen, columns=table.columns)
        if foreseen is None or table_shape(foreseen) != table_shape(table):
            rest[".".join(key)] = (foreseen, table)
    return rest


def table_shape(table: CatalogTable) -> object:
    return (
        table.kind,
        {
            name: (column.type, column.modifier, column.not_null)
            for name, column in sorted(table.columns.items())
        },
        sorted((c.name, c.kind, sorted(c.columns), c.validated) for c in table.constraints),
        {c.name: c.refers for c in table.constraints},
        sorted((name, i.columns, i.unique, i.whole) for name, i in table.indexes.items()),
        table.parents,
        table.partitioning,
    )


def sent(statement: Statement) -> str:
    """A statement as it may run in a transaction: without CONCURRENTLY."""
    if not statement.concurrent:
        return statement.sql
    node = type(statement.node)()
    node.CopyFrom(statement.node)
    if statement.kind == "alter_table_stmt":
        getattr(node.cmds[0].alter_table_cmd, "def").partition_cmd.concurrent = False
    elif statement.kind == "reindex_stmt":
        del node.params[:]
    else:
        node.concurrent = False
    return tree.sql(statement.kind, node)


def after(connection: psycopg.Connection, files: tuple[SqlFile, ...]) -> tuple[Catalog, Catalog]:
    """The catalog rolled forward over files, and the one of the server that ran them."""
    before = read_catalog(connection, files, ("public",))
    ahead = before
    for step in steps(files, before):
        ahead = step.after
    for file in files:
        connection.execute("set local search_path = public; set local timezone = 'UTC'")
        for statement in file.statements:
            connection.execute(sent(statement).encode())
    connection.execute("set local search_path = public")
    return ahead, read_catalog(connection, files, ("public",))


@pytest.fixture
def standing(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("drop database if exists forms")
        admin.execute("create database forms")
    with psycopg.connect(server.url("forms"), autocommit=True) as connection:
        connection.execute(forms.STANDS.encode())
        yield connection
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("drop database forms")


def test_what_stands_is_rolled_forward_from_nothing_as_the_server_has_it(
    standing: psycopg.Connection, server: Server
) -> None:
    file = parse(Path("stands.sql"), forms.STANDS)
    live = read_catalog(standing, [file], ("public",))

    assert different(live, forms.catalog_of(server.major)) == {}
    assert live.tables.keys() == forms.catalog_of(server.major).tables.keys()


def test_each_form_leaves_what_the_catalog_was_rolled_forward_to(
    standing: psycopg.Connection, server: Server
) -> None:
    """Every form runs, so that none is nonsense; in a transaction that is taken back."""
    standing.autocommit = False
    wrong: dict[tuple[int, str], object] = {}
    for form in (*forms.read("dangerous.sql"), *forms.read("safe.sql")):
        if not form.oldest <= server.major <= form.newest or form.outside:
            continue
        if form.name in ELSEWHERE:
            continue
        try:
            ahead, live = after(standing, form.files)
        except psycopg.Error as error:
            if form.name not in REFUSED:
                wrong[form.line, form.name] = str(error)
        else:
            if rest := different(live, ahead):
                wrong[form.line, form.name] = rest
        standing.rollback()

    assert not wrong, "\n".join(map(str, wrong.items()))
