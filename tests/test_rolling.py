"""Several members of a service, one after the other: real units, a real database, real kills."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests import warm
from tests.fix_restarting import free_port
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

WITHIN = 60.0  # seconds for an event; each takes well under ten
UAT = "    lock: {timeout: [100ms, 200ms], wait: 3s}\n"
# A start says so in the log. A member answers 500 while the file `bad-N` is there, and nothing
# at all before the file `hold-N` is gone.
SERVE = """\
import http.server, pathlib, sys, time
number, port = sys.argv[1:]
home = pathlib.Path({home!r})
with (home / "log").open("a") as log:
    log.write(number + " ")
while (home / f"hold-{{number}}").exists():
    time.sleep(0.02)
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): ...
    def do_GET(self):
        self.send_response(500 if (home / f"bad-{{number}}").exists() else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever(0.02)
"""


@dataclass(frozen=True)
class Members:
    """A project whose service is three units, and what they did."""

    project: Project
    units: tuple[str, ...]
    ports: tuple[int, ...]

    def configure(
        self,
        more: str = "",
        *,
        on_failure: str = "stop",
        deadline: str = "2s",
        own: bool = True,
    ) -> None:
        """Write the service into deploy.yml; forget what was logged."""
        text = self.project.deploy_yml.read_text()
        addresses = json.dumps([f"http://127.0.0.1:{port}" for port in self.ports])
        section = (
            f"    on_failure: {on_failure}\n"
            f"    restart: {{with: systemd, units: {json.dumps(self.units)}, user: true, "
            f"settle: 100ms{f', smoke: {addresses}' if own else ''}{more}}}\n"
            f"    smoke: {{base_url: 'http://127.0.0.1:{self.ports[2]}', deadline: {deadline}, "
            "successes: 1, pause: 50ms, checks: [{get: /}]}\n"
        )
        self.project.deploy_yml.write_text(text.replace(UAT, UAT + section, 1))
        (self.project.home / "log").write_text("")

    @property
    def started(self) -> str:
        """The numbers of the members that were started, in order."""
        return (self.project.home / "log").read_text().replace(" ", "")

    def restart_evidence(self) -> list[list[str]]:
        newest = self.project.deployments("uat")[0]
        shown = self.project.json("history", "--env", "uat", "--deployment", newest["id"])
        results = [r for r in shown["results"] if r["step"] == "restart" and not r["undo"]]
        return [pair for pair in results[-1]["evidence"] if pair[0] == "member"]

    def markers(self) -> int:
        with psycopg.connect(self.project.url) as connection:
            row = connection.execute("select count(*) from windlass.marker").fetchone()
        assert row is not None
        return int(row[0])


def until(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def members(tmp_path: Path, database16: Database, unit: Callable[..., str]) -> Iterator[Members]:
    shop = Project(tmp_path / "shop", database16.url.reveal())
    shop.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    (shop.home / "serve.py").write_text(SERVE.format(home=str(shop.home)))
    ports = (free_port(), free_port(), free_port())
    program = f"{sys.executable} -S {shop.home / 'serve.py'}"
    # Another worker's manager shares the control groups, which have the units' names.
    prefix = f"wl-roll-{os.getpid()}"
    units = tuple(
        unit(
            f"{prefix}-{number}.service",
            f"{program} {number} {port}",
            "TimeoutStopSec=1",
        )
        for number, port in enumerate(ports, start=1)
    )
    service = Members(shop, units, ports)
    (shop.home / "log").touch()
    until("all three start", lambda: sorted(service.started) == ["1", "2", "3"])
    yield service
    for hold in shop.home.glob("hold-*"):
        hold.unlink()


def test_each_member_is_proven_and_smoke_tested_before_the_next(members: Members) -> None:
    members.configure()

    ran = members.project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert members.started == "123"
    assert f"3 of 3 members restarted: {', '.join(members.units)}" in ran.err
    evidence = members.restart_evidence()
    assert [text.partition(":")[0] for _, text in evidence] == list(members.units)
    for _, text in evidence:
        assert "new invocation, active; smoke-tested; lost " in text
    assert members.markers() == 0


def test_the_first_failure_stops_the_rest_and_says_what_runs_where(members: Members) -> None:
    members.configure()
    (members.project.home / "bad-2").touch()

    ran = members.project.run("deploy", "--env", "uat")

    assert ran.code == 1, ran.err
    assert members.started == "12"
    what, state = ran.error()[:2]
    first, second, third = members.units
    assert what.startswith(f"✗ restart: {second} fails its smoke tests: GET http://127.0.0.1:")
    assert f"the new version runs on {first}; restarted and not proven: {second}" in state
    assert f"not restarted, so the old version runs on {third}" in state

    (members.project.home / "bad-2").unlink()
    again = members.project.run("deploy", "--env", "uat")

    assert again.code == 0, again.err
    assert members.started == "12123"  # a person may have installed something else
    assert members.markers() == 0


def test_the_way_back_restarts_what_was_restarted_the_last_first(members: Members) -> None:
    members.configure(on_failure="rollback", deadline="1s")
    bad = members.project.home / "bad-2"
    bad.touch()
    child = begin(members)
    until("the way back does not begin", lambda: "undo migrate" in words(members))
    bad.unlink()

    assert child.wait(WITHIN) == 4, words(members)
    assert members.started == "1221"
    assert f"2 of 3 members restarted back: {members.units[1]}, {members.units[0]}" in words(
        members
    )
    assert members.markers() == 0


def test_a_killed_run_goes_on_with_the_members_that_are_left(members: Members) -> None:
    members.configure(deadline="30s")
    hold = members.project.home / "hold-2"
    hold.touch()
    child = begin(members)
    until("the second is not restarted", lambda: members.started == "12")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(WITHIN)
    hold.unlink()
    told = members.project.run("status", "--env", "uat")

    second = members.project.run("deploy", "--env", "uat")

    first, behind = members.units[:2]
    assert f"began to restart {first} (restarted and proven), {behind} (not proven)" in told.out
    assert "invoke resume --env uat goes on with the members that are left" in told.out
    assert second.code == 0, second.err
    assert members.started == "1223"
    assert f"{members.units[0]} was restarted by an earlier run, and serves" in second.err
    assert members.markers() == 0


def test_a_killed_way_back_goes_on_with_the_members_that_are_left(members: Members) -> None:
    members.configure(on_failure="rollback", deadline="1s")
    home = members.project.home
    (home / "bad-2").touch()
    child = begin(members)
    until("the way back does not begin", lambda: "undo migrate" in words(members))
    (home / "bad-2").unlink()
    (home / "hold-1").touch()
    until("the first is not restarted back", lambda: members.started == "1221")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(WITHIN)
    (home / "hold-1").unlink()

    second = members.project.run("resume", "--env", "uat")

    assert second.code == 4, second.err
    assert members.started == "12211"
    assert f"1 of 3 members restarted back: {members.units[0]}" in second.err
    assert members.markers() == 0


def test_what_an_earlier_run_restarted_is_brought_back_too(members: Members) -> None:
    """The run that fails did not come to its restart: the unit's first run did, and was killed."""
    members.configure(on_failure="rollback", deadline="30s")
    hold = members.project.home / "hold-2"
    hold.touch()
    child = begin(members)
    until("the second is not restarted", lambda: members.started == "12")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(WITHIN)
    hold.unlink()
    members.project.migration("20260802_000000_b", "select 1/0;", "select 1;")

    ran = members.project.run("deploy", "--env", "uat")

    assert ran.code == 4, ran.err
    assert members.started == "1221"
    assert f"2 of 3 members restarted back: {members.units[1]}, {members.units[0]}" in ran.err


def test_a_batch_is_restarted_at_once(members: Members) -> None:
    members.configure(", batch: 2", deadline="30s", own=False)
    for number in (1, 2):
        (members.project.home / f"hold-{number}").touch()
    child = begin(members)
    until("both begin", lambda: sorted(members.started) == ["1", "2"])
    for number in (1, 2):
        (members.project.home / f"hold-{number}").unlink()

    assert child.wait(WITHIN) == 0, words(members)
    assert members.started[2:] == "3"
    # Without addresses of their own, the service as a whole is asked after each batch.
    address = f"http://127.0.0.1:{members.ports[2]}"
    assert words(members).count(f"smoke-tested by {address}; lost ") == 3


def test_too_many_lost_requests_stop_the_rest(members: Members) -> None:
    # The probe asks the third: it is down before the first is restarted, and comes up slowly.
    members.configure(", lost_at_most: 0", deadline="30s")
    units = json.dumps(members.units)
    text = members.project.deploy_yml.read_text()
    swapped = json.dumps([members.units[2], *members.units[:2]])
    order = [members.ports[2], *members.ports[:2]]
    addresses = json.dumps([f"http://127.0.0.1:{port}" for port in order])
    former = json.dumps([f"http://127.0.0.1:{port}" for port in members.ports])
    members.project.deploy_yml.write_text(text.replace(units, swapped).replace(former, addresses))
    hold = members.project.home / "hold-3"
    hold.touch()
    child = begin(members)
    until("the third begins", lambda: members.started == "3")
    time.sleep(0.3)  # six requests; each that comes meanwhile is refused
    hold.unlink()

    assert child.wait(WITHIN) == 1, words(members)
    assert members.started == "3"
    assert "and restart.lost_at_most is 0" in words(members)
    assert f"the new version runs on {members.units[2]}" in words(members)


def test_a_restart_by_hand_says_what_runs_where(members: Members) -> None:
    members.configure()
    (members.project.home / "bad-2").touch()

    ran = members.project.run("restart", "--env", "uat")

    assert ran.code == 1, ran.err
    assert members.started == "12"
    assert f"the new version runs on {members.units[0]}" in ran.error()[1]
    assert members.markers() == 0


def begin(members: Members, verb: str = "deploy") -> warm.Child:
    project = members.project
    with Path(os.devnull).open() as nothing, (project.home / "err").open("wb") as err:
        streams = (nothing.fileno(), err.fileno(), err.fileno())
        argv = (verb, "--env", "uat")
        return warm.Child(argv, cwd=project.home, env=project.variables(), streams=streams)


def words(members: Members) -> str:
    return (members.project.home / "err").read_text()


def test_a_killed_restart_by_hand_is_told_and_ended(members: Members) -> None:
    members.configure(deadline="30s")
    assert members.project.run("migrate", "--env", "uat").code == 0
    hold = members.project.home / "hold-2"
    hold.touch()
    child = begin(members, "restart")
    until("the second is not restarted", lambda: members.started == "12")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(WITHIN)
    hold.unlink()

    told = members.project.run("status", "--env", "uat").out
    members.project.migration("20260802_000000_b", "create table b ();", "drop table b;")
    swept = members.project.run("migrate", "--env", "uat")

    first, behind = members.units[:2]
    assert f"began to restart {first} (restarted and proven), {behind} (not proven)" in told
    assert "and no run goes on with that" in told
    assert (swept.code, members.markers()) == (0, 0), swept.err
    assert members.started == "12"
