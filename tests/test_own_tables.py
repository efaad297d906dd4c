"""Windlass's own tables: their version, and how a database of another version is met."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig
from pgwindlass.database import lock, orphans, own_tables
from pgwindlass.database.connection import Database
from pgwindlass.database.own_tables import FIRST, VERSIONS
from pgwindlass.database.retry import Terms
from pgwindlass.errors import LockTimeout, Refused, StepFailed
from pgwindlass.secret import Secret
from tests.fix_pgbouncer import Pooler
from tests.kit import Project

SECOND = "alter table windlass.step add column hash text; create table windlass.marker (id int);"
NAMES = {
    "alembic_revision",
    "approval",
    "correction",
    "deployment",
    "lease",
    "partial_migration",
    "step",
    "version",
}
LATER = {"identity", "marker", "event", "pause", "backfill", "backfill_row"}
A = "20260801_000000_a"

# What releases without a version created, each when it needed it first.
SCHEMA = "create schema if not exists windlass;"
LEASE = """
    create table if not exists windlass.lease (
        name text primary key, token text not null, holder text not null, address text not null,
        acquired_at timestamptz not null, expires_at timestamptz not null);
"""
PARTIAL = """
    create table if not exists windlass.partial_migration (
        migration_name text primary key, direction text not null, statements_done int not null,
        done_checksum text not null, statements int not null, statement_begun int);
    insert into windlass.partial_migration values ('kept', 'up', 1, 'x', 2, null);
"""
REVISION = """
    create table if not exists windlass.alembic_revision (
        revision text primary key, checksum text not null,
        applied_at timestamptz not null default pg_catalog.now());
    insert into windlass.alembic_revision values ('kept', 'x');
"""
JOURNAL = """
    create table if not exists windlass.deployment (
        id text primary key, started_at timestamptz not null, finished_at timestamptz,
        status text not null, record jsonb not null, plan jsonb not null);
    create table if not exists windlass.step (
        deployment_id text not null references windlass.deployment, ordinal int not null,
        step text not null, undo boolean not null, started_at timestamptz not null,
        evidence jsonb not null, result jsonb, primary key (deployment_id, ordinal));
    insert into windlass.deployment values ('kept', now(), now(), 'deployed', '{}', '{}');
    insert into windlass.step values ('kept', 1, 'lock', false, now(), '[]', null);
"""
CORRECTION = """
    create table if not exists windlass.correction (
        id bigint generated always as identity primary key, at timestamptz not null,
        record jsonb not null);
    insert into windlass.correction (at, record) values (now(), '{}');
"""
APPROVAL = """
    create table if not exists windlass.approval (
        nonce text primary key, deployment_id text not null, approver text not null,
        at timestamptz not null default now());
    insert into windlass.approval values ('kept', 'kept', 'ada');
"""
SHAPES = {
    "an empty schema": "",
    "a backup behind a pooler": LEASE,
    "migrated from Python": PARTIAL,
    "alembic, stamped": PARTIAL + REVISION + CORRECTION,
    "deployed in development": JOURNAL + PARTIAL,
    "deployed in production": APPROVAL + JOURNAL + PARTIAL,
    "all of them": LEASE + PARTIAL + REVISION + JOURNAL + CORRECTION + APPROVAL,
}


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url.reveal()) as connection:
        return connection.execute(query.encode()).fetchall()


def run(database: Database, text: str) -> None:
    with psycopg.connect(database.url.reveal(), autocommit=True) as connection:
        connection.execute(text.encode())


def names(database: Database) -> set[object]:
    query = "select tablename from pg_tables where schemaname = 'windlass'"
    return {row[0] for row in rows(database, query)}


def version(database: Database) -> int:
    return database.read("test", own_tables.read_version)


def shape(database: Database) -> list[tuple[object, ...]]:
    """Every column and constraint, in words."""
    columns = """
        select table_name::text, column_name::text, data_type::text, is_nullable::text,
               coalesce(column_default, '')::text, is_identity::text
        from information_schema.columns where table_schema = 'windlass' order by 1, 2"""
    constraints = """
        select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'windlass'::regnamespace and contype <> 'n' order by 1, 2"""
    return rows(database, columns) + rows(database, constraints)


def as_role(database: Database, role: str) -> Database:
    url = database.url.reveal().replace("postgres@", f"{role}@")
    return Database(url=Secret(url), deployment_id="test")


@pytest.fixture
def role(database16: Database) -> Callable[[str], Database]:
    """Return a function that makes a role which may do nothing but log in."""

    def make(name: str) -> Database:
        run(database16, f"drop role if exists {name}; create role {name} login")
        return as_role(database16, name)

    return make


def test_from_nothing_to_the_newest_version(database: Database) -> None:
    own_tables.prepare(database, Terms())

    assert names(database) == NAMES | LATER
    assert version(database) == len(VERSIONS) == 5
    assert rows(database, "select version from windlass.version order by 1") == [
        (1,),
        (2,),
        (3,),
        (4,),
        (5,),
    ]


def test_reading_a_version_creates_nothing(database16: Database) -> None:
    assert version(database16) == 0
    assert rows(database16, "select from pg_namespace where nspname = 'windlass'") == []


@pytest.mark.parametrize("old", SHAPES.values(), ids=SHAPES)
def test_a_database_without_a_version_is_brought_up_to_date_and_keeps_its_rows(
    database16: Database, new_database: Callable[..., Database], server16: object, old: str
) -> None:
    run(database16, SCHEMA + old)
    before = names(database16)
    counts = {name: rows(database16, f"select count(*) from windlass.{name}") for name in before}
    fresh = new_database(server16)
    own_tables.prepare(fresh, Terms())

    own_tables.prepare(database16, Terms())

    assert version(database16) == len(VERSIONS)
    assert shape(database16) == shape(fresh)
    for name, count in counts.items():
        assert rows(database16, f"select count(*) from windlass.{name}") == count, name


@pytest.mark.parametrize("old", [SHAPES["deployed in development"], ""], ids=["no version", "none"])
def test_a_new_version_is_one_more_entry(database16: Database, old: str) -> None:
    run(database16, SCHEMA + old)
    versions = (FIRST, SECOND)

    own_tables.prepare(database16, Terms(), versions)
    own_tables.prepare(database16, Terms(), versions)

    assert version(database16) == 2
    assert names(database16) == NAMES | {"marker"}
    assert rows(database16, "select version from windlass.version order by 1") == [(1,), (2,)]
    assert rows(database16, "select hash from windlass.step") == ([(None,)] if old else [])


def test_the_first_version_is_followed_by_the_second(database16: Database) -> None:
    own_tables.prepare(database16, Terms(), (FIRST,))
    own_tables.prepare(database16, Terms(), (FIRST, SECOND))

    assert version(database16) == 2
    assert names(database16) == NAMES | {"marker"}


def test_tables_of_the_newest_version_are_not_locked(database16: Database) -> None:
    own_tables.prepare(database16, Terms())
    with psycopg.connect(database16.url.reveal()) as other:
        other.execute("lock table windlass.step, windlass.deployment, windlass.lease")

        own_tables.prepare(database16, Terms())


def test_a_table_that_is_read_is_waited_for_in_rungs(database16: Database) -> None:
    own_tables.prepare(database16, Terms(), (FIRST,))
    terms = Terms(lock=LockConfig(timeout=(Duration(0.1),), wait=Duration(0.5)))
    with psycopg.connect(database16.url.reveal(), application_name="report") as reader:
        reader.execute("select * from windlass.step")

        with pytest.raises(LockTimeout, match="report"):
            own_tables.prepare(database16, terms, (FIRST, SECOND))

    assert version(database16) == 1
    assert names(database16) == NAMES


def test_a_version_that_fails_leaves_the_one_before(database16: Database) -> None:
    own_tables.prepare(database16, Terms(), (FIRST,))

    with pytest.raises(StepFailed) as caught:
        own_tables.prepare(database16, Terms(), (FIRST, SECOND + "select 1 / 0"))

    assert "division by zero (22012)" in caught.value.what
    assert caught.value.state == "what is recorded is as it was"
    assert version(database16) == 1
    assert names(database16) == NAMES


KILLED = """
import sys
from pgwindlass.database import own_tables
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.secret import Secret
database = Database(url=Secret(sys.argv[1]), deployment_id="01DEAD")
own_tables.prepare(database, Terms(), (own_tables.FIRST, sys.argv[2]))
"""


def test_killed_half_way_it_is_done_again_from_where_it_was(database16: Database) -> None:
    url = database16.url.reveal()
    slow = SECOND + "select pg_sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", KILLED, url, slow])
    running = "select from pg_stat_activity where application_name = 'windlass/01DEAD/{}'".format
    deadline = time.monotonic() + 60
    while not rows(database16, running("migrate/windlass") + " and wait_event = 'PgSleep'"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    notes: list[str] = []

    orphans.end_orphans(database16, notes.append)
    own_tables.prepare(database16, Terms(), (FIRST, SECOND))

    assert len(notes) == 1
    assert "windlass/01DEAD/migrate/windlass" in notes[0]
    assert version(database16) == 2
    assert names(database16) == NAMES | {"marker"}


def test_many_first_runs_at_once_do_not_collide(database: Database, pooler: Pooler) -> None:
    pooled, failed = pooler(database), list[BaseException]()

    def prepare() -> None:
        own_tables.prepare(database, Terms(), (FIRST, SECOND))

    def take_a_lease() -> None:
        with pooled.connect("lock") as connection:
            own_tables.ensure_lease(connection)

    def caught(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  # read below
            failed.append(error)

    threads = [Thread(target=caught, args=(one,)) for one in (prepare, take_a_lease) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert version(database) == 2
    assert names(database) == NAMES | {"marker"}


def newer(database: Database) -> None:
    own_tables.prepare(database, Terms())
    run(database, "insert into windlass.version (version, release) values (7, '9.1.0')")


def test_a_newer_database_is_refused_before_anything_is_changed(
    tmp_path: Path, database16: Database, pooler: Pooler
) -> None:
    newer(database16)
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(A, "create table a (id int);", "drop table a;")

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 3
    assert ran.error() == [
        "✗ preflight: history: the tables of Windlass in this database have version 7; this "
        f"Windlass, 0.1.0, knows them up to version {len(VERSIONS)}",
        "  state: nothing was changed",
        "  next:  install Windlass 9.1.0 or a newer one; all checks: invoke doctor --env dev",
    ]
    assert project.json("status", "--env", "dev")["migrations"][0]["state"] == "pending"
    assert project.deployments("dev") == []
    for database in (database16, pooler(database16)):
        with pytest.raises(Refused, match="have version 7"), lock.hold(database, wait=1):
            raise AssertionError("held")
    with pytest.raises(Refused, match="have version 7"):
        own_tables.prepare(database16, Terms())
    assert rows(database16, "select from windlass.lease") == []


def test_a_role_that_only_reads_sees_status_and_history_and_creates_nothing(
    tmp_path: Path, database16: Database, role: Callable[[str], Database]
) -> None:
    reader = role("windlass_reader")
    project = Project(tmp_path / "shop", reader.url.reveal())
    project.migration(A, "create table a (id int);", "drop table a;")

    before = project.json("status", "--env", "dev")
    assert project.deployments("dev") == []
    assert [one["state"] for one in before["migrations"]] == ["pending"]
    assert rows(database16, "select from pg_namespace where nspname = 'windlass'") == []

    # The grants of a release without versions: on the tables that there were.
    run(database16, SCHEMA + JOURNAL.partition("insert")[0] + PARTIAL.partition("insert")[0])
    run(database16, "grant usage on schema windlass to windlass_reader")
    run(database16, "grant select on all tables in schema windlass to windlass_reader")
    project.url = database16.url.reveal()
    assert project.run("deploy", "--env", "dev").code == 0
    run(database16, "grant select on schema_migrations to windlass_reader")
    project.url = reader.url.reveal()

    assert project.json("status", "--env", "dev")["migrations"][0]["state"] == "applied"
    assert [one["status"] for one in project.deployments("dev")] == ["deployed"]
    run(database16, "drop owned by windlass_reader; drop role windlass_reader")


def test_a_deployer_that_may_not_create_is_told_what_to_grant(
    database16: Database, role: Callable[[str], Database]
) -> None:
    deployer = role("windlass_deployer")
    with pytest.raises(Refused) as caught:
        own_tables.prepare(deployer, Terms())

    error = caught.value
    assert [error.what, error.state, error.next_step] == [
        "windlass_deployer may not keep the tables of Windlass in this database: permission "
        f"denied for database {database16.name}",
        "nothing was changed",
        'as the owner of the database: create schema "windlass" authorization windlass_deployer',
    ]
    run(database16, "create schema windlass authorization windlass_deployer")
    own_tables.prepare(deployer, Terms())
    assert version(deployer) == len(VERSIONS)
    run(database16, "drop owned by windlass_deployer; drop role windlass_deployer")


def test_a_deployer_that_does_not_own_the_tables_is_told_so(
    database16: Database, role: Callable[[str], Database]
) -> None:
    own_tables.prepare(database16, Terms(), (FIRST,))
    deployer = role("windlass_deployer")
    for expected in (
        "permission denied for schema windlass",
        "permission denied for table version",
        "must be owner of table step",
    ):
        with pytest.raises(Refused) as caught:
            own_tables.prepare(deployer, Terms(), (FIRST, SECOND))

        assert caught.value.what.endswith(f"in this database: {expected}")
        assert caught.value.next_step == (
            "deploy as the owner of the schema windlass, or grant that role to windlass_deployer"
        )
        if "schema" in expected:
            run(database16, "grant usage, create on schema windlass to windlass_deployer")
        else:
            run(database16, "grant all on all tables in schema windlass to windlass_deployer")
    run(database16, "drop owned by windlass_deployer; drop role windlass_deployer")
