"""Real Docker: a daemon of the tests' own on a private socket, an image made from busybox.

Nothing is pulled. `docker import` makes the image, for it needs no builder: which builders there
are differs from client to client.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WITHIN = 40.0  # seconds for the daemon to answer
ENDED_WITHIN = 20.0  # seconds for the daemon to end
IMAGE = "windlass-test"
BUSYBOX = Path("/bin/busybox")
ENTRYPOINT = 'ENTRYPOINT ["/bin/busybox", "sh", "-c"]'
SERVE = "trap 'exit 0' TERM; while true; do sleep 0.1; done"  # ends at once when it is asked to


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """Run dockerd and return its DOCKER_HOST; the image `windlass-test` is there."""
    with dockerd() as host:
        yield host


@contextmanager
def dockerd() -> Iterator[str]:
    """Run dockerd inside the block, and yield its DOCKER_HOST; the image is there."""
    missing = [p for p in ("dockerd", "docker", "docker-compose") if shutil.which(p) is None]
    missing += [] if BUSYBOX.exists() else [str(BUSYBOX)]
    assert not missing, (
        f"{', '.join(missing)} not found: apt-get install docker.io docker-compose busybox-static"
    )
    base = Path(
        tempfile.mkdtemp(prefix="wl-dk-", dir="/tmp")
    )  # a socket's path is at most 107 long
    host = f"unix://{base}/docker.sock"
    with (base / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                "dockerd",
                "--host",
                host,
                "--data-root",
                str(base / "data"),
                "--exec-root",
                str(base / "exec"),
                "--pidfile",
                str(base / "docker.pid"),
                "--bridge=none",
                "--iptables=false",
                "--storage-driver=vfs",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for pytest, which then ends the daemon below
        )
    try:
        _wait(child, host, base / "log")
        _import_image(host, base / "image.tar")
        yield host
    finally:
        _end(child, base)


def docker(host: str, *arguments: str) -> str:
    """Run docker against the tests' daemon."""
    done = subprocess.run(
        ["docker", *arguments],
        env={**os.environ, "DOCKER_HOST": host},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def _wait(child: subprocess.Popen[bytes], host: str, log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            docker(host, "version")
        except AssertionError as error:
            said = f"{error}; dockerd says: {log.read_text()[-2000:]}"
            assert child.poll() is None, f"dockerd ended with {child.returncode}: {said}"
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        else:
            return


def _import_image(host: str, archive: Path) -> None:
    docker(host, "import", *write_image(archive), IMAGE)


def write_image(archive: Path) -> tuple[str, ...]:
    """Write the image's files, and return the arguments of `import` before its name."""
    with tarfile.open(archive, "w", dereference=True) as tar:
        for name in ("bin/busybox", "bin/sh"):  # a health check is run by /bin/sh
            tar.add(BUSYBOX, name)
    return ("--change", ENTRYPOINT, str(archive))


def _end(child: subprocess.Popen[bytes], base: Path) -> None:
    child.terminate()
    try:
        child.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()  # its containerd ends with it
        child.wait()
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([m for m in mounts if m.startswith(f"{base}/")]):
        subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def container(docker_host: str) -> Iterator[Callable[..., str]]:
    """Return a function that runs a container with a shell command; removed after the test."""
    made: list[str] = []

    def run(name: str, script: str, *options: str) -> str:
        made.append(name)
        docker(docker_host, "run", "-d", "--network=none", "--name", name, *options, IMAGE, script)
        return name

    yield run
    if made:
        docker(docker_host, "rm", "-f", *made)
