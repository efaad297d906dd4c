"""Law 4: a run that was killed between two steps is gone on with as one unit, in its direction.

Whatever step it was, the same command and `resume` come to the end of an undisturbed run.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.fix_service import api_of
from tests.forks import Forks
from tests.heavy import some
from tests.kit import Project

pytestmark = pytest.mark.sampled(4)

A, B, C, D = (f"2026080{n}_000000_{name}" for n, name in enumerate("abcd", start=1))
ENV = "stage"
STAGE = """\
  stage:
    tier: acceptance
    database: ${{DATABASE_URL}}
    on_failure: rollback
    lock: {{timeout: [100ms, 200ms], wait: 3s}}
    {approval}
    restart:
      with: command
      run: [{python}, "{home}/restart.py"]
      identity: [cat, "{home}/identity"]
      settle: 20ms
      within: 5s
    smoke:
      base_url: {base_url}
      deadline: 500ms
      successes: 1
      pause: 20ms
      checks: [{{get: /health, expect: {{json: {{status: ok}}}}}}]
"""
APPROVED = "approval: {from: ssh, signers: approvers}\n    steps: {approval: required}"


@dataclass
class Stage:
    """A project with four migrations and a service, and the database it goes to."""

    project: Project
    warm: Forks

    def run(self, *argv: str, **more: Any) -> tuple[int, str]:
        variables = {**self.project.variables(), "CONFIRM_ROLLBACK": "yes"}
        task, *flags = argv
        (end,) = self.warm.run(
            task, "--env", ENV, *flags, cwd=self.project.home, env=variables, **more
        )
        return end["code"], end["words"]

    def done(self, *argv: str) -> str:
        code, words = self.run(*argv)
        assert code == 0, words
        return words

    def killed(self, *argv: str, at: str, by: int = signal.SIGKILL) -> None:
        code, words = self.run(*argv, at=at, by=by)
        assert code == (-9 if by == signal.SIGKILL else 128 + by), (at, words)

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.project.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def reset(self) -> None:
        """Make the database empty again, for the next case."""
        self.execute(
            "drop schema if exists windlass cascade",
            "drop schema public cascade",
            "create schema public",
        )
        (self.project.home / "restarts").unlink(missing_ok=True)

    def end(self) -> tuple[list[str], list[Any], list[Any]]:
        """Return what a unit came to: history, columns, rows."""
        columns = self.rows(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'public' order by 1, 2"
        )
        log = self.rows("select n from log order by n") if ("log", "n") in columns else []
        return self.project.applied(), columns, log

    @property
    def newest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.project.deployments(ENV)[0]
        return found


def write(project: Project) -> None:
    project.migration(A, "create table log (n int);", "drop table log;")
    for n, name in enumerate((B, C, D), start=2):
        phase = "-- windlass: phase=after\n" if name == D else ""
        project.migration(
            name,
            f"{phase}insert into log values ({n}); alter table log add column c{n} int;",
            f"alter table log drop column c{n}; delete from log where n = {n};",
        )


@pytest.fixture
def stage(
    tmp_path: Path, warm: Forks, server16: Server, new_database: Callable[[Server], Database]
) -> Iterator[Stage]:
    database = new_database(server16)
    with api_of(database) as url:
        yield made(tmp_path, database, warm, url)


def made(tmp_path: Path, database: Database, warm: Forks, url: str, approval: str = "") -> Stage:
    import sys

    project = Project(tmp_path / "shop", database.url.reveal(), base_url=url)
    text = project.deploy_yml.read_text().partition("  production:\n")[0]
    project.deploy_yml.write_text(
        text
        + STAGE.format(home=project.home, python=sys.executable, base_url=url, approval=approval)
    )
    write(project)
    return Stage(project, warm)


DEPLOY = ("deploy", "--yes")
VERBS = {
    "deploy": (),
    "migrate --steps 2": (A,),
    "rollback --steps 2": (A, B, C, D),
    f"rollback --to {B}": (A, B, C, D),
    "rollback --deployment": (A, B, C, D),
}
STEPS = ("backup", "proof", "migrate", "restart", "smoke", "migrate-after", "verify")


def boundaries(verb: str) -> list[str]:
    """Return where a verb is killed: around each step, and within, behind each migration."""
    steps = [s for s in STEPS if not (verb.startswith("rollback") and s == "migrate-after")]
    steps = [s for s in steps if not (verb.startswith("migrate") and s in ("restart", "smoke"))]
    files = {"deploy": (A, B, C, D), "migrate --steps 2": (B, C)}.get(verb, (D, C))
    around = [
        f"{when} {what} {step}"
        for step in steps
        for when, what in (("after", "begin"), ("before", "finish"), ("after", "finish"))
    ]
    return [
        "before begin lint" if not verb.startswith("rollback") else "before begin preflight",
        *around,
        *(f"after file {name}" for name in files),
        "before close deployed",
    ]


def prepared(stage: Stage, verb: str) -> tuple[str, ...]:
    """Bring the database to where the verb begins, and return its words."""
    stage.reset()
    before = VERBS[verb]
    if before:
        stage.done("migrate", "--to", before[-1])
        assert stage.project.applied() == list(before)
    if verb == "rollback --deployment":
        return "rollback", "--deployment", str(stage.newest["id"])
    words = tuple(verb.split())
    return DEPLOY if words == ("deploy",) else words


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "verb"), list(enumerate(VERBS)))
def test_killed_at_a_step_and_gone_on_with(stage: Stage, verb: str, number: int) -> None:
    argv = prepared(stage, verb)
    stage.done(*argv)
    wanted, status = stage.end(), stage.newest["status"]
    problems = []

    for place, at in enumerate(some(boundaries(verb), number, of=9)):
        argv = prepared(stage, verb)
        stage.killed(*argv, at=at)
        again = ("resume",) if (place + number) % 2 else argv
        code, words = stage.run(*again)
        if (code, stage.end(), stage.newest["status"]) != (0, wanted, status):
            problems.append(f"{at}, {again[0]}: {code} {stage.end()[0]} {words}")

    words = stage.done("resume")
    assert f"nothing to resume in {ENV}: not paused, nothing unfinished" in words
    assert not problems, "\n".join(problems)
