"""Law 3 in a crowd: ten `migrate` at the same moment on an empty database, over and over."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_pgbouncer import Pooler
from tests.fix_postgres import Server
from tests.forks import Forks
from tests.heavy import at_most
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

ROUNDS = at_most(2, 20)
CONCURRENT = "20260803_000000_index"


def write(project: Project, *, concurrent: bool) -> None:
    project.migration(
        "20260801_000000_log", "create table log (n int);\ninsert into log values (1);"
    )
    project.migration("20260802_000000_more", "insert into log values (2);\nselect pg_sleep(0.05);")
    if concurrent:
        project.migration(CONCURRENT, "create index concurrently i on log (n);")


def all_ran_once(warm: Forks, project: Project, count: int, direct: str) -> None:
    ends = warm.run(
        "migrate", "--env", "dev", cwd=project.home, env=project.variables(), count=count
    )
    # Who came second finds another history than the one it planned for, and is refused.
    assert {end["code"] for end in ends} <= {0, 3}, ends
    assert [end["code"] for end in ends].count(0) >= 1
    for end in ends:
        assert end["code"] == 0 or "is not what would run now" in end["words"], end["words"]
    with psycopg.connect(direct) as connection:
        rows = connection.execute("select n from log order by n").fetchall()
    assert rows == [(1,), (2,)]
    assert project.applied(direct) == project.names


@pytest.mark.parametrize(
    ("count", "engine", "rounds"), [(2, "sql", ROUNDS), (10, "sql", ROUNDS), (10, "prisma", 3)]
)
def test_many_migrate_at_once_on_an_empty_database(
    tmp_path: Path,
    warm: Forks,
    newest_server: Server,
    new_database: Callable[[Server], Database],
    count: int,
    engine: Literal["sql", "prisma"],
    rounds: int,
) -> None:
    for number in range(rounds):
        database = new_database(newest_server)
        project = Project(tmp_path / str(number), database.url.reveal(), engine=engine)
        write(project, concurrent=True)
        all_ran_once(warm, project, count, project.url)


def test_ten_migrate_at_once_behind_a_pooler_in_transaction_mode(
    tmp_path: Path,
    warm: Forks,
    newest_server: Server,
    new_database: Callable[[Server], Database],
    pooler: Pooler,
) -> None:
    for number in range(ROUNDS):
        database = new_database(newest_server)
        project = Project(tmp_path / str(number), pooler(database, pool_size=6).url.reveal())
        write(project, concurrent=False)
        all_ran_once(warm, project, 10, database.url.reveal())


def test_behind_a_pooler_what_cannot_run_in_a_transaction_is_refused_before_anything(
    tmp_path: Path, database16: Database, pooler: Pooler
) -> None:
    project = Project(tmp_path / "shop", pooler(database16).url.reveal())
    project.migration(
        "20260801_000000_mixed",
        "-- windlass: transaction=off\ncreate table t (i int);\n"
        "create index concurrently i on t (i);\n",
    )

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 1
    assert ran.error() == [
        "✗ migrate: migrations/20260801_000000_mixed.sql:3: behind a pooler a statement outside a "
        "transaction has no settings of its own",
        "  state: 20260801_000000_mixed does not stand; this migration did not run",
        "  next:  use the address of the server itself in deploy.yml; then: invoke migrate --env "
        "dev",
    ]


def test_behind_a_pooler_a_set_without_local_is_refused(
    tmp_path: Path, database16: Database, pooler: Pooler
) -> None:
    project = Project(tmp_path / "shop", pooler(database16).url.reveal())
    project.migration("20260801_000000_set", "set search_path = app;\nselect 1;\n")

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 1
    assert "_set.sql:1: behind a pooler SET would stay in a session" in ran.error()[0]


def test_a_backup_refuses_a_poolers_address(
    tmp_path: Path, database16: Database, pooler: Pooler
) -> None:
    project = Project(tmp_path / "shop", pooler(database16).url.reveal())
    project.migration("20260801_000000_a", "select 1;", "select 1;")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code != 0
    assert "the address is a pooler's: pg_dump needs one session" in ran.error()[0]
