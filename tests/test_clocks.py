"""Another runner's clock is ahead: what it wrote does not fail anybody else's deployment."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from pgwindlass.database.connection import Database
from tests.kit import Project


def test_a_backup_from_the_future_without_a_proof_fails_no_deployment(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace('/backups"}', '/backups", keep: {last: 2}}'))
    project.migration("20260801_000000_a", "create table a (i int);")
    assert project.run("deploy", "--env", "uat").code == 0
    _from_the_future(project)
    project.migration("20260802_000000_b", "create table b (i int);")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "old backups were not pruned" in ran.err
    assert project.applied() == project.names


def test_a_limit_that_an_older_release_left_is_told_with_the_command(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);")
    name = database16.name
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(f"alter database {name} connection limit 0".encode())
    command = f'alter database "{name}" connection limit -1'

    doctor = project.run("doctor", "--env", "dev")
    deploy = project.run("deploy", "--env", "dev")

    assert doctor.code != 0
    assert command in doctor.out + doctor.err
    assert deploy.code == 0, deploy.err
    assert f"the database {name} has a connection limit of 0" in deploy.err
    assert command in deploy.err


def test_the_history_is_in_the_order_of_the_database_whatever_a_runners_clock_says(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);")
    assert project.run("deploy", "--env", "dev").code == 0
    first = project.deployments("dev")[0]["id"]
    with psycopg.connect(project.url) as connection:  # as a runner that is a day ahead writes it
        connection.execute(
            "update windlass.deployment set started_at = started_at + interval '1 day', "
            "record = jsonb_set(record, '{started_at}', to_jsonb(started_at + interval '1 day'))"
        )
        row = connection.execute("select now()").fetchone()
    assert row is not None
    project.migration("20260802_000000_b", "create table b (i int);")
    assert project.run("deploy", "--env", "dev").code == 0
    reason = ("--name", "20260802_000000_b", "--reason", "x")
    assert project.run("unstamp", "--env", "dev", *reason).code == 0

    history = project.json("history", "--env", "dev")

    second, ahead = history["deployments"]
    assert (ahead["id"], second["id"]) == (first, project.deployments("dev")[0]["id"])
    assert ahead["recorded_at"] < second["recorded_at"] < history["corrections"][0]["at"]
    assert ahead["started_at"] > second["started_at"]
    text = project.run("history", "--env", "dev").out.splitlines()
    assert text[1].startswith(f"{row[0].astimezone(UTC):%Y-%m-%d }")
    with psycopg.connect(project.url) as connection:  # an older release has no events
        connection.execute("drop table windlass.event")
    assert [d["id"] for d in project.deployments("dev")] == [first, second["id"]]


def _from_the_future(project: Project) -> None:
    """Give the newest backup a copy that is dated an hour ahead, and that nobody has proven."""
    manifest = next((project.home / "backups").rglob("manifest.json"))
    moment = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    new = manifest.parent.with_name(f"{moment:%Y%m%dT%H%M%SZ}-other")
    shutil.copytree(manifest.parent, new)
    for proof in new.glob("proof-*.json"):
        proof.unlink()
    text = manifest.read_text().replace(manifest.parent.name, new.name)
    begun, quote, rest = text.partition('"taken_at":"')
    (new / "manifest.json").write_text(
        f"{begun}{quote}{moment:%Y-%m-%dT%H:%M:%SZ}{rest[rest.index(chr(34)) :]}"
    )
