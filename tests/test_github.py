"""What a task says on GitHub: summary, outputs, annotations, groups, masks; and nothing else."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pgwindlass.database.connection import Database
from pgwindlass.model import (
    Migration,
    Plan,
    PlannedStep,
    StepName,
    Target,
)
from pgwindlass.report import markdown
from pgwindlass.report import summary as summaries
from pgwindlass.report.runner_commands import harmless
from tests.fix_runner import Job, heard
from tests.fix_service import api_of
from tests.kit import WINDLASS, Project

A = "20260801_000000_create_orders"
B = "20260802_000000_add_total"
NASTY = (
    "a|b",
    "`x`",
    "``|``",
    "<script>alert(1)</script>",
    "@everyone",
    "#1",
    "a\\|b",
    "[x](http://y)",
    "</details>",
    "*a* _b_ ~c~",
    "line\nbreak\r\n| x |",
    "![i](http://z/i.png)",
    "https://evil.test",
    "```\nmermaid",
    "<!--",
    "&lt;b&gt;",
    "trailing\\",
)


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Iterator[Project]:
    with api_of(database16) as base_url:
        found = Project(tmp_path / "shop", database16.url.reveal(), base_url)
        found.migration(A, "create table orders (id int primary key);", "drop table orders;")
        yield found


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Parse the tables of a summary back: rows of cells, the text of each as it is shown."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and tables and token.level >= 4:
            tables[-1][-1].append(
                "".join(
                    child.content for child in token.children or () if child.type != "html_inline"
                )
            )
    return tables


def a_plan(count: int, sql: str = "select 1;") -> Plan:
    names = [f"20260801_{at:06}_m" for at in range(count)]
    return Plan(
        project="shop",
        environment="uat",
        tier="acceptance",
        direction="up",
        engine="sql",
        engine_version="1",
        target=Target(system_identifier="1", database="shop", server_version=160004),
        history=(),
        schema_fingerprint="f",
        policy=(),
        migrations=tuple(Migration(name=n, checksum="sha256:0", sql=sql) for n in names),
        steps=(PlannedStep(name=StepName.MIGRATE, required=True),),
    )


def test_a_deployment_says_everything_a_person_needs(project: Project) -> None:
    job = Job(project)

    ran = job.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    deployment = project.deployments("uat")[0]
    assert job.outputs["status"] == "deployed"
    assert job.outputs["deployment"] == deployment["id"]
    assert job.outputs["backup"] == deployment["backup"]
    assert "url" in job.outputs
    facts, steps, migrations = tables_of(job.summary)
    assert ["deployment", deployment["id"]] in facts
    assert [row[0] for row in steps[1:]] == [r["step"] for r in deployment_of(project)["results"]]
    assert migrations[1][1] == A
    assert job.summary.startswith("### Deployed: uat\n")
    assert f"invoke rollback --env uat --deployment {deployment['id']}" in job.summary
    gantt = job.summary.split("```mermaid\n")[1].split("```")[0]
    assert re.search(r"^    migrate, \d+\.\d s :done, \d+, \d+$", gantt, re.MULTILINE)


def deployment_of(project: Project) -> dict[str, list[dict[str, str]]]:
    newest = project.deployments("uat")[0]["id"]
    found: dict[str, list[dict[str, str]]] = project.json(
        "history", "--env", "uat", "--deployment", newest
    )
    return found


def test_a_plan_gives_its_digest_and_folds_its_sql(project: Project) -> None:
    job = Job(project)

    ran = job.run("plan", "--env", "production", "--out", "plan.json")

    assert ran.code == 0, ran.err
    digest = project.json("plan", "--env", "production")["digest"]
    assert job.outputs == {
        "digest": digest,
        "digest12": digest[:12],
        "migrations": "1",
        "pending": "true",
    }
    said = heard(ran.out)
    assert [(name, data) for name, _, data in said.obeyed] == [("group", "SQL"), ("endgroup", "")]
    assert ["digest", digest] in tables_of(job.summary)[0]
    assert "create table orders" in job.summary.split("<details>")[1]
    job.run("migrate", "--env", "dev")
    job.run("plan", "--env", "dev")
    assert (job.outputs["migrations"], job.outputs["pending"]) == ("0", "false")


def test_the_fold_is_obeyed_where_both_streams_are_one_log(project: Project) -> None:
    job = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_RUN_ID": "1",
    }

    log = subprocess.run(
        [str(WINDLASS), "plan", "--env", "production", "--rehearse"],
        cwd=project.home,
        text=True,
        env={**project.variables(), **job},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    ).stdout

    obeyed = [name for name, _, _ in heard(log).obeyed]
    assert "rehearses nothing" in log
    assert obeyed[obeyed.index("stop-commands") :] == ["stop-commands", "group", "endgroup"]


def test_backups_drills_and_restores_have_a_summary(project: Project) -> None:
    project.run("migrate", "--env", "dev")
    job = Job(project)

    assert job.run("backup", "--env", "uat").code == 0
    identifier = job.outputs["backup"]
    assert f"invoke restore --env uat --from {identifier}" in job.summary
    assert job.run("backup.verify", "--env", "uat", "--level", "checksum").code == 0
    assert job.outputs["backup"] == identifier
    assert job.run("restore", "--env", "uat", CONFIRM_RESTORE="yes").code == 0
    assert job.outputs["backup"] == identifier
    assert job.summary.startswith("### Restored: uat")
    ran = job.run("rollback", "--env", "uat", "--name", A, CONFIRM_ROLLBACK="yes")
    assert ran.code == 0, ran.err
    assert job.summary.startswith("### Rolled back: uat")
    assert tables_of(job.summary)[-1][1][1] == A


def test_a_failure_stands_on_the_file_and_line_that_broke(project: Project) -> None:
    project.migration(B, "\ncreate table t (i int);\ndrop table nothing_there;", "")
    job = Job(project)

    ran = job.run("migrate", "--env", "dev")

    assert ran.code == 1
    errors = heard(ran.err).of("error")
    assert len(errors) == 1
    assert f"file=shop/migrations/{B}.sql,line=3," in errors[0][0]
    assert "nothing_there" in errors[0][1]
    assert job.outputs["status"] == "failed"
    assert job.summary.startswith("### Failed: dev")
    assert "Next:\n\n```\n" in job.summary
    assert job.outputs["deployment"]


def test_a_deployment_that_lint_stops_annotates_what_it_found(project: Project) -> None:
    assert project.run("deploy", "--env", "uat").code == 0  # what it makes itself may be emptied
    project.migration(B, "create table t (i int);\ntruncate orders;", "drop table t;")
    job = Job(project)

    ran = job.run("deploy", "--env", "uat")

    assert ran.code == 3
    titles = [properties.split(",title=") for properties, _ in heard(ran.err).of("error")]
    assert titles == [[f"file=shop/migrations/{B}.sql,line=2", t] for t in ("Windlass", "truncate")]
    assert job.outputs["status"] == "refused"
    assert "#### Lint: " in job.summary


def test_a_refusal_before_anything_has_a_summary_too(project: Project) -> None:
    job = Job(project)

    ran = job.run("deploy", "--env", "nowhere")

    assert ran.code == 2
    assert "nowhere" in job.summary
    assert job.outputs["status"] == "failed"
    assert [data for _, data in heard(ran.err).of("error")]


def test_lint_annotates_and_writes_sarif(project: Project) -> None:
    project.migration(
        B,
        "alter table orders\n  add column n int default random()*9;\ntruncate orders;",
        "select 1;",
    )
    job = Job(project)

    ran = job.run("lint", "--sarif", "lint.sarif")

    assert ran.code == 1
    said = heard(ran.err)
    assert said.of("error")[0][0] == f"file=shop/migrations/{B}.sql,line=3,title=truncate"
    found = json.loads((project.home / "lint.sarif").read_text())
    results = found["runs"][0]["results"]
    assert {
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results
    } == {f"shop/migrations/{B}.sql"}
    assert "truncate" in {one["ruleId"] for one in results}


def test_nothing_of_it_appears_elsewhere(project: Project, tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for arguments in (("plan",), ("deploy",), ("rollback", "--name", "none")):
        ran = project.run(*arguments, "--env", "dev", **files)
        assert heard(ran.err, ran.out).obeyed == []
    assert not any(Path(path).exists() for path in files.values())


def test_json_stays_one_document_that_says_nothing_to_the_runner(project: Project) -> None:
    project.migration(B, "-- ##[error]spoken\nselect '##[add-mask]x';", "select 1;")
    job = Job(project)

    ran = job.run("plan", "--env", "dev", "--json")

    assert heard(ran.out).obeyed == []
    assert json.loads(ran.out)["plan"]["migrations"][1]["sql"].startswith("-- ##[error]spoken")


@pytest.mark.unit
@pytest.mark.parametrize("text", NASTY)
def test_no_text_breaks_out_of_a_cell(text: str) -> None:
    page = markdown.facts(("what", text), ("next", "stays"))

    found = tables_of(markdown.rendered([page]))
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(
        markdown.rendered([page])
    )

    assert found == [[["", ""], ["what", " ".join(text.split())], ["next", "stays"]]]
    assert not re.search(r"<(script|a|img|em|/details|!--)", html)


@pytest.mark.unit
@pytest.mark.parametrize("text", NASTY)
def test_no_text_ends_a_block_of_code(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown.fence(f"a\n{text}\n````\nz"))

    assert [token.type for token in tokens] == ["fence"]


@pytest.mark.unit
def test_two_hundred_migrations_stay_within_the_limit_and_it_says_what_is_left_out() -> None:
    plan = a_plan(200, "-- " + "x" * 10_000)
    page = summaries.plan_page(plan, tuple(m.sql for m in plan.migrations), "")

    text = markdown.rendered(page.sections)

    assert len(text.encode()) < markdown.LIMIT
    assert "100 more migrations left out here; `invoke plan` has them all." in text
    assert re.search(r"\d+ more migrations' SQL left out here; plan.json has it whole", text)
    assert len(tables_of(text)[1]) == 101


def test_a_step_that_has_said_much_already_stays_within_the_limit(
    project: Project, tmp_path: Path
) -> None:
    job = Job(project)
    (tmp_path / "summary-1").write_text("x" * (1024**2 - 2000))

    assert job.run("plan", "--env", "dev").code == 0

    assert len(job.summary.encode()) <= 1024**2


@pytest.mark.unit
@pytest.mark.parametrize(
    "line",
    [
        "::error::x",
        "\t ::error::x",
        "\u00a0::error::x",
        "\x01::error::x",
        "\u200b::error::x",
        "in ##[error]x",
        "###[error]x",
        "#\u00ad#[error]x",
        "\x85::error::x",
        ":\u200b:error::x",
    ],
)
def test_no_line_is_a_command(line: str) -> None:
    said = harmless(line)

    assert heard(said).obeyed == []
    shown = re.sub("[\x01\u200b\u00ad]", "", said).lstrip()
    assert not shown.startswith("::")
    assert "##[" not in shown
