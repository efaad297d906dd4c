"""Client tools out of a container image, in the real Docker, against the real server."""

import os
import re
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import ChildFailed, StepFailed
from pgwindlass.postgres.clients import find_clients
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import configured, restore, take, verify
from tests.fix_docker import BUSYBOX, docker
from tests.fix_postgres import Server
from tests.test_backup import ROWS, SCHEMA, content, run

pytestmark = pytest.mark.sampled(2)

IMAGE = "windlass-pg:16"


@pytest.fixture(scope="session")
def pg_image(docker_host: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Import an image of the embedded 16's client tools and the libraries they load."""
    clients = find_clients(160014)
    assert clients.directory is not None
    archive = tmp_path_factory.mktemp("image") / "pg.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        tar.add(BUSYBOX, "bin/sh")  # pg_dumpall looks for pg_dump with its help
        for program in ("pg_dump", "pg_restore", "pg_dumpall"):
            path = clients.directory / program
            tar.add(path, f"usr/bin/{program}")
            printed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True)
            for library in set(re.findall(r"(/\S+)", printed.stdout)):
                name = Path(library).name
                place = library if "ld-linux" in name else f"/lib/x86_64-linux-gnu/{name}"
                if place.lstrip("/") not in tar.getnames():
                    tar.add(library, place)
    docker(docker_host, "import", "--change", "ENV PATH=/usr/bin", str(archive), IMAGE)
    return docker_host


@pytest.fixture
def in_docker(pg_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", pg_image)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


@pytest.fixture
def full(server16: Server, database16: Database) -> Iterator[Database]:
    run(database16, SCHEMA)
    yield database16


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_backup_is_taken_proven_and_restored_by_containers(
    in_docker: None,
    server16: Server,
    full: Database,
    store: DirectoryStore,
    new_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
) -> None:
    config = configured(image="windlass-pg:{major}", jobs=jobs)
    monkeypatch.setattr("pgwindlass.postgres.clients.PLACES", ())
    target = new_database(server16)

    manifest = take(full, store, config)

    assert verify(manifest, store, config).rows == sum(ROWS.values())
    restore(manifest, store, target, config)
    assert content(target) == content(full)


def test_the_password_goes_in_by_name_alone(in_docker: None) -> None:
    clients = find_clients(160014, image=IMAGE)

    command = clients.command(
        "pg_dump", "--schema-only", env={"PGPASSWORD": "hunter22", "PGHOST": "/run/pg"}
    )

    assert "--env=PGPASSWORD" in command
    assert "--volume=/run/pg:/run/pg:ro" in command
    assert not any("hunter22" in one for one in command)


def test_a_killed_dump_takes_its_container_along(
    in_docker: None, pg_image: str, full: Database, store: DirectoryStore
) -> None:
    run(
        full, "create table big as select repeat(md5(i::text), 50) from generate_series(1, 60000) i"
    )

    def kill(done: int, total: int | None) -> None:
        if kill_once.acquire(blocking=False):
            argv = ["pgrep", "-P", str(os.getpid()), "-f", "docker run.*pg_dump.*snapshot"]
            for pid in subprocess.run(argv, capture_output=True, text=True).stdout.split():
                os.killpg(int(pid), signal.SIGTERM)

    kill_once = threading.Lock()
    with pytest.raises(ChildFailed, match="docker ended with status"):
        take(full, store, configured(image="windlass-pg:{major}", globals=False), progress=kill)

    assert list(store.keys("")) == []
    deadline = time.monotonic() + 10
    while docker(pg_image, "ps", "--quiet"):
        assert time.monotonic() < deadline, docker(pg_image, "ps")
        time.sleep(0.1)


def test_an_image_of_another_major_is_refused(in_docker: None) -> None:
    with pytest.raises(StepFailed) as caught:
        find_clients(180004, image=IMAGE)

    assert caught.value.what == (
        f"backups.image {IMAGE} has pg_dump (PostgreSQL) 16.14; the server is PostgreSQL 18"
    )
    assert caught.value.next_step == "write postgres:{major}, which follows the server"


def test_an_image_without_tls_is_refused_where_the_connection_needs_it(in_docker: None) -> None:
    with pytest.raises(StepFailed, match="cannot do TLS"):
        find_clients(160014, image=IMAGE, tls=True)


def test_an_image_that_has_no_pg_dump_says_what_docker_said(in_docker: None) -> None:
    with pytest.raises(StepFailed, match=r"backups\.image windlass-test does not run pg_dump"):
        find_clients(160014, image="windlass-test")


def test_docker_itself_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(StepFailed, match="docker could not be started"):
        find_clients(160014, image=IMAGE)
