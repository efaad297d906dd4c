"""Outages while an approval is used up, and on the way to a standby: nothing is spent twice."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database import patience
from pgwindlass.database.connection import Database
from pgwindlass.deployment import journal, nonces, proposals
from pgwindlass.deployment.steps import STEPS, Done, Step
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import Interrupted, StepFailed
from pgwindlass.model import Deployment, Status, StepName
from pgwindlass.origin import new_deployment_id
from tests.fix_own_server import OwnServer, own_server
from tests.heavy import some
from tests.kit import Project, Quiet, new_key
from tests.laws.rerunning_is_the_recovery.test_outages import Telling
from tests.test_backfill_standby import standby_of

A, B = "20260801_000000_a", "20260802_000000_b"
APPROVED = """\
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""
SPENT = ("first-nonce", "second-nonce")
EVIDENCE = (("approver", "ann"), ("nonce", SPENT[0]), ("approver", "bob"), ("nonce", SPENT[1]))


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server("max_connections=20") as running:
        yield running


@pytest.fixture
def project(server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose UAT wants two approvals, and has them until they are used."""
    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    made = Project(tmp_path / "shop", server.url(database=name))
    made.migration(A, "create table a as select 1 n;", "drop table a;")
    made.migration(B, "create table b (i int);", "drop table b;")
    text = made.deploy_yml.read_text().replace("wait: 3s", "wait: 30s")
    made.deploy_yml.write_text(text.replace("  uat:\n", f"  uat:\n{APPROVED}"))
    (made.home / "approvers").write_text(f"ann@example.com {new_key(made.home / 'ann')}")

    def approved(_plan: object, work: Work) -> Done:
        used = nonces.used(work, SPENT)
        assert not used, f"asked for again, though it was given: {used}"
        return Done("by ann, bob", evidence=EVIDENCE)

    monkeypatch.setitem(STEPS, StepName.APPROVAL, Step(approved))
    return made


def deploy(project: Project, reporter: Quiet) -> Deployment:
    settings = project.settings("uat")
    identifier = new_deployment_id(datetime.now(UTC))
    with open_work(settings, deployment_id=identifier, reporter=reporter) as work:
        return proposals.carry_out(work, proposals.propose_deployment(work))


def spent_once(project: Project) -> None:
    """Each nonce is used, once, in the table, in the events and in the store."""
    with psycopg.connect(project.url) as connection:
        used = connection.execute("select nonce from windlass.approval order by 1").fetchall()
        events = connection.execute(
            "select record->>'nonce' from windlass.event where kind = 'approval-used' order by 1"
        ).fetchall()
    assert used == events == [(nonce,) for nonce in SPENT]
    stored = project.home / "backups" / "approvals" / "uat"
    assert len(list(stored.glob("*.json"))) == len(SPENT)


@pytest.mark.parametrize("when", ["before", "committed"])
def test_a_restart_while_an_approval_is_used_up_is_waited_out(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The server goes before the row is written, or between its COMMIT and the answer."""
    real, tries = journal.use_approval, [0]

    def use(*given: object) -> None:
        tries[0] += 1
        if tries[0] == 1 and when == "before":
            server.restart()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        real(*given)  # type: ignore[arg-type]
        if tries[0] == 1:
            server.restart()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(journal, "use_approval", use)

    assert deploy(project, Quiet()).status is Status.DEPLOYED

    assert (tries[0], project.applied()) == (2, [A, B])
    spent_once(project)


@pytest.mark.parametrize("spent", some([0, 1, 2], 1, of=3))
def test_a_run_that_ends_between_two_nonces_leaves_its_approval_to_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch, spent: int
) -> None:
    """So many were written to the store; the table has none."""
    real, done = nonces._spend, [0]

    def spend(*given: object) -> None:
        if done[0] == spent:
            raise KeyboardInterrupt
        done[0] += 1
        real(*given)  # type: ignore[arg-type]

    def use(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(nonces, "_spend", spend)
        patched.setattr(journal, "use_approval", use)
        with pytest.raises(Interrupted):
            deploy(project, Quiet())

    assert deploy(project, Quiet()).status is Status.DEPLOYED

    spent_once(project)


def failed_over(project: Project, primary: OwnServer, second: OwnServer) -> Callable[[], None]:
    """Return what ends the primary, and promotes its standby when somebody has waited for that."""

    def fail_over() -> None:
        primary.stop("fast")  # its standby has all of it then
        threading.Timer(
            1.0, lambda: second.run("pg_ctl", "-D", str(second.data), "-w", "promote")
        ).start()

    port = f":{primary.port}/"
    assert port in project.url
    project.url = project.url.replace(port, f":{primary.port},127.0.0.1:{second.port}/")
    return fail_over


def test_a_new_session_that_is_led_to_a_standby_waits_for_its_promotion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_server() as primary, standby_of(primary) as second:
        project = Project(tmp_path / "shop", primary.url())
        project.migration(A, "create table a as select 1 n;", "drop table a;")
        project.migration(B, "create table b (i int);", "drop table b;")
        text = project.deploy_yml.read_text()
        project.deploy_yml.write_text(text.replace("wait: 3s", "wait: 30s"))
        monkeypatch.setitem(STEPS, StepName.APPROVAL, Step(lambda *_: Done("")))
        reporter = Telling(f"{A} done", failed_over(project, primary, second))

        assert deploy(project, reporter).status is Status.DEPLOYED

        assert project.applied(second.url()) == [A, B]
        assert any("a standby that is not promoted yet" in note for note in reporter.notes)


def test_a_standby_that_nobody_promotes_is_told_when_lock_wait_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "AFTERWARDS", 0.5)
    with own_server() as primary, standby_of(primary) as second:
        project = Project(tmp_path / "shop", primary.url())
        project.migration(A, "create table a as select 1 n;", "drop table a;")
        project.migration(B, "create table b (i int);", "drop table b;")
        text = project.deploy_yml.read_text()
        project.deploy_yml.write_text(text.replace("wait: 3s", "wait: 1s"))
        failed_over(project, primary, second)
        reporter = Telling(f"{A} done", lambda: primary.stop("fast"))

        with pytest.raises(StepFailed, match=r"after lock\.wait \(the server is read-only") as told:
            deploy(project, reporter)

    assert "promote it" in told.value.next_step


def test_a_session_that_is_closed_under_a_read_is_opened_anew(database16: Database) -> None:
    """Psycopg's own word for a cursor of a closed session is an InterfaceError."""
    calls = []

    def work(connection: psycopg.Connection) -> int:
        calls.append(connection)
        cursor = connection.execute("select 7")
        if len(calls) == 1:
            connection.close()
            cursor.close()
        row = cursor.fetchone()
        return int(row[0]) if row else 0

    with database16.keep_session() as database:
        database.patience.armed = True
        assert database.read("test", work) == 7

    assert len(calls) == 2


def test_a_closed_session_is_told_as_a_lost_connection(database16: Database) -> None:
    def work(connection: psycopg.Connection) -> None:
        cursor = connection.execute("select 7")
        connection.close()
        cursor.close()
        cursor.fetchone()

    with pytest.raises(psycopg.OperationalError, match="the connection to the server was lost"):
        database16.read("test", work)
