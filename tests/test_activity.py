"""How busy the live server is, by its own counters, with the real pg_stat_statements."""

from collections.abc import Iterator

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.rehearsal.activity import NOT_INSTALLED, read_activity
from pgwindlass.rehearsal.busy import HIDDEN, Reading, activity, hidden_calls
from pgwindlass.secret import Secret
from tests.fix_own_server import OwnServer, own_server

SETUP = """
create schema shop;
create table shop.orders (id int primary key, note text);
create table shop.parts (k int) partition by list (k);
create table shop.parts_1 partition of shop.parts for values in (1);
insert into shop.orders select g, 'x' from generate_series(1, 50) g;
insert into shop.parts select 1 from generate_series(1, 30);
create role migrator login;
grant usage on schema shop to migrator;
grant all on all tables in schema shop to migrator;
"""


@pytest.fixture(scope="module")
def counting() -> Iterator[OwnServer]:
    """A server that counts statements."""
    with own_server("shared_preload_libraries=pg_stat_statements") as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(SETUP.encode())
        yield server


def read(database: Database) -> Reading:
    reading = read_activity(database)
    assert isinstance(reading, Reading), reading
    return reading


def test_tables_statements_and_what_may_not_be_read(counting: OwnServer) -> None:
    before = read(counting.database())
    assert before.unseen == NOT_INSTALLED
    assert before.statements is None
    assert before.tables["shop.orders"] >= 50
    assert before.tables["shop.parts"] >= 30
    assert before.roots == {"shop.parts_1": "shop.parts"}

    with psycopg.connect(counting.url(), autocommit=True) as connection:
        connection.execute("create extension pg_stat_statements")
        for number in range(40):
            connection.execute("select note from shop.orders where id = %s", (number,))
    reading = read(counting.database())
    (orders,) = activity(before, reading, ["shop.orders"])

    assert reading.unseen == ""
    assert any("shop.orders" in text for text in reading.statements or {})
    assert orders.traffic > 0
    assert orders.calls is not None
    assert orders.calls > 0

    migrator = counting.url().replace("postgres@", "migrator@")
    hidden = read(Database(url=Secret(migrator), deployment_id="test"))
    assert hidden_calls(hidden) >= 40
    assert HIDDEN in (hidden.statements or {})


def test_a_view_of_the_same_name_is_not_asked(counting: OwnServer) -> None:
    with psycopg.connect(counting.url(), autocommit=True) as connection:
        connection.execute("create database named")
    with psycopg.connect(counting.url(database="named"), autocommit=True) as connection:
        connection.execute(
            "create view pg_stat_statements as select 'select' as query, 1/0 as calls"
        )

    assert read(counting.database(name="named")).unseen == NOT_INSTALLED


def test_a_server_that_does_not_answer_is_told(counting: OwnServer) -> None:
    nowhere = counting.database(name="absent")

    assert str(read_activity(nowhere)).startswith("the live server's counters could not be read: ")
