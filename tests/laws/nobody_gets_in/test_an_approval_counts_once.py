"""One approval, one deployment: also after a restore that knows nothing of the first one."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.database import own_tables
from pgwindlass.database.connection import Database
from pgwindlass.deployment import nonces
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import NotApproved, StoreFailed
from pgwindlass.model import Outcome, StepName, StepResult
from tests.fix_postgres import Server
from tests.kit import Project, Quiet, new_key, tables

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

A = "20260801_000000_create_orders"
APPROVED = """\
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""


@pytest.fixture
def project(tmp_path: Path, server16: Server, database16: Database) -> Iterator[Project]:
    """Return a project whose UAT wants a signature; its plan is made and signed."""
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration(A, "create table orders (id int);", "drop table orders;")
    text = found.deploy_yml.read_text()
    found.deploy_yml.write_text(
        text.replace("    tier: acceptance\n", f"    tier: acceptance\n{APPROVED}")
    )
    (found.home / "approvers").write_text(f"ann@example.com {new_key(found.home / 'ann')}")
    yield found
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s)",
            [f"{database16.name}_"],
        ).fetchall()
        for (name,) in rows:
            admin.execute(f'drop database "{name}" with (force)'.encode())


def sign(project: Project) -> None:
    assert project.run("plan", "--env", "uat", "--out", "plan.json").code == 0
    approve(project, "plan.json")


def approve(project: Project, plan: str) -> None:
    key = str(project.home / "ann")
    assert project.run("approve", "--env", "uat", "--plan", plan, "--key", key).code == 0


def deploy(project: Project) -> tuple[int, str]:
    ran = project.run("deploy", "--env", "uat", "--plan", "plan.json", "--yes")
    return ran.code, ran.err


def row_deleted(project: Project) -> None:
    execute(project, "delete from windlass.approval")


def schema_dropped(project: Project) -> None:
    execute(project, "drop schema windlass cascade")


def restored(project: Project) -> None:
    """Restore the backup of before the deployment, for real, as a plan that is approved too."""
    key = project.json("backup.list", "--env", "uat")[-1]["manifest"]["key"]
    first = key.rstrip("/").rpartition("/")[2]
    ran = project.run("restore", "--env", "uat", "--from", first, "--out", "restore.json")
    assert ran.code == 0, ran.err
    approve(project, "restore.json")
    ran = project.run("restore", "--env", "uat", "--plan", "restore.json")
    assert ran.code == 0, ran.err


def execute(project: Project, *statements: str) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    "forget", [row_deleted, schema_dropped, restored], ids=lambda how: how.__name__
)
def test_an_approval_that_the_target_forgot_lets_nothing_through(
    project: Project, forget: Callable[[Project], None]
) -> None:
    assert project.run("backup", "--env", "uat").code == 0
    sign(project)
    code, said = deploy(project)
    assert code == 0, said

    forget(project)
    if forget is not restored:
        execute(project, "drop table orders", "delete from schema_migrations")
    code, said = deploy(project)

    assert code == 3, said
    assert "the approval of ann@example.com was used by deployment" in said
    assert "orders" not in tables(project.url)


def test_an_approval_is_spent_before_the_first_statement_and_told_where(project: Project) -> None:
    sign(project)
    assert deploy(project)[0] == 0

    (spent,) = (project.home / "backups" / "approvals" / "uat").glob("*.json")
    document = json.loads(spent.read_text())
    (first,) = project.deployments("uat")
    assert document["deployment"] == first["id"]
    assert document["approver"] == "ann@example.com"


def test_a_store_that_takes_no_nonce_lets_nothing_through(project: Project) -> None:
    sign(project)
    shutil.rmtree(project.home / "backups", ignore_errors=True)
    (project.home / "backups").mkdir()
    (project.home / "backups" / "approvals").write_text("a file where the directory would be")

    code, said = deploy(project)

    assert code != 0
    assert "orders" not in tables(project.url)
    assert "Traceback" not in said


# The same, closer: a nonce is any text, and two may come for it at once.


@contextmanager
def opened(project: Project, deployment: str) -> Iterator[Work]:
    settings = project.settings("uat")
    with open_work(settings, deployment_id=deployment, reporter=Quiet()) as work:
        own_tables.prepare(work.database, work.terms())
        yield work


def step(nonce: str) -> StepResult:
    return StepResult(
        step=StepName.APPROVAL,
        outcome=Outcome.OK,
        detail="",
        started_at=datetime.now(UTC),
        seconds=0.0,
        evidence=(("approver", "ann"), ("nonce", nonce)),
    )


@pytest.mark.parametrize(
    "nonce", ["n1", "../../uat/app/x/manifest.json", "a/b", "\n", "é" * 300, "."]
)
def test_a_nonce_of_any_text_is_used_once_and_names_no_other_object(
    project: Project, nonce: str
) -> None:
    with opened(project, "d1") as work:
        nonces.use(work, step(nonce))
        execute(project, "delete from windlass.approval")

        assert nonces.used(work, (nonce, "another")) == {nonce: "d1"}
        with pytest.raises(NotApproved, match="was used by deployment d1"):
            nonces.use(replace(work, deployment_id="d2"), step(nonce))
        assert work.store is not None
        (key,) = work.store.keys("")
        assert key.startswith("approvals/uat/")


def test_of_two_deployments_at_once_one_gets_the_approval(project: Project) -> None:
    with opened(project, "d1") as one:

        def use(deployment: str) -> str:
            try:
                nonces.use(replace(one, deployment_id=deployment), step("n"))
            except NotApproved as error:
                return error.what
            return "used"

        with ThreadPoolExecutor(2) as pool:
            ends = sorted(pool.map(use, ("d1", "d2")))

    assert ends[1] == "used"
    assert "was used by" in ends[0]


@pytest.mark.parametrize("content", [b"", b"junk", b"[" * 50_000, b'{"nonce": 1}', bytes(64 << 20)])
def test_a_spent_nonce_that_somebody_overwrote_stays_spent(
    project: Project, content: bytes
) -> None:
    with opened(project, "d1") as work:
        nonces.use(work, step("n"))
        execute(project, "delete from windlass.approval")
        assert work.store is not None
        work.store.write(nonces.key_of("uat", "n"), [content])

        assert list(nonces.used(work, ("n",))) == ["n"]
        with pytest.raises(NotApproved, match="was used by deployment an unknown deployment"):
            nonces.use(work, step("n"))


def test_where_there_are_no_backups_the_target_alone_remembers(project: Project) -> None:
    """What holds without a store, and what does not."""
    with opened(project, "d1") as work:
        alone = replace(work, store=None)
        nonces.use(alone, step("n"))

        assert nonces.used(alone, ("n",)) == {"n": "d1"}
        with pytest.raises(NotApproved):
            nonces.use(replace(alone, deployment_id="d2"), step("n"))


def test_two_approvals_with_one_nonce_are_no_two(project: Project) -> None:
    twice = msgspec.structs.replace(step("n"), evidence=step("n").evidence * 2)
    with opened(project, "d1") as work, pytest.raises(NotApproved, match="the same nonce"):
        nonces.use(work, twice)


def test_another_failure_of_the_store_is_no_used_approval(project: Project) -> None:
    with opened(project, "d1") as work:
        (project.home / "backups").mkdir(exist_ok=True)
        subprocess.run(["rm", "-rf", str(project.home / "backups" / "approvals")], check=True)
        (project.home / "backups" / "approvals").write_text("in the way")

        with pytest.raises(StoreFailed):
            nonces.use(work, step("n"))
        assert nonces.used(work, ("n",)) == {}
