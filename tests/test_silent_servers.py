"""Servers that take a connection and never answer: each program that asks one ends in time."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgwindlass.approvals import ssh_branch
from pgwindlass.config.sections import DockerRestart, KubectlRestart
from pgwindlass.errors import ChildFailed, StepFailed, Unreachable
from pgwindlass.github import pullrequest
from pgwindlass.restarters import _container, kubectl
from pgwindlass.restarters.docker import Docker
from pgwindlass.restarters.kubectl import Kubectl

IN_TIME = 5.0  # seconds; each limit is a tenth of one here, and a client has to start
LIMIT = 0.1
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
current-context: c
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which the kernel takes connections, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield int(silent.getsockname()[1])


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Fail where what the test asks takes longer."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < IN_TIME


def test_docker(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_container, "ASKED_WITHIN", LIMIT)
    config = DockerRestart(container="api", host=f"tcp://127.0.0.1:{port}")

    with pytest.raises(Unreachable, match="docker"):
        Docker(config).running()


def test_kubectl(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "ASKED_WITHIN", LIMIT)
    (tmp_path / "config").write_text(KUBECONFIG.format(port=port))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    with pytest.raises(Unreachable, match="kubectl"):
        Kubectl(KubectlRestart(deployment="api")).running()


def test_the_remote_of_approvals(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_branch, "WITHIN", LIMIT)
    for argv in (("init", "-q"), ("remote", "add", "origin", f"git://127.0.0.1:{port}/shop")):
        subprocess.run(["git", *argv], cwd=tmp_path, check=True)

    with pytest.raises(StepFailed, match="git did not finish within") as caught:
        ssh_branch.fetch(tmp_path, "approvals", tmp_path / "files", digest="0" * 64)
    assert isinstance(caught.value, ChildFailed)


def test_the_api_of_github(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pullrequest, "WITHIN", LIMIT)
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_silent")
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "windlass/shop")

    with pytest.raises(Unreachable, match="GitHub's API did not take"):
        pullrequest.comment(1, "text")
