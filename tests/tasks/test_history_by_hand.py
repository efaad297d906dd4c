"""stamp, unstamp, baseline, repair: by name, old and new shown, who and why recorded."""

from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import Project

A, B, C = "20260801_000000_a", "20260802_000000_b", "20260803_000000_c"
BY_HAND = {"CONFIRM_HISTORY": "yes"}


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    for name in (A, B, C):
        found.migration(name, f"create table {name[-1]} (i int);", f"drop table {name[-1]};")
    return found


def states(project: Project) -> dict[str, str]:
    document = project.json("status", "--env", "dev")
    return {one["name"]: one["state"] for one in document["migrations"]}


def applied(project: Project) -> list[str]:
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select migration_name from schema_migrations order by 1")
        return [row[0] for row in rows.fetchall()]


def test_a_baseline_begins_a_history_and_only_once(project: Project) -> None:
    ran = project.run("baseline", "--env", "dev", "--name", B, "--reason", "ran by hand till now")

    assert ran.code == 0, ran.err
    assert [line.split(": pending → sha256:")[0] for line in ran.out.splitlines()] == [
        f"baseline {A}",
        f"baseline {B}",
    ]
    assert states(project) == {A: "applied", B: "applied", C: "pending"}
    again = project.run("baseline", "--env", "dev", "--name", C, "--reason", "once more")
    assert again.code == 3
    assert "has a history of 2 migrations already" in again.error()[0]
    assert project.run("deploy", "--env", "dev").code == 0
    with psycopg.connect(project.url) as connection:
        row = connection.execute("select to_regclass('a'), to_regclass('c')::text").fetchone()
    assert row == (None, "c")


def test_stamp_and_unstamp_take_names_and_leave_a_record(project: Project) -> None:
    ran = project.run("stamp", "--env", "dev", "--name", f"{A},{C}", "--reason", "by hand")
    assert ran.code == 0, ran.err
    assert applied(project) == [A, C]

    ran = project.run("unstamp", "--env", "dev", "--name", C, "--reason", "was wrong")
    assert ran.code == 0, ran.err

    assert ran.out.startswith(f"unstamp {C}: sha256:") and ran.out.endswith(" → pending\n")
    assert applied(project) == [A]
    document = project.json("history", "--env", "dev")
    assert [(c["verb"], c["migration"], c["reason"]) for c in document["corrections"]] == [
        ("unstamp", C, "was wrong"),
        ("stamp", C, "by hand"),
        ("stamp", A, "by hand"),
    ]
    assert document["corrections"][0]["origin"]["deployer"]
    shown = project.run("history", "--env", "dev").out
    assert "corrections of the history" in shown
    assert ": was wrong" in shown


def test_repair_accepts_an_edited_file_and_shows_old_and_new(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    project.migration(A, "create table a (i int); -- as it should read", "drop table a;")
    assert states(project)[A] == "edited"
    assert project.run("deploy", "--env", "dev").code == 3

    ran = project.run("repair", "--env", "dev", "--name", A, "--reason", "a comment was added")

    assert ran.code == 0, ran.err
    before, after = ran.out.strip().removeprefix(f"repair {A}: ").split(" → ")
    assert before.startswith("sha256:") and after.startswith("sha256:") and before != after
    assert states(project)[A] == "applied"


def test_repair_accepts_the_text_of_what_ran_in_part(project: Project) -> None:
    head = "-- windlass: transaction=off\n"
    project.migration(A, head + "create table a (i int);\nselect 1 / 0;\n", "drop table a;")
    assert project.run("deploy", "--env", "dev").code == 1
    status = project.run("status", "--env", "dev")
    assert f"partial       {A}  statement 1 of 2 done" in status.out
    assert status.code == 1
    project.migration(A, head + "create  table a (i int);\nselect 1;\n", "drop table a;")
    refused = project.run("deploy", "--env", "dev")
    assert refused.code == 3
    assert "1 of its statements ran already, and their text has changed" in refused.error()[0]

    ran = project.run("repair", "--env", "dev", "--name", A, "--reason", "two blanks")

    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"repair {A}: statement 1 of 2 done → sha256:")
    assert project.run("deploy", "--env", "dev").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("stamp", "--reason", "x"), 2, "stamp needs the name of a migration"),
        (("stamp", "--name", A), 2, "stamp needs a reason, which is recorded"),
        (("stamp", "--name", "nobody", "--reason", "x"), 2, "nobody.sql: no such migration"),
        (("unstamp", "--name", A, "--reason", "x"), 3, f"{A} is not in the history"),
        (("repair", "--name", A, "--reason", "x"), 3, f"{A} is pending; expected edited or"),
    ],
)
def test_what_cannot_be_corrected_is_refused_and_changes_nothing(
    project: Project, argv: tuple[str, ...], code: int, words: str
) -> None:
    ran = project.run(argv[0], "--env", "dev", *argv[1:])

    assert ran.code == code
    assert words in ran.error()[0]
    assert states(project) == {A: "pending", B: "pending", C: "pending"}


def test_what_is_applied_cannot_be_stamped(project: Project) -> None:
    project.run("deploy", "--env", "dev")

    ran = project.run("stamp", "--env", "dev", "--name", A, "--reason", "x")

    assert ran.code == 3
    assert f"{A} is applied; expected pending" in ran.error()[0]


def test_above_development_it_is_confirmed(project: Project) -> None:
    argv = ("stamp", "--env", "uat", "--name", A, "--reason", "by hand")

    refused = project.run(*argv)
    done = project.run(*argv, **BY_HAND)

    assert refused.code == 3
    assert refused.error()[0] == "✗ stamp of 1 migrations in uat is not confirmed"
    assert "CONFIRM_HISTORY=yes" in refused.error()[2]
    assert done.code == 0, done.err


def test_a_dry_run_shows_what_would_change_and_changes_nothing(project: Project) -> None:
    ran = project.run("stamp", "--env", "dev", "--name", A, "--dry-run")

    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"stamp {A}: pending → sha256:")
    assert states(project)[A] == "pending"


def test_a_row_deleted_by_hand_makes_the_migration_pending_again(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("delete from schema_migrations where migration_name = %s", (C,))
        connection.execute("drop table c")

    assert states(project)[C] == "pending"
    assert project.run("deploy", "--env", "dev").code == 0


def test_a_name_that_differs_in_case_alone_is_refused(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "update schema_migrations set migration_name = upper(migration_name) "
            "where migration_name = %s",
            (C,),
        )

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 3
    assert "differ in case alone: one is on disk, the other applied" in ran.error()[0]
