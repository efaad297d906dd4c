"""Law 1: nothing lost. A deployment whose backup fails has run no statement; on real S3."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_s3 import Bucket
from tests.kit import WINDLASS, Project, tables


@pytest.fixture
def project(tmp_path: Path, database16: Database, bucket: Bucket) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    text = found.deploy_yml.read_text()
    found.deploy_yml.write_text(
        text.replace(
            f'{{to: "file://{found.home}/backups"}}',
            f'{{to: "s3://{bucket.name}/shop", endpoint: "{bucket.server.url}"}}',
        )
    )
    found.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    return found


def test_uat_on_s3_has_a_backup_that_a_second_look_proves(project: Project) -> None:
    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "✓ backup         s3://" in ran.err
    assert project.run("backup.verify", "--env", "uat").code == 0


def test_wrong_keys_stop_before_the_first_statement(project: Project) -> None:
    ran = project.run("deploy", "--env", "uat", AWS_SECRET_ACCESS_KEY="wrong-secret-key")

    assert ran.code in (1, 3)
    assert "preflight" in ran.error()[0]
    assert tables(project.url) == set()


def test_a_store_that_refuses_the_connection_stops_before_the_first_statement(
    project: Project,
) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        re.sub(r'endpoint: "[^"]+"', 'endpoint: "http://127.0.0.1:9"', text)
    )

    ran = project.run("deploy", "--env", "uat")

    assert ran.code in (1, 3)
    assert tables(project.url) == set()


def test_a_dump_that_is_killed_stops_the_deployment_and_leaves_no_backup(
    project: Project, bucket: Bucket
) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "create table big as select n, repeat(md5(n::text), 40) t "
            "from generate_series(1, 250000) n"
        )
    child = subprocess.Popen(
        [str(WINDLASS), "deploy", "--env", "uat"],
        cwd=project.home,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Thread(target=_kill_dump, args=(child.pid,))
    killer.start()
    _, err = child.communicate(timeout=60)
    killer.join()

    assert child.returncode == 1, err
    assert "✗ backup: " in err
    assert tables(project.url) == {"big"}
    assert [key for key in bucket.files() if "/journal/" not in key] == []
    assert project.json("backup.list", "--env", "uat") == []


def _kill_dump(parent: int) -> None:
    """Kill the pg_dump that is a child of this process, as soon as there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if "(pg_dump)" in stat and int(stat.rsplit(")", 1)[1].split()[1]) == parent:
                argv = (entry / "cmdline").read_bytes()
                if b"--snapshot" in argv:
                    os.kill(int(entry.name), signal.SIGKILL)
                    return
        time.sleep(0.005)
