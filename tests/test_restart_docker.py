"""docker restart against a real daemon: the traps that an exit status of 0 hides."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import DockerRestart
from pgwindlass.errors import StepFailed, Unreachable
from pgwindlass.restarters import Running
from pgwindlass.restarters._container import grace_seconds, inspect_command, read_states
from pgwindlass.restarters.docker import Docker, restart_command
from tests.fix_docker import SERVE, docker

Run = Callable[..., str]
OFTEN = ("--health-interval", "300ms", "--health-retries", "1")
HEALTHY = ("--health-cmd", "busybox true", *OFTEN)
UNHEALTHY = ("--health-cmd", "busybox false", *OFTEN)
NEVER_SURE = ("--health-cmd", "busybox false", *OFTEN, "--health-start-period", "60s")


def driver(host: str, name: str, within: float = 15, settle: float = 0.6) -> Docker:
    return Docker(
        DockerRestart(container=name, host=host, settle=Duration(settle), within=Duration(within))
    )


def test_a_container_that_was_down_is_started(docker_host: str, container: Run) -> None:
    down = driver(docker_host, container("down", SERVE))
    docker(docker_host, "stop", "down")
    assert down.running().detail == "exited, exit code 0"

    now = down.restart()

    assert now.detail == "new start, no health check"


def test_a_health_check_is_waited_for(docker_host: str, container: Run) -> None:
    healthy = driver(docker_host, container("healthy", SERVE, *HEALTHY))

    assert healthy.restart().detail == "new start, healthy"
    assert healthy.check() == "container healthy running, healthy"


def test_an_unhealthy_container_fails_although_it_runs(docker_host: str, container: Run) -> None:
    name = container("unhealthy", f"echo no database; {SERVE}", *UNHEALTHY)

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name).restart()

    assert caught.value.what.startswith(
        "container unhealthy is unhealthy after the restart: running, unhealthy; log: "
    )
    assert "no database" in caught.value.what


def test_a_container_that_never_gets_healthy_fails_within_the_budget(
    docker_host: str, container: Run
) -> None:
    name = container("unsure", SERVE, *NEVER_SURE)
    start = time.monotonic()

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name, within=2.5).restart()

    assert time.monotonic() - start < 5
    assert caught.value.what == (
        "container unsure did not come up early enough to be watched for 600ms within 2.5s: "
        "running, starting; its log is empty"
    )


def test_a_container_that_dies_after_half_a_second_fails_with_its_log(
    docker_host: str, container: Run
) -> None:
    name = container("dies", "echo cannot find my settings >&2; sleep 0.5; exit 3")
    time.sleep(0.8)

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name, settle=1).restart()

    # A slow machine sees it only after its end.
    assert re.fullmatch(
        "container dies (did not stay up for 1s|ended after the restart): exited, exit code 3; "
        r"log: cannot find my settings \| cannot find my settings",
        caught.value.what,
    )
    assert caught.value.state == "the service may be down"
    assert caught.value.next_step == f"DOCKER_HOST={docker_host} docker logs --tail 50 dies"


def test_a_crash_loop_fails_although_it_runs_half_of_the_time(
    docker_host: str, container: Run
) -> None:
    name = container("loop", "echo again; sleep 0.4; exit 1", "--restart=always")

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name, settle=1).restart()

    assert re.match("container loop (did not stay up|crashed)", caught.value.what)
    assert "log: again" in caught.value.what


def test_a_start_that_docker_refuses_fails_with_what_docker_said(
    docker_host: str, container: Run, tmp_path: Path
) -> None:
    mounted = tmp_path / "settings"
    mounted.mkdir()
    options = ("--mount", f"type=bind,source={mounted},target=/settings")
    name = container("refused", SERVE, *options)
    mounted.rmdir()

    with pytest.raises(StepFailed) as caught:
        driver(docker_host, name).restart()

    assert caught.value.what.startswith("container refused was not restarted (")
    assert str(mounted) in caught.value.what


def test_a_process_that_ignores_sigterm_is_killed_within_the_budget(
    docker_host: str, container: Run
) -> None:
    stubborn = driver(docker_host, container("stubborn", "sleep 600"), within=4, settle=0.5)

    assert stubborn.restart().detail == "new start, no health check"


def test_a_container_that_does_not_exist_is_refused(docker_host: str) -> None:
    nobody = driver(docker_host, "nobody")

    assert nobody.running() == Running(instance="", detail="no container")
    for refused in (nobody.check, nobody.restart):
        with pytest.raises(StepFailed) as caught:
            refused()
        assert caught.value.what == "the container nobody does not exist"
        assert caught.value.state == "nothing was restarted"
        assert caught.value.next_step == f"DOCKER_HOST={docker_host} docker ps --all"


def test_a_daemon_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/none.sock"
    absent = driver(host, "any")

    for asked in (absent.check, absent.running, absent.restart):
        with pytest.raises(Unreachable) as caught:
            asked()
        assert caught.value.what.startswith("docker does not answer: ")
        assert caught.value.next_step == f"DOCKER_HOST={host} docker version"


def test_without_a_docker_client_the_daemon_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unreachable, match="docker could not be started: No such file"):
        driver("", "any").check()


@pytest.mark.unit
def test_the_commands_say_every_thing_they_mean() -> None:
    assert restart_command("api", grace=10) == ("docker", "restart", "-t", "10", "api")
    assert inspect_command(["a", "b"]) == (
        "docker",
        "inspect",
        "--type=container",
        "--format={{json .}}",
        "a",
        "b",
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("stop_timeouts", "room", "grace"),
    [
        ([None], 115, 10),  # docker's own default
        ([30], 115, 30),  # what the container asks for
        ([3, None], 115, 10),  # the most patient of several
        ([0], 115, 0),  # killed at once, as asked
        ([-1], 60, 30),  # for ever: as long as there is room
        ([90], 115, 57),  # half of the room stays for the new start
        ([None], 0.5, 1),
    ],
)
def test_a_process_gets_the_time_its_container_asks_for_if_there_is_room(
    stop_timeouts: list[int | None], room: float, grace: int
) -> None:
    assert grace_seconds(stop_timeouts, room=room) == grace


DOCUMENT = {
    "Id": "0123456789abcdef",
    "Name": "/api",
    "RestartCount": 0,
    "Config": {"Labels": None},
    "State": {
        "Status": "running",
        "StartedAt": "2026-01-01T00:00:00.5Z",
        "ExitCode": 0,
        "Error": "",
        "Health": {"Status": "none"},
    },
}


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(DOCUMENT) + "\n" + json.dumps(DOCUMENT) + "\n",
        json.dumps([DOCUMENT, DOCUMENT], indent=5),
    ],
    ids=["a line each", "one array"],
)
def test_states_are_read_as_docker_and_as_podman_print_them(text: str) -> None:
    assert [state.name for state in read_states(text)] == ["api", "api"]


@pytest.mark.unit
@pytest.mark.parametrize("text", ["Emulate Docker CLI", "[1]", '{"Id": "a"}', "null"])
def test_what_is_no_state_is_a_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no state of a container|Expecting value"):
        read_states(text)


@pytest.mark.unit
def test_a_health_check_that_was_turned_off_counts_as_none() -> None:
    (state,) = read_states(json.dumps(DOCUMENT))

    assert state.up
    assert state.health == ""
    assert state.instance == "0123456789ab@2026-01-01T00:00:00.5Z"
