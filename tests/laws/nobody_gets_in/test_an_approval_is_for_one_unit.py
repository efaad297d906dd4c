"""A run that carries on a unit has its approval; nobody else has, and nothing that was changed."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.forks import Forks
from tests.heavy import some
from tests.kit import Project, new_key, tables

pytestmark = pytest.mark.attack

A, B = "20260801_000000_orders", "20260802_000000_items"
APPROVED = """\
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""
DEPLOY = ("deploy", "--env", "uat", "--plan", "plan.json", "--yes")
RESUME = ("resume", "--env", "uat")
CASES = (
    (0, "before begin backup"),
    (1, "after begin backup"),
    (1, f"after file {A}"),
    (2, "after begin migrate"),
)


class Shop:
    """A project whose UAT wants a signature, and a database that is made empty for each case."""

    def __init__(self, project: Project, warm: Forks) -> None:
        self.project, self.warm = project, warm
        project.migration(A, "create table orders (id int);", "drop table orders;")
        project.migration(B, "create table items (id int);", "drop table items;")
        text = project.deploy_yml.read_text()
        project.deploy_yml.write_text(
            text.replace("    tier: acceptance\n", f"    tier: acceptance\n{APPROVED}")
        )
        (project.home / "approvers").write_text(f"ann@example.com {new_key(project.home / 'ann')}")

    def run(self, *argv: str, **more: Any) -> tuple[int, str]:
        home, env = self.project.home, self.project.variables()
        (end,) = self.warm.run(*argv, cwd=home, env=env, **more)
        return end["code"], end["words"]

    def signed(self) -> None:
        """Begin anew, with a plan that is signed."""
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            connection.execute("drop schema if exists windlass cascade")
            connection.execute("drop table if exists orders, items, schema_migrations")
        for argv in (
            ("plan", "--env", "uat", "--out", "plan.json"),
            ("approve", "--env", "uat", "--plan", "plan.json", "--key", "ann"),
        ):
            code, words = self.run(*argv)
            assert code == 0, words


@pytest.fixture
def shop(
    tmp_path: Path, warm: Forks, server16: Server, new_database: Callable[[Server], Database]
) -> Shop:
    database = new_database(server16)
    return Shop(Project(tmp_path / "shop", database.url.reveal()), warm)


def test_the_run_that_goes_on_has_the_approval_and_no_other_one(shop: Shop) -> None:
    for number, at in some(CASES, 0, of=2):
        shop.signed()
        by = signal.SIGTERM if number == 0 else signal.SIGKILL
        code, words = shop.run(*DEPLOY, at=at, by=by)
        assert code == (143 if number == 0 else -9), words

        code, words = shop.run(*(RESUME if number % 2 else DEPLOY))

        assert code == 0, (at, words)
        assert {"orders", "items"} <= tables(shop.project.url)
        with psycopg.connect(shop.project.url, autocommit=True) as connection:
            connection.execute("drop table orders, items")
            connection.execute("delete from schema_migrations")
        code, words = shop.run(*DEPLOY)
        assert code == 3, (at, words)
        assert "the approval of ann@example.com was used by deployment" in words


def test_a_rollback_that_was_approved_is_finished_with_its_approval(shop: Shop) -> None:
    shop.signed()
    assert shop.run(*DEPLOY)[0] == 0
    back = ("rollback", "--env", "uat", "--steps", "2")
    key = ("--key", "ann")
    for argv in (
        (*back, "--out", "back.json"),
        ("approve", "--env", "uat", "--plan", "back.json", *key),
    ):
        code, words = shop.run(*argv)
        assert code == 0, words

    assert shop.run(*back, "--plan", "back.json", at=f"after file {B}")[0] == -9
    code, words = shop.run(*back, "--plan", "back.json")

    assert code == 0, words
    assert not {"orders", "items"} & tables(shop.project.url)


def test_what_was_edited_since_has_no_approval(shop: Shop) -> None:
    edits = {
        B: "create table items (id bigint);",
        f"{A}_rollback": "drop table orders cascade;",
        f"{B}_rollback": "drop table if exists items;",
    }
    for number, (name, text) in enumerate(some(tuple(edits.items()), 1, of=2)):
        shop.signed()
        code, words = shop.run(*DEPLOY, at=f"after file {A}")
        assert code == -9, words
        file = shop.project.migrations / f"{name}.sql"
        before = file.read_text()
        file.write_text(text)

        ends = [shop.run(*DEPLOY), shop.run("deploy", "--env", "uat", "--yes"), shop.run(*RESUME)]
        file.write_text(before)

        assert [code for code, _ in ends] == [3, 3, 3], (name, ends)
        assert "cannot be resumed as it began" in ends[2][1], number
        assert "items" not in tables(shop.project.url)
        code, words = shop.run(*RESUME)
        assert code == 0, words


def test_what_others_did_to_the_history_since_ends_the_approval(shop: Shop) -> None:
    shop.signed()
    assert shop.run(*DEPLOY, at=f"after file {A}")[0] == -9
    with psycopg.connect(shop.project.url, autocommit=True) as connection:
        connection.execute("insert into schema_migrations values ('20260701_000000_x', 'sha256:0')")

    for argv in (DEPLOY, RESUME):
        code, words = shop.run(*argv)
        assert code == 3, words
    assert "items" not in tables(shop.project.url)


@pytest.mark.parametrize("again", [DEPLOY, RESUME])
def test_killed_between_the_stores_mark_and_the_journals_end(
    shop: Shop, again: tuple[str, ...]
) -> None:
    """The mark says that the unit is done, and the journal that it runs; nothing is left of it."""
    shop.signed()
    assert shop.run(*DEPLOY, at="after finish verify")[0] == -9
    with psycopg.connect(shop.project.url) as connection:
        ((first,),) = connection.execute("select id from windlass.deployment").fetchall()
    (shop.project.home / "backups" / "approvals" / "uat" / f"{first}.done").write_text(first)

    code, words = shop.run(*again)

    assert code == 0, words
    code, words = shop.run(*RESUME)
    assert "nothing" in words, words


def test_a_copy_of_the_journal_from_its_own_backup_opens_nothing_twice(shop: Shop) -> None:
    """As if the backup that the deployment took were restored by hand: there it still runs."""
    shop.signed()
    assert shop.run(*DEPLOY, at="after finish backup")[0] == -9
    with psycopg.connect(shop.project.url, autocommit=True) as connection:
        connection.execute("create table windlass.kept as table windlass.deployment")
        connection.execute("create table windlass.kept_steps as table windlass.step")
    assert shop.run(*RESUME)[0] == 0

    with psycopg.connect(shop.project.url, autocommit=True) as connection:
        connection.execute("drop table orders, items")
        connection.execute("delete from schema_migrations")
        connection.execute("delete from windlass.step")
        connection.execute("delete from windlass.deployment")
        connection.execute("insert into windlass.deployment select * from windlass.kept")
        connection.execute("insert into windlass.step select * from windlass.kept_steps")
        connection.execute("drop table windlass.kept, windlass.kept_steps")

    code, words = shop.run(*DEPLOY)

    assert code == 3, words
    assert "orders" not in tables(shop.project.url)
