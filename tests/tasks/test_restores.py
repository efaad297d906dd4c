"""restore: beside the live database, in its place, of some tables; and what it refuses."""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from pgwindlass.backup import dress, loader, swap
from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.secret import Secret
from tests import fix_postgres
from tests.fix_postgres import Server
from tests.kit import Project, tables
from tests.prepared import Prepared, prepared

NewDatabase = Callable[[Server], Database]
A = "20260801_000000_a"


def new_project(home: Path, url: str) -> Project:
    shop = Project(home, url)
    shop.migration(
        A,
        "create table a (i int primary key); create table b (i int references a);"
        "insert into a select generate_series(1, 10); insert into b select 1;",
        "drop table b, a;",
    )
    return shop


@pytest.fixture
def project(tmp_path: Path, server16: Server, database16: Database) -> Iterator[Project]:
    yield new_project(tmp_path / "shop", database16.url.reveal())
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s)",
            [database16.name + "_"],
        ).fetchall()
        for (name,) in rows:
            admin.execute(f'drop database "{name}" with (force)'.encode())


def damaged(home: Path, url: str) -> Project:
    """Return the project after a deployment, a backup, and damage done since."""
    shop = new_project(home, url)
    assert shop.run("deploy", "--env", "uat").code == 0
    assert shop.run("backup", "--env", "uat").code == 0
    execute(url, "delete from b; delete from a where i > 3; create table later (i int)")
    return shop


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[[int], Server]
) -> Iterator[Prepared]:
    with prepared(tmp_path_factory.mktemp("restores") / "shop", servers(16), damaged) as ready:
        yield ready


@pytest.fixture
def saved(made: Prepared) -> Iterator[Project]:
    with made.again() as again:
        execute(again.url, "analyze")  # a template's statistics are not copied
        yield again


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        *first, last = statements
        for statement in first:
            connection.execute(statement.encode())
        cursor = connection.execute(last.encode())
        return cursor.fetchall() if cursor.description else []


def name_of(project: Project) -> str:
    return str(conninfo.conninfo_to_dict(project.url)["dbname"])


def test_it_takes_the_live_ones_place_and_the_old_one_is_kept(saved: Project) -> None:
    name = name_of(saved)
    execute(
        saved.url,
        f"alter database {name} set statement_timeout = '77s'",
        f"alter database {name} set search_path = public, pg_temp",
        f"alter database {name} connection limit 42",
        f"revoke connect on database {name} from public",
        f"alter role postgres in database {name} set work_mem = '9MB'",
    )
    with closing(psycopg.connect(saved.url)) as application:
        application.execute("select 1")  # a session that nobody closed

        ran = saved.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

        with pytest.raises(psycopg.errors.AdminShutdown):
            application.execute("select 1")
    assert ran.code == 0, ran.err
    old = next(word for word in ran.out.split() if word.startswith(f"{name}_before_restore_"))
    assert execute(saved.url, "select count(*) from a") == [(10,)]
    assert tables(saved.url) == {"a", "b", "schema_migrations"}
    assert "later" in tables(conninfo.make_conninfo(saved.url, dbname=old))
    assert execute(saved.url, "select reltuples from pg_class where relname = 'a'") == [(10.0,)]
    settings = "select current_setting('statement_timeout'), current_setting('work_mem')"
    assert execute(saved.url, settings) == [("77s", "9MB")]
    assert execute(saved.url, "show search_path") == [("public, pg_temp",)]
    grants = (
        "select datconnlimit, has_database_privilege('public', oid, 'connect'), datname"
        f" from pg_database where datname in ('{name}', '{old}') order by 3"
    )
    assert execute(saved.url, grants) == [(42, False, name), (42, False, old)]


def test_what_came_back_is_recorded_where_it_is_read(saved: Project) -> None:
    saved.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    history = saved.json("history", "--env", "uat")
    (correction,) = history["corrections"]
    assert (correction["verb"], correction["migration"]) == ("restore", "database")
    assert correction["after"].startswith("backup 20")
    assert saved.run("status", "--env", "uat").code == 0
    # The next deployment finds nothing left over from the restore.
    assert saved.run("deploy", "--env", "uat").code == 0


def test_a_deployment_that_ended_is_shown_as_ended_after_its_own_backup_came_back(
    project: Project,
) -> None:
    assert project.run("deploy", "--env", "uat").code == 0
    assert project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes").code == 0

    history = project.json("history", "--env", "uat")

    assert [each["status"] for each in history["deployments"]] == ["deployed"]
    assert [each["verb"] for each in history["corrections"]] == ["restore"]
    assert execute(project.url, "select count(*) from windlass.marker") == [(0,)]


def test_archives_of_a_killed_backup_are_swept_and_nobody_elses(project: Project) -> None:
    assert project.run("deploy", "--env", "uat").code == 0
    folder = project.home / "backups" / "uat" / name_of(project)
    dead, strange = folder / "20260801T000000Z-dead", folder / "20260801T000000Z-strange"
    for place in (dead, strange):
        place.mkdir(parents=True)
        (place / "dump.pgc").write_text("half")
    detail = json.dumps({"key": f"uat/{name_of(project)}/{dead.name}/"})
    execute(
        project.url,
        "insert into windlass.marker (id, kind, deployment_id, detail) "
        f"values ('00000000000000aa', 'archive', 'dead', '{detail}')",
    )

    doctor = project.run("doctor", "--env", "uat")
    status = project.run("status", "--env", "uat")
    (left,) = project.json("status", "--env", "uat")["leftovers"]
    project.migration("20260802_000000_c", "create table c (i int);")
    ran = project.run("deploy", "--env", "uat")

    assert "archives of a backup of dead that has no manifest" in doctor.out + doctor.err
    assert f"{left['what']}; the next task that changes something here settles it" in status.out
    assert (left["act"], left["subject"]) == ("remove", f"uat/{name_of(project)}/{dead.name}/")
    assert f"archives without a manifest: uat/{name_of(project)}/{strange.name}/" in (
        doctor.out + doctor.err
    )
    assert ran.code == 0, ran.err
    assert (dead.exists(), strange.exists()) == (False, True)
    assert execute(project.url, "select count(*) from windlass.marker") == [(0,)]


def test_status_tells_of_a_database_and_a_role_that_killed_restores_left(
    project: Project, server16: Server
) -> None:
    name, role = f"{name_of(project)}_half", f"{loader.PREFIX}1_{name_of(project)}"
    assert project.run("deploy", "--env", "uat").code == 0
    execute(project.url, f"create database {name}")
    live = "select oid::text from pg_database where datname = current_database()"
    execute(
        project.url,
        "insert into windlass.marker (id, kind, deployment_id, detail) select '00000000000000ab', "
        f"'filling', 'dead', jsonb_build_object('database', '{name}', 'live', ({live}))",
        f'create role "{role}"',
        f"comment on role \"{role}\" is '{loader.NOTE}'",
    )
    try:
        report = project.json("status", "--env", "uat")
        text = project.run("status", "--env", "uat").out
    finally:
        execute(project.url, f'drop role "{role}"')

    told = {each["subject"]: each for each in report["leftovers"]}
    assert told[name]["command"] == f'drop database "{name}"'
    assert f"the database {name}, half restored from  by dead" in text
    assert told[role]["command"] == f'drop role "{role}"'


def test_above_development_somebody_has_to_say_yes(saved: Project) -> None:
    ran = saved.run("restore", "--env", "uat")

    assert ran.code == 3
    assert ran.error() == [
        "✗ the restore in uat is not confirmed",
        "  state: nothing was changed",
        '  next:  type "uat" when asked; without a terminal: CONFIRM_RESTORE=yes',
    ]
    assert "later" in tables(saved.url)


def test_the_dry_run_shows_what_changed_since(saved: Project) -> None:
    saved.run("backup.drill", "--env", "uat")

    ran = saved.run("restore", "--env", "uat", "--dry-run")

    assert ran.code == 0, ran.err
    assert "then in the place of the live database" in ran.out
    assert "public.a: 10 rows then, about 3 now" in ran.out
    assert "public.b: 1 rows then, about 0 now" in ran.out
    assert "the last drill restored" in ran.out
    assert "later" in tables(saved.url)


def test_beside_the_live_one_and_swapped_after_a_look(saved: Project) -> None:
    name = name_of(saved)

    beside = saved.run("restore", "--env", "uat", "--into", f"{name}_look")

    assert beside.code == 0, beside.err
    assert f"invoke restore --env uat --swap {name}_look" in beside.out
    assert "later" in tables(saved.url)
    ran = saved.run("restore", "--env", "uat", "--swap", f"{name}_look", CONFIRM_RESTORE="yes")
    assert ran.code == 0, ran.err
    assert "later" not in tables(saved.url)


def test_the_old_ones_are_dropped_when_somebody_says_so(saved: Project, server16: Server) -> None:
    saved.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")
    count = f"select count(*) from pg_database where starts_with(datname, '{name_of(saved)}_')"

    refused = saved.run("restore", "--env", "uat", "--drop-old")
    assert (refused.code, execute(server16.url(), count)) == (3, [(1,)])
    ran = saved.run("restore", "--env", "uat", "--drop-old", CONFIRM_RESTORE="yes")
    assert (ran.code, execute(server16.url(), count)) == (0, [(0,)]), ran.err
    again = saved.run("restore", "--env", "uat", "--drop-old", CONFIRM_RESTORE="yes")
    assert again.code == 3
    assert "no restore has put a database aside" in again.err


def test_some_tables_rows_come_back_with_every_definition(saved: Project) -> None:
    found = saved.json("restore", "--env", "uat", "--tables", "b", "--into", f"{name_of(saved)}_b")

    url = conninfo.make_conninfo(saved.url, dbname=f"{name_of(saved)}_b")
    assert execute(url, "select count(*) from b") == [(1,)]
    assert execute(url, "select count(*) from a") == [(0,)]
    assert tables(url) == {"a", "b", "schema_migrations"}
    # b's foreign key cannot hold without a's rows, and that is said.
    assert [one.split(" postgres")[0] for one in found["restored"]["left_out"]] == [
        "foreign key public b b_i_fkey"
    ]


def test_tables_that_the_backup_lacks_are_named(saved: Project) -> None:
    ran = saved.run("restore", "--env", "uat", "--tables", "a,nobody")

    assert ran.code == 2
    assert "has no table public.nobody" in ran.error()[0]
    assert "public.a, public.b" in ran.error()[2]
    assert not _made(saved)


def test_a_backup_that_is_too_old_is_refused(saved: Project) -> None:
    fresh = saved.run(
        "restore", "--env", "uat", "--at-most-older", "1h", "--into", f"{name_of(saved)}_x"
    )
    assert fresh.code == 0, fresh.err

    ran = saved.run("restore", "--env", "uat", "--at-most-older", "1ms", CONFIRM_RESTORE="yes")

    assert ran.code == 3
    assert "old; at most 0.0 h was asked for" in ran.error()[0]
    assert saved.run("restore", "--env", "uat", "--at-most-older", "soon").code == 2


def test_into_another_servers_empty_database_by_its_url(saved: Project, server16: Server) -> None:
    name = f"{name_of(saved)}_elsewhere"
    execute(server16.url(), f"create database {name}")

    argv = ("restore", "--env", "uat", "--into", server16.url(name))

    refused = saved.run(*argv)
    ran = saved.run(*argv, CONFIRM_RESTORE="yes")

    assert (refused.code, refused.error()[0]) == (3, "✗ the restore in uat is not confirmed")
    assert ran.code == 0, ran.err
    assert execute(server16.url(name), "select count(*) from a") == [(10,)]
    (recorded,) = saved.json("history", "--env", "uat")["corrections"]
    assert (recorded["verb"], recorded["before"]) == ("restore", "not there")
    assert re.fullmatch(rf"backup \S+ in {name} of /\S+", recorded["after"])
    full = saved.run(*argv, CONFIRM_RESTORE="yes")
    assert full.code == 3
    assert "is not empty" in full.error()[0]


def test_a_password_in_the_url_is_refused(saved: Project) -> None:
    ran = saved.run("restore", "--env", "uat", "--into", "postgresql://me:hunter22@db/x")

    assert ran.code == 2
    assert "every user of this machine can read" in ran.error()[0]
    assert "hunter22" not in ran.err + ran.out


def test_a_restore_that_fails_leaves_nothing_behind(saved: Project) -> None:
    newest = max((saved.home / "backups").rglob("dump.pgc"))
    newest.write_bytes(newest.read_bytes()[:-1])

    ran = saved.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    assert ran.code == 1
    assert "is damaged: expected" in ran.error()[0]
    assert not _made(saved)
    assert "later" in tables(saved.url)


def test_owners_that_are_missing_are_named_or_left_out(project: Project) -> None:
    role = f"r_{name_of(project)}"
    project.run("deploy", "--env", "uat")
    execute(project.url, f"create role {role}", f"alter table a owner to {role}")
    project.run("backup", "--env", "uat")
    execute(project.url, "alter table a owner to postgres", f"drop role {role}")

    ran = project.run("restore", "--env", "uat", "--into", f"{name_of(project)}_x")

    assert ran.code == 1
    assert ran.error()[0] == f"✗ the server lacks roles that own or may use something: {role}"
    assert "--no-owner" in ran.error()[2]
    mine = project.run("restore", "--env", "uat", "--into", f"{name_of(project)}_x", "--no-owner")
    assert mine.code == 0, mine.err


def test_where_a_session_stays_nothing_is_renamed(
    database16: Database,
    new_database: NewDatabase,
    server16: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restored = new_database(server16)
    monkeypatch.setattr(swap, "WITHIN", 1.0)
    monkeypatch.setattr(swap, "END_SESSION", "select %s::int")  # as if it did not hear
    limit = f"select datconnlimit from pg_database where datname = '{database16.name}'"

    with (
        closing(psycopg.connect(database16.url.reveal())),
        pytest.raises(StepFailed, match="was in use for 1 s") as caught,
    ):
        swap.swap_databases(database16, restored.name)

    assert f"invoke restore --swap {restored.name}" in caught.value.next_step
    assert caught.value.state == (
        f"nothing was renamed: {database16.name} is as it was, {restored.name} holds the backup"
    )
    assert execute(server16.url(), limit) == [(-1,)]


def test_a_restored_database_that_is_gone_is_not_said_to_be_there(
    database16: Database,
    new_database: NewDatabase,
    server16: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a standby that takes over, and lacks the last transactions."""
    restored = new_database(server16)

    def fail_over(*_: object) -> tuple[()]:
        execute(server16.url(), f'drop database "{restored.name}" with (force)')
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dress, "statements", fail_over)

    with pytest.raises(StepFailed) as caught:
        swap.swap_databases(database16, restored.name, anew="invoke restore --env uat")

    assert caught.value.state == (
        f"nothing was renamed: {database16.name} is as it was, and the server that answers now "
        f"has no {restored.name}"
    )
    assert caught.value.next_step.endswith("invoke restore --env uat")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that the server's user may enter: pytest closes its own to others."""
    with tempfile.TemporaryDirectory(prefix="wl-own-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_database_that_everybody_connects_to_can_be_swapped_too(open_directory: Path) -> None:
    server, stop = fix_postgres.start(16, open_directory / "own")
    try:
        live = Database(url=Secret(server.url("postgres")), deployment_id="test")
        execute(server.url(), "create table old (i int)", "create database restored")
        execute(server.url("restored"), "create table new (i int)")

        swap.swap_databases(live, "restored")

        assert tables(server.url("postgres")) == {"new"}
    finally:
        stop()


def test_a_database_that_is_not_there_is_not_swapped(saved: Project) -> None:
    name = name_of(saved)
    ran = saved.run("restore", "--env", "uat", "--swap", f"{name}_nobody", CONFIRM_RESTORE="yes")

    assert ran.code == 1
    assert "later" in tables(saved.url)
    limit = f"select datconnlimit from pg_database where datname = '{name}'"
    assert execute(saved.url, limit) == [(-1,)]


def _made(project: Project) -> list[str]:
    start = name_of(project) + "_"
    rows = execute(
        project.url, f"select datname from pg_database where starts_with(datname, '{start}')"
    )
    return [str(row[0]) for row in rows]
