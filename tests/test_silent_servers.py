"""Whatever waits for a network ends within its limit, and names what it waited for, and the key."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgwindlass.approvals import ssh_branch
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import DockerRestart, KubectlRestart, SystemdRestart
from pgwindlass.deployment import telemetry
from pgwindlass.errors import ChildFailed, WindlassError
from pgwindlass.github import api
from pgwindlass.restarters import Restarter, open_restarter
from pgwindlass.secret import Secret
from tests.fix_silent import Silent, silent_server

LIMIT = 1.0  # seconds, of each part
SLACK = 8.0  # seconds that a machine with much to do may need besides
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://{host}:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
current-context: c
"""


@pytest.fixture(params=["says nothing", "drips"])
def silent(request: pytest.FixtureRequest) -> Iterator[Silent]:
    with silent_server(drips=request.param == "drips") as server:
        yield server


@pytest.fixture
def silent_ssh() -> Iterator[Silent]:
    """A server on the port of ssh, at an address where nothing else is: one for each process."""
    high, low = divmod(os.getpid(), 250)
    try:
        with silent_server(drips=False, host=f"127.{100 + high % 100}.{low}.9", port=22) as server:
            yield server
    except PermissionError:
        pytest.skip("port 22 needs root")


def told(server: Silent, ask: Callable[[], object]) -> WindlassError:
    """Return how a question ended that nobody answered; in time."""
    began = time.monotonic()
    with pytest.raises(WindlassError) as ended:
        ask()
    assert server.asked.is_set()
    assert time.monotonic() - began < LIMIT + SLACK
    return ended.value


def docker(server: Silent, _home: Path) -> Restarter:
    host = f"tcp://{server.host}:{server.port}"
    return open_restarter(DockerRestart(container="api", host=host, within=Duration(LIMIT)))


def kubectl(server: Silent, home: Path) -> Restarter:
    file = home / "kubeconfig"
    file.write_text(KUBECONFIG.format(host=server.host, port=server.port))
    os.environ["KUBECONFIG"] = str(file)
    return open_restarter(KubectlRestart(deployment="api", within=Duration(LIMIT)))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("restarter", [docker, kubectl])
@pytest.mark.parametrize("verb", ["running", "restart", "check"])
def test_a_restarters_server_that_does_not_answer(
    silent: Silent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    restarter: Callable[[Silent, Path], Restarter],
    verb: str,
) -> None:
    monkeypatch.setenv("KUBECONFIG", "")  # put back at the end
    error = told(silent, getattr(restarter(silent, tmp_path), verb))

    assert restarter.__name__ in error.what
    assert "did not finish within 1 s" in error.what
    assert "restart.within" in error.next_step


@pytest.mark.sampled(3)
@pytest.mark.parametrize("verb", ["running", "restart", "check"])
def test_a_host_whose_ssh_says_nothing(silent_ssh: Silent, verb: str) -> None:
    config = SystemdRestart(unit="api.service", host=silent_ssh.host, within=Duration(LIMIT))
    error = told(silent_ssh, getattr(open_restarter(config), verb))

    assert silent_ssh.host in error.what
    assert "did not finish within 1 s" in error.what
    assert "restart.within" in error.next_step


def test_a_docker_over_ssh_that_says_nothing(silent_ssh: Silent) -> None:
    config = DockerRestart(
        container="api", host=f"ssh://root@{silent_ssh.host}", within=Duration(LIMIT)
    )
    error = told(silent_ssh, open_restarter(config).running)

    assert "restart.within" in error.next_step


def test_a_git_remote_that_says_nothing(
    silent: Silent, silent_ssh: Silent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_branch, "WITHIN", LIMIT)
    for server, url in (
        (silent, f"http://{silent.host}:{silent.port}/shop.git"),
        (silent_ssh, f"ssh://git@{silent_ssh.host}/shop.git"),
    ):
        home = tmp_path / url.partition(":")[0]
        for argv in (["init", "-q", str(home)], ["-C", str(home), "remote", "add", "origin", url]):
            subprocess.run(["git", *argv], check=True)

        error = told(server, lambda home=home: ssh_branch._fetched(home, "approvals"))  # type: ignore[misc]

        assert isinstance(error, ChildFailed)
        # Git takes the letters of one for an answer of HTTP/0.9.
        assert "did not finish within 1 s" in error.what or "HTTP/0.9" in error.what


def test_githubs_api_that_says_nothing(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ALL_WITHIN", LIMIT)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    base = f"http://{silent.host}:{silent.port}"
    client = api.GithubApi(base, "shop/shop", Secret("token"))

    error = told(silent, lambda: client.get("/contents", permission="contents: read"))

    assert "GitHub's API gave no answer" in error.what
    assert "GITHUB_API_URL" in error.next_step


@pytest.fixture
def _no_sender_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait, once the server is gone, for who still sends: the SDK's log is the process's."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")
    yield
    for thread in threading.enumerate():
        if thread.name == "sends spans":
            thread.join(LIMIT + SLACK)


@pytest.mark.usefixtures("_no_sender_is_left")
def test_a_collector_of_traces_that_says_nothing(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{silent.host}:{silent.port}")
    monkeypatch.setattr(telemetry, "WITHIN", LIMIT)
    provider, complaints = telemetry._provider()
    provider.get_tracer("test").start_span("a").end()
    alarms: list[str] = []
    began = time.monotonic()

    telemetry._end(provider, complaints, alarms.append)

    assert time.monotonic() - began < LIMIT + SLACK
    assert silent.asked.is_set()
    assert "no answer within 1 s" in alarms[0]
    assert f"http://{silent.host}:{silent.port}" in alarms[0]
