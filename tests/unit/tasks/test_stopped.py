"""What a task says that was stopped before it could say anything itself."""

import sys

import pytest

from pgwindlass.errors import Terminated
from pgwindlass.tasks import ns, task

pytestmark = pytest.mark.unit


def test_one_that_only_reads_says_so_and_names_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "backup.list", "--env", "uat"])

    error = task._stopped(KeyboardInterrupt(), "backup_list", "uat")

    assert error.what == "stopped by Ctrl-C"
    assert error.state == "nothing was changed: backup.list only reads"
    assert error.next_step == "start it again: invoke backup.list --env uat"


def test_one_that_changes_something_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["windlass", "stamp", "--env", "uat", "--reason", "by hand"])

    error = task._stopped(Terminated(), "stamp", "uat")

    assert (error.what, error.by_sigterm) == ("stopped by SIGTERM", True)
    assert error.state == "not read: the run was stopped before it could look"
    assert error.next_step == (
        "invoke status --env uat shows what stands; then start it again: "
        "invoke stamp --env uat --reason 'by hand'"
    )


def test_the_names_are_those_of_tasks() -> None:
    names = {name.replace("_", ".") for name in task.READS}

    assert names <= set(ns.task_names)
