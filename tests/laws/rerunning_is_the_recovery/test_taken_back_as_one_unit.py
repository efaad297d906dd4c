"""A unit is taken back whole, whichever of its runs applied what; a kill does not turn it round."""

import signal

import psycopg
import pytest

from tests.fix_postgres import Server
from tests.heavy import some
from tests.laws.rerunning_is_the_recovery.test_goes_on_as_it_began import (
    DEPLOY,
    ENV,
    A,
    B,
    C,
    D,
    Stage,
)
from tests.laws.rerunning_is_the_recovery.test_goes_on_as_it_began import stage as stage

pytestmark = pytest.mark.sampled(3)

BROKEN = "alter table log add column broken int;"
AS_BEFORE = "rolled back: the schema is as it was before; the service was restarted and serves"


@pytest.fixture
def broken(stage: Stage) -> Stage:
    """Return a stage where A is applied, and the service fails with C."""
    stage.done("migrate", "--to", A)
    stage.project.migration(C, BROKEN, "alter table log drop column broken;")
    return stage


def begin(stage: Stage) -> None:
    """Take the database back to where the deployment begins."""
    stage.execute(
        "alter table log drop column if exists broken, drop column if exists c2, "
        "drop column if exists c4",
        "delete from log",
        f"delete from schema_migrations where migration_name <> '{A}'",
        "delete from windlass.step",
        "delete from windlass.deployment",
    )


def test_what_a_killed_run_applied_is_taken_back_with_the_rest(broken: Stage) -> None:
    before = broken.end()
    kills = (f"after file {B}", f"after file {C}", "after begin restart", "after finish restart")
    for number, at in enumerate(some(kills, 1, of=2)):
        begin(broken)
        broken.killed(*DEPLOY, at=at)

        code, words = broken.run(*(DEPLOY if number % 2 else ("resume",)))

        assert code == 4, (at, words)
        assert AS_BEFORE in words, at
        assert broken.end() == before, at
        assert broken.newest["status"] == "rolled back"
        assert "nothing to resume" in broken.done("resume")


def test_a_rollback_that_was_killed_is_gone_on_with(broken: Stage) -> None:
    before = broken.end()
    kills = (
        "after begin smoke",  # no rollback yet: it goes forward, and fails as before
        "before undo restart",
        "after undo restart",
        "after undo migrate",
        "before undone migrate",
        "after undone migrate",
        "before close rolled back",
    )
    for number, at in enumerate(some(kills, 1, of=3)):
        begin(broken)
        broken.killed(*DEPLOY, at=at, by=signal.SIGTERM if number % 2 else signal.SIGKILL)
        backward = "begin" not in at
        status = broken.project.run("status", "--env", ENV).out
        assert ("it is taken back because of: smoke: " in status) is backward, status
        assert f"invoke resume --env {ENV}" in status
        if backward:
            code, words = broken.run("migrate", "--steps", "1")
            assert code == 3, words
            assert "the rollback of deployment" in words
            assert f"invoke resume --env {ENV} finishes it" in words

        code, words = broken.run(*(DEPLOY if number % 2 else ("resume",)))

        assert code == 4, (at, words)
        assert "✗ smoke: GET http://" in words, words
        assert AS_BEFORE in words, (at, words)
        assert broken.end() == before, at


def test_the_other_direction_waits_for_a_half_done_rollback(stage: Stage) -> None:
    stage.done("migrate", "--to", D)
    stage.killed("rollback", "--steps", "3", at=f"after file {D}")

    ends = [stage.run(*DEPLOY), stage.run("rollback", "--name", A)]

    for (code, words), asked in zip(ends, ("deploy", f"rollback --name {A}"), strict=True):
        assert code == 3, words
        assert f"(invoke rollback --env {ENV} --steps 3) is not finished: " in words
        assert f"it has still to undo {B}, {C}" in words
        task, *flags = asked.split()
        command = " ".join(["invoke", task, "--env", ENV, *flags])
        assert f"invoke resume --env {ENV} finishes it; then {command}" in words
    assert stage.project.applied() == [A, B, C]
    stage.done("resume")
    assert stage.project.applied() == [A]
    stage.done(*DEPLOY)


def test_a_rollback_that_fails_tells_what_stands_and_is_tried_again(broken: Stage) -> None:
    before = broken.end()
    script = broken.project.script(C, "_rollback")
    right = script.read_text()
    script.write_text("alter table log drop column no_such_column;")

    code, words = broken.run(*DEPLOY)

    (failed,) = [d["id"] for d in broken.project.deployments(ENV)[:1]]
    assert code == 1, words
    assert "and rolling back failed: migrate: migrations" in words
    assert f"look now; 2 of 3 migrations stand: {B}, {C}; not applied: {D}; command " in words
    assert "runs instance" in words
    assert f"invoke resume --env {ENV} tries the rollback again" in words
    assert f"invoke rollback --env {ENV} --deployment {failed}" in words
    code, words = broken.run("resume")
    assert code == 1, words
    assert "and rolling back failed" in words
    script.write_text(right)
    code, words = broken.run("resume")
    assert code == 3, words
    assert f"cannot be resumed as it began: {C} has another rollback script" in words
    broken.done("rollback", "--deployment", failed)
    assert broken.end() == before
    assert "nothing to resume" in broken.done("resume")


def test_a_failure_tells_what_was_read(stage: Stage) -> None:
    stage.project.migration(C, "select 1 / 0;", "select 1;")
    stops(stage)

    code, words = stage.run(*DEPLOY)

    assert code == 1
    assert f"state: 2 of 4 migrations stand: {A}, {B}; not applied: {C}, {D}; backup" in words
    assert (
        f"next:  mend the file, or what it found, and start again: invoke deploy --env {ENV}"
        in (words)
    )
    assert "nothing was changed" not in words
    status = stage.project.run("status", "--env", ENV).out
    assert f"failed; the same command continues: invoke deploy --env {ENV}, and so does" in status


def test_a_database_that_is_gone_is_said_to_be_gone(stage: Stage, server16: Server) -> None:
    (name,) = stage.rows("select current_database()")[0]
    shut = f'alter database "{name}" allow_connections'
    (stage.project.home / "restart.py").write_text(
        "import psycopg, sys\n"
        f"with psycopg.connect({server16.url()!r}, autocommit=True) as line:\n"
        f"    line.execute({shut + ' false'!r})\n"
        "    line.execute('select pg_terminate_backend(pid, 5000) from pg_stat_activity '\n"
        f"                 'where datname = %s', [{name!r}])\n"
        "sys.exit(1)\n"
    )
    stops(stage)

    code, words = stage.run(*DEPLOY)

    with psycopg.connect(server16.url(), autocommit=True) as admin:
        admin.execute(f"{shut} true".encode())
    assert code == 1, words
    assert "what stands is not known: " in words
    assert f"UTC: 3 of 4 migrations stand: {A}, {B}, {C}; not applied: {D}" in words
    assert words.count("the journal could not be written") == 1
    assert "an error of Windlass itself" not in words
    status = stage.project.run("status", "--env", ENV).out
    assert "was killed; the same command continues" in status


def stops(stage: Stage) -> None:
    text = stage.project.deploy_yml.read_text()
    stage.project.deploy_yml.write_text(text.replace("on_failure: rollback", "on_failure: stop"))


def goes_back_anyway(stage: Stage) -> None:
    text = stage.project.deploy_yml.read_text()
    lossy = text.replace("on_failure: rollback", "on_failure: rollback-even-if-lossy")
    stage.project.deploy_yml.write_text(lossy)


ALONE = "-- windlass: transaction=off\n"
HALF = f"{ALONE}create table made (n int);\nalter table log add column h int;\n"


@pytest.mark.parametrize("alone", [True, False])
def test_of_a_half_done_migration_what_was_made_is_undone(stage: Stage, alone: bool) -> None:
    stage.reset()
    goes_back_anyway(stage)
    stage.done("migrate", "--to", B)
    stage.project.migration(
        C,
        f"{HALF}create index concurrently i3 on log (n);\nselect no_such_function();\n"
        "create table never (n int);",
        (ALONE if alone else "")
        + "drop table never;\n"
        + ("drop index concurrently i3;\n" if alone else "drop index i3;\n")
        + "alter table log drop column h, drop constraint never_made;\ndrop table made;",
    )
    before = stage.end()

    code, words = stage.run("deploy", "--yes")

    assert code == 4, words
    assert stage.rows("select to_regclass('made'), to_regclass('i3')") == [(None, None)]
    assert stage.end() == before
    assert stage.rows("select count(*) from windlass.partial_migration") == [(0,)]


def test_what_cannot_be_told_to_undo_is_left_to_a_person(stage: Stage) -> None:
    stage.reset()
    goes_back_anyway(stage)
    stage.done("migrate", "--to", B)
    stage.project.migration(
        C,
        f"{HALF}insert into log values (no_such_column);",
        "delete from log where n = 2;\nalter table log drop column h;\ndrop table made;",
    )

    code, words = stage.run("deploy", "--yes")

    assert code == 1, words
    assert "ran in part, and this statement of its rollback script does not say" in words
    assert f"{C}_rollback.sql:1" in words
    assert "2 of 3 statements stand: line 2, line 3" in words
    assert stage.rows("select n from log") == [(2,)]
    assert stage.rows("select to_regclass('made')::text") == [("made",)]
