"""What every restarter must do, whichever it is; each on its real manager."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    CommandRestart,
    ComposeRestart,
    DockerRestart,
    KubectlRestart,
    RestartConfig,
    SupervisorRestart,
    SystemdRestart,
)
from pgwindlass.errors import StepFailed, WindlassError
from pgwindlass.restarters import Restarter, Reverting, open_restarter
from tests.fix_docker import IMAGE, SERVE
from tests.fix_kubernetes import Cluster

SETTLE, WITHIN = Duration(0.5), Duration(30)
DIES = "sleep 0.3; exit 3"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A driver on three services: one that serves, one whose restart dies, one that is not there.

    dying: makes the second one and returns its configuration.
    """

    serving: RestartConfig
    dying: Callable[[], RestartConfig]
    absent: RestartConfig
    reverts: bool = False


def of_command(tmp_path: Path) -> Case:
    (tmp_path / "id").write_text("0")

    def config(run: str, identity: str = "cat id") -> CommandRestart:
        run, identity = (f"cd {tmp_path} && {script}" for script in (run, identity))
        return CommandRestart(
            run=("sh", "-c", run),
            identity=("sh", "-c", identity),
            settle=SETTLE,
            within=Duration(2),
        )

    return Case(
        serving=config("echo $(($(cat id) + 1)) > id"),
        dying=lambda: config("echo dead > id; (sleep 0.1; rm id) >/dev/null 2>&1 &"),
        absent=config("true", "cat nothing"),
    )


def of_supervisor(supervised: Callable[..., str]) -> Case:
    def config(file: str, program: str = "api") -> SupervisorRestart:
        return SupervisorRestart(program=program, config=file, settle=SETTLE, within=WITHIN)

    serving = supervised("exec sleep 600")
    return Case(
        serving=config(serving),
        dying=lambda: config(supervised(DIES)),
        absent=config(serving, "nobody"),
    )


def of_systemd(unit: Callable[..., str]) -> Case:
    def config(name: str) -> SystemdRestart:
        return SystemdRestart(unit=name, user=True, settle=SETTLE, within=WITHIN)

    return Case(
        serving=config(unit("wl-contract.service", "/bin/sleep 600")),
        dying=lambda: config(unit("wl-contract-dies.service", f"/bin/sh -c '{DIES}'")),
        absent=config("wl-contract-nobody.service"),
    )


def of_docker(host: str, container: Callable[..., str]) -> Case:
    def config(name: str) -> DockerRestart:
        return DockerRestart(container=name, host=host, settle=SETTLE, within=WITHIN)

    return Case(
        serving=config(container("contract", SERVE)),
        dying=lambda: config(container("contract-dies", DIES)),
        absent=config("contract-nobody"),
    )


def of_units(unit: Callable[..., str]) -> Case:
    """Two members, the second of which is as the case says."""
    first = unit(f"wl-contract-{os.getpid()}-1.service", "/bin/sleep 600")

    def config(name: str) -> SystemdRestart:
        return SystemdRestart(units=(first, name), user=True, settle=SETTLE, within=WITHIN)

    return Case(
        serving=config(unit(f"wl-contract-{os.getpid()}-2.service", "/bin/sleep 600")),
        dying=lambda: config(unit(f"wl-contract-{os.getpid()}-3.service", f"/bin/sh -c '{DIES}'")),
        absent=config("wl-contract-nobody.service"),
    )


def of_containers(host: str, container: Callable[..., str]) -> Case:
    """Two members that are restarted at once, the second of which is as the case says."""
    first = container("contract-1", SERVE)

    def config(name: str) -> DockerRestart:
        names = (first, name)
        return DockerRestart(containers=names, batch=2, host=host, settle=SETTLE, within=WITHIN)

    return Case(
        serving=config(container("contract-2", SERVE)),
        dying=lambda: config(container("contract-dies", DIES)),
        absent=config("contract-nobody"),
    )


def of_compose(host: str, tmp_path: Path, stack: ExitStack) -> Case:
    file = tmp_path / "compose.yml"
    image = f"image: {IMAGE}, network_mode: none, stop_grace_period: 2s"
    file.write_text(
        f'version: "2.4"\nservices:\n  api: {{{image}, command: ["{SERVE}"]}}\n'
        f'  dies: {{{image}, command: ["{DIES}"]}}\n  nobody: {{{image}}}\n'
    )

    def compose(*arguments: str) -> None:
        subprocess.run(
            ["docker-compose", "-f", str(file), "-p", "wlcontract", *arguments],
            env={**os.environ, "DOCKER_HOST": host},
            check=True,
            capture_output=True,
        )

    def config(service: str, *, up: bool = True) -> ComposeRestart:
        if up:
            compose("up", "-d", service)
        return ComposeRestart(
            service=service,
            file=str(file),
            project_name="wlcontract",
            host=host,
            settle=SETTLE,
            within=WITHIN,
        )

    stack.callback(compose, "down", "-t", "0", "--remove-orphans")
    return Case(
        serving=config("api"), dying=lambda: config("dies"), absent=config("nobody", up=False)
    )


def of_kubectl(cluster: Cluster) -> Case:
    def config(name: str) -> KubectlRestart:
        return KubectlRestart(deployment=name, settle=SETTLE, within=WITHIN)

    def stuck() -> KubectlRestart:
        cluster.behaviour = "exceeded"
        return config("api")

    return Case(serving=config("api"), dying=stuck, absent=config("nobody"), reverts=True)


KINDS = ("command", "systemd", "units", "docker", "containers", "compose", "kubectl", "supervisor")


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    part = request.getfixturevalue
    with ExitStack() as stack:
        match request.param:
            case "command":
                yield of_command(tmp_path)
            case "systemd":
                yield of_systemd(part("unit"))
            case "units":
                yield of_units(part("unit"))
            case "containers":
                yield of_containers(part("docker_host"), part("container"))
            case "docker":
                yield of_docker(part("docker_host"), part("container"))
            case "compose":
                yield of_compose(part("docker_host"), tmp_path, stack)
            case "supervisor":
                yield of_supervisor(part("supervised"))
            case _:
                yield of_kubectl(part("cluster"))


def test_a_restart_is_a_new_identity_that_stays(case: Case) -> None:
    restarter: Restarter = open_restarter(case.serving)
    before = restarter.running()
    assert restarter.name and restarter.check()

    now = restarter.restart()

    assert before.instance and now.instance and now.instance != before.instance
    assert restarter.running().instance == now.instance
    # Who can go back says so, and does: what served before serves again, by another start.
    assert isinstance(restarter, Reverting) is case.reverts is bool(now.version)
    if isinstance(restarter, Reverting):
        assert restarter.revert(before).version == restarter.running().version != now.version


def test_a_restart_that_does_not_come_up_fails_and_says_what_stands(case: Case) -> None:
    restarter = open_restarter(case.dying())

    with pytest.raises(StepFailed) as caught:
        restarter.restart()

    assert caught.value.state in ("the service may be down", "the service may be partly down")
    assert caught.value.next_step


def test_a_service_that_is_not_there_is_refused_before_anything(case: Case) -> None:
    restarter = open_restarter(case.absent)

    with pytest.raises(WindlassError) as caught:
        restarter.check()

    assert caught.value.what and caught.value.next_step
