"""One session for the short uses of a run: never lent twice at once, opened anew when lost."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database import fingerprint, kept, lock
from pgwindlass.database.connection import Database
from pgwindlass.database.history_table import HistoryTable
from pgwindlass.deployment.loop import run_plan
from pgwindlass.deployment.planner import current_plan, end_orphans, newest_applied
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import LockTimeout
from pgwindlass.model import Origin, Status
from pgwindlass.origin import new_deployment_id
from tests.fix_pgbouncer import Pooler
from tests.kit import Project, Quiet

A, B = "20260801_000000_a", "20260802_000000_b"
ORIGIN = Origin(deployer="ada", host="laptop", commit=None, ci_run=None)


def pid(connection: psycopg.Connection) -> int:
    return connection.info.backend_pid


def value(query: str) -> Callable[[psycopg.Connection], object]:
    def read(connection: psycopg.Connection) -> object:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    return read


def terminate(database: Database, session: int) -> None:
    with psycopg.connect(database.url.reveal(), autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", (session,))


def test_reads_one_after_the_other_share_a_session_and_it_ends_with_the_block(
    database16: Database,
) -> None:
    with database16.keep_session() as database:
        sessions = {database.read("test", pid) for _ in range(3)}
        with database.session("test") as connection:
            sessions.add(pid(connection))

    assert len(sessions) == 1
    gone = "select count(*) from pg_stat_activity where application_name = 'windlass/test/session'"
    deadline = time.monotonic() + 10
    while database16.read("test", value(gone)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert database16.read("test", value(gone)) == 0


def test_a_read_inside_a_read_has_a_session_of_its_own(database16: Database) -> None:
    with database16.keep_session() as database:

        def outer(connection: psycopg.Connection) -> tuple[int, int]:
            return pid(connection), database.read("test", pid)

        first, second = database.read("test", outer)

        assert first != second
        assert database.read("test", pid) == first


def test_a_session_that_was_ended_is_opened_anew(database16: Database) -> None:
    with database16.keep_session() as database:
        first = database.read("test", pid)
        terminate(database16, first)

        assert database.read("test", pid) != first
        with database.session("test") as connection:
            assert pid(connection) != first


def test_a_read_whose_session_is_lost_meanwhile_is_answered_by_a_new_one(
    database16: Database,
) -> None:
    seen: list[int] = []

    def read(connection: psycopg.Connection) -> int:
        seen.append(pid(connection))
        if len(seen) == 1:
            terminate(database16, pid(connection))
        connection.execute("select 1")
        return pid(connection)

    with database16.keep_session() as database:
        assert database.read("test", read) == seen[1] != seen[0]


def test_a_session_that_was_idle_for_long_is_not_trusted(
    database16: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "IDLE_AT_MOST", 0.05)
    with database16.keep_session() as database:
        first = database.read("test", pid)
        time.sleep(0.1)

        assert database.read("test", pid) != first


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "behind a pooler"])
def test_nothing_of_one_use_is_left_for_the_next(
    database16: Database, pooler: Pooler, pooled: bool
) -> None:
    settings = (
        "application_name",
        "lock_timeout",
        "search_path",
        "default_transaction_read_only",
        "transaction_read_only",
    )

    def show(database: Database) -> list[object]:
        with database.session("session") as connection:
            return [value(f"show {name}")(connection) for name in settings]

    target = pooler(database16, pool_size=1) if pooled else database16
    before = show(target)
    with target.keep_session() as database:
        lines = database.read("facts", lambda connection: fingerprint.read_lines(connection, ()))
        name = database.read("facts", value("show application_name"))

        assert show(database) == before
    assert lines == ()
    assert name == "windlass/test/facts"


def test_a_read_that_fails_leaves_the_session_usable(database16: Database) -> None:
    with database16.keep_session() as database:
        first = database.read("test", pid)
        with pytest.raises(psycopg.errors.DivisionByZero):
            database.read("test", value("select 1 / 0"))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            database.read("test", lambda c: c.execute("create table t (i int)"))

        assert database.read("test", pid) == first


def test_a_locked_table_is_named_on_a_shared_session_too(
    database16: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pgwindlass.database.connection.READ_ONLY",
        "set transaction read only; set local lock_timeout = '200ms'",
    )
    with psycopg.connect(database16.url.reveal()) as holder, database16.keep_session() as database:
        holder.execute("create table t (i int)")
        holder.commit()
        holder.execute("lock table t")
        first = database.read("test", pid)

        with pytest.raises(LockTimeout, match=f"t by pid {pid(holder)}"):
            database.read("test", value("select count(*) from public.t"))

        assert database.read("test", pid) == first


def test_what_a_verify_script_sets_is_in_no_other_session(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    script = "select set_config('search_path', 'nowhere', false) = 'nowhere';"
    project.migration(A, "create table a (id int);", "drop table a;", script)
    with opened(project, "dev") as work:
        assert deployed(work)

        assert work.database.read("test", value("show search_path")) == "pg_catalog, pg_temp"


@contextmanager
def opened(project: Project, environment: str) -> Iterator[Work]:
    settings = project.settings(environment)
    deployment_id = new_deployment_id(datetime.now(UTC))
    with open_work(settings, deployment_id=deployment_id, reporter=Quiet()) as work:
        yield work


def deployed(work: Work) -> bool:
    end_orphans(work)
    replan = partial(current_plan, work)
    return run_plan(replan(), work, origin=ORIGIN, replan=replan).status is Status.DEPLOYED


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is opened to the database, by the name of its use, and fingerprints read."""
    counts: Counter[str] = Counter()
    connect, read_lines = Database.connect, fingerprint.read_lines

    def counting_connect(self: Database, step: str, *, autocommit: bool = True) -> object:
        counts[step.split("/")[0]] += 1
        return connect(self, step, autocommit=autocommit)

    def counting_read(
        connection: psycopg.Connection, history: Iterable[HistoryTable]
    ) -> tuple[str, ...]:
        counts["fingerprint"] += 1
        return read_lines(connection, history)

    monkeypatch.setattr(Database, "connect", counting_connect)
    monkeypatch.setattr(fingerprint, "read_lines", counting_read)
    monkeypatch.setattr(kept, "IDLE_AT_MOST", 600.0)  # a busy machine takes its time
    return counts


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("dev", {"session": 1, "lock": 1, "spare": 1, "migrate": 1, "fingerprint": 2}),
        (
            "uat",
            {"session": 1, "lock": 1, "spare": 1, "migrate": 1}
            | {"backup": 1, "marker": 1, "fingerprint": 3},  # one holds what tells that it lives
        ),
    ],
)
def test_what_a_deployment_of_one_migration_opens_and_reads(
    tmp_path: Path,
    database16: Database,
    counted: Counter[str],
    environment: str,
    expected: dict[str, int],
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(A, "create table a (id int);", "drop table a;")
    with opened(project, environment) as work:
        assert deployed(work)
    project.migration(B, "create table b (id int);", "drop table b;")
    counted.clear()

    with opened(project, environment) as work:
        assert deployed(work)

    del counted["watch"]  # opened where something takes longer than 40 ms
    assert counted == expected


def test_what_is_asked_of_the_history_reads_no_fingerprint(
    tmp_path: Path, database16: Database, counted: Counter[str]
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(A, "create table a (id int);", "drop table a;")
    with opened(project, "dev") as work:
        assert deployed(work)
    counted.clear()

    with opened(project, "dev") as work:
        assert newest_applied(work, steps=1) == (A,)
        assert work.database.read("status", lock.who) == ""

    assert counted == {"session": 1}
