"""Law 1: nothing lost. What a rollback would lose stops it, and a person decides."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_alembic import AlembicProject
from tests.fix_service import api_of
from tests.kit import Project, Ran, tables

pytestmark = pytest.mark.sampled(3)

A, B, C = (f"2026080{n}_000000_{name}" for n, name in enumerate("abc", start=1))
USERS = """
create table users (id int primary key, name text);
insert into users select i, 'n' || i from generate_series(1, 1500) i;
create table empty (id int, name text);
create type mood as enum ('sad', 'ok');
"""
CRASH = "select 1 / 0;"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Iterator[Project]:
    """Fifteen hundred users; uat and production roll back."""
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        connection.execute(USERS)
    with api_of(database16) as base_url:
        made = Project(tmp_path / "shop", database16.url.reveal(), base_url)
        set_on_failure(made, "rollback")
        yield made


def set_on_failure(project: Project, value: str) -> None:
    text = project.deploy_yml.read_text()
    lines = [line for line in text.splitlines() if "on_failure" not in line]
    at = lines.index("    tier: acceptance")
    lines.insert(at + 1, f"    on_failure: {value}")
    project.deploy_yml.write_text("\n".join(lines) + "\n")


def columns(project: Project, table: str) -> list[str]:
    query = (
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "and not attisdropped order by 1"
    )
    with psycopg.connect(project.url) as connection:
        return [row[0] for row in connection.execute(query, (table,)).fetchall()]


def failed(project: Project, environment: str = "uat") -> Ran:
    ran = project.run("deploy", "--env", environment, "--break-glass", "a test")
    assert ran.code in (1, 4), ran.err
    return ran


def last(project: Project, environment: str = "uat") -> dict[str, str]:
    return dict(project.deployments(environment)[0])


def test_a_dropped_column_is_not_undone_by_an_empty_one(project: Project) -> None:
    project.migration(
        A,
        "-- windlass: phase=after\nalter table users drop column name;",
        "alter table users add column name text;",
    )
    project.migration(B, f"-- windlass: phase=after\n{CRASH}", "select 1;")

    ran = failed(project)

    what, state, next_step = ran.error()
    backup = last(project)["backup"]
    assert ran.code == 1
    assert "division by zero" in what
    assert "nothing was rolled back" in state
    assert f"column public.users.name, of 1,500 rows; backup {backup} has them" in state
    assert f"still applied: {A}" in state
    assert "invoke rollback --env uat --steps 1 --lossy" in next_step
    assert f"invoke restore --env uat --from {backup} --tables public.users --into" in next_step
    assert columns(project, "users") == ["id"]
    assert last(project)["status"] == "failed"


@pytest.mark.parametrize(
    ("sql", "back", "words"),
    [
        ("drop table users;", "create table users (id int);", "table public.users with 1,500 rows"),
        ("delete from users where id > 5;", "select 1;", "rows of public.users (1,500 before)"),
        ("update users set name = '';", "select 1;", "values of public.users.name (1,500 rows)"),
        (
            "alter table users alter name type varchar(2) using left(name, 2)::varchar(2);",
            "alter table users alter name type text;",
            "values of public.users.name (1,500 rows)",
        ),
        ("do $$ begin delete from users; end $$;", "select 1;", "its text does not show"),
    ],
)
def test_whatever_takes_older_values_away_stops_the_rollback(
    project: Project, sql: str, back: str, words: str
) -> None:
    project.migration(A, sql, back)
    project.migration(B, CRASH, "select 1;")

    ran = failed(project)

    assert ran.code == 1
    assert words in ran.error()[1], ran.error()
    assert project.applied() == [A]


def test_what_was_empty_is_undone_and_so_is_what_the_deployment_added(project: Project) -> None:
    project.migration(A, "drop table empty;", "create table empty (id int, name text);")
    project.migration(
        B,
        "alter table users add column note text; create table notes (id int);"
        "update users set note = 'x' where id <= 12; insert into notes values (1), (2);",
        "drop table notes; alter table users drop column note;",
    )
    project.migration(C, CRASH, "select 1;")

    ran = failed(project)

    assert ran.code == 4, ran.err
    assert "12 values of public.users.note go" in ran.err
    assert "2 rows of public.notes go" in ran.err
    assert "rolled back: the schema is as it was before" in ran.error()[1]
    assert columns(project, "users") == ["id", "name"]
    assert columns(project, "empty") == ["id", "name"]


def test_even_if_lossy_undoes_it_and_tells(project: Project) -> None:
    set_on_failure(project, "rollback-even-if-lossy")
    project.migration(
        A, "alter table users drop column name;", "alter table users add column name text;"
    )
    project.migration(B, CRASH, "select 1;")

    ran = failed(project)

    assert ran.code == 4, ran.err
    backup = last(project)["backup"]
    assert f"column public.users.name, of 1,500 rows; backup {backup} has them" in ran.error()[1]
    assert "the schema is as it was before" not in ran.error()[1]
    assert columns(project, "users") == ["id", "name"]


def test_an_enum_value_stays_when_the_smoke_test_fails(project: Project) -> None:
    project.migration(
        A,
        "-- windlass: irreversible an enum loses no value\n"
        "alter type mood add value 'happy'; create table broken_by (broken int);",
        None,
    )

    ran = failed(project, "production")

    what, state, _ = ran.error()
    assert "smoke: GET" in what
    assert f"nothing was rolled back: {A} is irreversible: an enum loses no value" in state
    assert f"still applied: {A}" in state
    assert "the service runs" in state
    assert project.applied() == [A]
    assert project.restarts == 1


def test_what_verify_could_fail_on_is_refused_before_the_first_statement(project: Project) -> None:
    project.migration(
        A,
        "alter table users add constraint c check (id > 0) not valid;",
        "alter table users drop constraint c;",
    )

    ran = project.run("deploy", "--env", "production", "--break-glass", "a test")

    assert ran.code == 3, ran.err
    assert "not-valid-constraint" in ran.error()[0]
    assert "schema_migrations" not in tables(project.url)


def test_after_the_smoke_test_verify_warns_and_undoes_nothing(project: Project) -> None:
    project.migration(
        A,
        "alter table users add column seen int;",
        "alter table users drop column seen;",
        "select to_regclass('public.later') is null;",
    )
    project.migration(
        B,
        "-- windlass: phase=after\n-- windlass: allow opaque a test\ncreate table later (id int);"
        "do $$ begin alter table users add constraint c check (id > 0) not valid; end $$;",
        "drop table later; alter table users drop constraint c;",
    )

    ran = project.run("deploy", "--env", "production", "--break-glass", "a test")

    assert ran.code == 0, ran.err
    assert f"migrations/{A}_verify.sql:1" in ran.err
    assert project.applied() == [A, B]
    record = last(project, "production")
    assert record["status"] == "deployed"
    shown = project.run("history", "--env", "production", "--deployment", record["id"]).out
    assert "warning" in shown
    assert "not-valid-constraint c on public.users" in shown


def test_a_rollback_by_hand_shows_what_is_lost(project: Project) -> None:
    project.migration(
        A, "alter table users drop column name;", "alter table users add column name text;"
    )
    assert project.run("deploy", "--env", "uat").code == 0
    words = "column public.users.name, of 1,500 rows"
    by_hand = ("rollback", "--env", "uat", "--name", A)

    refused = project.run(*by_hand, CONFIRM_ROLLBACK="yes")

    assert refused.code == 3
    assert words in refused.error()[0]
    assert "--lossy" in refused.error()[2]
    planned = project.run(*by_hand, "--lossy", "--out", "plan.json")
    assert planned.code == 0, planned.err
    assert words in (project.home / "plan.json").read_text()
    done = project.run(*by_hand, "--lossy", CONFIRM_ROLLBACK="yes")
    assert done.code == 0, done.err
    assert columns(project, "users") == ["id", "name"]
    project.migration(
        B,
        "alter table users add column note text; update users set note = 'x' where id <= 12;",
        "alter table users drop column note;",
    )
    assert project.run("migrate", "--env", "uat").code == 0
    own = project.run("rollback", "--env", "uat", "--name", B, CONFIRM_ROLLBACK="yes")
    assert own.code == 0, own.err
    assert "12 values of public.users.note go with what the migrations added" in own.err


def test_a_set_is_proven_as_a_set(project: Project) -> None:
    project.migration(A, "create table a (i int);", "select 1;")
    project.migration(B, "create table b (i int);", "drop table b; drop table a;")

    ran = project.run("rehearse", "--env", "uat", "--json")

    assert ran.code == 0, ran.err
    assert project.run("deploy", "--env", "uat").code == 0


def test_part_of_a_set_is_not_what_was_proven(project: Project) -> None:
    project.migration(A, "create table a (i int);", "select 1;")
    project.migration(
        B,
        "create table b (i int);",
        "drop table b; drop table a;",
        "select to_regclass('public.slow') is null;",
    )
    project.deploy_yml.write_text(
        project.deploy_yml.read_text().replace(
            "    tier: acceptance", "    tier: acceptance\n    steps: {rehearsal: required}"
        )
    )
    text = project.script(B).read_text()
    project.script(B).write_text(f"{text} select 1 / (select count(*) from users where id = 1);")
    assert project.run("rehearse", "--env", "uat").code == 0
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("delete from users where id = 1")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 1, ran.err
    assert f"the rollback of {A} was proven together with {B}" in ran.error()[1]
    assert project.applied() == [A]


def test_a_rehearsal_shows_that_values_come_back_or_do_not(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace(
            "    tier: acceptance", "    tier: acceptance\n    steps: {rehearsal: required}"
        )
    )
    project.migration(
        A,
        "update users set id = -id; alter type mood rename to feeling;",
        "update users set id = -id; alter type feeling rename to mood;",
    )
    project.migration(
        B,
        "-- windlass: phase=after\n-- windlass: irreversible an enum loses no value\n"
        "alter type feeling add value 'happy';",
        None,
    )
    shown = project.run("plan", "--env", "uat", "--rehearse").out
    assert f"migrate    {B} (after the restart) (irreversible: an enum loses no value)" in shown
    rows = [line for line in shown.splitlines() if line.startswith(B)]
    assert any(line.endswith("irreversible: an enum loses no value") for line in rows), shown
    project.migration(
        B,
        "-- windlass: phase=after\nselect 1 / (select count(*) from users where id = -1);",
        "select 1;",
    )

    with psycopg.connect(project.url, autocommit=True) as connection:
        assert project.run("rehearse", "--env", "uat").code == 0
        connection.execute("delete from users where id = 1")
    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 4, ran.err
    with psycopg.connect(project.url) as connection:
        assert connection.execute("select min(id) from users").fetchone() == (2,)


def test_the_other_engines_stop_too(
    tmp_path: Path, database16: Database, alembic: Callable[..., AlembicProject]
) -> None:
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        connection.execute(USERS)
    made = alembic("error_events")
    set_on_failure(made.project, "rollback")
    assert made.project.run("migrate", "--env", "dev").code == 0
    (head,) = made.heads()
    made.revision("drop", head, 'op.drop_column("users", "name")', 'op.execute("select 1")')
    made.revision("crash", "drop", 'op.execute("select 1 / 0")', 'op.execute("select 1")')
    by_alembic = failed(made.project)
    assert "column public.users.name, of 1,500 rows" in by_alembic.error()[1]
    assert made.heads() == ["drop"]
    made.sql("drop table alembic_version")

    prisma = Project(tmp_path / "prisma", database16.url.reveal(), engine="prisma")
    set_on_failure(prisma, "rollback")
    prisma.migration(A, "select 1;", "select 1;")
    baseline = ("baseline", "--env", "uat", "--name", A, "--reason", "a test")
    stamped = prisma.run(*baseline, CONFIRM_HISTORY="yes")
    assert stamped.code == 0, stamped.err
    prisma.migration(B, "drop table users;", "create table users (id int);")
    prisma.migration(C, CRASH, "select 1;")
    by_prisma = failed(prisma)
    assert "table public.users with 1,500 rows" in by_prisma.error()[1]
    assert "users" not in tables(prisma.url)


def test_an_alembic_revision_says_why_nothing_undoes_it(
    alembic: Callable[..., AlembicProject],
) -> None:
    made = alembic("error_events")
    assert made.project.run("migrate", "--env", "dev").code == 0
    (head,) = made.heads()
    made.sql("create type mood as enum ('sad')")
    made.revision(
        "value",
        head,
        "# windlass: irreversible an enum loses no value\n"
        "op.execute(\"alter type mood add value 'ok'\")",
        'raise NotImplementedError("irreversible")',
    )

    assert made.project.run("deploy", "--env", "uat", "--yes").code == 0
    refused = made.project.run("rollback", "--env", "uat", "--steps", "1")
    assert refused.error()[0] == "✗ value is irreversible: an enum loses no value"
