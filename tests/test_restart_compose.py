"""compose against a real daemon: a service is restarted, and proven on its containers."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import ComposeRestart
from pgwindlass.errors import StepFailed, Unreachable
from pgwindlass.restarters import Running
from pgwindlass.restarters.compose import Compose, base_command, list_command, restart_command
from tests.fix_docker import IMAGE, SERVE

pytestmark = pytest.mark.sampled(3)

Up = Callable[..., None]
PROJECT = "wltest"
SERVICE = f"image: {IMAGE}, network_mode: none, stop_grace_period: 2s"
CHECK = "healthcheck: {{test: busybox {0}, interval: 300ms, retries: 1}}"
COMPOSE_YML = f"""\
version: "2.4"
services:
  api: {{{SERVICE}, command: ["{SERVE}"]}}
  healthy: {{{SERVICE}, command: ["{SERVE}"], {CHECK.format("true")}}}
  unhealthy: {{{SERVICE}, command: ["{SERVE}"], {CHECK.format("false")}}}
  sick: {{{SERVICE}, command: ["echo cannot find my settings; sleep 0.5; exit 3"]}}
  loop: {{{SERVICE}, command: ["sleep 0.4; exit 1"], restart: always}}
  stubborn: {{{SERVICE}, command: ["sleep 600"]}}
"""


@pytest.fixture
def compose_yml(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yml"
    path.write_text(COMPOSE_YML)
    return path


@pytest.fixture
def compose(docker_host: str, compose_yml: Path) -> Iterator[Up]:
    """Return a function that runs docker-compose; everything is removed after the test."""

    def run(*arguments: str) -> None:
        subprocess.run(
            ["docker-compose", "-f", str(compose_yml), "-p", PROJECT, *arguments],
            env={**os.environ, "DOCKER_HOST": docker_host},
            check=True,
            capture_output=True,
        )

    yield run
    run("down", "-t", "0", "--remove-orphans")


def driver(host: str, file: Path, service: str, settle: float = 0.6) -> Compose:
    return Compose(
        ComposeRestart(
            service=service,
            file=str(file),
            project_name=PROJECT,
            host=host,
            settle=Duration(settle),
            within=Duration(15),
        )
    )


def test_a_health_check_is_waited_for(docker_host: str, compose_yml: Path, compose: Up) -> None:
    compose("up", "-d", "healthy")
    healthy = driver(docker_host, compose_yml, "healthy")

    assert healthy.restart().detail == "new start, healthy"
    assert healthy.check() == "service healthy running, healthy"


def test_every_container_of_a_service_gets_a_new_start(
    docker_host: str, compose_yml: Path, compose: Up
) -> None:
    compose("up", "-d", "--scale", "api=2", "api")
    compose("run", "-d", "api", SERVE)  # a one-off container is no part of the service
    api = driver(docker_host, compose_yml, "api")
    before = api.running().instance.split(",")

    after = api.restart().instance.split(",")

    assert len(before) == len(after) == 2
    assert not set(before) & set(after)


def test_a_service_that_dies_after_half_a_second_fails_with_its_log(
    docker_host: str, compose_yml: Path, compose: Up
) -> None:
    compose("up", "-d", "sick")

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, compose_yml, "sick", settle=1).restart()

    assert re.match(
        "container wltest_sick_1 (did not stay up for 1s|ended after the restart): exited, "
        "exit code 3; log: cannot find my settings",
        caught.value.what,
    )
    assert caught.value.next_step == (
        f"DOCKER_HOST={docker_host} docker logs --tail 50 wltest_sick_1"
    )


@pytest.mark.parametrize("service", ["unhealthy", "loop"])
def test_an_unhealthy_service_fails_and_so_does_a_crash_loop(
    docker_host: str, compose_yml: Path, compose: Up, service: str
) -> None:
    compose("up", "-d", service)

    with pytest.raises(
        StepFailed, match=f"container wltest_{service}_1 (is unhealthy|did not stay|crashed)"
    ):
        driver(docker_host, compose_yml, service, settle=1).restart()


def test_a_service_without_a_container_is_refused(
    docker_host: str, compose_yml: Path, compose: Up
) -> None:
    api = driver(docker_host, compose_yml, "api")

    assert api.running() == Running(instance="", detail="no container")
    for refused in (api.check, api.restart):
        with pytest.raises(StepFailed) as caught:
            refused()
        assert caught.value.what == f"service api of {compose_yml} has no container"
        assert caught.value.next_step == (
            f"DOCKER_HOST={docker_host} docker-compose -f {compose_yml} -p wltest "
            "up -d --no-deps api"
        )


def test_a_service_that_the_file_does_not_have_is_refused(
    docker_host: str, compose_yml: Path
) -> None:
    with pytest.raises(StepFailed) as caught:
        driver(docker_host, compose_yml, "nobody").check()

    assert caught.value.what == f"service nobody of {compose_yml}: No such service: nobody"
    assert caught.value.next_step.endswith(" config --services")


def test_a_daemon_that_is_not_there_is_unreachable(tmp_path: Path, compose_yml: Path) -> None:
    with pytest.raises(Unreachable, match="docker does not answer: "):
        driver(f"unix://{tmp_path}/none.sock", compose_yml, "api").check()


def test_the_plugin_is_used_where_docker_has_it(
    docker_host: str,
    compose_yml: Path,
    compose: Up,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compose("up", "-d", "stubborn")
    real = shutil.which("docker")
    calls = tmp_path / "calls"
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(  # a docker that has the plugin, which is docker-compose in disguise
        f'#!/bin/sh\necho "$*" >> {calls}\n'
        f'[ "$1" = compose ] || exec {real} "$@"\nshift; exec docker-compose "$@"\n'
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(client.parent), prepend=os.pathsep)

    driver(docker_host, compose_yml, "stubborn").restart()

    said = [line for line in calls.read_text().splitlines() if line.startswith("compose")]
    assert said == [
        "compose version",
        f"compose -f {compose_yml} -p wltest ps -a -q stubborn",
        f"compose -f {compose_yml} -p wltest restart -t 2 stubborn",
    ]


def test_neither_generation_installed_is_said(
    tmp_path: Path, compose_yml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StepFailed, match="neither docker compose nor docker-compose is installed"):
        driver("", compose_yml, "api").check()


def test_only_flags_that_both_generations_know_are_used() -> None:
    config = ComposeRestart(service="api", file="c.yml", project_name="shop")
    plugin = base_command(config, plugin=True)
    first = base_command(config, plugin=False)

    assert plugin == ("docker", "compose", "-f", "c.yml", "-p", "shop")
    assert first == ("docker-compose", "-f", "c.yml", "-p", "shop")
    assert list_command(first, "api") == (*first, "ps", "-a", "-q", "api")
    assert restart_command(first, "api", grace=10) == (*first, "restart", "-t", "10", "api")
