"""A backfill inside a deployment, and one that is a job: run, paused, seen by later deployments."""

from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.kit import Project

A, B, C, D = (f"2026080{n}_000000_{name}" for n, name in enumerate("abcd", start=1))
FILL = "-- windlass: backfill table=t{}\nupdate t set {} = n + 1 where {} is null;"


@pytest.fixture
def project(tmp_path: Path, database16: Database, server16: Server) -> Project:
    made = Project(tmp_path / "shop", database16.url.reveal(), throwaway=server16.url())
    made.migration(
        A,
        "create table t (id int primary key, n int default 0, b int, c int, d int);\n"
        "insert into t (id) select g from generate_series(1, 500) g;",
        "drop table t;",
    )
    return made


def counts(project: Project) -> tuple[object, ...]:
    with psycopg.connect(project.url) as connection:
        row = connection.execute("select count(*), count(b), count(c) from t").fetchone()
    assert row is not None
    return row


def test_one_inside_a_deployment_is_planned_rehearsed_and_in_the_history(project: Project) -> None:
    assert project.run("deploy", "--env", "dev").code == 0
    project.migration(B, FILL.format("", "b", "b"), "update t set b = null;", "select true;")

    plan = project.run("plan", "--env", "uat")
    deployed = project.run("deploy", "--env", "uat", "--yes")

    assert f"  backfill   {B}: t by its primary key, in batches that commit\n" in plan.out
    assert deployed.code == 0, deployed.err
    assert "public.t: 500 rows visited, 500 changed" in deployed.err
    assert counts(project) == (500, 500, 0)
    history = project.run("history", "--env", "uat").out
    assert f"backfill of public.t by {B} (of a deployment): done, 100%, 500 rows visited" in history


def test_a_job_is_left_to_its_own_task_and_later_deployments_see_it(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    job = FILL.format(" as=job batch=10", "b", "b")
    project.migration(B, job, "update t set b = null;", "select count(b) = count(*) from t;")
    project.migration(
        C, "alter table t alter b set not null;", "alter table t alter b drop not null;"
    )

    before = project.run("deploy", "--env", "dev")
    assert before.code == 3
    assert f"{B} leaves its backfill to a job of its own, and {C} would run before" in before.err
    assert project.run("migrate", "--env", "dev", "--to", B).code == 0

    assert counts(project) == (500, 0, 0)
    status = project.run("status", "--env", "dev")
    assert f"backfill of public.t by {B} (a job of its own): waiting, 0 rows" in status.out
    assert "invoke backfill.run --env dev runs it" in status.out
    refused = project.run("deploy", "--env", "dev")
    assert refused.code == 3
    assert "invoke backfill.run --env dev finishes it" in refused.error()[2]

    assert project.run("backfill.pause", "--env", "dev", "--reason", "sale").code == 0
    paused = project.run("backfill.run", "--env", "dev")
    assert paused.code == 3
    assert paused.error()[2].endswith(f"invoke backfill.resume --env dev --name {B}")
    assert project.run("backfill.status", "--env", "dev").code == 1
    resumed = project.run("backfill.resume", "--env", "dev")
    assert resumed.code == 0, resumed.err
    assert f"{B}: 1 verify scripts hold" in resumed.err

    assert counts(project) == (500, 500, 0)
    assert project.run("backfill.status", "--env", "dev").code == 0
    deployed = project.run("deploy", "--env", "dev")
    assert deployed.code == 0, deployed.err


def test_a_job_that_is_given_up_or_edited_is_told(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    text = FILL.format(" as=job", "b", "b")
    project.migration(B, text, "update t set b = null;")
    project.run("deploy", "--env", "dev")

    project.migration(B, text.replace("+ 1", "+ 2"), "update t set b = null;")
    edited = project.run("backfill.run", "--env", "dev")
    assert edited.code == 3
    assert f"{B} is not the file that was deployed" in edited.err
    project.migration(B, text, "update t set b = null;")
    bare = project.run("backfill.cancel", "--env", "dev")
    assert bare.code == 2
    cancelled = project.run("backfill.cancel", "--env", "dev", "--reason", "wrong rows")
    assert cancelled.code == 0, cancelled.err

    assert f"backfill of public.t by {B} (a job of its own): cancelled" in cancelled.out
    assert counts(project) == (500, 0, 0)
    assert project.run("backfill.run", "--env", "dev").out == "dev: no backfill\n"
    project.migration(C, "select 1;", "select 1;")
    assert project.run("deploy", "--env", "dev").code == 0

    assert project.run("backfill.resume", "--env", "dev").code == 3
    status = project.run("backfill.status", "--env", "dev")
    assert status.code == 0
    assert f"  invoke backfill.resume --env dev --name {B} takes it up again\n" in status.out
    resumed = project.run("backfill.resume", "--env", "dev", "--name", B)
    assert resumed.code == 0, resumed.err
    assert "done, 100%, 500 rows visited" in resumed.out
    assert counts(project) == (500, 500, 0)


def test_a_verify_script_that_was_not_deployed_proves_no_job(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    text = FILL.format(" as=job", "b", "b")
    project.migration(B, text, "update t set b = null;", "select count(b) = count(*) from t;")
    project.run("deploy", "--env", "dev")

    project.migration(B, text, "update t set b = null;", "select true;")
    edited = project.run("backfill.run", "--env", "dev")
    (project.migrations / f"{B}_verify.sql").unlink()
    missing = project.run("backfill.run", "--env", "dev")

    for refused in (edited, missing):
        assert refused.code == 3
        assert f"the verify script of {B} is not the one that was deployed" in refused.err
    assert counts(project) == (500, 0, 0)


def test_a_job_whose_record_somebody_deletes_says_so(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    project.migration(B, FILL.format(" as=job batch=100", "b", "b"), "update t set b = null;")
    project.run("deploy", "--env", "dev")
    with psycopg.connect(project.url) as connection:
        connection.execute(
            "create function forget() returns trigger language plpgsql as "
            "$$ begin delete from windlass.backfill; return new; end $$"
        )
        connection.execute("create trigger forget before update on t execute function forget()")

    ran = project.run("backfill.run", "--env", "dev")

    assert ran.code == 1
    assert f"the record of {B}'s backfill, statement 1, is gone from windlass.backfill" in ran.err
    assert ran.error()[2].endswith("then deploy the statement again, in a migration of its own")
    assert counts(project) == (500, 100, 0)


def test_a_rollback_takes_an_open_job_with_it(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    project.migration(B, FILL.format(" as=job", "b", "b"), "update t set b = null;")
    project.run("deploy", "--env", "dev")

    undone = project.run("rollback", "--env", "dev", "--name", B)

    assert undone.code == 0, undone.err
    assert project.run("backfill.status", "--env", "dev").out == "dev: no backfill\n"
