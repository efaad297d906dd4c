"""Law 5: bystanders don't wait. pgbench reads a table that somebody holds while we change it."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.kit import Project

RUNG = 0.1  # seconds, the lowest of uat's ladder in tests.kit
HELD = 2.0  # seconds
SLACK = 0.25  # what a busy machine of two cores adds


@pytest.mark.parametrize("engine", ["sql", "prisma"])
def test_no_reader_waits_longer_than_the_ladders_rungs_and_the_column_arrives(
    tmp_path: Path, database16: Database, server16: Server, engine: Literal["sql", "prisma"]
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal(), engine=engine)
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("[100ms, 200ms], wait: 3s", "[100ms], wait: 30s"))
    project.migration("20260801_000000_a", "create table t (a int); insert into t values (1);", "")
    assert project.run("migrate", "--env", "dev").code == 0
    project.migration("20260802_000000_b", "alter table t add column b int;", "select 1;")
    (tmp_path / "read.sql").write_text("select count(*) from t;\n")

    holder = psycopg.connect(project.url)
    holder.execute("lock table t in access share mode")
    runner = threading.Thread(target=project.run, args=("migrate", "--env", "uat"))
    bench = subprocess.Popen(
        [
            str(server16.binaries / "pgbench"),
            "-n",
            "-c",
            "2",
            "-R",
            "100",
            "-T",
            "5",
            "-l",
            "--log-prefix",
            str(tmp_path / "log"),
            "-f",
            str(tmp_path / "read.sql"),
            project.url,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    runner.start()
    time.sleep(HELD)
    holder.close()
    runner.join()
    _, err = bench.communicate()

    assert bench.returncode == 0, err
    lines = [line for log in tmp_path.glob("log.*") for line in log.read_text().splitlines()]
    slowest = max(int(line.split()[2]) - int(line.split()[6]) for line in lines) / 1e6
    assert len(lines) > 200
    assert slowest < RUNG + SLACK
    with psycopg.connect(project.url) as connection:
        assert connection.execute("select b from t").fetchone() == (None,)
