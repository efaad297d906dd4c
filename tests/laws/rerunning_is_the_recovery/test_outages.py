"""Outages that pass by themselves: a restart, ended sessions, a full server, an old standby."""

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.spare import Spare
from pgwindlass.deployment import telling
from pgwindlass.deployment.loop import run_plan
from pgwindlass.deployment.planner import current_plan
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import Interrupted, RolledBack, StepFailed, Unreachable
from pgwindlass.model import Deployment, Origin, Status
from pgwindlass.origin import new_deployment_id
from tests.fix_own_server import OwnServer, own_server
from tests.heavy import some
from tests.kit import Project, Quiet, tables

pytestmark = pytest.mark.sampled(3)

A, B, C = "20260801_000000_a", "20260802_000000_b", "20260803_000000_c"
ORIGIN = Origin(deployer="ada", host="laptop", commit=None, ci_run=None)


class Telling(Quiet):
    """Does something at a moment of the run: once, when a text is told."""

    def __init__(self, at: str, what: Callable[[], None]) -> None:
        super().__init__()
        self.at, self.what, self.done = at, what, False

    def tell(self, text: str) -> None:
        if not self.done and text.startswith(self.at):
            self.done = True
            self.what()

    def started(self, step: object, *, undo: bool = False) -> None:
        self.tell(f"{'undo ' if undo else ''}{step} starts")

    def finished(self, result: object) -> None:
        super().finished(result)  # type: ignore[arg-type]
        self.tell(f"{self.results[-1].step} ended")

    def item(self, *what: object) -> None:
        self.tell(f"{what[1]} done")


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server("max_connections=12") as running:
        yield running


@pytest.fixture
def project(server: OwnServer, tmp_path: Path) -> Project:
    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    made = Project(tmp_path / "shop", server.url(database=name))
    made.migration(A, "create table a as select 1 n;", "drop table a;")
    made.migration(
        B, "insert into a values (2);\nselect pg_sleep(0.4);", "delete from a where n=2;"
    )
    made.migration(C, "create table c (i int);", "drop table c;")
    text = made.deploy_yml.read_text()
    made.deploy_yml.write_text(text.replace("wait: 3s", "wait: 30s"))
    return made


def deploy(project: Project, reporter: Quiet, environment: str = "dev") -> Deployment:
    settings = project.settings(environment)
    identifier = new_deployment_id(datetime.now(UTC))
    with open_work(settings, deployment_id=identifier, reporter=reporter) as work:
        replan = partial(current_plan, work)
        return run_plan(replan(), work, origin=ORIGIN, replan=replan)


def whole(project: Project) -> None:
    """Everything ran, and once."""
    assert project.applied() == [A, B, C]
    with psycopg.connect(project.url) as connection:
        assert connection.execute("select n from a order by n").fetchall() == [(1,), (2,)]
        locks = "select count(*) from pg_locks where locktype = 'advisory'"
        assert connection.execute(locks.encode()).fetchone() == (0,)
        rows = connection.execute("select status from windlass.deployment").fetchall()
    assert rows == [("deployed",)]


MOMENTS = (
    "preflight starts",
    "lint ended",
    "lock ended",
    "backup starts",
    "proof ended",
    "migrate starts",
    f"{A} done",
    f"{B} done",
    "migrate ended",
    "verify starts",
)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
@pytest.mark.parametrize("moment", some(MOMENTS, 1, of=4))
def test_a_restart_of_the_server_is_waited_out(
    server: OwnServer, project: Project, moment: str, mode: str
) -> None:
    reporter = Telling(moment, partial(server.restart, mode))

    assert deploy(project, reporter, "uat").status is Status.DEPLOYED

    assert reporter.done
    whole(project)


def test_a_restart_in_the_middle_of_a_statement_runs_it_once(
    server: OwnServer, project: Project
) -> None:
    def restart_later() -> None:
        threading.Timer(0.2, server.restart).start()

    reporter = Telling(f"{A} done", restart_later)

    assert deploy(project, reporter).status is Status.DEPLOYED

    whole(project)
    assert any("waiting, up to" in note for note in reporter.notes), reporter.notes


def end_sessions(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name like 'windlass/%' and datname = current_database()"
        )


@pytest.mark.parametrize("moment", some(MOMENTS, 3, of=4))
def test_sessions_that_somebody_ended_are_opened_anew(project: Project, moment: str) -> None:
    reporter = Telling(moment, partial(end_sessions, project))

    assert deploy(project, reporter, "uat").status is Status.DEPLOYED

    whole(project)


def test_a_commit_whose_answer_was_lost_is_not_run_again(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits, and its word does not arrive."""
    cut, exit_ = [False], psycopg.Transaction.__exit__

    def lose(self: psycopg.Transaction, *error: object) -> object:
        answer = exit_(self, *error)  # type: ignore[arg-type]
        name = self.connection.info.parameter_status("application_name") or ""
        if f"/migrate/{B}" in name and not cut[0] and error[0] is None:
            cut[0] = True
            self.connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return answer

    monkeypatch.setattr(psycopg.Transaction, "__exit__", lose)

    assert deploy(project, Quiet()).status is Status.DEPLOYED

    assert cut[0]
    whole(project)


@contextmanager
def crowd() -> Iterator[list[psycopg.Connection]]:
    """Yield a list for sessions that are closed behind the block."""
    taken: list[psycopg.Connection] = []
    try:
        yield taken
    finally:
        for connection in taken:
            connection.close()


def fill(server: OwnServer, taken: list[psycopg.Connection]) -> None:
    """Take every place that the server has left."""
    while True:
        try:
            taken.append(psycopg.connect(server.url()))
        except psycopg.OperationalError:
            return


@pytest.mark.parametrize("moment", ["lock ended", f"{A} done"])
def test_a_full_server_is_no_end(server: OwnServer, project: Project, moment: str) -> None:
    with crowd() as taken:
        reporter = Telling(moment, partial(fill, server, taken))

        assert deploy(project, reporter).status is Status.DEPLOYED

    whole(project)


def test_a_full_server_before_the_lock_is_waited_out(server: OwnServer, project: Project) -> None:
    with crowd() as taken:

        def fill_for_a_moment() -> None:
            fill(server, taken)
            threading.Timer(1.0, taken[0].close).start()
            threading.Timer(1.0, taken[1].close).start()
            threading.Timer(1.0, taken[2].close).start()
            threading.Timer(1.0, taken[3].close).start()

        reporter = Telling("lint ended", fill_for_a_moment)
        assert deploy(project, reporter).status is Status.DEPLOYED

    whole(project)


def test_the_way_back_has_a_place_on_a_full_server(server: OwnServer, project: Project) -> None:
    project.migration(C, "create table c (i int);\nselect 1 / 0;", "drop table c;")
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("tier: development", "tier: development\n    on_failure: rollback")
    )
    with crowd() as taken:
        reporter = Telling(f"{B} done", partial(fill, server, taken))
        with pytest.raises(RolledBack):
            deploy(project, reporter)
        assert taken

    assert project.applied() == []
    assert tables(project.url) == {"schema_migrations"}


def test_a_server_that_stays_away_ends_the_run_when_lock_wait_is_over(
    server: OwnServer, project: Project
) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("tier: development", "tier: development\n    lock: {wait: 2s}")
    )
    reporter = Telling(f"{A} done", server.stop)
    try:
        with pytest.raises(StepFailed, match=r"also after lock\.wait \(the server does not answer"):
            deploy(project, reporter)
    finally:
        server.start()

    assert project.applied()[:1] == [A]


def test_what_does_not_pass_is_told_at_once(server: OwnServer, project: Project) -> None:
    project.url = server.url(database="nowhere")
    began = time.monotonic()
    with pytest.raises(Unreachable, match='"nowhere" does not exist'):
        deploy(project, Quiet())

    assert time.monotonic() - began < 10


def test_a_run_whose_lock_was_lost_stops_where_another_one_was_there(project: Project) -> None:
    def usurp() -> None:
        with psycopg.connect(project.url, autocommit=True) as other:
            other.execute("update windlass.deployment set status = 'interrupted'")
        end_sessions(project)

    with pytest.raises(StepFailed, match="another run was there while the deployment lock was"):
        deploy(project, Telling(f"{A} done", usurp))


def test_a_standby_that_lacks_the_last_transactions_is_recognised(
    tmp_path: Path, server: OwnServer, project: Project
) -> None:
    """The files are put back to before the last migration, as an asynchronous standby has them."""
    kept = Path(tempfile.mkdtemp(dir=server.directory)) / "kept"

    def copy() -> None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("checkpoint")
        server.stop("fast")
        subprocess.run(["cp", "-a", str(server.data), str(kept)], check=True)
        server.start()

    def fail_over() -> None:
        server.stop()
        shutil.rmtree(server.data)
        subprocess.run(["cp", "-a", str(kept), str(server.data)], check=True)
        server.start()

    class Both(Telling):
        def tell(self, text: str) -> None:
            if text == f"{A} done":
                copy()
            super().tell(text)

    with pytest.raises(StepFailed, match=f"lacks what this run has committed: .*{B}"):
        deploy(project, Both(f"{B} done", fail_over))

    assert project.applied() == [A]


def test_a_journal_that_lacks_this_run_is_recognised_though_no_session_was_lost(
    project: Project,
) -> None:
    def lose() -> None:
        with psycopg.connect(project.url, autocommit=True) as connection:
            connection.execute("truncate windlass.deployment, windlass.step, windlass.event")

    with pytest.raises(StepFailed, match="lacks what this run has committed: the journal") as told:
        deploy(project, Telling(f"{A} done", lose))

    assert f"stand: {A}" in told.value.state
    with psycopg.connect(project.url) as connection:
        events = connection.execute("select count(*) from windlass.event").fetchone()
    assert events == (0,), "an event was written without the row that it is of"


def test_an_end_that_cannot_be_recorded_tells_what_stands(
    server: OwnServer, project: Project
) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("tier: development", "tier: development\n    lock: {wait: 1s}")
    )
    try:
        with pytest.raises(StepFailed) as told:
            deploy(project, Telling("verify ended", server.stop))
    finally:
        server.start()

    assert "last seen at" in told.value.state
    assert f"all its migrations stand: {A}, {B}, {C}" in told.value.state
    assert told.value.state.endswith("the journal could not be written")
    assert "--env dev" in told.value.next_step


def test_a_run_that_is_stopped_twice_tells_what_was_seen_last(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    look = telling.look
    reporter = Telling("verify starts", stop)

    def stopped_too(work: Work) -> telling.Seen:
        if reporter.done:
            stop()
        return look(work)

    monkeypatch.setattr(telling, "look", stopped_too)

    with pytest.raises(Interrupted) as told:
        deploy(project, reporter)

    assert "the run was stopped again while it looked; last seen at" in told.value.state
    assert told.value.state.endswith(f"all its migrations stand: {A}, {B}, {C}")
    assert "invoke resume --env dev" in told.value.next_step


def test_the_spare_session_leaves_nothing_of_a_use(project: Project) -> None:
    settings = project.settings("dev")
    with open_work(settings, deployment_id="01A", reporter=Quiet()) as work:
        spare = opened(work)
        with spare.lent("windlass/01A/migrate/x") as lent:
            assert lent is not None
            lent.execute("set search_path = nowhere; set lock_timeout = 7")
            with spare.lent("second") as second:
                assert second is None
        with spare.lent("windlass/01A/x") as lent:
            assert lent is not None
            shown = [
                lent.execute(f"show {name}".encode()).fetchone()
                for name in ("search_path", "lock_timeout", "application_name")
            ]

    assert shown == [("pg_catalog, pg_temp",), ("0",), ("windlass/01A/x",)]


def opened(work: Work) -> Spare:
    spare = work.database.spare
    assert spare is not None
    spare.open()
    return spare
