"""Law 3: once. However many start it, and however often."""

import subprocess
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import WINDLASS, Project


def project(tmp_path: Path, database: Database, engine: Literal["sql", "prisma"]) -> Project:
    found = Project(tmp_path / "shop", database.url.reveal(), engine=engine)
    found.migration("20260801_000000_log", "create table log (n int); insert into log values (1);")
    found.migration("20260802_000000_more", "insert into log values (2); select pg_sleep(0.3);")
    found.migration("20260803_000000_index", "create index concurrently i on log (n);")
    return found


@pytest.mark.parametrize("engine", ["sql", "prisma"])
def test_four_deployments_at_the_same_moment_run_every_migration_once(
    tmp_path: Path, database: Database, engine: Literal["sql", "prisma"]
) -> None:
    found = project(tmp_path, database, engine)
    children = [
        subprocess.Popen(
            [str(WINDLASS), "deploy", "--env", "dev"],
            cwd=found.home,
            env=found.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ends = [(child.communicate(timeout=60)[1], child.returncode) for child in children]

    # Who came second finds another history than the one it planned for, and is refused.
    assert sorted({code for _, code in ends}) in ([0], [0, 3]), ends
    assert all("the history" in err for err, code in ends if code == 3), ends
    with psycopg.connect(found.url) as connection:
        rows = connection.execute("select n from log order by n").fetchall()
    assert rows == [(1,), (2,)]
    assert len(found.applied()) == 3


def test_a_deployment_waits_for_the_lock_and_says_who_holds_it(
    tmp_path: Path, database16: Database
) -> None:
    found = project(tmp_path, database16, "sql")
    from pgwindlass.database import lock

    with lock.hold(database16, wait=1):
        ran = found.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert "another deployment holds the lock: windlass/test/lock from" in ran.error()[0]
