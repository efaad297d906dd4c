"""Replicas that start at once: one migrates, the others join it; who only waits sees the end."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database import lock
from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests.forks import Forks
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

COUNT = 20  # replicas, forked warm
A, B = "20260801_000000_a", "20260802_000000_b"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    made = Project(tmp_path / "shop", database16.url.reveal())
    made.migration(A, "create table log as select 1 n;", "drop table log;")
    made.migration(B, "insert into log values (2);\nselect pg_sleep(0.5);", "select 1;")
    return made


def rows(project: Project) -> list[tuple[int]]:
    with psycopg.connect(project.url) as connection:
        return connection.execute("select n from log order by n").fetchall()


def test_twenty_that_start_at_once_all_end_well(warm: Forks, project: Project) -> None:
    env = project.variables()
    ends = warm.run(
        "migrate", "--env", "dev", "--wait", "2m", cwd=project.home, env=env, count=COUNT
    )

    assert [end["code"] for end in ends] == [0] * COUNT, [e["words"] for e in ends if e["code"]]
    joined = [end for end in ends if "another run applied them" in end["words"]]
    found = [end for end in ends if "nothing is pending" in end["words"]]
    assert len(joined) + len(found) == COUNT - 1
    assert rows(project) == [(1,), (2,)]
    assert len(project.deployments("dev")) == 1


def test_the_flag_needs_no_value_and_a_second_run_has_nothing_to_do(project: Project) -> None:
    assert project.run("migrate", "--env", "dev", "--wait").code == 0
    again = project.run("migrate", "--env", "dev", "--wait")

    assert (again.code, again.out) == (0, "nothing is pending\n")
    assert project.json("migrate", "--env", "dev", "--wait")["migrations"] == []


def test_where_the_holder_did_nothing_the_other_goes_on_itself(project: Project) -> None:
    holder = Database(url=Secret(project.url), deployment_id="01HOLDER")
    with lock.hold(holder, wait=1):
        held = threading.Event()
        outcome: list[int] = []

        def run() -> None:
            held.set()
            outcome.append(project.run("migrate", "--env", "dev", "--wait").code)

        thread = threading.Thread(target=run)
        thread.start()
        held.wait(10)
        time.sleep(0.5)
        assert outcome == []
    thread.join(60)

    assert outcome == [0]
    assert rows(project) == [(1,), (2,)]


def test_so_many_steps_are_of_what_was_pending_at_the_beginning(
    warm: Forks, project: Project
) -> None:
    env = project.variables()
    ends = warm.run(
        *("migrate", "--env", "dev", "--steps", "1", "--wait"), cwd=project.home, env=env, count=5
    )

    assert [end["code"] for end in ends] == [0] * 5, ends
    assert project.applied() == [A]


def test_who_only_waits_is_told_what_for_and_ends_with_it(project: Project) -> None:
    waiting: list[object] = []

    def wait() -> None:
        waiting.append(project.run("status", "--env", "dev", "--wait-until-applied", "1m"))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert project.run("migrate", "--env", "dev").code == 0
    thread.join(60)

    (ran,) = waiting
    assert ran.code == 0  # type: ignore[attr-defined]
    assert ran.out == "dev: nothing that is on disk is pending\n"  # type: ignore[attr-defined]


def test_after_its_time_it_says_what_is_missing_and_ends_with_3(project: Project) -> None:
    text = project.deploy_yml.read_text()
    text = text.replace("tier: development", "tier: development\n    lock: {wait: 500ms}")
    project.deploy_yml.write_text(text)

    ran = project.run("status", "--env", "dev", "--wait-until-applied")

    assert ran.code == 3
    assert "dev: 2 migrations are not applied after 500ms" in ran.out
    assert f"2 of 2 migrations are not applied, the first is {A}: waiting, up to 500ms" in ran.err


def test_a_role_that_may_only_read_can_wait(project: Project, database16: Database) -> None:
    assert project.run("migrate", "--env", "dev").code == 0
    reader = f"reader_{time.monotonic_ns()}"
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            f"create role {reader} login; grant usage on schema public to {reader};"
            f"grant select on schema_migrations to {reader};"
            f"grant usage on schema windlass to {reader};"
            f"grant select on all tables in schema windlass to {reader}".encode()
        )
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text + "migrations: {owners: [postgres]}\n")
    project.url = project.url.replace("postgres@", f"{reader}@")
    try:
        ran = project.run("status", "--env", "dev", "--wait-until-applied", "5s")
    finally:
        with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
            connection.execute(f"drop owned by {reader}; drop role {reader}".encode())

    assert ran.code == 0, ran.err
