"""Law 4 for a restore: killed, or its line lost, at any statement, the same command ends it.

The application is an ordinary role: whatever happened, it is let in, before anybody repairs.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgwindlass.backup import swap
from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.forks import Forks, end_at_a_statement
from tests.heavy import at_most
from tests.kit import Project, tables

pytestmark = pytest.mark.sampled(2)

RESTORE = ("restore", "--env", "uat")
LET_IN_WITHIN = 20.0  # seconds; a rename that nobody helps waits for ten


@dataclass
class Shop:
    """A live database with a backup, and damage done since."""

    server: Server
    project: Project
    name: str

    @property
    def application(self) -> str:
        return self.project.url.replace("postgres@", f"{self.name}_app@")

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            *first, last = statements
            for statement in first:
                connection.execute(statement.encode())
            cursor = connection.execute(last.encode())
            return cursor.fetchall() if cursor.description else []

    def databases(self) -> set[str]:
        """Return the databases beside the live one."""
        rows = self.execute(
            f"select datname from pg_database where starts_with(datname, '{self.name}_')"
        )
        return {str(row[0]) for row in rows}

    def limit(self) -> object:
        return self.execute(
            "select datconnlimit from pg_database where datname = current_database()"
        )

    def comment(self) -> object:
        return self.execute(
            "select shobj_description(oid, 'pg_database') from pg_database "
            "where datname = current_database()"
        )

    def is_served(self) -> None:
        """See that the application's role is let in, and reads."""
        deadline = time.monotonic() + LET_IN_WITHIN
        while True:
            try:
                with psycopg.connect(self.application) as connection:
                    connection.execute("select count(*) from a")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def damage(self) -> None:
        self.execute("create table later (i int)")

    def drop_others(self) -> None:
        for name in self.databases():
            self.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def shop(
    tmp_path: Path, server16: Server, new_database: Callable[[Server], Database]
) -> Iterator[Shop]:
    database = new_database(server16)
    project = Project(tmp_path / "shop", database.url.reveal())
    shop = Shop(server16, project, database.name)
    project.migration("20260801_000000_a", "create table a (i int); insert into a values (1);")
    shop.execute(
        f"create role {shop.name}_app login",
        f"alter database {shop.name} connection limit 42",
        f"comment on database {shop.name} is 'of the shop'",
    )
    assert project.run("deploy", "--env", "uat").code == 0
    shop.execute(f"grant select on a to {shop.name}_app")
    assert project.run("backup", "--env", "uat").code == 0
    yield shop
    shop.drop_others()
    shop.execute(f"drop owned by {shop.name}_app", f"drop role {shop.name}_app")


def is_done(shop: Shop) -> None:
    """See that the backup is live, once, with what belongs to the database itself."""
    assert "later" not in tables(shop.project.url)
    assert (shop.limit(), shop.comment()) == ([(42,)], [("of the shop",)])
    kept, *more = sorted(shop.databases())
    assert not more, (kept, more)
    assert kept.startswith(f"{shop.name}_before_restore_")
    assert "later" in tables(make_conninfo(shop.project.url, dbname=kept))


@dataclass
class Pair:
    """A live database and one to put in its place; both empty but for a table that names them."""

    server: Server
    live: Database
    restored: str

    def url(self, database: str = "", role: str = "postgres") -> str:
        return self.server.url(database or self.live.name).replace("postgres@", f"{role}@")


@pytest.fixture
def pair(server16: Server, new_database: Callable[[Server], Database]) -> Iterator[Pair]:
    live, restored = new_database(server16), new_database(server16)
    pair = Pair(server16, live, restored.name)
    role = f"{live.name}_app"
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        admin.execute(f"create role {role} login".encode())
        admin.execute(f"alter database {live.name} connection limit 42".encode())
    yield pair
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        admin.execute(f'drop database if exists "{live.name}_aside" with (force)'.encode())
        admin.execute(f"drop role {role}".encode())


def swap_in_a_fork(pair: Pair, number: int, how: str) -> int:
    """Swap in a process of its own that ends, or is cut off, at a statement; return its code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            end_at_a_statement(number, how)
            swap.swap_databases(pair.live, pair.restored, f"{pair.live.name}_aside")
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def oids(pair: Pair) -> dict[str, int]:
    with psycopg.connect(pair.server.url()) as connection:
        return dict(connection.execute("select datname, oid::bigint from pg_database").fetchall())


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_swap_that_ends_at_any_statement_lets_the_application_in(pair: Pair, how: str) -> None:
    aside, live = f"{pair.live.name}_aside", pair.live.name
    before = oids(pair)
    codes: list[int] = []
    for number in range(1, 60):
        codes.append(swap_in_a_fork(pair, number, how))
        names = let_in(pair, f"{live}_app")
        swapped = aside in names
        assert names[live] == before[pair.restored if swapped else live]
        assert swapped or codes[-1] != 0
        if swapped:  # back, so that the next one has the same to do
            swap.swap_databases(pair.live, aside, pair.restored)
        if codes[-1] == 0 and number > 20 and how == "kill":
            break
    assert sum(code != 0 for code in codes) >= 10, codes


def let_in(pair: Pair, role: str) -> dict[str, int]:
    """See that an ordinary role is let in; return the databases behind that."""
    deadline = time.monotonic() + LET_IN_WITHIN
    while True:
        try:
            with psycopg.connect(pair.url(role=role)) as connection:
                query = "select datconnlimit from pg_database where datname = current_database()"
                assert connection.execute(query).fetchone() == (42,)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return oids(pair)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_restore_that_ends_at_any_statement_is_finished_by_the_same_command(
    warm: Forks, shop: Shop, tmp_path: Path, how: str
) -> None:
    env = {**shop.project.variables(), "CONFIRM_RESTORE": "yes"}
    start = partial(warm.run, *RESTORE, cwd=shop.project.home, env=env, how=how)
    shop.damage()
    (end,) = start(statement=1_000_000, counted=str(tmp_path / "counted"))
    assert end["code"] == 0, end["words"]
    is_done(shop)
    last, each = int((tmp_path / "counted").read_text()), at_most(120, 1)

    for number in range(each, last + 1, each):
        shop.drop_others()
        shop.damage()
        (end,) = start(statement=number)
        shop.is_served()
        if end["code"] != 0:
            again = shop.project.run(*RESTORE, CONFIRM_RESTORE="yes")
            assert again.code == 0, f"{number}: {end['words']}\n{again.err}"
        is_done(shop)
