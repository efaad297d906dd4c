"""Real Docker: a daemon of the tests' own on a private socket, an image built from busybox."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WITHIN = 40.0  # seconds for the daemon to answer
IMAGE = "windlass-test"
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
ENTRYPOINT ["/bin/busybox", "sh", "-c"]
"""


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """Run dockerd and return its DOCKER_HOST; the image `windlass-test` is built."""
    missing = [p for p in ("dockerd", "docker-compose") if shutil.which(p) is None]
    missing += [] if Path("/bin/busybox").exists() else ["busybox"]
    assert not missing, (
        f"{', '.join(missing)} not found: apt-get install docker.io docker-compose busybox-static"
    )
    base = Path(tempfile.mkdtemp(prefix="wl-dk-"))
    host = f"unix://{base}/docker.sock"
    with (base / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                "dockerd", "--host", host, "--data-root", str(base / "data"),
                "--exec-root", str(base / "exec"), "--pidfile", str(base / "pid"),
                "--bridge=none", "--iptables=false", "--storage-driver=vfs",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(host, base / "log")
        _build(host, base)
        yield host
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        mounts = Path("/proc/mounts").read_text().splitlines()
        for mount in [line.split()[1] for line in mounts if f" {base}" in line]:
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(base, ignore_errors=True)


def docker(host: str, *arguments: str) -> str:
    """Run docker against the tests' daemon."""
    env = {**os.environ, "DOCKER_HOST": host, "DOCKER_BUILDKIT": "0"}
    return subprocess.run(
        ["docker", *arguments], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def _wait(host: str, log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            docker(host, "version")
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        else:
            return


def _build(host: str, base: Path) -> None:
    context = base / "image"
    context.mkdir()
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "Dockerfile").write_text(DOCKERFILE)
    docker(host, "build", "-q", "-t", IMAGE, str(context))


@pytest.fixture
def container(docker_host: str) -> Iterator[Callable[..., str]]:
    """Return a function that runs a container with a shell command; removed after the test."""
    made: list[str] = []

    def run(name: str, script: str, *options: str) -> str:
        made.append(name)
        docker(
            docker_host, "run", "-d", "--network=none", "--init=false", "--name", name, *options,
            IMAGE, script,
        )  # fmt: skip
        return name

    yield run
    for name in made:
        docker(docker_host, "rm", "-f", name)
