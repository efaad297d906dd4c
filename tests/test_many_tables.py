"""Thousands of tables, in the small: a server whose lock slots are few, and tables with indexes.

A server has max_locks_per_transaction × max_connections slots. Here they hold the locks of all
tables, and not those of all their indexes beside them.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_own_server import OwnServer, own_server
from tests.kit import Project

TABLES, INDEXES = 260, 5
SETTINGS = ("max_locks_per_transaction=16", "max_connections=20", "max_worker_processes=0")
MAKE = f"""
do $$ begin for i in 1..{TABLES} loop
  execute format('create table t%s (id int primary key, v int)', i);
  for j in 1..{INDEXES} loop execute format('create index on t%s (v, id)', i); end loop;
  execute format('insert into t%s values (1, 1)', i);
  if i % 20 = 0 then commit; end if;
end loop; end $$;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server(*SETTINGS) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create database shop")
        with psycopg.connect(server.url(database="shop"), autocommit=True) as connection:
            connection.execute(MAKE.encode())
        yield server


def test_they_are_backed_up_drilled_and_restored(server: OwnServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", server.url(database="shop"), throwaway=server.url())
    assert (ran := project.run("deploy", "--env", "uat")).code == 0, ran.err
    ran = project.run("backup", "--env", "uat")
    assert ran.code == 0, ran.err
    with psycopg.connect(project.url) as connection:
        connection.execute("delete from t7")

    drilled = project.run("backup.drill", "--env", "uat")
    restored = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    assert drilled.code == 0, drilled.err
    assert restored.code == 0, restored.err
    with psycopg.connect(project.url) as connection:
        assert connection.execute("select count(*) from t7").fetchone() == (1,)
