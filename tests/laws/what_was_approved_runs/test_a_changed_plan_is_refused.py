"""Law 2: what was approved is what runs. Every change between the look and the run refuses."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import NotApproved
from pgwindlass.model import Approval
from pgwindlass.plan.gate import require_approval
from tests.kit import Project, tables

pytestmark = pytest.mark.sampled(2)

A = "20260801_000000_create_orders"


def edited(project: Project) -> str:
    (project.home / "migrations" / f"{A}.sql").write_text("create table other (i int);")
    return f"{A} was edited"


def other_rollback(project: Project) -> str:
    (project.home / "migrations" / f"{A}_rollback.sql").write_text("drop table if exists orders;")
    return f"{A} has another rollback script"


def new_migration(project: Project) -> str:
    name = project.migration("20260802_000000_more", "select 1;", "select 1;")
    return f"{name} is new among the migrations"


def row_in_history(project: Project) -> str:
    with psycopg.connect(project.url) as connection:
        connection.execute(
            "create table schema_migrations (migration_name text primary key, checksum text, "
            "applied_at timestamptz default now())"
        )
        connection.execute("insert into schema_migrations values ('20260101_000000_old')")
    project.migration("20260101_000000_old", "select 1;", "select 1;")
    return "20260101_000000_old appeared in the history"


def column_by_hand(project: Project) -> str:
    with psycopg.connect(project.url) as connection:
        connection.execute("create table by_hand (i int)")
    return "the schema gained column public.by_hand.i integer"


def weaker_policy(project: Project) -> str:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("wait: 3s", "wait: 4s", 1))
    return "deploy.yml: lock changed"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration(A, "create table orders (id int);", "drop table orders;")
    return found


@pytest.mark.parametrize(
    "change",
    [edited, other_rollback, new_migration, row_in_history, column_by_hand, weaker_policy],
    ids=lambda change: change.__name__,
)
def test_a_change_after_the_plan_was_made_refuses_with_the_difference(
    project: Project, change: Callable[[Project], str]
) -> None:
    project.run("plan", "--env", "uat", "--out", "plan.json")
    difference = change(project)

    ran = project.run("deploy", "--env", "uat", "--plan", "plan.json")

    assert ran.code == 3, ran.err
    assert difference in ran.error()[0]
    assert ran.error()[1] == "  state: nothing was changed"
    assert "orders" not in tables(project.url)


def test_another_database_refuses(
    project: Project, server16: object, new_database: Callable[[object], Database]
) -> None:
    project.run("plan", "--env", "uat", "--out", "plan.json")
    project.url = new_database(server16).url.reveal()

    ran = project.run("deploy", "--env", "uat", "--plan", "plan.json")

    assert ran.code == 3
    assert "another database" in ran.error()[0]


def test_a_plan_file_that_was_tampered_with_refuses(project: Project) -> None:
    project.run("plan", "--env", "uat", "--out", "plan.json")
    path = project.home / "plan.json"
    path.write_text(path.read_text().replace("create table orders", "create table hacked"))

    assert project.run("deploy", "--env", "uat", "--plan", "plan.json").code == 3
    assert tables(project.url) == set()


def test_the_digest_is_the_same_in_every_locale_time_zone_and_directory(project: Project) -> None:
    (project.home / "sub").mkdir()
    here = project.json("plan", "--env", "uat")["digest"]
    project.env = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    text = (project.home / "migrations" / f"{A}.sql").read_bytes()
    (project.home / "migrations" / f"{A}.sql").write_bytes(text.replace(b"\n", b"\r\n"))

    assert project.json("plan", "--env", "uat")["digest"] == here


def test_the_digest_is_that_of_a_sorted_document_which_anybody_can_compute(
    project: Project,
) -> None:
    digest = project.json("plan", "--env", "uat", "--out", "plan.json")["digest"]
    text = (
        "import hashlib, json, sys; plan = json.load(open(sys.argv[1], encoding='utf-8')); "
        "plan.update(about=None, schema=[]); "
        "text = json.dumps(plan, sort_keys=True, separators=(',', ':'), ensure_ascii=False); "
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    others = {sys.executable, *map(str, Path("/usr/bin").glob("python3.[0-9]*[0-9]"))}

    for python in others:  # as many as there are
        argv = [python, "-I", "-c", text, str(project.home / "plan.json")]
        assert subprocess.check_output(argv, text=True).strip() == digest


def test_what_a_plan_tells_beside_does_not_decide(project: Project) -> None:
    first = project.json("plan", "--env", "uat")
    again = project.json("plan", "--env", "uat")

    assert first["plan"]["about"]["made_at"] != again["plan"]["about"]["made_at"]
    assert first["digest"] == again["digest"]


def test_a_column_that_somebody_added_is_named(project: Project) -> None:
    assert project.run("deploy", "--env", "uat").code == 0
    project.migration("20260802_000000_more", "select 1;", "select 1;")
    project.run("plan", "--env", "uat", "--out", "plan.json")
    with psycopg.connect(project.url) as connection:
        connection.execute("alter table orders add column by_hand text default 'x'")
        connection.execute("create index orders_id on orders (id)")

    ran = project.run("deploy", "--env", "uat", "--plan", "plan.json")

    assert ran.code == 3
    assert "the schema gained column public.orders.by_hand text f   'x'::text" in ran.error()[0]
    assert "the schema gained index CREATE INDEX orders_id ON public.orders" in ran.error()[0]


def test_a_plan_says_what_its_reader_should_know(project: Project) -> None:
    assert project.run("deploy", "--env", "uat").code == 0
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("insert into orders select generate_series(1, 1234)")
        connection.execute("analyze orders")
    project.migration(
        "20260802_000000_more",
        "alter table orders alter id type bigint;",
        "alter table orders alter id type int;",
    )

    text = project.run("plan", "--env", "uat").out
    about = project.json("plan", "--env", "uat")["plan"]["about"]

    assert "  table      public.orders: about 1,234 rows, " in text
    assert "  backup to  " in text
    assert "[changing-column-type]" in text
    assert about["tables"][0]["rows"] == 1234
    assert about["origin"]["deployer"]
    assert [one["level"] for one in about["findings"]] == ["note"]  # it is small


def test_a_plan_for_nothing_says_so(project: Project) -> None:
    assert project.run("deploy", "--env", "uat").code == 0

    assert "  nothing to migrate" in project.run("plan", "--env", "uat").out


def approval(digest: str, now: datetime) -> Approval:
    return Approval(
        plan_digest=digest,
        approver="ada",
        source="terminal",
        asked_here=True,
        granted_at=now,
        expires_at=now + timedelta(hours=1),
    )


def test_an_approval_of_another_digest_or_out_of_date_does_not_count(project: Project) -> None:
    import msgspec

    from pgwindlass.model import Plan

    project.run("plan", "--env", "uat", "--out", "plan.json")
    plan = msgspec.json.decode((project.home / "plan.json").read_bytes(), type=Plan)
    now = datetime(2026, 8, 3, tzinfo=UTC)

    (counts,) = require_approval(plan, (approval(plan.digest, now),), now=now, how="")
    assert counts.approver == "ada"
    with pytest.raises(NotApproved, match="ada approved plan 000000000000, not"):
        require_approval(plan, (approval("0" * 64, now),), now=now, how="")
    with pytest.raises(NotApproved, match="expired at 2026-08-03 01:00 UTC"):
        require_approval(plan, (approval(plan.digest, now),), now=now + timedelta(hours=2), how="")
    with pytest.raises(NotApproved, match="has no approval"):
        require_approval(plan, (), now=now, how="ask")
