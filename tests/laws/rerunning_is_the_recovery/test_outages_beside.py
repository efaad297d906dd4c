"""Outages of a backup, a restore, a drill and a correction: waited out, and nothing made twice."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pgwindlass.api  # noqa: F401  # it loads the others in their order
from pgwindlass.backup.rowcount import check_rows
from pgwindlass.backup.tables import count_rows
from pgwindlass.database.connection import Database
from pgwindlass.database.spare import Spare
from pgwindlass.deployment import backups, corrections, journal, restores
from pgwindlass.deployment.orders import Request
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import ChildFailed, StepFailed
from pgwindlass.model import Correction
from pgwindlass.origin import new_deployment_id
from tests.fix_own_server import OwnServer, own_server
from tests.kit import Project, Quiet

pytestmark = pytest.mark.sampled(3)

A = "20260801_000000_a"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server("max_connections=20") as running:
        yield running


@pytest.fixture
def project(server: OwnServer, tmp_path: Path) -> Iterator[Project]:
    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    with psycopg.connect(server.url(database=name), autocommit=True) as connection:
        connection.execute("create table a as select generate_series(1, 50) n")
    made = Project(tmp_path / "shop", server.url(database=name))
    made.migration(A, "create table a (n int);", "drop table a;")
    yield made
    with psycopg.connect(server.url(), autocommit=True) as connection:
        databases = connection.execute("select datname from pg_database").fetchall()
    assert not [one for (one,) in databases if one.startswith((f"{name}_", "windlass_copy"))]


@contextmanager
def opened(project: Project, reporter: Quiet) -> Iterator[Work]:
    identifier = new_deployment_id(datetime.now(UTC))
    settings = project.settings("dev")
    with open_work(settings, deployment_id=identifier, reporter=reporter) as work:
        yield work


class Once:
    """Does something once, at the first call."""

    def __init__(self, what: Callable[[], object]) -> None:
        self.what, self.done = what, False

    def __call__(self, *_: object) -> None:
        if not self.done:
            self.done = True
            self.what()


class Moving(Quiet):
    """Does something when the first bytes have moved."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self.once = Once(what)

    def progress(self, *_: object) -> None:
        self.once()


def test_a_backup_through_a_restart(server: OwnServer, project: Project) -> None:
    reporter = Moving(server.restart)
    with opened(project, reporter) as work:
        taken = backups.take(work)

    assert [proof.level for proof in taken.backup.proofs] == ["rows"]
    assert any("waiting, up to" in note for note in reporter.notes)
    with opened(project, Quiet()) as work:
        assert len(backups.list_backups(work)) == 1


def restored_rows(project: Project, into: str) -> int:
    url = project.url.replace(project.url.rpartition("/")[2].partition("?")[0], into)
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from a").fetchone()
    return int(row[0]) if row else -1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("into", ["", "beside"])
def test_a_restore_through_a_restart(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch, into: str
) -> None:
    with opened(project, Quiet()) as work:
        backups.take(work)
    restart = Once(server.restart)

    def check(*given: object, **more: object) -> None:
        check_rows(*given, **more)  # type: ignore[arg-type]
        restart()

    reporter = Quiet()
    monkeypatch.setattr("pgwindlass.backup.restore.check_rows", check)
    with opened(project, reporter) as work:
        arguments = {"into": into} if into else {}
        proposal = restores.propose_restore(work, Request(verb="restore", arguments=arguments))
        report = restores.run_restore(work, proposal)

    assert restart.done
    assert restored_rows(project, into or project.url.rpartition("/")[2].partition("?")[0]) == 50
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in (report.kept, into):
            if name:
                connection.execute(f'drop database "{name}"'.encode())


@pytest.fixture
def elsewhere(server: OwnServer) -> Iterator[str]:
    """Return the URL of an empty database that somebody made."""
    name = f"e{time.monotonic_ns()}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    yield server.url(database=name)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def load_elsewhere(project: Project, url: str, reporter: Quiet) -> None:
    with opened(project, reporter) as work:
        request = Request(verb="restore", arguments={"into": url})
        restores.run_restore(work, restores.propose_restore(work, request))


def test_a_restore_into_another_servers_database_is_tried_again(
    server: OwnServer, project: Project, elsewhere: str
) -> None:
    with opened(project, Quiet()) as work:
        backups.take(work)
    reporter = Quiet()
    holder = psycopg.connect(elsewhere)
    holder.execute("create table a ()")  # not committed: who creates one too waits for it

    def restart() -> None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            while not connection.execute("select from pg_locks where not granted").fetchall():
                time.sleep(0.02)
        server.restart()

    restarting = threading.Thread(target=restart)
    restarting.start()

    load_elsewhere(project, elsewhere, reporter)

    restarting.join()
    holder.close()
    assert any("waiting, up to" in note for note in reporter.notes), reporter.notes
    with psycopg.connect(elsewhere) as connection:
        assert connection.execute("select count(*) from a").fetchone() == (50,)
        roles = connection.execute("select rolname from pg_roles where rolname ~ '^windlass_'")
        assert roles.fetchall() == []


@pytest.mark.parametrize("meanwhile", ["", "drop table a"])
def test_a_restore_that_fails_elsewhere_says_what_is_where(
    project: Project, elsewhere: str, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    def differ(*given: object, **_: object) -> None:
        if meanwhile:
            with psycopg.connect(project.url, autocommit=True) as connection:
                connection.execute(meanwhile.encode())
        raise StepFailed("the rows differ", state="of the rows", next_step="look")

    with opened(project, Quiet()) as work:
        backups.take(work)
    monkeypatch.setattr("pgwindlass.backup.restore.check_rows", differ)
    with pytest.raises(StepFailed) as failed:
        load_elsewhere(project, elsewhere, Quiet())

    live = project.url.rpartition("/")[2].partition("?")[0]
    words = (
        f"the live database {live} has another schema now"
        if meanwhile
        else f"the live database {live} is unchanged: it has the history and the schema of before"
    )
    assert failed.value.state == f"of the rows; {words}"


def test_a_load_that_was_taken_back_leaves_nothing_and_says_so(
    project: Project, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(project, Quiet()) as work:
        backups.take(work)
    monkeypatch.setattr("pgwindlass.backup.restore.process.pipe", refused)
    with pytest.raises(StepFailed) as failed:
        load_elsewhere(project, elsewhere, Quiet())

    name = elsewhere.rpartition("/")[2].partition("?")[0]
    assert failed.value.state.startswith(f"nothing was restored: {name} is empty; the live")


def refused(*_: object, **__: object) -> Iterator[bytes]:
    raise ChildFailed(
        "pg_restore ended with status 1", state="", next_step="", code=1, stderr="no role x"
    )


def test_a_drill_through_a_restart(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set_backups(f'throwaway: "{server.url()}"')
    with opened(project, Quiet()) as work:
        backups.take(work)
        restart = Once(server.restart)

        def count(*given: Any) -> dict[tuple[str, ...], int]:
            restart()
            return count_rows(*given)  # type: ignore[return-value]

        monkeypatch.setattr("pgwindlass.backup.restore.count_rows", count)
        report = backups.verify_backup(work, level="restore")

    assert restart.done
    assert report.proof.level == "restore"


def stamp(work: Work) -> None:
    request = Request(verb="stamp", arguments={"name": A, "reason": "by hand"})
    corrections.correct(work, corrections.propose(work, request))


def recorded(project: Project) -> list[str]:
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select record->>'verb' from windlass.correction").fetchall()
    return [verb for (verb,) in rows]


@pytest.mark.parametrize("when", ["before", "committed"])
def test_a_correction_through_an_outage_is_made_once(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Cut off before its COMMIT, or between that and the answer."""
    real = journal.record_correction

    def cut(connection: psycopg.Connection, correction: Correction) -> None:
        real(connection, correction)
        if not restart.done:
            if when == "committed":
                connection.execute("commit")
            restart()
            connection.execute("select 1")

    restart = Once(server.restart)
    monkeypatch.setattr(journal, "record_correction", cut)
    reporter = Quiet()
    with opened(project, reporter) as work:
        stamp(work)

    assert restart.done
    assert (recorded(project), project.applied()) == (["stamp"], [A])


def test_a_correction_whose_lock_was_lost_to_another_run_is_refused(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile somebody else made it: nothing is written a second time."""
    real = Database.connect

    def meanwhile() -> None:
        monkeypatch.setattr(Database, "connect", real)
        server.restart()
        with opened(project, Quiet()) as other:
            stamp(other)

    def connect(self: Database, step: str, **more: object) -> object:
        if step == "history":
            meanwhile()
        return real(self, step, **more)  # type: ignore[arg-type]

    with opened(project, Quiet()) as work:
        proposal = corrections.propose(
            work, Request(verb="stamp", arguments={"name": A, "reason": "by hand"})
        )
        monkeypatch.setattr(Database, "connect", connect)
        with pytest.raises(Exception, match=f"{A} is applied|is not what was planned"):
            corrections.correct(work, proposal)

    assert recorded(project) == ["stamp"]


def test_a_correction_on_a_server_that_is_full_uses_the_spare_session(
    server: OwnServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other place is taken from the moment on at which the spare session is there."""
    taken: list[psycopg.Connection] = []
    lent: list[str] = []
    real_open, real_lent = Spare.open, Spare.lent

    def fill() -> None:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            while True:
                taken.append(psycopg.connect(server.url()))

    filling = Once(fill)

    def open_and_fill(self: Spare) -> None:
        real_open(self)
        filling()

    def lend(self: Spare, name: str) -> object:
        lent.append(name)
        return real_lent(self, name)

    monkeypatch.setattr(Spare, "open", open_and_fill)
    monkeypatch.setattr(Spare, "lent", lend)
    try:
        with opened(project, Quiet()) as work:
            stamp(work)
    finally:
        for connection in taken:
            connection.close()

    assert filling.done
    assert lent
    assert (recorded(project), project.applied()) == (["stamp"], [A])
