"""The workflows: clean by three judges, as thin as they say, and run from push to production."""

import json
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.fix_service import api_of
from tests.kit import RESTART, ROOT, Project, signing_keys
from tests.workflows import SETUP, TEMPLATES, TOKEN, WORKFLOWS, Api, Done, GitHub, read, serving

FILES = sorted(WORKFLOWS.glob("*.yml"))
# What other repositories call; the line of test.yml runs these tests, and cannot be one of them.
CALLED = [path for path in FILES if path.name != "test.yml"]
PIN = re.compile(r"^\s+-? ?uses: (\$/\S+|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[\d.]+)$")
# What takes a sample project from its first table to a pull request.
BASE = ("20260801_090000_create_base_tables", "20260803_101500_add_user_full_name")
ADDED = "20260810_110000_create_user_preferences"
# A migration that is cut off, and how its statement is found in the server.
FIRST, SECOND, MARK = "20260801_000000_a", "20260802_000000_b", "/* slow */"
RUNNING = f"""
select pid from pg_stat_activity
where state = 'active' and position('{MARK}' in query) > 0 and pid <> pg_backend_pid()
"""
DEPLOY_YML = """\
project: todo-backend
backups: {{to: "${{BACKUPS_TO}}"}}
environments:
  dev:
    tier: development
    database: ${{DEV_DATABASE_URL}}
  uat:
    tier: acceptance
    database: ${{UAT_DATABASE_URL}}
  production:
    tier: production
    database: ${{PRODUCTION_DATABASE_URL}}
    approval: {{from: "${{APPROVAL_FROM}}"}}
    signing: {{signers: "{keys}/backup-signers", key: "${{BACKUP_SIGNING_KEY:-}}"}}
    restart:
      with: command
      run: [{python}, "{home}/restart.py"]
      identity: [cat, "{home}/identity"]
      settle: 100ms
      within: 5s
    smoke:
      base_url: ${{PRODUCTION_URL}}
      deadline: 3s
      successes: 1
      pause: 50ms
      checks: [{{get: /health, expect: {{json: {{status: ok}}}}}}]
"""


def filled(path: Path, directory: Path) -> Path:
    """Write a template as `init --github` does."""
    pin = "3d3c42e5aac5ba805825da76410c181273ba90b1 # v0.1.0"
    text = path.read_text().replace("{windlass}", "acme/windlass").replace("{ref}", pin)
    (directory / path.name).write_text(text)
    return directory / path.name


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every step of a workflow or an action."""
    text = read(path)
    for job in text["jobs"].values() if "jobs" in text else [text["runs"]]:
        yield from job["steps"]


def test_three_judges_find_nothing_in_any_workflow(tmp_path: Path) -> None:
    tools = Path(sys.executable).parent
    files = [*FILES, *(filled(path, tmp_path) for path in sorted(TEMPLATES.glob("*.yml")))]
    judge = [ROOT / "tests" / "languageservice.mjs", ROOT / ".servers" / "languageservice"]
    schema = [tools / "check-jsonschema", "--builtin-schema"]
    for argv in (
        [tools / "zizmor", "--offline", "--pedantic", "--strict-collection", *files, SETUP],
        [*schema, "vendor.github-workflows", *files],
        [*schema, "vendor.github-actions", SETUP],
        ["node", *judge, *files],
    ):
        found = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_githubs_parser_finds_what_is_planted(tmp_path: Path) -> None:
    planted = tmp_path / "planted.yml"
    planted.write_text((WORKFLOWS / "test.yml").read_text().replace("timeout-minutes", "timeout"))
    judge = [ROOT / "tests" / "languageservice.mjs", ROOT / ".servers" / "languageservice"]

    found = subprocess.run(
        ["node", *map(str, judge), str(planted)], capture_output=True, text=True, check=False
    )

    assert found.returncode == 1
    assert "Unexpected value 'timeout'" in found.stdout


@pytest.mark.unit
@pytest.mark.parametrize("path", [*FILES, SETUP], ids=lambda path: path.stem)
def test_every_workflow_is_thin_and_pinned(path: Path) -> None:
    text = path.read_text()
    for line in text.splitlines():
        if "uses: " in line and not line.strip().startswith("#"):
            assert PIN.match(line), line
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        if "run" in step:
            assert step["run"].startswith("exec ")
            assert "\n" not in step["run"].strip()
            assert "${{" not in step["run"]
    if path == SETUP:
        return
    assert read(path)["permissions"] == {}
    for job in read(path)["jobs"].values():
        assert job["timeout-minutes"] > 0
        assert "permissions" in job


@pytest.mark.unit
@pytest.mark.parametrize("path", CALLED, ids=lambda path: path.stem)
def test_a_deployment_queues_and_is_never_cancelled(path: Path) -> None:
    text = read(path)
    for name, job in text["jobs"].items():
        if path.name == "check.yml":
            continue  # nothing of it outlives its runner
        group = job["concurrency"]
        assert (group["queue"], group["cancel-in-progress"]) == ("max", False)
        environment = job["environment"]
        named = environment["name"] if isinstance(environment, dict) else environment
        if named.endswith(("-plan", "-backup")):
            assert environment["deployment"] is False
        elif named not in ("dev", "uat"):  # may wait for a person: a group of this run's own
            assert "${{ github.run_id }}" in group["group"], name


@pytest.mark.unit
@pytest.mark.parametrize("path", CALLED, ids=lambda path: path.stem)
def test_a_template_gives_what_its_workflow_takes(path: Path) -> None:
    (job,) = read(TEMPLATES / path.name)["jobs"].values()
    called = read(path)
    takes = called["on"]["workflow_call"]
    asked: dict[str, str] = {}
    for one in called["jobs"].values():
        asked |= {k: v for k, v in one["permissions"].items() if asked.get(k) != "write"}

    required = {key for key, one in takes.get("inputs", {}).items() if one.get("required")}
    assert required <= set(job.get("with", {})) <= set(takes.get("inputs", {}))
    assert set(job.get("secrets", {})) == set(takes.get("secrets", {}))
    assert job["permissions"] == asked
    assert job["uses"].endswith(f"/.github/workflows/{path.name}@v1")


@pytest.fixture
def api() -> Iterator[tuple[Api, str]]:
    """GitHub's API and its address."""
    with serving() as found:
        yield found


def git(where: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *arguments], cwd=where, check=True)


def take(names: tuple[str, ...], into: Path) -> None:
    """Copy migrations of the sample project."""
    for name in names:
        for file in (ROOT / "migrations").glob(f"{name}*.sql"):
            shutil.copy(file, into)


@pytest.fixture
def reader(server16: Server) -> Iterator[str]:
    """A role that may read everything and write nothing."""
    name = f"reader_{secrets.token_hex(6)}"
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        connection.execute(f"create role {name} login in role pg_read_all_data".encode())
        yield name
        connection.execute(f"drop role {name}".encode())


@pytest.fixture
def github(
    tmp_path: Path,
    server16: Server,
    new_database: Callable[[Server], Database],
    reader: str,
    api: tuple[Api, str],
) -> Iterator[GitHub]:
    """The sample project on GitHub: main, and the merge of a pull request onto it."""
    home, origin = tmp_path, tmp_path / "origin"
    (origin / "migrations").mkdir(parents=True)
    (home / "identity").write_text("first")
    (home / "restart.py").write_text(RESTART.format(home=str(home)))
    (origin / "deploy.yml").write_text(
        DEPLOY_YML.format(home=home, python=sys.executable, keys=signing_keys())
    )
    shutil.copy(ROOT / "tasks.py", origin)
    take(BASE, origin / "migrations")
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "-m", "base")
    git(origin, "checkout", "--quiet", "-b", "feature")
    take((ADDED,), origin / "migrations")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "-m", "preferences")
    git(origin, "checkout", "--quiet", "-b", "merge", "main")
    git(origin, "merge", "--quiet", "--no-ff", "feature")
    names = ("dev", "uat", "production")
    databases = {name: new_database(server16) for name in names}
    with api_of(databases["production"]) as url:
        variables = {"BACKUPS_TO": f"file://{home}/backups", "PRODUCTION_URL": url}
        secret = {
            name: {f"{name.upper()}_DATABASE_URL": databases[name].url.reveal()} for name in names
        }
        live = secret["production"]["PRODUCTION_DATABASE_URL"]
        for name in ("production-plan", "production-backup"):
            secret[name] = {"PRODUCTION_DATABASE_URL": live.replace("postgres@", f"{reader}@")}
        for name in ("production", "production-backup"):
            secret[name]["BACKUP_SIGNING_KEY"] = (signing_keys() / "backup-key").read_text()
        yield GitHub(
            home=home,
            origin=origin,
            api=api[1],
            token=TOKEN,
            secrets=secret,
            variables=dict.fromkeys(secret, variables),
        )


def run_lines(*names: str) -> set[tuple[str, str]]:
    """Return the file and step of every `run:` line of these workflows."""
    return {
        (name, step["name"]) for name in names for step in steps(WORKFLOWS / name) if "run" in step
    }


def production(github: GitHub, digest: str) -> Done:
    """Run the job production with a digest that was handed on."""
    needs = {"plan": {"outputs": {"digest": digest}}}
    return github.job("deploy.yml", "production", ref="merge", needs=needs)


def to_the_gate(github: GitHub) -> str:
    """Deploy to dev and UAT, plan production, and return the plan's digest."""
    for environment in ("dev", "uat"):
        done = github.job("deploy.yml", environment, ref="merge")
        assert done.code == 0, done.log
    plan = github.job("deploy.yml", "plan", ref="merge")
    assert plan.code == 0, plan.log
    digest = plan.outputs["digest"]
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert f"Plan `{digest[:12]}`" in plan.summary
    assert ADDED in plan.summary
    return digest


def refused_at_the_gate(github: GitHub, gate: Api, digest: str) -> None:
    """Try it with another digest, without a review, and with one of whoever started the run."""
    for handed, said in (("", "none was handed on"), ("0" * 64, "000000000000 was handed on")):
        refused = production(github, handed)
        assert refused.code == 3
        assert said in refused.error()[0]
    closed = production(github, digest)
    assert closed.code == 3
    assert "approve the run under the environment production" in closed.log
    gate.review("ada")
    wrong = production(github, digest)
    assert wrong.code == 3
    assert "ada started this run and approved it alone" in wrong.error()[0]


@pytest.mark.timeout(400)  # some thirty jobs, one after the other
def test_from_push_to_production_and_back(github: GitHub, api: tuple[Api, str]) -> None:
    gate, url = api[0], github.secrets["production"]["PRODUCTION_DATABASE_URL"]
    digest = to_the_gate(github)
    refused_at_the_gate(github, gate, digest)
    assert not applied(url)
    gate.review("grace")
    opened = production(github, digest)
    assert opened.code == 0, opened.log
    assert applied(url) == [*BASE, ADDED]
    assert digest[:12] in opened.log

    by_the_clock(github)
    rolled_back(github, gate, url)
    restored(github)
    restored_in_production(github, gate, url)
    files = ("deploy.yml", "backup.yml", "drill.yml", "rollback.yml", "restore.yml")
    assert run_lines(*files) == github.ran


def by_the_clock(github: GitHub) -> None:
    """Take the nightly backup, and restore it as every week."""
    taken = github.job("backup.yml", "backup", event={"schedule": "23 2 * * *"})
    assert taken.code == 0, taken.log
    drilled = github.job("drill.yml", "drill", event={"schedule": "47 4 * * 0"})
    assert drilled.code == 0, drilled.log
    assert re.search(r"proven by restore into .*, in \d+\.\d s", drilled.summary)


def rolled_back(github: GitHub, gate: Api, url: str) -> None:
    """Undo the newest migration by hand, behind the same gate."""
    inputs = {"environment": "production", "by": "name", "which": ADDED, "confirm": "production"}
    look = github.job("rollback.yml", "look", ref="merge", inputs=inputs, run=43)
    assert look.code == 0, look.log
    needs = {"look": {"outputs": look.outputs}}
    assert "DROP TABLE" in look.log.upper()
    assert applied(url) == [*BASE, ADDED]
    gate.reviews.clear()
    closed = github.job("rollback.yml", "rollback", ref="merge", inputs=inputs, needs=needs, run=43)
    assert closed.code == 3
    gate.review("grace")
    lost = {"look": {"outputs": {"digest": ""}}}
    refused = github.job("rollback.yml", "rollback", ref="merge", inputs=inputs, needs=lost, run=43)
    assert (refused.code, applied(url)) == (3, [*BASE, ADDED]), refused.log
    back = github.job("rollback.yml", "rollback", ref="merge", inputs=inputs, needs=needs, run=43)
    assert back.code == 0, back.log
    assert applied(url) == list(BASE)


def restored(github: GitHub) -> None:
    """Restore UAT as it was before its deployment; not without its name typed."""
    inputs = {"environment": "uat", "backup": "latest", "into": "", "confirm": "production"}
    show = github.job("restore.yml", "show", ref="merge", inputs=inputs, run=44)
    assert show.code == 0, show.log
    assert "in the place of the live database" in show.summary
    assert applied(github.secrets["uat"]["UAT_DATABASE_URL"])  # it only shows
    needs = {"show": {"outputs": show.outputs}}
    unconfirmed = github.job(
        "restore.yml", "restore", ref="merge", inputs=inputs, needs=needs, run=44
    )
    assert unconfirmed.code == 3, unconfirmed.log
    inputs["confirm"] = "uat"
    done = github.job("restore.yml", "restore", ref="merge", inputs=inputs, needs=needs, run=44)
    assert done.code == 0, done.log
    assert not applied(github.secrets["uat"]["UAT_DATABASE_URL"])


def restored_in_production(github: GitHub, gate: Api, url: str) -> None:
    """Restore production behind the gate: what was shown, once, and with its digest alone."""
    inputs = {"environment": "production", "into": "", "confirm": "production"}
    show = github.job("restore.yml", "show", ref="merge", inputs=inputs, run=45)
    assert show.code == 0, show.log
    assert show.outputs["digest"] in show.summary

    def restore(digest: str) -> Done:
        needs = {"show": {"outputs": {"digest": digest}}}
        return github.job("restore.yml", "restore", ref="merge", inputs=inputs, needs=needs, run=45)

    gate.reviews.clear()
    closed = restore(show.outputs["digest"])  # CONFIRM_RESTORE is yes, and opens nothing
    assert closed.code == 3, closed.log
    assert "approve the run under the environment production" in closed.log
    gate.review("grace")
    refused = restore("")  # lost on the way
    assert (refused.code, "none was handed on" in refused.error()[0]) == (3, True), refused.log
    before = applied(url)
    done = restore(show.outputs["digest"])
    assert done.code == 0, done.log
    assert applied(url) != before
    again = restore(show.outputs["digest"])
    assert again.code == 3, again.log


def applied(url: str) -> list[str]:
    """Return the names in a history; none where there is no table."""
    with psycopg.connect(url) as connection:
        there = connection.execute("select to_regclass('schema_migrations')").fetchone()
        if there is None or there[0] is None:
            return []
        query = "select migration_name from schema_migrations order by 1"
        return [row[0] for row in connection.execute(query).fetchall()]


def test_a_pull_request_has_one_comment_written_anew(github: GitHub, api: tuple[Api, str]) -> None:
    event = {"pull_request": {"number": 17}}
    api[0].comments.append(
        {"id": 1, "body": "<!-- windlass check -->\nmine", "user": {"login": "eve", "type": "User"}}
    )

    prepare = "echo prepared | cat"
    checked = github.job("check.yml", "migrations", ref="merge", event=event, prepare=prepare)
    assert checked.code == 0, checked.log
    assert checked.log.startswith("prepared\n")
    first = github.job("check.yml", "comment", event=event)
    assert first.code == 0, first.log
    git(github.origin, "checkout", "--quiet", "feature")
    (github.origin / "migrations" / f"{ADDED}_rollback.sql").write_text("SELECT 1;\n")
    git(github.origin, "commit", "--quiet", "--all", "-m", "worse")
    git(github.origin, "checkout", "--quiet", "-B", "merge", "main")
    git(github.origin, "merge", "--quiet", "--no-ff", "feature")
    again = github.job("check.yml", "migrations", ref="merge", event=event)
    second = github.job("check.yml", "comment", event=event)

    assert f"{ADDED}  up, down, up" in checked.log
    assert f"`{ADDED}`" in checked.summary
    assert (again.code, second.code) == (1, 0), again.log + second.log
    foreign, ours = api[0].comments
    assert foreign["body"].endswith("mine")
    assert "its rollback does not give the schema back" in ours["body"]
    lines = run_lines("check.yml") - {("check.yml", "Lint")}
    assert lines | {("check.yml", "Prepare the project")} == github.ran


def test_lint_hands_its_findings_to_code_scanning(github: GitHub) -> None:
    done = github.job("check.yml", "lint", ref="merge")

    assert done.code == 0, done.log
    written = json.loads((github.home / "artifacts-42" / "lint" / "lint.sarif").read_text())
    assert written["version"] == "2.1.0"


@pytest.fixture(params=["transaction", "concurrently"])
def slow(request: pytest.FixtureRequest, tmp_path: Path, database16: Database) -> Project:
    """A project whose second migration takes two minutes, or waits for whoever writes."""
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(FIRST, "create table a (i int);", "drop table a;")
    within = request.param == "transaction"
    text = f"select {MARK} pg_sleep(120);"
    if not within:
        text = f"create index concurrently {MARK} a_i on a (i);"
    project.migration(SECOND, text, "select 1;" if within else "drop index a_i;")
    shutil.copy(ROOT / "tasks.py", project.home)
    assert project.run("migrate", "--env", "dev", "--to", FIRST).code == 0
    return project


def test_a_cancelled_job_ends_its_statement_and_gives_the_lock_back(slow: Project) -> None:
    """SIGINT to the step's process alone, SIGTERM after 7.5 s, the end after 10 s: the runner's.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-cancellation
    """
    script = slow.home.parent / "step.sh"
    script.write_text(next(s["run"] for s in steps(WORKFLOWS / "deploy.yml") if "run" in s))
    assert script.read_text() == "exec invoke deploy --env dev"
    path = f"{Path(sys.executable).parent}:{slow.variables()['PATH']}"
    with psycopg.connect(slow.url, autocommit=True) as watching, psycopg.connect(slow.url) as busy:
        busy.execute("insert into a values (1)")
        child = subprocess.Popen(
            ["bash", "-e", str(script)],
            cwd=slow.home,
            env={**slow.variables(), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(watching, RUNNING)
            code, took = cancel(child)
        finally:
            child.kill()
            out = child.communicate()[0]
        locks = "select 1 from pg_locks where locktype = 'advisory'"
        left = [watching.execute(query.encode()).fetchone() for query in (RUNNING, locks)]
        busy.rollback()

    assert (code, left) == (130, [None, None]), out
    assert took < 7.5, out
    newest = slow.deployments("dev")[0]
    assert (newest["status"], newest["migrations"]) == ("interrupted", [SECOND])
    assert slow.applied() == [FIRST]


def until(connection: psycopg.Connection, query: str) -> None:
    """Wait until a query finds something."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute(query.encode()).fetchone()
        if row is not None and row[0] is not None:
            return
        time.sleep(0.02)
    raise AssertionError(f"never came: {query}")


def cancel(child: "subprocess.Popen[str]") -> tuple[int, float]:
    """Send what GitHub's runner sends when a job is cancelled; return how it ended, and when."""
    began = time.monotonic()
    for number, within in ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5)):
        child.send_signal(number)
        try:
            return child.wait(within), time.monotonic() - began
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    return child.wait(), time.monotonic() - began
