"""Every verb as the role that `invoke grants` makes for it; none of them is a superuser."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from tests.fix_grants import TABLES, Cloud, made
from tests.fix_postgres import Server
from tests.fix_service import api_of, at_a_terminal

pytestmark = pytest.mark.sampled(3)

NAME = "20260802_000000_more"
READS = [
    ("status",),
    ("plan",),
    ("plan", "--rehearse"),
    ("history",),
    ("lint",),
    ("verify",),
    ("rehearse",),
    ("backup.list",),
    ("migrate", "--dry-run"),
    ("doctor", "--role", "plan"),
    ("grants",),
]
SAVES = [
    ("backup",),
    ("backup.list",),
    ("backup.verify",),
    ("backup.drill",),
    ("doctor", "--role", "backup"),
]


def test_every_verb_works_as_its_role(newest_cloud: Cloud) -> None:
    cloud = newest_cloud
    for verb in READS:
        ran = cloud.run("plan", verb[0], "--env", "uat", *verb[1:])
        assert ran.code == 0, f"{verb}\n{ran.out}{ran.err}"
    for verb in SAVES:
        ran = cloud.run("backup", verb[0], "--env", "uat", *verb[1:])
        assert ran.code == 0, f"{verb}\n{ran.out}{ran.err}"
    yes = {"CONFIRM_ROLLBACK": "yes", "CONFIRM_HISTORY": "yes"}
    cloud.project.migration(NAME, "create table more (id int);", "drop table more;")
    why = ("--name", NAME, "--reason", "a test")
    for verb in (
        ("doctor",),
        ("migrate",),
        ("rollback", "--steps", "1"),
        ("stamp", *why),
        ("unstamp", *why),
        ("deploy", "--yes"),
    ):
        ran = cloud.run("migrate", verb[0], "--env", "uat", *verb[1:], **yes)
        assert ran.code == 0, f"{verb}\n{ran.out}{ran.err}"
    owners = cloud.sql("select distinct tableowner from pg_tables where schemaname !~ '^(pg_|inf)'")
    assert owners == [(cloud.owner,)]


def test_a_rerun_ends_what_a_killed_run_left_though_it_works_as_another_role(
    newest_cloud: Cloud,
) -> None:
    cloud = newest_cloud
    cloud.project.migration("20260803_000000_later", "create table later (id int);", "")
    url = cloud.url(cloud.role("migrate"))
    with closing(psycopg.connect(url, application_name="windlass/dead/migrate/x")) as left:
        left.execute("lock table orders")  # in a transaction that nobody ends
        gone = left.info.backend_pid
        ran = cloud.run("migrate", "migrate", "--env", "uat")

    assert ran.code == 0, ran.err
    assert f"ended pid {gone}" in ran.err


def test_a_restore_takes_the_live_databases_place_with_its_owner_grants_and_settings(
    newest_cloud: Cloud,
) -> None:
    cloud = newest_cloud
    cloud.sql(
        f"grant select on orders to {cloud.app}; alter database {cloud.name} set work_mem = '9MB'",
        cloud.master,
    )
    assert cloud.run("backup", "backup", "--env", "uat").code == 0
    looks = (
        "select datdba::regrole::text from pg_database where datname = current_database()",
        "select distinct tableowner from pg_tables where schemaname = 'public'",
        f"select has_table_privilege('{cloud.app}', 'orders', 'select')",
        "show work_mem",
        "select count(*) from orders",
    )
    before = [cloud.sql(look) for look in looks]

    into = cloud.run("restore", "restore", "--env", "uat", "--into", f"{cloud.name}_copy")
    with psycopg.connect(cloud.url(cloud.app)):  # the application's session is ended
        ran = cloud.run("restore", "restore", "--env", "uat", CONFIRM_RESTORE="yes")
    dropped = cloud.run("restore", "restore", "--env", "uat", "--drop-old", CONFIRM_RESTORE="yes")

    assert (into.code, ran.code, dropped.code) == (0, 0, 0), into.err + ran.err + dropped.err
    assert [cloud.sql(look) for look in looks] == before
    for job in ("plan", "backup", "migrate", "restore"):
        doctor = cloud.run(job, "doctor", "--env", "uat", "--role", job)
        assert doctor.code == 0, doctor.out
    assert cloud.run("migrate", "deploy", "--env", "uat", "--yes").code == 0


def test_the_script_of_each_role_can_be_run_twice_and_in_json(newest_cloud: Cloud) -> None:
    cloud = newest_cloud
    cloud.apply()
    cloud.apply()
    document = json.loads(cloud.run("plan", "grants", "--env", "uat", "--json").out)

    assert document["owner"] == cloud.owner
    assert [one["job"] for one in document["grants"]] == ["migrate", "plan", "backup", "restore"]
    assert {one["role"] for one in document["grants"]} == {
        cloud.role(job) for job in ("migrate", "plan", "backup", "restore")
    }
    assert all(one["why"] for grant in document["grants"] for one in grant["statements"])


def test_the_owner_itself_may_migrate(newest_server: Server, tmp_path: Path) -> None:
    cloud = made(newest_server, tmp_path / "shop")
    try:
        cloud.sql(f"alter role {cloud.owner} login", cloud.master)
        cloud.apply("--role", f"migrate={cloud.owner}")
        ran = cloud.run("owner", "deploy", "--env", "uat", "--yes")
        assert ran.code == 0, ran.err
    finally:
        cloud.drop()


def test_the_login_that_migrates_may_restore_where_the_owner_has_the_rights_of_both(
    newest_cloud: Cloud,
) -> None:
    cloud = newest_cloud
    refused = cloud.run("migrate", "restore", "--env", "uat", CONFIRM_RESTORE="yes")
    cloud.apply("--role", f"restore={cloud.owner}")
    restored = cloud.run("migrate", "restore", "--env", "uat", CONFIRM_RESTORE="yes")
    cloud.sql(f"alter role {cloud.owner} nocreatedb", cloud.master)
    cloud.sql(f"revoke pg_signal_backend from {cloud.owner}", cloud.master)

    assert refused.code == 3
    assert "lacks CREATEDB" in refused.error()[0]
    assert restored.code == 0, restored.err


RESTARTED = """\
    restart:
      with: command
      run: [{python}, "{home}/restart.py"]
      identity: [cat, "{home}/identity"]
      settle: 100ms
      within: 5s
    smoke: {{base_url: "{url}", deadline: 3s, successes: 1, checks: [{{get: /health}}]}}
  production:"""
FIRST = "20260801_000000_orders"
BESIDE = "20260804_000000_beside"


@contextmanager
def served(cloud: Cloud) -> Iterator[None]:
    """Give the environment a service, and backups that are pruned."""
    database = Database(url=Secret(cloud.url(cloud.master)), deployment_id="test", owners=None)
    with api_of(database) as url:
        text = cloud.project.deploy_yml.read_text()
        block = RESTARTED.format(python=sys.executable, home=cloud.project.home, url=url)
        cloud.project.deploy_yml.write_text(text.replace("  production:", block, 1))
        cloud.project.set_backups("keep: {last: 1}")
        yield


def test_every_correction_and_single_step_works_as_its_role(
    newest_server: Server, tmp_path: Path
) -> None:
    cloud = made(newest_server, tmp_path / "shop")
    try:
        cloud.apply()
        cloud.sql(TABLES, cloud.role("migrate"))
        correct(cloud)
    finally:
        cloud.drop()


def correct(cloud: Cloud) -> None:
    failed = []
    yes = {"CONFIRM_ROLLBACK": "yes", "CONFIRM_HISTORY": "yes", "CONFIRM_RESTORE": "yes"}
    why = ("--reason", "a test")
    named = ("--name", BESIDE, *why)
    file = cloud.project.migrations / f"{BESIDE}.sql"
    cloud.project.migration(BESIDE, "create table beside (id int);", "drop table beside;")
    cloud.sql("create table beside (id int)", cloud.role("migrate"))
    verbs = (
        ("migrate", "baseline", "--name", FIRST, *why),
        ("master", "grants"),
        ("backup", "backup"),
        ("backup", "backup.keep", "latest", *why),
        ("backup", "backup.keep", "latest", "--release"),
        ("backup", "backup"),
        ("backup", "backup.prune"),
        ("migrate", "stamp", *named),
        ("migrate", "repair", *named),
        ("migrate", "unstamp", *named),
        ("migrate", "stamp", *named),
        ("migrate", "restart"),
        ("migrate", "smoke"),
        ("migrate", "pause", "--for", "1h", *why),
        ("plan", "status"),
        ("migrate", "resume", *why),
        ("migrate", "deploy", "--yes"),
        ("migrate", "history", "--verify"),
        ("plan", "history", "--verify"),
        ("plan", "status", "--wait-until-applied=10s"),
        ("backup", "status"),
        ("migrate", "doctor"),
        *((job, "doctor", "--role", job) for job in ("migrate", "plan", "backup", "restore")),
    )
    with served(cloud):
        for job, verb, *arguments in verbs:
            if verb == "grants":  # again, behind the first deployment
                cloud.apply()
                continue
            if verb == "repair":  # there is something to repair
                file.write_text(file.read_text() + "-- a comment\n")
            ran = cloud.run(job, verb, "--env", "uat", *arguments, **yes)
            if ran.code != 0:
                failed.append(f"{job} {verb}: {ran.code} {ran.out} {ran.err}")
        cloud.sql("update windlass.identity set environment = 'test'")
        cloud.project.url = cloud.url(cloud.role("migrate"))
        adopt = ("identity", "--env", "uat", "--adopt", *why)
        adopted = at_a_terminal(cloud.project, *adopt, typed="test", asked='Type "test": ')

    assert failed == []
    assert adopted.code == 0, adopted.err
    owners = cloud.sql("select distinct tableowner from pg_tables where schemaname = 'windlass'")
    assert owners == [(cloud.owner,)]
