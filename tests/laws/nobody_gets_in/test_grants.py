"""Least privilege: each role can do its job and nothing else, and a missing right is named.

The server is as RDS has it: the master user is no superuser, the owner has no login. The roles are
those that `invoke grants` makes. A right that is taken away is named by `doctor`, with the grant
that gives it back, and the verb that needs it fails before it did anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from pgwindlass.backup import swap
from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.secret import Secret
from tests.fix_grants import Cloud
from tests.kit import parts

pytestmark = pytest.mark.attack

CONFIRMED = {"CONFIRM_RESTORE": "yes", "CONFIRM_HISTORY": "yes"}


@dataclass(frozen=True)
class Taken:
    """A right that is taken away, how it is given back, and what is said then.

    In the texts NAME is the database and the beginning of every role's name.
    """

    job: str
    take: str
    give: str
    missing: str  # of the right, in doctor's words
    remedy: str
    verb: tuple[str, ...]
    why: str = ""  # of the test's id
    admin: str = "master"  # who takes it away


PLAN = ("plan", "--env", "uat")
BACKUP = ("backup", "--env", "uat")
RESTORE = ("restore", "--env", "uat")
DEPLOY = ("deploy", "--env", "uat", "--yes")
TAKEN = [
    Taken(
        "plan",
        "revoke usage on schema windlass from NAME_plan",
        "grant usage on schema windlass to NAME_plan",
        "USAGE on the schema windlass",
        'grant usage on schema windlass to "NAME_plan"',
        PLAN,
    ),
    Taken(
        "plan",
        "revoke select on windlass.deployment from NAME_plan",
        "grant select on windlass.deployment to NAME_plan",
        "SELECT on windlass.deployment",
        'grant select on windlass."deployment" to "NAME_plan"',
        ("history", "--env", "uat"),
    ),
    Taken(
        "plan",
        "revoke select on schema_migrations from NAME_plan",
        "grant select on schema_migrations to NAME_plan",
        "SELECT on public.schema_migrations",
        'grant select on public."schema_migrations" to "NAME_plan"',
        PLAN,
    ),
    Taken(
        "backup",
        "revoke pg_read_all_data from NAME_backup",
        "grant pg_read_all_data to NAME_backup",
        "pg_read_all_data, for USAGE on the schema windlass",
        'grant pg_read_all_data to "NAME_backup"',
        BACKUP,
    ),
    Taken(
        "backup",
        "alter table orders enable row level security",
        "alter table orders disable row level security",
        "BYPASSRLS, for the row security of public.orders",
        'alter role "NAME_backup" bypassrls',
        BACKUP,
    ),
    Taken(
        "backup",
        "set role NAME_owner; select lo_from_bytea(4711, 'secret'); reset role",
        "set role NAME_owner; select lo_unlink(4711); reset role",
        "SELECT on the large object 4711",
        'grant select on large object 4711 to "NAME_backup"',
        BACKUP,
    ),
    Taken(
        "backup",
        "set role NAME_owner; create schema later; create table later.t (i int); reset role; "
        "revoke pg_read_all_data from NAME_backup",
        "drop schema later cascade; grant pg_read_all_data to NAME_backup",
        "pg_read_all_data, for USAGE on the schema later",
        'grant pg_read_all_data to "NAME_backup"',
        BACKUP,
        why="a later schema",
    ),
    Taken(
        "restore",
        "alter role NAME_restore nocreatedb",
        "alter role NAME_restore createdb",
        "CREATEDB",
        'alter role "NAME_restore" createdb',
        RESTORE,
    ),
    Taken(
        "restore",
        "revoke NAME_owner from NAME_restore",
        "grant NAME_owner to NAME_restore",
        "membership in NAME_owner, which owns objects",
        'grant "NAME_owner" to "NAME_restore"',
        RESTORE,
    ),
    Taken(
        "restore",
        "grant NAME_owner to NAME_restore with set false",
        "grant NAME_owner to NAME_restore with set true",
        "membership in NAME_owner, which owns objects",
        'grant "NAME_owner" to "NAME_restore"',
        RESTORE,
        why="without SET",
    ),
    Taken(
        "restore",
        "create role NAME_other; grant NAME_other to NAME_master; "
        "set role NAME_owner; create table theirs (i int); reset role; "
        "grant create on schema public to NAME_other; "
        "alter table theirs owner to NAME_other",
        "drop table theirs; revoke create on schema public from NAME_other; drop role NAME_other",
        "membership in NAME_other, which owns objects",
        'grant "NAME_other" to "NAME_restore"',
        RESTORE,
        why="another owner",
    ),
    Taken(
        "restore",
        "alter role NAME_app in database NAME set work_mem = '5MB'",
        "alter role NAME_app in database NAME reset work_mem",
        "ADMIN on NAME_app, which has settings in this database",
        'alter role "NAME_restore" createrole; grant "NAME_app" to "NAME_restore" '
        "with admin true, inherit false, set false",
        RESTORE,
        why="settings of a role",
    ),
    Taken(
        "restore",
        "alter table orders owner to postgres",
        "alter table orders owner to NAME_owner",
        "the objects of postgres, a superuser: none is made a member of one",
        'reassign owned by "postgres" to OWNER',
        RESTORE,
        why="a superuser's table",
        admin="postgres",
    ),
    Taken(
        "migrate",
        "revoke NAME_owner from NAME_migrate",
        "grant NAME_owner to NAME_migrate",
        "ownership of public.schema_migrations",
        'grant "NAME_owner" to "NAME_migrate"',
        DEPLOY,
    ),
    Taken(
        "migrate",
        "alter table schema_migrations owner to postgres",
        "alter table schema_migrations owner to NAME_owner",
        "ownership of public.schema_migrations",
        'alter table public."schema_migrations" owner to OWNER',
        DEPLOY,
        why="a superuser's history",
        admin="postgres",
    ),
    Taken(
        "migrate",
        "alter schema windlass owner to NAME_app",
        "alter schema windlass owner to NAME_owner",
        "ownership of the schema windlass",
        "",
        DEPLOY,
        why="the application's windlass",
        admin="postgres",
    ),
    Taken(
        "migrate",
        "revoke NAME_owner from NAME_migrate",
        "grant NAME_owner to NAME_migrate",
        "CREATE on the database NAME",
        'grant create on database "NAME" to "NAME_migrate"',
        ("migrate", "--env", "uat"),
        why="by migrate alone",
    ),
    Taken(
        "migrate",
        "revoke NAME_owner from NAME_migrate",
        "grant NAME_owner to NAME_migrate",
        "CREATE on the schema public",
        'grant usage, create on schema public to "NAME_migrate"',
        ("stamp", "--env", "uat", "--name", "20260802_000000_more", "--reason", "x"),
        why="by stamp",
    ),
    Taken(
        "migrate",
        "create table hidden (i int)",
        "drop table hidden",
        "pg_read_all_data, for SELECT on public.hidden",
        'grant pg_read_all_data to "NAME_owner"',
        DEPLOY,
        why="a table its backup cannot read",
        admin="postgres",
    ),
]


@contextmanager
def taken(cloud: Cloud, right: Taken) -> Iterator[None]:
    role = cloud.master if right.admin == "master" else right.admin
    with psycopg.connect(cloud.url(role), autocommit=True) as connection:
        connection.execute(right.take.replace("NAME", cloud.name).encode())
        try:
            yield
        finally:
            connection.execute(right.give.replace("NAME", cloud.name).encode())


def state(cloud: Cloud) -> tuple[object, ...]:
    """Return what a verb could have changed: databases, the journal, the store, the tables."""
    backups = cloud.project.home / "backups"
    files = sorted(str(path) for path in backups.rglob("*") if path.is_file())
    return (
        cloud.sql(f"select datname from pg_database where datname ~ '^{cloud.name}' order by 1"),
        cloud.sql("select id, status from windlass.deployment order by 1"),
        cloud.sql("select count(*) from windlass.correction"),
        cloud.sql("select relname, relfilenode from pg_class where relkind = 'r' order by 1"),
        files,
    )


@pytest.fixture(scope="module")
def backed_up(cloud16: Cloud) -> Cloud:
    """The same with a migration that waits; its backup is the first deployment's."""
    cloud16.project.migration("20260802_000000_more", "create table more (id int);", "select 1;")
    return cloud16


@pytest.mark.parametrize(
    "right", TAKEN, ids=lambda right: f"{right.job}: {right.why or right.missing}"
)
def test_a_right_that_is_missing_is_named_and_the_verb_does_nothing(
    backed_up: Cloud, right: Taken
) -> None:
    cloud, name = backed_up, backed_up.name
    with taken(cloud, right):
        before = state(cloud)
        doctor = cloud.run(right.job, "doctor", "--env", "uat", "--role", right.job)
        ran = cloud.run(right.job, *right.verb, **CONFIRMED)
        after = state(cloud)

    assert doctor.code == 1
    assert f"missing: {right.missing.replace('NAME', name)}" in doctor.out
    assert right.remedy.replace("NAME", name) in doctor.out
    assert ran.code in (1, 3), ran.out + ran.err
    assert after == before


def test_without_connect_the_grant_is_named(backed_up: Cloud) -> None:
    cloud = backed_up
    public, role = f"connect on database {cloud.name}", cloud.role("plan")
    cloud.sql(f"revoke {public} from public; revoke {public} from {role}", cloud.master)
    try:
        ran = cloud.run("plan", "doctor", "--env", "uat", "--role", "plan")
    finally:
        cloud.sql(f"grant {public} to public; grant {public} to {role}", cloud.master)

    assert ran.code == 1
    assert f'grant connect on database "{cloud.name}" to "{role}"' in ran.out


FORBIDDEN = [
    ("plan", "select * from orders"),
    ("plan", "select last_value from tickets"),
    ("plan", "insert into schema_migrations values ('x')"),
    ("plan", "delete from windlass.approval"),
    ("plan", "insert into windlass.deployment values ('x', now(), null, 'ok', '{}', '{}')"),
    ("plan", "create table mine (i int)"),
    ("plan", "create schema mine"),
    ("plan", "create table windlass.mine (i int)"),
    ("plan", "set role NAME_owner"),
    ("backup", "insert into orders (total) values (1)"),
    ("backup", "update windlass.deployment set status = 'ok'"),
    ("backup", "create table mine (i int)"),
    ("backup", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'"),
    ("backup", "select pg_read_file('/etc/passwd')"),
    ("backup", "copy orders to program 'id'"),
    ("restore", "create role mine superuser"),
    ("restore", "alter role NAME_app password 'x'"),
    ("restore", "set role NAME_app"),
    ("restore", "set role postgres"),
    ("restore", "copy orders from program 'id'"),
    ("migrate", "create database mine"),
    ("migrate", "create role mine"),
    ("migrate", "alter role NAME_app superuser"),
    ("migrate", "set role NAME_app"),
    ("app", "create schema windlass"),
    ("app", "create table schema_migrations (i int)"),
    ("app", "select * from windlass.approval"),
]


@pytest.mark.parametrize(("job", "text"), FORBIDDEN, ids=lambda value: str(value)[:40])
def test_a_role_can_do_nothing_but_its_job(cloud16: Cloud, job: str, text: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateSchema)):
        cloud16.sql(text.replace("NAME", cloud16.name), cloud16.role(job))


def test_no_role_has_an_attribute_that_its_job_does_not_need(cloud16: Cloud) -> None:
    rows = cloud16.sql(
        "select rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication "
        f"from pg_roles where rolname ~ '^{cloud16.name}_(migrate|plan|backup|restore)$' order by 1"
    )

    assert rows == [
        (cloud16.role(job), False, False, job == "restore", False, False)
        for job in ("backup", "migrate", "plan", "restore")
    ]


NAMES = [
    'x"; alter role evil superuser; --',
    "x'; select pg_sleep(99); --",
    "a$windlass$; alter role evil superuser; $windlass$",
    "a\nalter role evil superuser;\n",
    "back\\slash\\'; select 1; --",
    "Ünïcode",
]


@pytest.mark.parametrize("suffix", NAMES, ids=range(len(NAMES)))
def test_a_name_stays_a_name_in_the_script(cloud16: Cloud, suffix: str) -> None:
    name = f"{cloud16.name}_{suffix}".strip()
    script = cloud16.grants("--role", f"plan={name}")
    roles = (
        "select array_agg(rolname::text order by 1), count(*) filter (where rolsuper) from pg_roles"
    )
    before = cloud16.sql(roles)[0]
    cloud16.sql(script, cloud16.master)
    after = cloud16.sql(roles)[0]

    assert set(after[0]) - set(before[0]) == {name}  # type: ignore[call-overload]
    assert after[1] == before[1]


@pytest.mark.parametrize("name", ["public", "PUBLIC", "none", "pg_monitor", "", "x" * 64, "é" * 32])
def test_a_name_that_is_no_role_of_its_own_is_refused(cloud16: Cloud, name: str) -> None:
    ran = cloud16.run("plan", "grants", "--env", "uat", "--role", f"plan={name}")

    assert (ran.code, ran.out.strip()) == (2, "")


def test_nobody_is_made_a_member_of_a_superuser(cloud16: Cloud) -> None:
    ran = cloud16.run("plan", "grants", "--env", "uat", "--owner", "postgres")
    cloud16.sql("create table bosses (i int)")
    try:
        script = cloud16.grants()
    finally:
        cloud16.sql("drop table bosses")

    assert ran.code == 3
    assert "postgres, the owner, is a superuser" in ran.error()[0]
    assert 'grant "postgres"' not in script
    assert "postgres is a superuser and owns objects" in script


def test_a_swap_that_could_not_end_the_applications_sessions_is_refused_before_the_load(
    backed_up: Cloud,
) -> None:
    cloud = backed_up
    cloud.sql(f"revoke pg_signal_backend from {cloud.role('restore')}", cloud.master)
    try:
        with psycopg.connect(cloud.url(cloud.app), application_name="worker") as app:
            before = state(cloud)
            ran = cloud.run("restore", *RESTORE, **CONFIRMED)
            assert state(cloud) == before
            pid = app.info.backend_pid
            app.execute("select 1")
    finally:
        cloud.sql(f"grant pg_signal_backend to {cloud.role('restore')}", cloud.master)

    assert ran.code == 3
    assert f"may not end {cloud.app} (pid {pid}, worker)" in ran.error()[0]
    assert f'grant pg_signal_backend to "{cloud.role("restore")}"' in ran.error()[2]


def test_a_swap_that_could_not_end_a_superusers_session_is_refused_before_the_load(
    backed_up: Cloud,
) -> None:
    cloud = backed_up
    with psycopg.connect(cloud.url(), application_name="boss") as boss:
        before = state(cloud)
        ran = cloud.run("restore", *RESTORE, **CONFIRMED)
        assert state(cloud) == before
        boss.execute("select 1")

    assert ran.code == 3
    assert "may not end postgres (pid" in ran.error()[0]
    assert "no other role may" in ran.error()[2]


def test_such_a_session_that_comes_during_the_load_costs_nothing(
    backed_up: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = backed_up
    monkeypatch.setattr(swap, "WITHIN", 0.3)
    restored = f"{cloud.name}_restored"
    cloud.sql(f"create database {restored} owner {cloud.owner}", cloud.role("restore"), "postgres")
    live = Database(url=Secret(cloud.url(cloud.role("restore"))), deployment_id="test")
    try:
        with (
            psycopg.connect(cloud.url(cloud.app)) as app,
            psycopg.connect(cloud.url(), application_name="boss") as boss,
            pytest.raises(StepFailed) as caught,
        ):
            swap.swap_databases(live, restored)
        del app, boss
        names = cloud.sql(f"select datname from pg_database where datname ~ '^{cloud.name}'")
        limit = cloud.sql(f"select datconnlimit from pg_database where datname = '{cloud.name}'")
    finally:
        cloud.sql(f"drop database {restored} with (force)", database="postgres")

    assert f"{cloud.role('restore')} may not end the sessions of postgres (pid" in caught.value.what
    assert f"{cloud.name} is as it was, {restored} holds the backup" in parts(caught.value)
    assert f"invoke restore --swap {restored}" in caught.value.next_step
    assert sorted(names) == [(cloud.name,), (restored,)]
    assert limit == [(-1,)]
