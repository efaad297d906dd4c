"""A database that others replicate from, and one that replicates: copies, and a live restore."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_own_server import OwnServer, own_server
from tests.kit import Project

A = "20260801_000000_orders"


@pytest.fixture
def server() -> Iterator[OwnServer]:
    with own_server("wal_level=logical") as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            for name in ("source", "shop"):
                admin.execute(f"create database {name}".encode())
        with psycopg.connect(server.url(database="source"), autocommit=True) as source:
            source.execute("create table orders (id int primary key)")
            source.execute("create publication orders for table orders")
            source.execute("select pg_create_logical_replication_slot('orders', 'pgoutput')")
        yield server
        for name in databases(server):
            with psycopg.connect(server.url(database=name), autocommit=True) as connection:
                for (subscription,) in connection.execute(
                    "select subname from pg_subscription s join pg_database d on d.oid = s.subdbid "
                    "where d.datname = current_database()"
                ).fetchall():
                    connection.execute(f"alter subscription {subscription} disable".encode())
                    connection.execute(
                        f"alter subscription {subscription} set (slot_name = none)".encode()
                    )
                    connection.execute(f"drop subscription {subscription}".encode())


def databases(server: OwnServer) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute("select datname from pg_database where not datistemplate")
        return [name for (name,) in rows.fetchall()]


def subscribe(server: OwnServer) -> None:
    with psycopg.connect(server.url(database="shop"), autocommit=True) as connection:
        connection.execute(
            f"create subscription orders connection 'host={server.directory} port={server.port} "
            "dbname=source user=postgres' publication orders "
            "with (create_slot = false, slot_name = 'orders')".encode()
        )


def test_a_copy_takes_no_subscription_and_a_swap_leaves_none_unspoken(
    server: OwnServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "shop", server.url(database="shop"), throwaway=server.url())
    project.migration(A, "create table orders (id int primary key);", "drop table orders;")
    assert (ran := project.run("deploy", "--env", "uat")).code == 0, ran.err
    subscribe(server)
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("select pg_create_logical_replication_slot('readers', 'pgoutput')")
    assert (ran := project.run("backup", "--env", "uat")).code == 0, ran.err
    before = databases(server)

    drilled = project.run("backup.drill", "--env", "uat")
    refused = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    assert drilled.code == 0, drilled.err
    assert refused.code == 3
    assert "the slot readers, the subscription orders of shop would stay" in refused.err
    assert "--leaves orders,readers" in refused.err
    assert databases(server) == before

    ran = project.run(
        "restore", "--env", "uat", "--leaves", "orders,readers", CONFIRM_RESTORE="yes"
    )

    assert ran.code == 0, ran.err
    with psycopg.connect(project.url) as connection:
        rows = connection.execute(
            "select d.datname from pg_subscription s join pg_database d on d.oid = s.subdbid"
        ).fetchall()
    assert len(rows) == 1 and str(rows[0][0]).startswith("shop_before_restore_")
