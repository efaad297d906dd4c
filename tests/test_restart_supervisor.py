"""supervisor, the real one: the traps that an exit status of 0 hides, and groups."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import SupervisorRestart
from pgwindlass.errors import StepFailed
from pgwindlass.restarters.supervisor import Supervisor, parse

pytestmark = pytest.mark.sampled(3)

Supervised = Callable[..., str]


def supervisor(
    config: str, program: str = "api", within: float = 60, settle: float = 0.8
) -> Supervisor:
    return Supervisor(
        SupervisorRestart(
            program=program, config=config, settle=Duration(settle), within=Duration(within)
        )
    )


def test_a_restart_gives_a_new_process(supervised: Supervised) -> None:
    driver = supervisor(supervised("exec sleep 600"))
    before = driver.running()

    now = driver.restart()

    assert before.instance and now.instance and now.instance != before.instance
    assert driver.running().instance == now.instance
    assert driver.check().startswith("api RUNNING pid ")


def test_a_process_that_dies_after_its_startsecs_fails_with_its_log(
    supervised: Supervised, tmp_path: Path
) -> None:
    script = f"[ -e {tmp_path}/bad ] || exec sleep 600; echo no such column >&2; sleep 6; exit 3"
    driver = supervisor(supervised(script, startsecs=1, more="autorestart=false"), settle=9)
    (tmp_path / "bad").touch()

    with pytest.raises(StepFailed, match="did not stay up for 9s after the restart") as caught:
        driver.restart()

    assert "api EXITED" in caught.value.what
    assert "the log of api ends: no such column" in caught.value.what
    assert driver.running().instance == ""


def test_a_process_that_supervisor_starts_again_and_again_fails(supervised: Supervised) -> None:
    driver = supervisor(supervised("sleep 0.5; exit 3"), settle=3)

    with pytest.raises(StepFailed, match="did not stay up for 3s after the restart"):
        driver.restart()


def test_a_process_that_supervisor_gave_up_was_not_restarted(supervised: Supervised) -> None:
    driver = supervisor(supervised("exit 3", startsecs=1))
    assert driver.running().instance == "" and "api FATAL" in driver.running().detail

    with pytest.raises(StepFailed, match=r"was not restarted .*spawn error.*: api FATAL"):
        driver.restart()


def test_a_program_that_was_stopped_is_started(supervised: Supervised, tmp_path: Path) -> None:
    script = f"[ -e {tmp_path}/up ] && exec sleep 600; touch {tmp_path}/up; sleep 0.1"
    driver = supervisor(supervised(script, more="autorestart=false"))
    while driver.running().instance:
        pass

    assert driver.restart().instance


def test_a_group_is_restarted_whole(supervised: Supervised) -> None:
    driver = supervisor(supervised("exec sleep 600", processes=2), "api:*")
    before = driver.running().instance.split()

    now = driver.restart().instance.split()

    assert len(before) == len(now) == len({*before, *now}) / 2 == 2


def test_a_group_with_a_process_that_dies_is_partly_down(
    supervised: Supervised, tmp_path: Path
) -> None:
    script = f"[ -e {tmp_path}/bad ] && [ $1 = 1 ] && exec sleep 0.1; exec sleep 600"
    driver = supervisor(supervised(script, processes=2, more="autorestart=false"), "api:*", 12)
    (tmp_path / "bad").touch()

    with pytest.raises(StepFailed, match=r"api:n0 RUNNING .*; api:n1 EXITED") as caught:
        driver.restart()

    assert caught.value.state == "the service may be partly down"


def test_a_process_of_a_group_needs_its_group(supervised: Supervised) -> None:
    config = supervised("exec sleep 600", processes=2)

    assert supervisor(config, "api:n1").check().startswith("api:n1 RUNNING")
    with pytest.raises(StepFailed, match=r"api cannot be restarted: api: ERROR \(no such process"):
        supervisor(config, "api").check()


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("nobody", r"nobody: ERROR \(no such process\)"),
        ("nobody:*", r"nobody: ERROR \(no such group\)"),
        ("api nobody", r"nobody: ERROR \(no such process\); api RUNNING"),
    ],
)
def test_a_name_that_is_not_known_is_refused_before_anything(
    supervised: Supervised, program: str, what: str
) -> None:
    config = supervised("exec sleep 600")
    before = supervisor(config).running()

    for refused in (supervisor(config, program).check, supervisor(config, program).restart):
        with pytest.raises(StepFailed, match=f"cannot be restarted: {what}"):
            refused()

    assert supervisor(config).running().instance == before.instance


def test_a_supervisord_that_does_not_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "supervisord.conf"
    file.write_text(f"[supervisorctl]\nserverurl=unix://{tmp_path}/none\n")
    driver = supervisor(str(file))

    assert driver.running().instance == ""
    for refused in (driver.check, driver.restart):
        with pytest.raises(StepFailed, match=r"cannot be restarted: .*none no such file"):
            refused()


def test_a_config_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="could not find config file"):
        supervisor(str(tmp_path / "none.conf")).check()


def test_a_program_without_a_name_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="program is empty"):
        msgspec.convert({"with": "supervisor", "program": " "}, SupervisorRestart)


@pytest.mark.parametrize("state", ["STARTING", "BACKOFF  Exited too quickly", "STOPPING", "FATAL"])
def test_only_a_process_that_runs_counts(state: str) -> None:
    status = parse(f"api:n0   RUNNING   pid 12, uptime 0:00:02\napi:n1   {state}\n")

    assert status.known and status.pids == {"api:n0": "12", "api:n1": ""}
    assert status.running.instance == ""
