"""A killed runner's restart command lives on: the next run does not start a second beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.alive import machine
from pgwindlass.database.connection import Database
from tests import warm
from tests.kit import Project

EVENTS_WITHIN = 40.0  # seconds; each takes well under one

# It says when it begins and ends; in between it waits to be let go.
SLOW = """\
import os, pathlib, secrets, time
home = pathlib.Path({home!r})
def log(word):
    with (home / "log").open("a") as file:
        file.write(f"{{word}} {{os.getpid()}}\\n")
{first}
log("begin")
while not (home / "go").exists():
    time.sleep(0.02)
(home / "identity").write_text(secrets.token_hex(8))
log("end")
"""


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Iterator[Project]:
    """A project whose restart waits for the file `go`; what is left of it is ended."""
    shop = Project(tmp_path / "shop", database16.url.reveal())
    text = shop.deploy_yml.read_text()
    restart = text[text.index("    restart:\n") : text.index("    smoke:\n")]
    uat = "    lock: {timeout: [100ms, 200ms], wait: 3s}\n"
    shop.deploy_yml.write_text(text.replace(uat, uat + restart.replace("5s", "20s"), 1))
    slow(shop)
    shop.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    yield shop
    for word, pid in log(shop):
        if word == "begin":
            end_if_ours(int(pid))


def slow(project: Project, first: str = "") -> None:
    (project.home / "restart.py").write_text(SLOW.format(home=str(project.home), first=first))


def end_if_ours(pid: int) -> None:
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"restart.py" in command.read_bytes():
        os.kill(pid, signal.SIGKILL)


def log(project: Project) -> list[list[str]]:
    file = project.home / "log"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def until(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + EVENTS_WITHIN
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def begin(project: Project, verb: str = "deploy") -> warm.Child:
    with Path(os.devnull).open() as nothing, (project.home / "err").open("wb") as err:
        streams = (nothing.fileno(), err.fileno(), err.fileno())
        argv = (verb, "--env", "uat")
        return warm.Child(argv, cwd=project.home, env=project.variables(), streams=streams)


def killed_in_its_restart(project: Project, verb: str = "deploy") -> None:
    child = begin(project, verb)
    until("the restart does not begin", lambda: log(project))
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(EVENTS_WITHIN) == -signal.SIGKILL


def words(project: Project) -> str:
    return (project.home / "err").read_text()


def markers(project: Project) -> int:
    with psycopg.connect(project.url) as connection:
        row = connection.execute("select count(*) from windlass.marker").fetchone()
    assert row is not None
    return int(row[0])


def test_the_next_run_waits_for_a_restart_that_lives_on(project: Project) -> None:
    killed_in_its_restart(project)

    second = begin(project)
    until(
        "the second run neither waits nor restarts",
        lambda: "waiting for the restart" in words(project) or len(log(project)) > 1,
    )
    (project.home / "go").touch()

    assert second.wait(EVENTS_WITHIN) == 0, words(project)
    assert [word for word, _ in log(project)] == ["begin", "end", "begin", "end"]
    assert markers(project) == 0


def test_a_restart_by_hand_is_refused_while_a_deployment_restarts(project: Project) -> None:
    first = begin(project)
    until("the restart does not begin", lambda: log(project))

    by_hand = project.run("restart", "--env", "uat")
    (project.home / "go").touch()

    assert first.wait(EVENTS_WITHIN) == 0, words(project)
    assert by_hand.code == 3, by_hand.err
    assert by_hand.error()[0].startswith("✗ another deployment holds the lock: ")
    assert "at its step restart" in by_hand.error()[0]
    assert [word for word, _ in log(project)] == ["begin", "end"]


def test_a_restart_by_hand_that_is_stopped_says_what_serves(project: Project) -> None:
    child = begin(project, "restart")
    until("the restart does not begin", lambda: log(project))
    os.kill(child.pid, signal.SIGTERM)

    assert child.wait(EVENTS_WITHIN) == 143, words(project)
    assert "state: the restart had begun; command " in words(project)
    assert "runs instance first" in words(project)
    assert "next:  invoke restart --env uat restarts it anew" in words(project)


def test_a_restart_by_hand_waits_for_one_that_lives_on(project: Project) -> None:
    killed_in_its_restart(project, "restart")

    second = begin(project, "restart")
    until(
        "the second restart neither waits nor restarts",
        lambda: "waiting for the restart" in words(project) or len(log(project)) > 1,
    )
    (project.home / "go").touch()

    assert second.wait(EVENTS_WITHIN) == 0, words(project)
    assert [word for word, _ in log(project)] == ["begin", "end", "begin", "end"]
    assert markers(project) == 0


def test_one_that_does_not_end_in_time_is_ended(project: Project) -> None:
    text = project.deploy_yml.read_text().replace("within: 20s", "within: 2s")
    project.deploy_yml.write_text(text)
    killed_in_its_restart(project)
    ((_, first),) = log(project)
    slow(project, "pathlib.Path(home / 'go').touch()")

    second = begin(project)

    assert second.wait(EVENTS_WITHIN) == 0, words(project)
    assert f"ended the restart that a killed run left behind: pid {first}" in words(project)
    assert not Path(f"/proc/{first}").exists() or "Z" in Path(f"/proc/{first}/stat").read_text()
    assert [word for word, _ in log(project)] == ["begin", "begin", "end"]
    assert markers(project) == 0


def test_one_of_another_machine_is_waited_out(project: Project) -> None:
    (project.home / "go").touch()
    project.run("deploy", "--env", "uat")
    detail = {
        "host": "runner-7",
        "boot": "another",
        "pid": "1",
        "started": "1",
        "command": "command restart.py",
        "within": "2",
    }
    with psycopg.connect(project.url) as connection:
        connection.execute(
            "insert into windlass.marker (id, kind, deployment_id, detail) "
            "values ('x', 'restart', 'd', %s::jsonb)",
            (json.dumps(detail),),
        )
    began = time.monotonic()

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "runner-7" in ran.err
    assert "whether it still runs there cannot be seen from here" in ran.err
    assert time.monotonic() - began > 1.5
    assert markers(project) == 0


def test_the_pid_of_another_process_is_not_ended(project: Project) -> None:
    """A pid is used again: without the same start time it is nobody of ours."""
    (project.home / "go").touch()
    project.run("deploy", "--env", "uat")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        with psycopg.connect(project.url) as connection:
            connection.execute(
                "insert into windlass.marker (id, kind, deployment_id, detail) "
                "values ('x', 'restart', 'd', %s::jsonb)",
                (
                    json.dumps(
                        {
                            "host": machine().host,
                            "boot": machine().boot,
                            "pid": str(other.pid),
                            "started": "1",
                            "command": "command restart.py",
                            "within": "600",
                        }
                    ),
                ),
            )

        ran = project.run("deploy", "--env", "uat")

        assert ran.code == 0, ran.err
        assert other.poll() is None
        other.kill()
    assert markers(project) == 0
