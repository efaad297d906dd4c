"""`import pgwindlass`: what it offers, what it does not load, and a walk on a real database."""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pgwindlass
from pgwindlass.database.connection import Database
from pgwindlass.deployment import planfile, proposals
from tests.kit import ROOT, Project, tables

A = "20260801_000000_create_orders"
B = "20260802_000000_add_total"
HEAVY = ("psycopg", "boto3", "botocore", "requests", "rich", "invoke", "yaml", "msgspec")
PAGE = (ROOT / "docs" / "api.md").read_text()
SIGNED = """\
  signed:
    tier: acceptance
    database: ${DATABASE_URL}
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""


@pytest.fixture
def project(
    tmp_path: Path, database16: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project with two migrations, its variables in this process; copies are dropped after it."""
    made = Project(tmp_path / "shop", database16.url.reveal())
    made.migration(A, "create table orders (id int primary key);", "drop table orders;")
    made.migration(
        B, "alter table orders add column total int;", "alter table orders drop column total;"
    )
    monkeypatch.setenv("DATABASE_URL", made.url)
    monkeypatch.chdir(made.home)
    yield made
    with psycopg.connect(made.url, autocommit=True) as connection:
        connection.execute("drop database if exists shop_copy with (force)")


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_the_import_alone_loads_no_library() -> None:
    loaded = json.loads(
        python("import json, sys, pgwindlass; print(json.dumps(sorted(sys.modules)))")
    )

    assert "pgwindlass" in loaded
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
    assert [name for name in loaded if name.startswith("pgwindlass.")] == ["pgwindlass.version"]


def test_reading_a_configuration_connects_to_nothing_and_loads_no_client() -> None:
    loaded = json.loads(
        python("import json, sys, pgwindlass; pgwindlass.Config; print(json.dumps([*sys.modules]))")
    )

    assert {name.split(".")[0] for name in loaded} & {
        "psycopg",
        "boto3",
        "requests",
        "rich",
    } == set()


def test_every_public_name_is_there_and_in_dir() -> None:
    assert set(pgwindlass.__all__) <= set(dir(pgwindlass))
    for name in pgwindlass.__all__:
        assert getattr(pgwindlass, name) is getattr(pgwindlass, name)


def test_the_names_for_a_type_checker_are_the_public_ones() -> None:
    tree = ast.parse((ROOT / "ci" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported | {"__version__"} == set(pgwindlass.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pgwindlass' has no attribute 'nonsense'"):
        getattr(pgwindlass, "nonsense")  # noqa: B009  # mypy would refuse the plain form


def test_names_stay_functions_after_every_module_was_imported() -> None:
    kind = python(
        "import pgwindlass.tasks, pgwindlass.backup.restore, pgwindlass.deployment.status\n"
        "print(*{type(getattr(pgwindlass, name)).__name__"
        " for name in ('load', 'status', 'deploy', 'rollback', 'restore', 'make_plan')})"
    )

    assert kind == "function\n"


def test_every_function_tells_what_it_takes_returns_and_raises() -> None:
    for name in pgwindlass.__all__:
        value = getattr(pgwindlass, name)
        if inspect.isfunction(value):
            sections = re.findall(r"^\s*(\w+):$", value.__doc__ or "", re.MULTILINE)
            assert sections[0] == "Args" and sections[-1] == "Raises", name
            assert sections[1] in ("Returns", "Yields"), name
            assert f"`{name}(" in PAGE, name


def test_every_public_name_is_on_the_page() -> None:
    assert [n for n in pgwindlass.__all__ if f"`{n}" not in PAGE and n != "__version__"] == []


def test_a_walk_from_load_to_restore(project: Project) -> None:
    config = pgwindlass.load("deploy.yml")
    with pgwindlass.open_environment(config, "dev") as environment:
        before = pgwindlass.status(environment)
        planned = pgwindlass.make_plan(environment)
        done = pgwindlass.deploy(environment, planned.plan, digest=planned.digest)
        after = pgwindlass.status(environment)
        assert "orders" in tables(project.url)
        backup = pgwindlass.take_backup(environment)
        undone = pgwindlass.rollback(environment, steps=1)
        copy = pgwindlass.restore(environment, backup.manifest.id, into="shop_copy")

    assert [str(one.state) for one in before.migrations] == ["pending", "pending"]
    assert (done.status, done.migrations, done.plan_digest) == ("deployed", (A, B), planned.digest)
    assert [str(one.state) for one in after.migrations] == ["applied", "applied"]
    assert after.note == after.lock == after.models == ""
    assert (undone.direction, undone.migrations) == ("down", (B,))
    assert undone.id != done.id
    assert backup.level == "rows"
    assert (copy.restored.database, copy.kept) == ("shop_copy", "")
    assert project.applied() == [A]
    assert [record["id"] for record in project.deployments("dev")] == [undone.id, done.id]


def test_a_document_is_what_the_task_prints(project: Project) -> None:
    with pgwindlass.open_environment(pgwindlass.load(), "dev") as environment:
        report = pgwindlass.status(environment)
        planned = pgwindlass.make_plan(environment)

    printed = project.json("status", "--env", "dev")
    assert set(printed) == set(report.__dataclass_fields__)
    assert [one["name"] for one in printed["migrations"]] == [one.name for one in report.migrations]
    assert project.json("plan", "--env", "dev")["digest"] == planned.digest


def test_status_reads_one_moment_on_one_connection(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    levels: list[str] = []
    read = Database.read

    def noted(
        self: Database, step: str, work: Callable[[psycopg.Connection], Any], **more: Any
    ) -> Any:
        def look(connection: psycopg.Connection) -> Any:
            result = work(connection)
            row = connection.execute(
                "select current_setting('transaction_isolation'),"
                " current_setting('transaction_read_only')"
            ).fetchone()
            assert row is not None
            levels.extend(row)
            return result

        steps.append(step)
        return read(self, step, look, **more)

    monkeypatch.setattr(Database, "read", noted)
    with pgwindlass.open_environment(pgwindlass.load(), "dev") as environment:
        pgwindlass.status(environment)

    assert (steps, levels) == (["status"], ["repeatable read", "on"])


def test_an_approval_is_bound_to_the_plan_and_counts_once(project: Project) -> None:
    project.deploy_yml.write_text(project.deploy_yml.read_text() + SIGNED)
    key = project.home / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)],
        check=True,
    )
    public = key.with_suffix(".pub").read_text()
    (project.home / "approvers").write_text(f"ann@example.com {public}")
    config = pgwindlass.load()
    with pgwindlass.open_environment(config, "signed") as environment:
        planned = pgwindlass.make_plan(environment)
        with pytest.raises(pgwindlass.NotApproved):
            pgwindlass.deploy(environment, planned.plan)
        assert "orders" not in tables(project.url)

        planfile.sign_plan(config, planned.plan, key=str(key), comment="", push=False)
        done = pgwindlass.deploy(environment, planned.plan)
        assert done.status == "deployed"

        undo = proposals.propose_rollback(environment, deployment=done.id)
        with pytest.raises(pgwindlass.NotApproved):
            pgwindlass.rollback(environment, deployment=done.id)
        planfile.sign_plan(config, undo.plan, key=str(key), comment="", push=False)
        pgwindlass.rollback(environment, deployment=done.id)
        with pytest.raises(pgwindlass.NotApproved, match=f"was used by deployment {done.id}"):
            pgwindlass.deploy(environment, planned.plan)


def test_settings_of_another_environment_are_refused(project: Project) -> None:
    settings = project.settings("dev")

    with (
        pytest.raises(pgwindlass.ConfigError, match="the settings are those of dev, not of uat"),
        pgwindlass.open_environment(settings, "uat"),
    ):
        pass


@pytest.mark.parametrize(
    ("which", "what"),
    [
        ({}, "rollback needs one of"),
        ({"name": A, "steps": 1}, "rollback needs one of"),
        ({"steps": -1}, "--steps -1: expected 1 or more"),
    ],
    ids=["nothing", "two", "negative"],
)
def test_a_rollback_names_exactly_one_thing(
    project: Project, which: dict[str, str | int], what: str
) -> None:
    with pgwindlass.open_environment(pgwindlass.load(), "dev") as environment:
        pgwindlass.deploy(environment)
        with pytest.raises(pgwindlass.ConfigError, match=what):
            pgwindlass.rollback(environment, **which)  # type: ignore[arg-type]  # one of each kind

    assert project.applied() == [A, B]


def test_a_plan_of_another_moment_is_refused(project: Project) -> None:
    with pgwindlass.open_environment(pgwindlass.load(), "dev") as environment:
        planned = pgwindlass.make_plan(environment)
        project.migration("20260803_000000_c", "create table c (id int);", "drop table c;")
        with pytest.raises(pgwindlass.PlanChanged):
            pgwindlass.deploy(environment, planned.plan)
        with pytest.raises(pgwindlass.PlanChanged):
            pgwindlass.deploy(environment, digest="0" * 64)

    assert tables(project.url) == set()


def test_every_example_of_the_page_runs(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "docs/api.md", "exec"), names)  # our own page

    out = capsys.readouterr().out
    assert len(examples) == PAGE.count("```python") == 6
    assert f"{A} pending\n{B} pending\n" in out
    assert f"deployed ('{A}', '{B}')" in out
    assert f"down ('{A}', '{B}')" in out or f"down ('{B}', '{A}')" in out
    assert re.search(r"^shop_copy \d+$", out, re.MULTILINE)
    assert "20990101_000000_unknown is not applied\nnothing was changed\ninvoke status" in out
    assert "migrate ok" in out
    assert project.applied() == [A, B]
