"""Revisions of Alembic that are held up, killed, cut off, or run by four at once."""

import subprocess
import threading
import time
from contextlib import suppress

import psycopg
import pytest

from tests.fix_alembic import AlembicProject, done, states
from tests.kit import WINDLASS

pytestmark = pytest.mark.sampled(3)


def test_a_table_that_is_held_is_waited_for_in_rungs(events: AlembicProject) -> None:
    waited: list[float] = []

    def read() -> None:
        began = time.monotonic()
        events.sql("select count(*) from error_events")
        waited.append(time.monotonic() - began)

    with psycopg.connect(events.project.url) as holder:
        holder.execute("lock table error_events in access share mode")
        child = subprocess.Popen(
            [str(WINDLASS), "migrate", "--env", "uat"],
            cwd=events.project.home,
            env=events.project.variables(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr is not None
        for line in child.stderr:
            if "waiting for a lock held by" in line:
                break
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
            reader.join()
        holder.rollback()
    _, said = child.communicate(timeout=60)

    assert child.returncode == 0, said
    assert "retried" in said
    assert max(waited) < 1  # a rung of 200 ms, and a busy machine
    assert events.heads() == ["second"]


def test_one_that_is_held_for_ever_ends_the_deployment_with_nothing_held(
    events: AlembicProject,
) -> None:
    events.set("wait: 3s", "wait: 1s")

    with psycopg.connect(events.project.url) as holder:
        holder.execute("lock table error_events in access share mode")
        ran = events.project.run("migrate", "--env", "uat")
        pid = holder.info.backend_pid

    assert ran.code == 1
    assert f"pid {pid}" in ran.error()[0]
    assert states(events)["second"] == "pending"


@pytest.mark.parametrize("at", ["before", "inside", "behind"])
def test_kill_nine_leaves_what_status_says_and_the_same_command_finishes(
    events: AlembicProject, at: str
) -> None:
    """Where it is killed: before its statement, in it, or when it is about to be recorded."""
    (events.versions / "second_test_verify.sql").write_text(
        "select pg_sleep(5) is not null;\n" if at == "behind" else "select true;\n"
    )
    holder = psycopg.connect(events.project.url)
    if at != "behind":
        holder.execute("lock table error_events in access share mode")
    child = subprocess.Popen(
        [str(WINDLASS), "migrate", "--env", "uat"],
        cwd=events.project.home,
        env=events.project.variables(),
        stderr=subprocess.PIPE,
        text=True,
    )
    looked = "pg_sleep" if at == "behind" else "ADD COLUMN"
    _until(
        events,
        "select count(*) from pg_stat_activity where application_name like "
        f"'windlass/%/migrate/second' and query like '%{looked}%'",
    )
    if at == "before":
        time.sleep(0.15)  # its rung is over
    child.kill()
    child.communicate()
    holder.close()
    (events.versions / "second_test_verify.sql").write_text("select true;\n")

    assert states(events)["second"] == "pending"
    done(events, "migrate", "--env", "uat")

    assert events.heads() == ["second"]
    assert "note" in events.columns("error_events")


def _until(made: AlembicProject, query: str) -> None:
    deadline = time.monotonic() + 30
    while made.sql(query) == [(0,)]:
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


def test_four_at_once_run_each_revision_once(events: AlembicProject) -> None:
    children = [
        subprocess.Popen(
            [str(WINDLASS), "migrate", "--env", "dev"],
            cwd=events.project.home,
            env=events.project.variables(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [(child.communicate(timeout=90)[1], child.returncode) for child in children]

    # Who planned before another was done is told so: the plan is not what it was.
    assert {code for _, code in said} <= {0, 3}, said
    assert [code for _, code in said].count(0) >= 1
    assert events.heads() == ["second"]


CONCURRENT = """\
op.execute("update error_events set note = 'x'")
with op.get_context().autocommit_block():
    op.create_index("ix_note", "error_events", ["note"], postgresql_concurrently=True)"""


def test_an_autocommit_block_that_was_cut_off_is_told_and_gone_on_with(
    events: AlembicProject,
) -> None:
    events.revision("third", "second", CONCURRENT, 'op.drop_index("ix_note")')
    deploy_to_second = done(events, "migrate", "--env", "uat", "--to", "second")
    assert "second" in deploy_to_second.err
    holder = psycopg.connect(events.project.url)
    holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    holder.execute("select count(*) from error_events")  # its snapshot is waited for
    child = subprocess.Popen(
        [str(WINDLASS), "migrate", "--env", "uat"],
        cwd=events.project.home,
        env=events.project.variables(),
        stderr=subprocess.PIPE,
        text=True,
    )
    _until(events, "select count(*) from pg_index where not indisvalid")
    child.kill()
    child.communicate()
    holder.close()

    found = events.project.json("status", "--env", "uat")["migrations"][-1]
    assert (found["state"], found["detail"]) == (
        "partial",
        "begun, and cut off; what it committed stays",
    )
    done(events, "migrate", "--env", "uat")

    assert events.sql("select indisvalid from pg_index where indexrelid = 'ix_note'::regclass") == [
        (True,)
    ]
    assert states(events)["third"] == "applied"


def test_an_index_that_a_killed_run_had_built_is_not_built_again(events: AlembicProject) -> None:
    events.revision("third", "second", CONCURRENT, 'op.drop_index("ix_note")')
    done(events, "migrate", "--env", "uat", "--to", "second")
    events.sql("create index ix_note on error_events (note)")
    events.sql("insert into windlass.partial_migration values ('third', 'up', 0, '', 0, 1)")
    (before,) = events.sql("select 'ix_note'::regclass::oid")

    ran = done(events, "migrate", "--env", "uat")

    assert "third_test.py:14: already exists" in ran.err
    assert events.sql("select 'ix_note'::regclass::oid") == [before]
    assert events.heads() == ["third"]


def test_an_index_whose_build_failed_leaves_nothing(events: AlembicProject) -> None:
    unique = CONCURRENT.replace('["note"]', '["note"], unique=True')
    events.revision("third", "second", unique, 'op.drop_index("ix_note")')
    done(events, "migrate", "--env", "uat", "--to", "second")
    events.sql(
        "insert into error_events (id, source, payload) select i, 's', '{}' "
        "from generate_series(1, 2) i"
    )

    ran = events.project.run("migrate", "--env", "uat")

    assert "could not create unique index" in ran.error()[0]
    assert events.sql("select to_regclass('ix_note')") == [(None,)]


HALF = """\
with op.get_context().autocommit_block():
    op.execute("create table half (i int)")
op.execute("select 1 / 0")"""


def test_a_revision_that_committed_half_of_itself_is_never_said_to_be_rolled_back(
    events: AlembicProject,
) -> None:
    events.set("    lock: {timeout: [100ms, 200ms], wait: 3s}\n", "    on_failure: rollback\n")
    events.revision("third", "second", HALF, 'op.execute("drop table half")')

    ran = events.project.run("deploy", "--env", "uat", "--yes")

    assert ran.code == 1
    assert "division by zero" in ran.error()[0]
    assert "rolling back failed: migrate: third was cut off in the middle" in ran.error()[0]
    assert states(events)["third"] == "partial"
    assert events.sql("select to_regclass('half')::text") == [("half",)]
    events.sql("drop table half")
    done(
        events,
        "unstamp",
        "--env",
        "uat",
        "--name",
        "third",
        "--reason",
        "by hand",
        CONFIRM_HISTORY="yes",
    )
    assert states(events)["third"] == "pending"


def test_a_downgrade_that_was_cut_off_goes_on_with_rollback(events: AlembicProject) -> None:
    events.revision(
        "third",
        "second",
        'op.execute("create table half (i int)")',
        "with op.get_context().autocommit_block():\n"
        '    op.execute("drop table if exists half")\n'
        "if op.get_bind().execute(sa.text(\"select to_regclass('stop')\")).scalar():\n"
        '    raise RuntimeError("stop")',
    )
    done(events, "migrate", "--env", "dev")
    events.sql("create table stop (i int)")

    ran = events.project.run("rollback", "--env", "dev", "--name", "third")
    assert "RuntimeError: stop" in ran.error()[0]
    assert states(events)["third"] == "half undone"
    events.sql("drop table stop")
    refused = events.project.run("deploy", "--env", "dev")
    assert "finish it: invoke rollback --env dev --name third" in refused.error()[2]
    done(events, "rollback", "--env", "dev", "--name", "third")

    assert events.heads() == ["second"]
    assert states(events)["third"] == "pending"


def test_a_writer_that_waits_for_rows_of_a_revision_and_blocks_it_is_told_at_once(
    events: AlembicProject,
) -> None:
    events.sql("insert into error_events (source, payload) values ('a', '{}')")
    events.set("wait: 3s", "wait: 30s")
    events.set("[100ms, 200ms]", "[900ms]")
    events.revision(
        "third",
        "second",
        "op.execute(\"update error_events set source = 'b'\")\n"
        "op.execute('select pg_sleep(0.4)')\n"
        'op.add_column("error_events", sa.Column("more", sa.Text()))',
        'op.drop_column("error_events", "more")',
    )
    over = threading.Event()

    def write() -> None:
        with psycopg.connect(events.project.url, autocommit=True) as connection:
            while not over.is_set():
                with suppress(psycopg.Error):
                    connection.execute("update error_events set source = 'c'")

    writer = threading.Thread(target=write)
    writer.start()
    ran = events.project.run("migrate", "--env", "uat")
    over.set()
    writer.join()

    assert ran.code == 1
    what, _, next_step = ran.error()[:3]
    assert "third_test.py:" in what
    assert "waits for rows that the migration has changed" in what
    assert "split the file" in next_step
    assert events.heads() == ["second"]
