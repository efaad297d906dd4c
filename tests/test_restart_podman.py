"""podman where docker is asked for: its own command under that name, and its service's socket."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import DockerRestart
from pgwindlass.errors import StepFailed
from pgwindlass.restarters.docker import Docker
from tests.fix_docker import IMAGE, SERVE, write_image

pytestmark = pytest.mark.sampled(3)
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
RUN = ("run", "-d", "--network=none", "--log-driver=k8s-file", *LIMITS, "--name")
WITHIN = 10.0  # seconds for the service's socket to be there


class Podman:
    """Its own storage in a directory; nothing of the machine's."""

    def __init__(self, home: Path) -> None:
        self.argv = [
            "podman", f"--root={home}/root", f"--runroot={home}/run", "--cgroup-manager=cgroupfs",
            "--storage-driver=vfs", "--events-backend=file", "--runtime=runc",
        ]  # fmt: skip

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self.argv, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    home = Path(tempfile.mkdtemp(prefix="wl-pod-", dir="/tmp"))  # a socket's path is short
    run = Podman(home)
    run("import", *write_image(home / "image.tar"), IMAGE)
    run(*RUN, "api", IMAGE, SERVE)
    run(*RUN, "dies", IMAGE, "echo cannot find my settings >&2; sleep 0.5; exit 3")
    try:
        yield run
    finally:
        run("rm", "-af", "-t", "1")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=["its command", "its socket"])
def host(
    request: pytest.FixtureRequest, podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return the DOCKER_HOST under which docker's driver reaches podman; empty: `docker` is it."""
    if request.param == "its command":
        command = tmp_path / "docker"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(podman.argv)} "$@"\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        yield ""
    else:
        with service(podman) as address:
            yield address


@contextmanager
def service(podman: Podman) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="wl-pod-", dir="/tmp") as home:
        path = Path(home) / "podman.sock"
        argv = [*podman.argv, "system", "service", "--time=0", f"unix://{path}"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            deadline = time.monotonic() + WITHIN
            while not path.exists():
                assert time.monotonic() < deadline and child.poll() is None
                time.sleep(0.05)
            try:
                yield f"unix://{path}"
            finally:
                child.kill()


def driver(host: str, name: str) -> Docker:
    return Docker(
        DockerRestart(container=name, host=host, settle=Duration(0.8), within=Duration(15))
    )


def test_a_restart_is_a_new_start_that_stays(host: str) -> None:
    api = driver(host, "api")
    before = api.running()

    now = api.restart()

    assert now.detail == "new start, no health check"
    assert now.instance not in ("", before.instance)
    assert api.check() == "container api running"


def test_a_container_that_dies_is_told_with_its_log(host: str) -> None:
    with pytest.raises(StepFailed) as caught:
        driver(host, "dies").restart()

    assert "exited, exit code 3" in caught.value.what
    assert "cannot find my settings" in caught.value.what


def test_a_container_that_is_not_there_is_named(host: str) -> None:
    with pytest.raises(StepFailed, match="the container gone does not exist"):
        driver(host, "gone").restart()
