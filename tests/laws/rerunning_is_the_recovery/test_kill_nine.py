"""Law 4: kill -9 at any moment; `status` tells the truth, and the same command finishes."""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import WINDLASS, Project

pytestmark = pytest.mark.sampled(3)

MIGRATIONS = 6


def write(found: Project) -> Project:
    found.migration("20260801_000000_t0", "create table t0 (n int);")
    for n in range(1, MIGRATIONS):
        found.migration(
            f"2026080{n + 1}_000000_t{n}",
            f"create table t{n} (n int); insert into t0 values ({n}); select pg_sleep(0.1);"
            if n % 3
            else f"create index concurrently i{n} on t0 (n);",
        )
    return found


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    return write(Project(tmp_path / "shop", database16.url.reveal()))


@pytest.mark.parametrize(
    ("engine", "seed"), [*(("sql", seed) for seed in range(6)), ("prisma", 0), ("prisma", 4)]
)
def test_a_killed_deployment_is_finished_by_the_next(
    tmp_path: Path, database16: Database, engine: Literal["sql", "prisma"], seed: int
) -> None:
    project = write(Project(tmp_path / "shop", database16.url.reveal(), engine=engine))
    pause = random.Random(seed).uniform(0.35, 1.1)
    child = subprocess.Popen(
        [str(WINDLASS), "deploy", "--env", "dev"],
        cwd=project.home,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(pause)
    child.send_signal(signal.SIGKILL)
    child.wait()

    # Its statement may still run in the server for a moment: the next run waits for its lock.
    deadline = time.monotonic() + 30
    ran = project.run("deploy", "--env", "dev")
    while ran.code == 3 and time.monotonic() < deadline:
        ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select n from t0 order by n").fetchall()
        invalid = connection.execute("select count(*) from pg_index where not indisvalid")
        assert invalid.fetchone() == (0,)
    assert [row[0] for row in rows] == [n for n in range(1, MIGRATIONS) if n % 3]
    assert project.applied() == project.names
    assert project.run("status", "--env", "dev").code == 0
    assert project.run("history", "--env", "dev", "--verify").code == 0


def test_a_killed_run_is_told_of_and_closed_by_the_next(project: Project) -> None:
    project.migration("20260809_000000_slow", "select pg_sleep(30);")
    child = subprocess.Popen(
        [str(WINDLASS), "deploy", "--env", "dev"],
        cwd=project.home,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(project, "select pg_sleep")
    child.send_signal(signal.SIGKILL)
    child.wait()
    _end_orphans(project)

    status = project.run("status", "--env", "dev")
    assert "was killed; the same command continues: invoke deploy --env dev" in status.out
    (project.home / "migrations" / "20260809_000000_slow.sql").write_text("select 1;")
    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    assert "was not finished; this one continues it" in ran.err
    assert [d["status"] for d in project.deployments("dev")] == [
        "deployed",
        "interrupted",
    ]
    chain = project.run("history", "--env", "dev", "--verify")
    assert chain.code == 0, chain.out


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
def test_a_stopped_run_ends_its_statement_and_says_what_to_do(
    project: Project, number: signal.Signals, code: int, words: str
) -> None:
    project.migration("20260809_000000_slow", "select pg_sleep(30);")
    child = subprocess.Popen(
        [str(WINDLASS), "deploy", "--env", "dev"],
        cwd=project.home,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(project, "select pg_sleep")
    began = time.monotonic()
    child.send_signal(number)
    _, err = child.communicate(timeout=20)

    assert child.returncode == code, err
    assert f"✗ {words}" in err
    assert time.monotonic() - began < 9  # GitHub kills after ten seconds
    assert _running(project, "select pg_sleep") == 0
    assert project.deployments("dev")[0]["status"] == "interrupted"


def _running(project: Project, text: str) -> int:
    with psycopg.connect(project.url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where state = 'active' and query like %s "
            "and pid <> pg_backend_pid() and datname = current_database()",
            (f"{text}%",),
        ).fetchone()
    assert row is not None
    return int(row[0])


def _wait_for(project: Project, text: str) -> None:
    deadline = time.monotonic() + 20
    while not _running(project, text):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _end_orphans(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name like 'windlass/%' and datname = current_database()"
        )
    deadline = time.monotonic() + 10
    while _running(project, "select pg_sleep") and time.monotonic() < deadline:
        time.sleep(0.05)
