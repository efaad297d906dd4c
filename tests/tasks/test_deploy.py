"""`windlass deploy` as a child, on real parts: exit codes, words, and what is left."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_service import api_of, at_a_terminal
from tests.kit import WINDLASS, Project, Ran, tables

A = "20260801_000000_create_orders"
B = "20260802_000000_add_total"
TWO_LINES = '"""Ours."""\nfrom pgwindlass.tasks import ns\n'


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Iterator[Project]:
    with api_of(database16) as base_url:
        found = Project(tmp_path / "shop", database16.url.reveal(), base_url)
        found.migration(
            A,
            "create table orders (id int primary key);",
            "drop table orders;",
            "select count(*) >= 0 from orders;",
        )
        yield found


def statuses(project: Project, environment: str) -> list[str]:
    return [d["status"] for d in project.deployments(environment)]


def test_dev_migrates_by_itself(project: Project) -> None:
    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    assert "orders" in tables(project.url)
    assert re.fullmatch(
        r"deployed in \d+\.\d s · record [0-9A-Z]{26} · undo: invoke rollback --env dev "
        r"--deployment [0-9A-Z]{26}\n",
        ran.out,
    )


def test_a_second_deployment_finds_nothing_to_do(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0
    assert "0 pending migrations" in ran.err
    assert statuses(project, "dev") == ["deployed", "deployed"]


def test_uat_has_a_backup_before_the_first_statement(project: Project) -> None:
    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    steps = [line.split()[1] for line in ran.err.splitlines() if line.startswith("  ✓")]
    assert steps.index("backup") < steps.index("proof") < steps.index("migrate")
    (backup,) = project.json("backup.list", "--env", "uat")
    dumped = {name for name, _ in backup["manifest"]["row_counts"]}
    # Before the table existed; the row of a lease is no part of a backup.
    ours = {"alembic_revision", "approval", "correction", "deployment", "identity"}
    ours |= {"event", "marker", "partial_migration", "pause", "step", "version"}
    ours |= {"backfill", "backfill_row"}
    assert dumped == {f"windlass.{name}" for name in ours}
    assert "orders" in tables(project.url)


def test_production_without_a_terminal_is_refused_and_says_what_to_do(project: Project) -> None:
    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    digest = project.json("plan", "--env", "production")["digest"]
    assert ran.error() == [
        f"✗ approval: plan {digest[:12]} of production has no approval",
        "  state: nothing was changed",
        "  next:  run it at a terminal: invoke deploy --env production; on GitHub set "
        "approval: {from: github} in deploy.yml",
    ]
    assert tables(project.url) == set()
    assert project.restarts == 0


def test_production_deploys_when_its_name_is_typed(project: Project) -> None:
    ran = at_a_terminal(project, "deploy", "--env", "production", typed="production")

    assert ran.code == 0, ran.err
    assert "orders" in tables(project.url)
    assert project.restarts == 1
    (deployment,) = project.deployments("production")
    shown = project.run("history", "--env", "production", "--deployment", deployment["id"]).out
    assert "approver" in shown
    assert "terminal" in shown


def test_production_is_refused_when_another_name_is_typed(project: Project) -> None:
    ran = at_a_terminal(project, "deploy", "--env", "production", typed="uat")

    assert ran.code == 3
    assert tables(project.url) == set()


def test_a_failed_smoke_test_ends_with_the_old_schema_and_the_service_up(
    project: Project,
) -> None:
    at_a_terminal(project, "deploy", "--env", "production", typed="production")
    project.migration(
        B, "alter table orders add column broken int;", "alter table orders drop column broken;"
    )
    ran = at_a_terminal(project, "deploy", "--env", "production", typed="production")

    assert ran.code == 4, ran.err
    assert "smoke: GET" in ran.error()[0]
    assert '$.status is "broken", expected "ok"' in ran.error()[0]
    assert ran.error()[1] == (
        "  state: rolled back: the schema is as it was before; the service was restarted and serves"
    )
    assert project.restarts == 3  # the first deployment, the second, and after the rollback
    states = project.json("status", "--env", "production")["migrations"]
    assert [s["state"] for s in states] == ["applied", "pending"]
    assert statuses(project, "production") == ["rolled back", "deployed"]


def test_a_failing_rollback_script_is_the_worst_case_said_plainly(project: Project) -> None:
    at_a_terminal(project, "deploy", "--env", "production", typed="production")
    project.migration(
        B, "alter table orders add column broken int;", "alter table orders drop column wrong;"
    )
    ran = at_a_terminal(project, "deploy", "--env", "production", typed="production")

    assert ran.code == 1
    assert "and rolling back failed" in ran.error()[0]
    assert "the database and the service may not fit each other" in ran.error()[1]
    assert statuses(project, "production")[0] == "rollback failed"


def test_a_rollback_of_a_deployment_is_a_deployment(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    (deployment,) = project.deployments("dev")

    ran = project.run("rollback", "--env", "dev", "--deployment", deployment["id"])

    assert ran.code == 0, ran.err
    assert "orders" not in tables(project.url)
    assert [d["direction"] for d in project.deployments("dev")] == ["down", "up"]


def test_a_rollback_above_development_wants_to_be_confirmed(project: Project) -> None:
    project.run("deploy", "--env", "uat")

    refused = project.run("rollback", "--env", "uat", "--name", A)
    confirmed = project.run("rollback", "--env", "uat", "--name", A, CONFIRM_ROLLBACK="yes")

    assert refused.code == 3
    assert refused.error()[2] == (
        '  next:  type "uat" when asked; without a terminal: CONFIRM_ROLLBACK=yes'
    )
    assert confirmed.code == 0, confirmed.err
    assert "orders" not in tables(project.url)


def test_a_plan_file_is_deployed_as_it_was_looked_at(project: Project) -> None:
    assert project.run("plan", "--env", "uat", "--out", "plan.json").code == 0

    assert project.run("deploy", "--env", "uat", "--plan", "plan.json").code == 0
    again = project.run("deploy", "--env", "uat", "--plan", "plan.json")

    assert again.code == 3
    assert f"{A} appeared in the history" in again.error()[0]


def test_a_plan_for_another_environment_is_wrong_usage(project: Project) -> None:
    project.run("plan", "--env", "uat", "--out", "plan.json")

    ran = project.run("deploy", "--env", "dev", "--plan", "plan.json")

    assert ran.code == 2
    assert ran.error()[0] == "✗ the plan is for uat, not for dev"


@pytest.mark.parametrize(
    "flags", [("--dry", "deploy"), ("deploy", "--dry"), ("deploy", "--dry-run")]
)
def test_a_dry_run_changes_nothing_whichever_way_it_is_asked_for(
    project: Project, flags: tuple[str, ...]
) -> None:
    arguments = [*flags, "--env", "dev"]

    ran = project.run(*arguments)

    assert ran.code == 0, ran.err
    assert "create table orders" in ran.out
    assert tables(project.url) == set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("deploy",), 2),
        (("deploy", "--env", "prod"), 2),
        (("deploy", "--enviroment", "dev"), 2),
        (("deplyo", "--env", "dev"), 2),
        (("rollback", "--env", "dev"), 2),
        (("rollback", "--env", "dev", "--name", "nobody"), 3),
        (("history", "--env", "dev", "--deployment", "nobody"), 3),
        (("backup.verify", "--env", "uat", "--which", "nobody"), 1),
        (("migrate", "--env", "dev", "--to", "nobody"), 3),
        (("create", "--name", "No Name"), 2),
        (("--dry", "restart", "--env", "production"), 2),
    ],
)
def test_exit_codes_tell_usage_refusal_and_failure_apart(
    project: Project, arguments: tuple[str, ...], code: int
) -> None:
    ran = project.run(*arguments)

    assert ran.code == code, ran.err
    assert len(ran.error()) == 3
    assert "Traceback" not in ran.err


def test_status_says_pending_and_applied_by_its_exit_code(project: Project) -> None:
    assert project.run("status", "--env", "dev").code == 1
    project.run("deploy", "--env", "dev")
    assert project.run("status", "--env", "dev").code == 0
    (project.home / "migrations" / f"{A}.sql").write_text("create table other (i int);")
    assert project.run("status", "--env", "dev").code == 3


def test_an_edited_migration_is_refused(project: Project) -> None:
    project.run("deploy", "--env", "dev")
    (project.home / "migrations" / f"{A}.sql").write_text("create table other (i int);")

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 3
    assert ran.error()[0] == f"✗ {A} is applied and was edited after it was applied"


def test_uat_asks_for_rollback_scripts(project: Project) -> None:
    project.migration(B, "select 1;", rollback=None)

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert ran.error()[0] == (f"✗ {B} has no rollback script, which the acceptance tier asks for")


def test_lint_errors_stop_uat_and_not_dev(project: Project) -> None:
    assert project.run("deploy", "--env", "dev").code == 0  # what it makes itself may be emptied
    project.migration(B, "truncate orders;", "select 1;")

    refused = project.run("deploy", "--env", "uat")
    done = project.run("deploy", "--env", "dev")

    assert refused.code == 3
    assert f"migrations/{B}.sql:1: error: TRUNCATE deletes every row" in refused.error()[0]
    assert done.code == 0, done.err


def test_a_failed_step_in_uat_stops_and_says_what_stands(project: Project) -> None:
    project.migration(B, "select 1 / 0;", "select 1;")

    ran = project.run("deploy", "--env", "uat")

    backup = project.deployments("uat")[0]["backup"]
    assert ran.code == 1
    assert ran.error() == [
        f"✗ migrate: migrations/{B}.sql:1: division by zero [22012]",
        f"  state: 1 of 2 migrations stand: {A}; not applied: {B}; backup {backup} has the values "
        "of before; its transaction was rolled back: nothing of this migration is left",
        "  next:  mend the file, or what it found, and start again: invoke deploy --env uat",
    ]
    assert "orders" in tables(project.url)


def test_the_smaller_tasks_answer_in_json(project: Project) -> None:
    assert project.json("restart", "--env", "production")["instance"]  # it is nobody's yet
    project.run("deploy", "--env", "uat")

    assert project.json("backup", "--env", "uat")["manifest"]["environment"] == "uat"
    assert project.json("backup.verify", "--env", "uat")["proof"]["level"] == "rows"
    assert project.json("verify", "--env", "uat") == {"scripts": 1}
    assert project.json("lint", "--env", "uat") == []
    assert all(not check["problem"] for check in project.json("doctor", "--env", "uat"))
    assert project.json("smoke", "--env", "production")["checks"] == 1
    assert project.json("schema")["title"] == "deploy.yml"
    assert project.json("migrate", "--env", "uat")["status"] == "deployed"
    assert len(project.json("create", "--name", "add_more")["created"]) == 3


def test_a_restore_goes_into_a_new_database_beside_the_live_one(project: Project) -> None:
    project.run("deploy", "--env", "uat")
    with psycopg.connect(project.url) as connection:
        connection.execute("insert into orders select generate_series(1, 50)")
    project.run("backup", "--env", "uat")
    name = psycopg.conninfo.conninfo_to_dict(project.url)["dbname"]

    restored = project.json("restore", "--env", "uat", "--into", f"{name}_copy")

    assert restored["restored"]["database"] == f"{name}_copy"
    with psycopg.connect(project.url, dbname=f"{name}_copy") as connection:
        assert connection.execute("select count(*) from orders").fetchone() == (50,)
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(f'drop database "{name}_copy"'.encode())


def test_break_glass_leaves_out_the_approval_and_never_the_backup(project: Project) -> None:
    ran = project.run("deploy", "--env", "production", "--break-glass", "pager at 03:00")

    assert ran.code == 0, ran.err
    assert "BREAK-GLASS: pager at 03:00" in ran.err
    assert "✓ backup" in ran.err
    assert "approval " not in ran.err.replace("no approval,", "")
    (deployment,) = project.deployments("production")
    assert deployment["break_glass"] == "pager at 03:00"


@pytest.fixture
def invoke() -> Callable[..., Ran]:
    """Run Invoke itself in a directory with the two-line tasks.py."""

    def run(project: Project, *arguments: str, tasks: str = TWO_LINES) -> Ran:
        (project.home / "tasks.py").write_text(tasks)
        child = subprocess.run(
            [str(WINDLASS.with_name("invoke")), *arguments],
            cwd=project.home,
            env=project.variables(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Ran(child.returncode, child.stdout, child.stderr)

    return run


def test_two_lines_in_another_repository_are_enough(
    project: Project, invoke: Callable[..., Ran]
) -> None:
    assert invoke(project, "deploy", "--env", "dev").code == 0
    assert "orders" in tables(project.url)
    assert "backup.list" in invoke(project, "--list").out


OWN_TASKS = """\
from invoke import call, task
from pgwindlass.tasks import ns

deploy = ns["deploy"]

@task
def ship(c):
    deploy(c, "dev")

@task(pre=[call(deploy, env="dev")])
def after(c):
    print("after it")

ns.add_task(ship)
ns.add_task(after)
"""


def test_a_task_of_the_repository_calls_ours(project: Project, invoke: Callable[..., Ran]) -> None:
    ran = invoke(project, "ship", tasks=OWN_TASKS)
    assert ran.code == 0, ran.err
    assert "orders" in tables(project.url)

    ran = invoke(project, "after", tasks=OWN_TASKS)
    assert ran.code == 0, ran.err
    assert "0 pending migrations" in ran.err and ran.out.endswith("after it\n")


def test_invokes_own_dry_flag_is_a_dry_run(project: Project, invoke: Callable[..., Ran]) -> None:
    ran = invoke(project, "deploy", "--env", "dev", "--dry")

    assert ran.code == 0, ran.err
    assert tables(project.url) == set()
