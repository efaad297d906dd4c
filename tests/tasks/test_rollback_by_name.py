"""rollback and migrate, so many or up to a name; what later migrations build on stays."""

from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import Project, tables

A, B, C, D = (f"2026080{n}_000000_{name}" for n, name in enumerate("abcd", start=1))


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration(A, "create table a (i int);", "drop table a;")
    found.migration(B, "create table b (i int);", "drop table b;")
    found.migration(C, "alter table a add column j int;", "alter table a drop column j;")
    found.migration(D, "create index d on b (i);", "drop index d;")
    return found


def applied(project: Project) -> list[str]:
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select migration_name from schema_migrations order by 1")
        return [row[0] for row in rows.fetchall()]


def test_migrate_runs_so_many_or_up_to_a_name(project: Project) -> None:
    assert project.run("migrate", "--env", "dev", "--steps", "1").code == 0
    assert applied(project) == [A]
    assert project.run("migrate", "--env", "dev", "--to", C).code == 0
    assert applied(project) == [A, B, C]
    assert project.run("migrate", "--env", "dev").code == 0
    assert applied(project) == [A, B, C, D]


def test_rollback_undoes_the_newest_or_all_after_a_name(project: Project) -> None:
    project.run("deploy", "--env", "dev")

    assert project.run("rollback", "--env", "dev", "--steps", "1").code == 0
    assert applied(project) == [A, B, C]
    assert project.run("rollback", "--env", "dev", "--to", A).code == 0
    assert applied(project) == [A]
    assert tables(project.url) == {"a", "schema_migrations"}


def test_what_a_later_migration_builds_on_is_undone_by_force_alone(project: Project) -> None:
    project.run("deploy", "--env", "dev")

    refused = project.run("rollback", "--env", "dev", "--name", A)

    assert refused.code == 3
    assert refused.error()[0] == f"✗ {A} has later migrations on the same tables: {C} (a)"
    assert "--force" in refused.error()[2]
    assert applied(project) == [A, B, C, D]
    forced = project.run("rollback", "--env", "dev", "--name", A, "--force")
    assert forced.code == 0, forced.err
    assert applied(project) == [B, C, D]


def test_a_migration_that_nobody_builds_on_is_undone_from_the_middle(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    project.run("rollback", "--env", "dev", "--name", D)

    ran = project.run("rollback", "--env", "dev", "--name", B)

    assert ran.code == 0, ran.err
    assert applied(project) == [A, C]
    late = project.run("deploy", "--env", "uat")
    assert late.code == 3
    assert f"{B} is older than the newest applied migration" in late.error()[0]
    assert "out of order" in project.run("status", "--env", "dev").out


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("rollback",), 2, "rollback needs one of --name, --deployment, --to and --steps"),
        (("rollback", "--to", A, "--steps", "1"), 2, "--to and --steps exclude each other"),
        (("rollback", "--steps", "-1"), 2, "--steps -1: expected 1 or more"),
        (("rollback", "--to", D), 3, f"{D} is not applied"),
        (("rollback", "--steps", "3"), 3, "there is nothing to undo"),
        (("migrate", "--to", A, "--steps", "1"), 2, "--to and --steps exclude each other"),
        (("migrate", "--to", "nobody"), 3, 'there is no migration "nobody"'),
    ],
)
def test_flags_that_say_nothing_or_two_things_are_refused(
    project: Project, argv: tuple[str, ...], code: int, words: str
) -> None:
    ran = project.run(argv[0], "--env", "dev", *argv[1:])

    assert ran.code == code
    assert words in ran.error()[0]


def test_above_development_a_rollback_is_confirmed(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    argv = ("rollback", "--env", "uat", "--steps", "1")

    refused = project.run(*argv)
    done = project.run(*argv, CONFIRM_ROLLBACK="yes")

    assert refused.code == 3
    assert "is not confirmed" in refused.error()[0]
    assert done.code == 0, done.err
    assert applied(project) == [A, B, C]


def test_a_dry_run_of_a_rollback_prints_the_sql_with_its_bookkeeping(project: Project) -> None:
    project.run("deploy", "--env", "dev")

    ran = project.run("rollback", "--env", "dev", "--steps", "1", "--dry-run")

    assert ran.out.startswith("BEGIN;\nset local lock_timeout = 200;\n")
    assert "drop index d;" in ran.out
    assert f"delete from public.schema_migrations where migration_name = '{D}';" in ran.out
    assert applied(project) == [A, B, C, D]


def test_what_was_undone_in_part_is_told_and_finished(project: Project) -> None:
    project.migration(
        D,
        "create index d on b (i);",
        "-- windlass: transaction=off\ndrop index d;\nselect 1 / (select count(*) from b);\n",
    )
    project.run("deploy", "--env", "dev")
    assert project.run("rollback", "--env", "dev", "--name", D).code == 1

    status = project.run("status", "--env", "dev")
    deploy = project.run("deploy", "--env", "dev")
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("insert into b values (1)")
    finished = project.run("rollback", "--env", "dev", "--name", D)

    assert f"half undone   {D}" in status.out
    assert "statement 1 of 2 done" in status.out
    assert status.code == 3
    assert deploy.code == 3
    assert f"{D} is half undone: statement 1 of 2 done" in deploy.error()[0]
    assert finished.code == 0, finished.err
    assert applied(project) == [A, B, C]


def test_queries_of_who_blocks_are_shown_on_demand_alone(project: Project) -> None:
    project.run("migrate", "--env", "dev", "--to", B)
    with psycopg.connect(project.url) as holder:
        holder.execute("select 'a@b.c' from a")
        plain = project.run("migrate", "--env", "uat")
        shown = project.run("migrate", "--env", "uat", "--show-queries")

    assert plain.code == shown.code == 1
    assert "a@b.c" not in plain.err
    assert "query: select 'a@b.c' from a" in shown.err
