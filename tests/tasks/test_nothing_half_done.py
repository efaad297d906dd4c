"""After every deployment: no invalid index, no constraint NOT VALID, no trigger off by it."""

from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import Project

NAME = "20260801_000000_a"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        connection.execute("create table t (i int)")
        connection.execute(
            "create function f() returns trigger language plpgsql as 'begin return new; end'"
        )
        connection.execute(
            "create trigger loud before insert on t for each row execute function f()"
        )
    return Project(tmp_path / "shop", database16.url.reveal())


@pytest.mark.parametrize(
    ("sql", "left", "repair"),
    [
        (
            "alter table t add constraint positive check (i > 0) not valid;",
            "not-valid-constraint positive on public.t",
            "alter table … validate constraint positive",
        ),
        (
            "alter table t disable trigger loud;",
            "disabled-trigger loud on public.t",
            "alter table … enable trigger loud",
        ),
        (
            "create index t_i on t (i); update pg_index set indisvalid = false "
            "where indexrelid = 't_i'::regclass;",
            "invalid-index public.t_i",
            "reindex index concurrently public.t_i",
        ),
    ],
)
def test_what_a_deployment_leaves_half_done_is_told_with_how_to_finish(
    project: Project, sql: str, left: str, repair: str
) -> None:
    project.migration(NAME, sql)

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    assert f"this deployment leaves: {left}; {repair}" in ran.err
    (record,) = project.deployments("dev")
    assert record["status"] == "deployed"
    assert project.applied() == [NAME]


def test_a_partition_left_detaching_is_found(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("create table p (n int) partition by range (n)")
        connection.execute("create table p1 partition of p for values from (0) to (10)")
    project.migration(
        NAME, "update pg_inherits set inhdetachpending = true where inhrelid = 'p1'::regclass;"
    )

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    assert "leaves: detaching-partition public.p1 of public.p; " in ran.err
    assert "alter table … detach partition public.p1 finalize" in ran.err


def test_what_is_meant_to_stay_is_allowed_with_a_reason(project: Project) -> None:
    project.migration(
        NAME,
        "-- windlass: allow not-valid-constraint validated by the next release\n"
        "alter table t add constraint positive check (i > 0) not valid;",
    )

    assert project.run("deploy", "--env", "dev").code == 0


def test_what_stood_before_is_told_and_fails_nothing(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("alter table t disable trigger loud")
    project.migration(NAME, "select 1;")

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    assert "from before: disabled-trigger loud on public.t" in ran.err
