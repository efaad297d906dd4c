"""Any program as a restarter: the identity it prints must change, and then stay."""

import sys
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import CommandRestart
from pgwindlass.errors import ChildFailed, ConfigError, StepFailed
from pgwindlass.restarters.command import Command


def driver(tmp_path: Path, restart: str, identity: str = "cat id") -> Command:
    (tmp_path / "id").write_text("one")

    def shell(script: str) -> tuple[str, ...]:
        return ("sh", "-c", f"cd {tmp_path} && {script}")

    return Command(
        CommandRestart(
            run=shell(restart), identity=shell(identity), settle=Duration(0.3), within=Duration(1)
        )
    )


def test_an_exit_status_of_zero_alone_is_none(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match='the identity is still "one" after the command'):
        driver(tmp_path, "true").restart()


def test_an_identity_that_goes_on_changing_fails(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="the identity keeps changing"):
        driver(tmp_path, "true", "date +%N").restart()


def test_a_command_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="ended with status 3: no such service"):
        driver(tmp_path, "echo no such service >&2; exit 3").restart()


def test_a_program_that_does_not_exist_is_named() -> None:
    command = Command(CommandRestart(run=("/nonexistent/x",), identity=(sys.executable, "-V")))

    with pytest.raises(ChildFailed, match="/nonexistent/x could not be started"):
        command.restart()


def test_a_service_that_is_gone_after_the_command_is_no_new_one(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="down: identity ended with status 1 after the command"):
        driver(tmp_path, "rm id").restart()


def test_a_service_that_dies_while_it_settles_fails(tmp_path: Path) -> None:
    dies = "echo two > id; (sleep 0.1; rm id) >/dev/null 2>&1 &"

    with pytest.raises(StepFailed, match='did not stay up for 300ms: "two", then down'):
        driver(tmp_path, dies).restart()


def test_a_service_that_was_down_may_come_up(tmp_path: Path) -> None:
    command = driver(tmp_path, "echo two > id")
    (tmp_path / "id").unlink()

    assert command.running().instance == ""
    assert command.restart().instance == "two"


def test_no_program_is_refused_with_the_key() -> None:
    with pytest.raises(ConfigError, match=r"restart.run is empty; expected a program"):
        Command(CommandRestart(run=(), identity=("true",)))
