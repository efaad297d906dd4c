"""docker and compose against a real daemon: the traps that an exit status of 0 hides."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.config import ComposeRestart, DockerRestart, Duration
from ci.errors import StepFailed, Unreachable
from ci.restarters.compose import Compose, base_command
from ci.restarters.docker import Docker, restart_command
from tests.fix_docker import IMAGE, docker

Run = Callable[..., str]
SERVE = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
HEALTHY = ("--health-cmd", "/bin/busybox true", "--health-interval", "300ms")
UNHEALTHY = (
    "--health-cmd", "/bin/busybox false", "--health-interval", "300ms", "--health-retries", "1",
)  # fmt: skip


def driver(host: str, name: str, within: float = 15, settle: float = 0.6) -> Docker:
    return Docker(
        DockerRestart(container=name, host=host, settle=Duration(settle), within=Duration(within))
    )


def test_a_restart_gives_a_new_start(docker_host: str, container: Run) -> None:
    docker_ = driver(docker_host, container("good", SERVE))
    before = docker_.running()

    now = docker_.restart()

    assert now.instance != before.instance
    assert now.detail == "new start, no health check"
    assert docker_.check() == "container good running"


def test_a_health_check_is_waited_for(docker_host: str, container: Run) -> None:
    name = container("healthy", SERVE, *HEALTHY)

    assert driver(docker_host, name).restart().detail == "new start, healthy"


def test_an_unhealthy_container_fails_although_it_runs(docker_host: str, container: Run) -> None:
    name = container("unhealthy", SERVE, *UNHEALTHY)

    with pytest.raises(StepFailed, match="is not well after the restart: running, unhealthy"):
        driver(docker_host, name).restart()


def test_a_container_that_dies_after_half_a_second_fails_with_its_log(
    docker_host: str, container: Run
) -> None:
    name = container("dies", "echo cannot find my settings; sleep 0.5; exit 3")

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name, settle=1.5).restart()

    assert "exited" in caught.value.what
    assert "exit code 3" in caught.value.what
    assert "log: cannot find my settings" in caught.value.what
    assert caught.value.next_step == "docker logs --tail 50 dies"


def test_a_crash_loop_fails_although_it_runs_half_of_the_time(
    docker_host: str, container: Run
) -> None:
    name = container("loop", "sleep 0.4; exit 1", "--restart=always")

    with pytest.raises(StepFailed, match=r"did not stay up|did not come up"):
        driver(docker_host, name, within=5, settle=2).restart()


def test_a_container_that_does_not_exist_is_refused(docker_host: str) -> None:
    with pytest.raises(StepFailed) as caught:
        driver(docker_host, "nobody").check()

    assert caught.value.what == "there is no container nobody"
    assert caught.value.state == "nothing was restarted"


def test_a_daemon_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="docker does not answer"):
        driver(f"unix://{tmp_path}/none.sock", "any").check()


def test_the_command_gives_the_process_time_to_end() -> None:
    assert restart_command("api") == ("docker", "restart", "-t", "10", "api")


@pytest.fixture
def compose_file(docker_host: str, tmp_path: Path) -> Path:
    path = tmp_path / "docker-compose.yml"
    path.write_text(
        "version: '2.4'\nservices:\n"
        f'  api: {{image: {IMAGE}, network_mode: none, command: ["{SERVE}"]}}\n'
        f"  sick: {{image: {IMAGE}, network_mode: none, command: ['sleep 0.5; exit 3']}}\n"
    )
    return path


def service(host: str, file: Path, name: str) -> Compose:
    return Compose(
        ComposeRestart(
            service=name, file=str(file), project_name="wltest", host=host,
            settle=Duration(1), within=Duration(15),
        )
    )  # fmt: skip


def up(host: str, file: Path, name: str) -> None:
    subprocess.run(
        ["docker-compose", "-f", str(file), "-p", "wltest", "up", "-d", name],
        env={**os.environ, "DOCKER_HOST": host}, check=True, capture_output=True,
    )  # fmt: skip


def test_a_compose_service_is_restarted_and_proven(docker_host: str, compose_file: Path) -> None:
    up(docker_host, compose_file, "api")
    compose = service(docker_host, compose_file, "api")
    before = compose.running()

    now = compose.restart()

    docker(docker_host, "rm", "-f", "wltest_api_1")
    assert now.instance != before.instance


def test_a_compose_service_that_dies_fails(docker_host: str, compose_file: Path) -> None:
    up(docker_host, compose_file, "sick")
    time.sleep(0.1)

    with pytest.raises(StepFailed, match="exit code 3"):
        service(docker_host, compose_file, "sick").restart()

    docker(docker_host, "rm", "-f", "wltest_sick_1")


def test_a_compose_service_without_a_container_is_refused(
    docker_host: str, compose_file: Path
) -> None:
    with pytest.raises(StepFailed, match="service nobody of"):
        service(docker_host, compose_file, "nobody").check()


def test_only_flags_that_both_generations_know_are_used() -> None:
    config = ComposeRestart(service="api", file="c.yml", project_name="shop")

    assert base_command(config, plugin=True) == (
        "docker", "compose", "-f", "c.yml", "-p", "shop",
    )  # fmt: skip
    assert base_command(config, plugin=False) == ("docker-compose", "-f", "c.yml", "-p", "shop")
