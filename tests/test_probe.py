"""Requests that a restart loses are counted: on a real service that is ended and started anew."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pgwindlass.config.sections import Expect, SmokeCheck, SmokeConfig
from pgwindlass.database.connection import Database
from pgwindlass.deployment import probing
from pgwindlass.deployment.probing import Watch
from pgwindlass.secret import Secret
from tests.fix_restarting import write_service
from tests.kit import Project

WITHIN = 20.0  # seconds for an event
PLANTED = "probe-token-4711"
UAT = "    lock: {timeout: [100ms, 200ms], wait: 3s}\n"
DEPLOY = """\
    restart: {{with: command, run: {run}, identity: [cat, "{home}/pid"], settle: 100ms{more}}}
    smoke:
      base_url: {url}
      deadline: 10s
      successes: 2
      pause: 20ms
      checks: [{{get: /health, headers: {{X-Probe-Token: "${{TOKEN}}"}}}}]
"""


def smoke(url: str, **check: object) -> SmokeConfig:
    return SmokeConfig(base_url=url, checks=(SmokeCheck(**({"get": "/"} | check)),))  # type: ignore[arg-type]  # a check's keys


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for a service, which is ended after the test."""
    yield tmp_path
    for pid in tmp_path.rglob("pid"):
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def until(what: str, holds: object) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def answered(watch: Watch) -> int:
    counted = watch.counted()
    return counted.asked - counted.lost if counted else 0


def serving(run: tuple[str, ...], url: str) -> None:
    """Start a service and return when it answers."""
    subprocess.run(run, check=True)
    port = int(url.rpartition(":")[2])

    def accepts() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    until("it listens", accepts)


def test_what_a_restart_loses_is_counted(home: Path) -> None:
    run, url = write_service(home, down=0.4)
    serving(run, url)
    watch = Watch()

    watch.start(smoke(url))
    until("asked", lambda: answered(watch) > 3)
    before = watch.counted()
    subprocess.run(run, check=True)
    lost = watch.counted()
    assert before is not None and lost is not None
    until("it serves again", lambda: answered(watch) > lost.asked - lost.lost + 3)
    counted = watch.stop()

    assert before.lost == 0 < lost.lost
    assert counted is not None and counted.asked > counted.lost >= lost.lost
    assert counted.longest_gap >= 0.3
    assert {kind for kind, _ in counted.how} <= {"not answered", "late"}
    assert watch.stop() is None


def test_a_service_that_hangs_is_asked_as_often_as_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "TIMEOUT", 0.5)
    # Whoever does not accept still has the kernel's queue: connected, and never answered.
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        watch = Watch()
        watch.start(smoke(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        until("late ones", lambda: (counted := watch.counted()) and counted.lost > 8)
        counted = watch.stop()

    assert counted is not None and dict(counted.how)["late"] == counted.lost == counted.asked
    # One after another they would be two in a second.
    assert counted.asked / (counted.longest_gap + 0.05) > 4
    assert not counted.served_before


def test_without_a_check_that_gets_nothing_is_asked_and_it_is_said() -> None:
    watch = Watch()

    watch.start(smoke("http://127.0.0.1:9", get="", post="/orders"))

    assert watch.counted() is None
    assert watch.words(None) == "no requests were counted: no smoke test has get"
    watch.start(None)
    assert watch.words(None) == "no requests were counted: no smoke test has get"


def test_a_header_that_cannot_be_sent_begins_no_probe() -> None:
    watch = Watch()

    watch.start(smoke("http://127.0.0.1:9", bearer=Secret("two\nlines"), expect=Expect()))

    assert watch.counted() is None
    assert watch.absent == "no requests were counted: the smoke test's cannot be sent"
    assert not [t for t in threading.enumerate() if t.name.startswith("probe")]


@pytest.fixture
def project(home: Path, database16: Database) -> Project:
    shop = Project(home / "shop", database16.url.reveal(), env={"TOKEN": PLANTED})
    shop.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    return shop


def with_service(project: Project, *, down: float, more: str = "") -> None:
    run, url = write_service(project.home, down=down)
    serving(run, url)
    section = DEPLOY.format(run=json.dumps(run), home=project.home, url=url, more=more)
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace(UAT, UAT + section, 1))


def test_the_numbers_stand_in_the_report_and_the_journal(project: Project) -> None:
    with_service(project, down=0.4, more=", lost_at_most: 1")

    ran = project.run("deploy", "--env", "uat")
    assert ran.code == 0, ran.err
    newest = project.deployments("uat")[0]
    shown = project.json("history", "--env", "uat", "--deployment", newest["id"])

    (restart,) = [r for r in shown["results"] if r["step"] == "restart"]
    (last,) = [r for r in shown["results"] if r["step"] == "smoke"]
    begun, ended = dict(restart["evidence"]), dict(last["evidence"])
    assert int(ended["requests_asked"]) >= int(begun["requests_asked"]) > 0
    assert int(ended["requests_lost"]) >= 2 and float(ended["longest_gap"]) >= 0.3
    line = f"lost {ended['requests_lost']} of {ended['requests_asked']} requests ("
    assert line in ran.err and line in last["detail"]
    # More than it may, and all is well now: told, and no reason to restart it once more.
    assert "restart.lost_at_most is 1" in ran.err
    tokens = (project.home / "tokens").read_text().split()
    assert set(tokens) == {PLANTED}  # the probe asks as the smoke tests do
    for text in (ran.err, ran.out, json.dumps(shown)):
        assert PLANTED not in text


def test_a_restart_that_fails_says_what_was_lost(project: Project) -> None:
    with_service(project, down=0.1, more=", within: 2s")
    # It ends the service and starts none.
    (project.home / "serve.py").write_text("raise SystemExit")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 1, ran.err
    assert "since the restart began the service lost " in ran.error()[1]
