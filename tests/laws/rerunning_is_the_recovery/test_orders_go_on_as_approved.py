"""A restore, or a correction, that was approved and killed goes on with that approval, once."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.forks import Forks
from tests.heavy import some
from tests.kit import Project, tables

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

A, B = "20260801_000000_a", "20260802_000000_b"
APPROVED = """\
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""
MOMENTS = ("before use", "after use", "after load", "before swap")


class Shop:
    """A UAT whose tasks want a signature, with a backup, and damage done since."""

    def __init__(self, project: Project, warm: Forks) -> None:
        self.project, self.warm = project, warm
        project.migration(A, "create table a (i int); insert into a values (1);", "drop table a;")
        assert project.run("deploy", "--env", "uat").code == 0
        assert project.run("backup", "--env", "uat").code == 0
        project.migration(B, "create table b (i int);", "drop table b;")
        text = project.deploy_yml.read_text()
        project.deploy_yml.write_text(
            text.replace("    tier: acceptance\n", f"    tier: acceptance\n{APPROVED}")
        )
        key = project.home / "ann"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (project.home / "approvers").write_text(
            f"ann@example.com {key.with_suffix('.pub').read_text()}"
        )

    def run(self, *argv: str, **more: Any) -> tuple[int, str]:
        """Run a verb in UAT; `at` kills it there."""
        verb, *rest = argv
        home, env = self.project.home, self.project.variables()
        (end,) = self.warm.run(verb, "--env", "uat", *rest, cwd=home, env=env, **more)
        return end["code"], end["words"]

    def ok(self, *argv: str) -> str:
        code, words = self.run(*argv)
        assert code == 0, words
        return words

    def signed(self, *argv: str) -> tuple[str, ...]:
        """Return the command of a plan that is signed."""
        file = f"{argv[0]}.json"
        self.ok(*argv, "--out", file)
        self.ok("approve", "--plan", file, "--key", "ann")
        return (argv[0], "--plan", file)

    def damage(self) -> None:
        self.execute("create table if not exists later (i int)")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def damaged(self) -> bool:
        return "later" in tables(self.project.url)

    def kill(self, command: tuple[str, ...], at: str) -> None:
        code, words = self.run(*command, at=at)
        assert code == -9, words


@pytest.fixture
def shop(
    tmp_path: Path, server16: Server, new_database: Callable[[Server], Database], warm: Forks
) -> Iterator[Shop]:
    database = new_database(server16)
    yield Shop(Project(tmp_path / "shop", database.url.reveal()), warm)
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s)", [database.name + "_"]
        ).fetchall()
        for (name,) in rows:
            admin.execute(f'drop database "{name}" with (force)'.encode())


def test_a_killed_restore_goes_on_with_its_approval_and_that_counts_once(shop: Shop) -> None:
    for moment in some(MOMENTS, 1, of=4):
        shop.damage()
        command = shop.signed("restore")
        shop.kill(command, moment)
        assert shop.damaged, moment

        code, words = shop.run(*command)

        assert (code, shop.damaged) == (0, False), f"{moment}: {words}"
        again, words = shop.run(*command)
        assert again == 3, words
        assert "ann@example.com was used by" in words


def test_resume_goes_on_with_a_restore_and_status_names_it(shop: Shop) -> None:
    shop.damage()
    command = shop.signed("restore")
    shop.kill(command, "after load")

    status = shop.run("status")[1]
    shown = shop.ok("resume", "--dry-run")
    shop.kill(("resume",), "before swap")
    assert shop.damaged
    words = shop.ok("resume")

    assert not shop.damaged
    assert shop.run(*command)[0] == 3
    assert shop.execute("select count(*) from windlass.marker") == [(0,)]
    assert "began this, and it is not done: invoke restore --env uat" in status
    assert "so does invoke resume --env uat" in status
    assert "restore backup 20" in shown
    assert "restored" in words
    assert "nothing to resume in uat" in shop.ok("resume")
    assert "OK: chained" in shop.ok("history", "--verify")


def test_a_correction_that_was_killed_goes_on_too(shop: Shop) -> None:
    command = shop.signed("stamp", "--name", B, "--reason", "x")
    shop.kill(command, "before record")
    assert shop.project.applied() == [A]

    words = shop.ok("resume")

    assert f"stamp of {B}" in words or B in words
    assert shop.project.applied() == [A, B]
    assert shop.run(*command)[0] == 3


def test_nobody_else_has_its_approval(shop: Shop) -> None:
    shop.damage()
    command = shop.signed("restore")
    shop.kill(command, "after use")

    code, words = shop.run("stamp", "--name", B, "--reason", "x")
    assert code == 3 and "ann@example.com approved plan " in words
    shop.execute("update schema_migrations set checksum = 'sha256:0'")
    code, words = shop.run("resume")

    assert (code, shop.damaged) == (3, True), words
    assert "cannot be resumed as it began: " in words
    assert "checksum changed in the history" in words
    assert shop.run(*command)[0] == 3


def test_what_another_run_did_since_ends_it(shop: Shop) -> None:
    shop.damage()
    command = shop.signed("restore")
    shop.kill(command, "after use")
    shop.ok("backup")  # which changes nothing here
    assert "it is not done" in shop.run("status")[1]
    text = shop.project.deploy_yml.read_text()
    shop.project.deploy_yml.write_text(text.replace(APPROVED, ""))
    words = shop.ok("deploy", "--yes")
    shop.project.deploy_yml.write_text(text)
    assert "this run takes its place" in words
    shop.signed("rollback", "--name", B)
    shop.ok("rollback", "--name", B, "--plan", "rollback.json")  # the schema is as when it began

    code, words = shop.run(*command)

    assert (code, shop.damaged) == (3, True)
    assert "was used by" in words


def test_a_restore_beside_goes_on_and_never_as_two(shop: Shop) -> None:
    name = f"{shop.execute('select current_database()')[0][0]}_look"
    command = shop.signed("restore", "--into", name)
    shop.kill(command, "before load")

    shop.ok("resume")

    assert shop.execute(f"select count(*) from pg_database where datname = '{name}'") == [(1,)]
    shop.execute(f"drop database {name}")
    assert shop.run(*command)[0] == 3


def test_a_restore_that_failed_keeps_its_approval(shop: Shop) -> None:
    shop.damage()
    command = shop.signed("restore")
    (part,) = _parts(shop)
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    code, words = shop.run(*command)
    assert code == 1, words
    part.write_bytes(whole)

    code, words = shop.run(*command)

    assert (code, shop.damaged) == (0, False), words


def _parts(shop: Shop) -> list[Path]:
    return sorted((shop.project.home / "backups" / "uat").rglob("*.pgc"))[-1:]
