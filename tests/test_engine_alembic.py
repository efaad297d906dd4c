"""The engine `alembic` beside the real Alembic: each reads what the other wrote as its own."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgwindlass import movement
from pgwindlass.database import silence
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import open_engine
from pgwindlass.errors import Refused, StepFailed
from pgwindlass.secret import Secret
from tests.fix_alembic import FIRST, AlembicProject, Make, deploy, done, states
from tests.fix_pgbouncer import Pooler
from tests.fix_proxy import Proxy, Upstream

pytestmark = pytest.mark.sampled(3)

SEVERAL = "Multiple head revisions are present: b200, c300"


def test_after_our_deployment_the_real_cli_is_at_head_and_the_other_way_round(
    events: AlembicProject,
) -> None:
    assert events.cli("current").stdout.strip() == FIRST
    assert states(events) == {FIRST: "applied", "second": "pending"}

    assert events.cli("upgrade", "head").returncode == 0

    assert states(events) == {FIRST: "applied", "second": "applied"}
    assert "0 pending" in deploy(events).err
    done(events, "rollback", "--env", "uat", "--steps", "1", CONFIRM_ROLLBACK="yes")
    assert events.cli("current").stdout.strip() == FIRST
    assert "note" not in events.columns("error_events")


def test_history_knows_messages_times_and_checksums_of_what_ran_here(
    events: AlembicProject,
) -> None:
    found = events.project.json("status", "--env", "uat")["migrations"]

    assert [one["title"] for one in found] == ["create error_events", "second of a test"]
    assert found[0]["applied_at"].startswith("20")
    file = events.versions / f"{FIRST}_create_error_events.py"
    file.write_text(file.read_text() + "# a comment\n")
    assert states(events)[FIRST] == "edited"
    ran = events.project.run("deploy", "--env", "uat", "--yes")
    assert ran.code == 3
    assert f"{FIRST} is applied and was edited after it was applied" in ran.error()[0]

    done(
        events,
        "repair",
        "--env",
        "uat",
        "--name",
        FIRST,
        "--reason",
        "a comment",
        CONFIRM_HISTORY="yes",
    )

    assert states(events)[FIRST] == "applied"


def test_the_plan_shows_the_sql_with_its_lines_and_what_cannot_be_known(
    events: AlembicProject,
) -> None:
    events.revision(
        "third",
        "second",
        'if sa.inspect(op.get_bind()).has_table("error_events"):\n'
        '    op.execute("update error_events set note = source")',
        "raise NotImplementedError",
    )

    shown = events.project.json("plan", "--env", "dev")["plan"]
    text = done(events, "plan", "--env", "dev").out

    place = "backend/alembic/versions"
    assert f"-- {place}/second_test.py:12\nALTER TABLE error_events ADD COLUMN note TEXT;" in text
    assert f"-- not renderable: revision third: it reads data ({place}/third_test.py:12)" in text
    opaque = [one for one in shown["about"]["findings"] if one["rule"] == "opaque"]
    assert [(one["level"], one["file"]) for one in opaque] == [
        ("unknown", "backend/alembic/versions/third_test.py")
    ]
    ran = events.project.run("deploy", "--env", "uat", "--yes")
    assert ran.error()[0].startswith("✗ third has no rollback script")


def test_lint_reads_the_sql_and_names_the_line_of_the_revision(events: AlembicProject) -> None:
    events.revision(
        "third",
        "second",
        'op.add_column("error_events", sa.Column("a", sa.Text()))\n'
        'op.create_index("ix_note", "error_events", ["note"])\n'
        "# windlass: allow changing-column-type it is small\n"
        'op.alter_column("error_events", "source", type_=sa.Integer(), '
        'postgresql_using="source::int")',
        'op.drop_index("ix_note")',
    )

    found = events.project.json("lint")

    third = [one for one in found if one["file"].endswith("third_test.py")]
    assert ("require-concurrent-index-creation", 13) in [(f["rule"], f["line"]) for f in third]
    assert "changing-column-type" not in [one["rule"] for one in third]
    assert "stale-allow" not in [one["rule"] for one in third]


def test_a_failing_revision_names_its_line_and_leaves_nothing(events: AlembicProject) -> None:
    events.revision(
        "third",
        "second",
        'op.execute("create table made (id int)")\nop.execute("select 1 / 0")',
        'op.execute("drop table made")',
    )

    ran = events.project.run("deploy", "--env", "uat", "--yes")

    assert ran.code == 1
    assert ran.error()[0] == (
        "✗ migrate: backend/alembic/versions/third_test.py:13: division by zero (SQLSTATE 22012)"
    )
    assert "nothing of this revision is left" in ran.error()[1]
    assert events.heads() == ["second"]
    assert events.sql("select to_regclass('made')") == [(None,)]
    assert states(events)["third"] == "pending"


def test_an_error_of_python_names_its_line_too(events: AlembicProject) -> None:
    events.revision("third", "second", "raise KeyError('setting')", "op.execute('select 1')")

    ran = events.project.run("deploy", "--env", "uat", "--yes")

    assert ran.error()[0] == (
        "✗ migrate: backend/alembic/versions/third_test.py:12: KeyError: 'setting'"
    )


def test_a_file_that_changes_behind_the_plan_does_not_run(events: AlembicProject) -> None:
    engine = open_engine(events.project.settings("uat").shared.migrations, events.project.home)
    second = next(one for one in engine.files.list() if one.name == "second")
    file = events.versions / "second_test.py"
    file.write_text(file.read_text().replace("note", "another"))

    with pytest.raises(StepFailed, match=r"second_test\.py: changed since it was planned"):
        engine.runner.apply(second, Database(url=Secret(events.project.url)), Terms())

    assert events.heads() == [FIRST]


def test_several_heads_are_named_with_the_command_that_merges_them(alembic: Make) -> None:
    made = alembic("agent_logger")

    ran = made.project.run("deploy", "--env", "uat", "--yes")
    assert (ran.code, ran.error()[0]) == (3, f"✗ {SEVERAL}")
    assert "invoke create --merge --name merge_heads" in ran.error()[2]
    ran = made.project.run("migrate", "--env", "dev", "--to", "head")
    assert ran.error()[0] == f"✗ {SEVERAL}"
    done(made, "migrate", "--env", "dev", "--to", "keys@head")
    assert made.heads() == ["c300"]
    done(made, "migrate", "--env", "dev", "--to", "heads")
    assert made.heads() == ["b200", "c300"]

    written = done(made, "create", "--merge", "--name", "merge branches").out
    deploy(made)

    assert "backend/alembic/versions/" in written
    (head,) = made.heads()
    assert head in written
    assert made.cli("check").returncode == 0
    done(made, "rollback", "--env", "uat", "--steps", "1", CONFIRM_ROLLBACK="yes")
    assert made.heads() == ["b200", "c300"]
    ran = made.project.run("rollback", "--env", "uat", "--name", "a100", CONFIRM_ROLLBACK="yes")
    assert ran.error()[0] == "✗ a100 has applied revisions built on it: b200, c300"
    done(made, "rollback", "--env", "uat", "--to", "base", CONFIRM_ROLLBACK="yes")
    assert made.heads() == []
    assert made.sql("select to_regclass('users')") == [(None,)]


def test_what_the_guide_calls_common_issues_has_the_next_command(events: AlembicProject) -> None:
    ran = events.project.run("create", "--autogenerate", "--env", "dev", "--name", "x")
    assert ran.error()[0].startswith("✗ Target database is not up to date")
    assert "invoke migrate --env" in ran.error()[2]

    ran = events.project.run("migrate", "--env", "dev", "--to", "xyz1")
    assert ran.error() == [
        '✗ there is no migration "xyz1"',
        "  state: nothing was changed",
        "  next:  invoke status --env dev lists them",
    ]
    events.sql("update alembic_version set version_num = 'xyz'")
    assert states(events)["xyz"] == "missing"
    ran = events.project.run("deploy", "--env", "uat", "--yes")
    assert "Can't locate revision identified by 'xyz'" in ran.error()[0]
    assert "this database was migrated from a commit that has it" in ran.error()[2]


def test_a_row_with_columns_of_the_projects_own_is_written_where_they_have_defaults(
    events: AlembicProject,
) -> None:
    events.sql(
        "delete from alembic_version; alter table alembic_version "
        "add at timestamptz not null default now(), add number int generated always as identity, "
        "add twice text generated always as (version_num || version_num) stored, "
        "add who text not null"
    )
    verb = ("baseline", "--env", "uat", "--name", FIRST, "--reason", "by hand")

    refused = events.project.run(*verb, CONFIRM_HISTORY="yes")
    events.sql("alter table alembic_version alter who set default 'x'")
    done(events, *verb, CONFIRM_HISTORY="yes")

    assert refused.code == 3
    assert refused.error()[0] == "✗ the table alembic_version has columns that need a value: who"
    assert events.heads() == [FIRST]


def test_a_database_without_a_history_is_stamped_as_alembic_stamps(events: AlembicProject) -> None:
    events.sql("delete from alembic_version")

    ran = events.project.run(
        "stamp", "--env", "uat", "--name", "second", "--reason", "by hand", CONFIRM_HISTORY="yes"
    )
    assert ran.error()[0] == f"✗ second builds on {FIRST}, which is pending"
    done(
        events,
        "baseline",
        "--env",
        "uat",
        "--name",
        FIRST,
        "--reason",
        "by hand",
        CONFIRM_HISTORY="yes",
    )
    assert events.heads() == [FIRST]
    events.sql("alter table error_events add note text")
    done(
        events,
        "stamp",
        "--env",
        "uat",
        "--name",
        "second",
        "--reason",
        "by hand",
        CONFIRM_HISTORY="yes",
    )
    assert events.cli("current").stdout.strip() == "second (head)"
    ran = events.project.run(
        "unstamp", "--env", "uat", "--name", FIRST, "--reason", "x", CONFIRM_HISTORY="yes"
    )
    assert ran.error()[0] == f"✗ {FIRST} has applied revisions built on it: second"
    done(
        events,
        "unstamp",
        "--env",
        "uat",
        "--name",
        f"{FIRST},second",
        "--reason",
        "x",
        CONFIRM_HISTORY="yes",
    )
    assert events.heads() == []
    done(
        events,
        "baseline",
        "--env",
        "uat",
        "--name",
        "second",
        "--reason",
        "by hand",
        CONFIRM_HISTORY="yes",
    )
    assert events.cli("current").stdout.strip() == "second (head)"
    assert "note" in events.columns("error_events")


def test_behind_a_pooler_nothing_runs(
    events: AlembicProject, pooler: Pooler, database16: Database
) -> None:
    engine = open_engine(events.project.settings("uat").shared.migrations, events.project.home)

    with (
        pooler(database16).connect("doctor") as connection,
        pytest.raises(Refused, match="the address is a pooler's"),
    ):
        engine.history.ready(connection)


def test_env_py_that_goes_elsewhere_is_stopped_before_its_first_statement(
    events: AlembicProject, new_database: Callable[[object], Database], server16: object
) -> None:
    other = new_database(server16)
    env = events.backend / "alembic" / "env.py"
    env.write_text(
        env.read_text()
        .replace(
            "    connectable = engine_from_config(",
            "    import psycopg\n"
            f"    theirs = lambda: psycopg.connect({other.url.reveal()!r})\n"
            "    connectable = engine_from_config(",
        )
        .replace("poolclass=pool.NullPool,", "poolclass=pool.NullPool, creator=theirs,")
    )

    ran = events.project.run("deploy", "--env", "uat", "--yes")

    assert ran.code == 1
    assert f"env.py connects to another database: {other.name}" in ran.err
    with psycopg.connect(other.url.reveal()) as connection:
        row = connection.execute("select to_regclass('alembic_version')").fetchone()
    assert row == (None,)


def test_a_rehearsal_shows_what_a_revision_really_did(events: AlembicProject) -> None:
    events.revision(
        "third",
        "second",
        'columns = sa.inspect(op.get_bind()).get_columns("error_events")\n'
        "assert len(columns) == 4\n"
        'op.alter_column("error_events", "source", type_=sa.String(500))\n'
        'op.alter_column("error_events", "note", nullable=False)',
        'op.alter_column("error_events", "note", nullable=True)\n'
        'op.alter_column("error_events", "source", type_=sa.String(50))',
    )

    found = events.project.json("rehearse", "--env", "uat")["migrations"]

    assert [(one["name"], one["rolled_back"]) for one in found] == [
        ("second", True),
        ("third", True),
    ]
    (added,) = found[0]["statements"]
    assert added["where"] == "backend/alembic/versions/second_test.py:12"
    assert added["locks"] == [["public.error_events", "AccessExclusiveLock"]]
    assert added["sql"] == "ALTER TABLE error_events ADD COLUMN note TEXT"
    assert [one["where"].rpartition(":")[2] for one in found[1]["statements"]] == ["14", "15"]
    assert events.heads() == [FIRST]


def test_a_version_table_of_another_name_and_schema_is_found_wherever_it_is(
    alembic: Make,
) -> None:
    made = alembic("error_events")
    env = made.backend / "alembic" / "env.py"
    table = 'version_table="revisions of events", version_table_schema="books"'
    env.write_text(
        env.read_text().replace(
            "connection=connection, target_metadata=target_metadata)",
            f"connection=connection, target_metadata=target_metadata, {table})",
        )
    )
    made.sql("create schema books")

    (found,) = made.project.json("rehearse", "--env", "uat")["migrations"]
    deploy(made)

    assert found["rolled_back"] is True
    assert made.sql('select version_num from books."revisions of events"') == [(FIRST,)]
    assert states(made) == {FIRST: "applied"}


@pytest.mark.parametrize(
    "reads",
    [
        'connection.exec_driver_sql("select count(*) from pg_class").scalar()',
        "import os, psycopg; psycopg.connect(os.environ['PGHOST'] and '').close()",
    ],
    ids=["by SQLAlchemy", "by its driver"],
)
def test_env_py_that_reads_data_first_is_asked_on_an_empty_database(
    events: AlembicProject, reads: str
) -> None:
    env = events.backend / "alembic" / "env.py"
    before = "        context.configure(connection=connection"
    env.write_text(env.read_text().replace(before, f"        {reads}\n{before}"))

    assert states(events) == {FIRST: "applied", "second": "pending"}


def test_a_search_path_that_env_py_sets_decides_where_the_heads_are(alembic: Make) -> None:
    made = alembic("error_events")
    made.sql("create schema books")
    env = made.backend / "alembic" / "env.py"
    before = "        context.configure(connection=connection"
    statement = 'connection.exec_driver_sql("SET search_path TO books, public")'
    statement += "; connection.commit()"
    env.write_text(env.read_text().replace(before, f"        {statement}\n{before}"))

    done(made, "migrate", "--env", "dev")

    assert made.sql("select version_num from books.alembic_version") == [(FIRST,)]
    assert states(made) == {FIRST: "applied"}


@pytest.mark.parametrize("of", ["role", "database"])
def test_a_search_path_of_the_role_or_the_database_decides_too(alembic: Make, of: str) -> None:
    made = alembic("error_events")
    name = made.project.url.partition("@/")[2].partition("?")[0]
    who = "role postgres in database" if of == "role" else "database"
    made.sql("create schema books")
    made.sql(f"alter {who} {name} set search_path = books, public")

    done(made, "migrate", "--env", "dev")

    assert made.sql("select version_num from books.alembic_version") == [(FIRST,)]
    assert states(made) == {FIRST: "applied"}


def test_what_stands_already_is_offered_to_stamp(events: AlembicProject) -> None:
    events.sql("alter table error_events add note text")

    (found,) = events.project.json("status", "--env", "uat")["unrecorded"]
    ran = events.project.run("deploy", "--env", "uat", "--yes")

    assert (found["migration"], found["verdict"]) == ("second", "alike")
    assert ran.code == 3
    assert "invoke stamp --env uat --name second" in ran.error()[2]
    done(
        events,
        "stamp",
        "--env",
        "uat",
        "--name",
        "second",
        "--reason",
        "by hand",
        CONFIRM_HISTORY="yes",
    )
    assert states(events)["second"] == "applied"


def test_what_a_revision_prints_is_shown_without_passwords(events: AlembicProject) -> None:
    events.revision("third", "second", "print('password is s3cr3t-word')", "print('undone')")
    url = events.project.url
    events.project.url = url + ("&" if "?" in url else "?") + "password=s3cr3t-word"

    ran = deploy(events)

    assert "password is" in ran.err
    assert "s3cr3t-word" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("text", "instead", "said"),
    [
        ("ini: backend/alembic.ini", "ini: alembic.ini", "migrations.ini: alembic.ini: no such"),
        ("url_variable:", "directory: x\n  url_variable:", "alembic.ini sets the directory"),
        ("engine: alembic", "engine: sql", "ini is for engine: alembic"),
    ],
)
def test_a_wrong_deploy_yml_is_told_with_its_key(
    alembic: Make, text: str, instead: str, said: str
) -> None:
    made = alembic("error_events")
    made.set(text, instead)

    ran = made.project.run("status", "--env", "dev")

    assert ran.code == 2
    assert said in ran.error()[0]


def test_a_python_without_alembic_is_told(alembic: Make, tmp_path: Path) -> None:
    made = alembic("error_events")
    text = made.project.deploy_yml.read_text()
    line = next(one for one in text.splitlines() if "python:" in one)
    made.set(line, "  python: /usr/bin/python3")

    ran = made.project.run("status", "--env", "dev")

    assert (ran.code, ran.error()[0]) == (2, "✗ /usr/bin/python3 has no alembic")


def test_a_revision_that_is_no_python_is_told_with_its_line(events: AlembicProject) -> None:
    (events.versions / "broken.py").write_text("revision = 'x'\ndown_revision = (\n")

    ran = events.project.run("status", "--env", "dev")

    assert ran.code == 2
    assert "alembic/versions/broken.py:2" in ran.error()[0]


def test_a_statement_that_a_line_swallows_ends_and_leaves_nothing(
    events: AlembicProject,
    proxy: Callable[[Upstream], Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "ASK_AFTER", 0.3)
    monkeypatch.setattr(silence, "ASK_EVERY", 0.3)
    monkeypatch.setattr(movement, "LOOK_EVERY", 0.1)
    engine = open_engine(events.project.settings("uat").shared.migrations, events.project.home)
    second = next(one for one in engine.files.list() if one.name == "second")
    parameters = Database(url=Secret(events.project.url)).parameters()
    host, port = parameters["host"], parameters.get("port", "5432")
    line = proxy(Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, int(port)))
    line.stall("up", pattern=b"ADD COLUMN")
    url = make_conninfo(events.project.url, host="127.0.0.1", port=line.port)

    with pytest.raises(psycopg.OperationalError, match="runs no statement of this session"):
        engine.runner.apply(second, Database(url=Secret(url), deployment_id="test"), Terms())

    assert events.heads() == [FIRST]
    with psycopg.connect(events.project.url) as connection:
        left = "select count(*) from pg_stat_activity where application_name ~ 'windlass/test'"
        assert connection.execute(left.encode()).fetchone() == (0,)
