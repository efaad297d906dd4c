"""Law 4 at every boundary: kill -9 in a run of sixty mixed migrations, over and over.

The suite kills at each fifth boundary; `make faults` at all of them, four hundred and more.
"""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import CLIENTS, Server
from tests.forks import Forks
from tests.heavy import at_most
from tests.kit import Project

MIGRATE = ("migrate", "--env", "dev")


def write(project: Project, count: int) -> None:
    """Write migrations: three in four in a transaction, the others of every other kind."""
    alone = (
        "create index concurrently i{n} on t{table} (v);",
        "create unique index concurrently if not exists u{n} on t{table} (n, v);",
        "drop index concurrently if exists i{before};",
        "reindex table concurrently t{table};",
        "vacuum t{table};",
        "-- windlass: transaction=off\ninsert into log values ({n});\n"
        "alter table t{table} add column w{n} int;\n"
        "create index concurrently w{n} on t{table} (w{n});",
        "create index concurrently d{n} on t{table} (n);\ndrop index concurrently d{n};",
    )
    for n in range(count):
        table = n // 4 * 4
        if n % 4 == 0:
            text = (
                f"create table t{n} (n int primary key, v int);\n"
                f"insert into t{n} select g, g from generate_series(1, 50) g;\n"
                f"insert into log values ({n});"
            )
        elif n % 4 == 3:
            text = alone[n // 4 % len(alone)].format(n=n, table=table, before=n - 4)
        else:
            text = f"insert into log values ({n});\nalter table t{table} add column c{n} int;"
        if n == 0:
            text = "create table log (n int not null);\n" + text
        project.migration(f"20260801_{n:06d}_m{n}", text)


def schema(database: Database) -> str:
    argv = [str(CLIENTS / "pg_dump"), "-s", "-N", "windlass", database.url.reveal()]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith("\\"))


def logged(database: Database) -> list[int]:
    with psycopg.connect(database.url.reveal()) as connection:
        invalid = connection.execute("select count(*) from pg_index where not indisvalid")
        assert invalid.fetchone() == (0,)
        return [row[0] for row in connection.execute("select n from log order by n").fetchall()]


Undisturbed = Callable[..., tuple[str, list[int]]]


@pytest.fixture
def undisturbed(
    tmp_path: Path,
    warm: Forks,
    newest_server: Server,
    new_database: Callable[[Server], Database],
) -> Undisturbed:
    """Return a function that gives the schema and the log of a run that nobody disturbs."""

    def run(count: int, engine: Literal["sql", "prisma"] = "sql") -> tuple[str, list[int]]:
        database = new_database(newest_server)
        project = Project(tmp_path / "undisturbed", database.url.reveal(), engine=engine)
        write(project, count)
        (end,) = warm.run(*MIGRATE, cwd=project.home, env=project.variables())
        assert end["code"] == 0, end["words"]
        return schema(database), logged(database)

    return run


def go_on(warm: Forks, project: Project, **more: Any) -> int:
    """Run once; return the code, and where it is none of a kill, see that it is no failure."""
    (end,) = warm.run(*MIGRATE, cwd=project.home, env=project.variables(), **more)
    # 3: what the killed one left to commit came in between the plan and the lock.
    assert end["code"] in (0, 3, -9), end["words"]
    return int(end["code"])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("engine", "count", "each", "at_least"),
    [("sql", 60, at_most(90, 1), at_most(3, 400)), ("prisma", 8, at_most(15, 1), at_most(2, 25))],
)
def test_killed_at_every_boundary_of_every_statement(
    tmp_path: Path,
    warm: Forks,
    newest_server: Server,
    new_database: Callable[[Server], Database],
    undisturbed: Undisturbed,
    engine: Literal["sql", "prisma"],
    count: int,
    each: int,  # boundary of so many
    at_least: int,  # kills
) -> None:
    database = new_database(newest_server)
    project = Project(tmp_path / "killed", database.url.reveal(), engine=engine)
    write(project, count)
    seen, kills = tmp_path / "seen", 0

    while (code := go_on(warm, project, seen=str(seen), each=each)) != 0:
        kills += code == -9

    assert kills >= at_least
    assert (schema(database), logged(database)) == undisturbed(count, engine)
    assert project.applied() == project.names


def test_killed_at_random_moments(
    tmp_path: Path,
    warm: Forks,
    newest_server: Server,
    new_database: Callable[[Server], Database],
    undisturbed: Undisturbed,
) -> None:
    database = new_database(newest_server)
    project = Project(tmp_path / "killed", database.url.reveal())
    write(project, 60)
    moments = random.Random(7)

    kills = 0
    for _ in range(at_most(5, 30)):
        kills += go_on(warm, project, kill_after=moments.uniform(0.02, 0.6)) == -9
    while go_on(warm, project) != 0:
        pass

    assert kills >= at_most(1, 10)
    assert (schema(database), logged(database)) == undisturbed(60)
