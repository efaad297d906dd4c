"""`invoke check`: a change's migrations, on the schema of the commit it is merged into."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.model import Checked, Finding, PullRequestCheck
from pgwindlass.report.check import LIMIT, check_markdown
from tests.fix_alembic import AlembicProject
from tests.fix_postgres import Server
from tests.kit import Project, tables

pytestmark = pytest.mark.sampled(3)

A, B, C = "20260801_000000_a", "20260802_000000_b", "20260803_000000_c"
WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")


def commit(project: Project) -> None:
    """Commit everything, in a repository that is made where there is none."""
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "x")):
        subprocess.run(["git", *WHO, *arguments], cwd=project.home, check=True)


@pytest.fixture
def project(tmp_path: Path, server16: Server) -> Project:
    """A repository whose commit has one migration; its database is nowhere."""
    found = Project(
        tmp_path / "shop", "postgresql://nobody@127.0.0.1:9/none", throwaway=server16.url()
    )
    found.migration(A, "create table a (i int);", "drop table a;", verify="select false;")
    commit(found)
    return found


def test_new_migrations_go_up_down_and_up_on_the_schema_of_the_base(project: Project) -> None:
    project.migration(B, "alter table a add column j int;", "alter table a drop column j;")
    project.migration(C, "create index concurrently j on a (j);", "drop index j;")

    ran = project.run("check", "--base", "HEAD", "--out", "check.md")

    assert ran.code == 0, ran.err
    assert [line for line in ran.out.splitlines() if line.endswith("up, down, up")] == [
        f"{B}  up, down, up",
        f"{C}  up, down, up",
    ]
    assert "passed: 2 new on HEAD (" in ran.out
    assert ") with its 1 migrations, on the throwaway server, PostgreSQL 16" in ran.out
    written = (project.home / "check.md").read_text()
    assert written.startswith("### ✅ Migrations\n")
    assert f"| `{C}` | before the restart, statement by statement | ✅ up, down, up |" in written
    assert "~~~sql\n" in written
    assert "create index concurrently j on a (j)" in written


def test_what_fails_is_said_and_what_builds_on_it_is_not_tried(project: Project) -> None:
    project.migration(B, "alter table missing add column j int;", "select 1;")
    project.migration(C, "create table c (i int);", "drop table c;")

    ran = project.run("check", "--base", "HEAD", "--json")

    assert ran.code == 1
    first, second = json.loads(ran.out)["migrations"]
    assert first["problem"].startswith("does not run: ")
    assert 'relation "missing" does not exist' in first["problem"]
    assert second["problem"] == f"not tried, because {B} failed"


def test_a_rollback_that_gives_something_else_back_is_told(project: Project) -> None:
    project.migration(
        B,
        "alter table a add column j int, add column k int;",
        "alter table a drop column j, drop column k, drop column i;"
        "alter table a add column i bigint;",
    )
    ran = project.run("check", "--base", "HEAD")

    assert ran.code == 1
    assert f"{B}  its rollback does not give the schema back: table public.a differs" in ran.out
    assert "FAILED: 1 new on HEAD" in ran.out


def test_one_that_cannot_run_again_is_told(project: Project) -> None:
    project.migration(B, "create table b (i int);", "alter table b rename to c;")
    project.migration(C, "select 1;", rollback=None)

    ran = project.run("check", "--base", "HEAD")

    assert f"{B}  its rollback does not give the schema back: table public.c was not" in ran.out
    assert f"{C}  up; no rollback script" in ran.out


def test_the_base_is_what_the_commit_has_not_what_lies_in_the_directory(project: Project) -> None:
    project.script(A).write_text("create table a (i bigint);")
    (project.home / "staged").write_text("x")
    subprocess.run(["git", "add", "staged"], cwd=project.home, check=True)
    before = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project.home, capture_output=True, check=True
    ).stdout

    ran = project.run("check", "--base", "HEAD")

    assert ran.code == 1
    assert f"order: {A} was edited: it may have run already" in ran.out
    after = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project.home, capture_output=True, check=True
    ).stdout
    assert after == before


def test_a_migration_older_than_the_newest_of_the_base_fails(project: Project) -> None:
    project.migration(B, "create table b (i int);", "drop table b;")
    commit(project)
    project.migration("20260801_120000_late", "create table late (i int);", "drop table late;")

    ran = project.run("check", "--base", "HEAD")

    assert ran.code == 1
    assert f"order: 20260801_120000_late is older than {B}, the base's newest" in ran.out


def test_a_base_without_migrations_and_a_base_that_is_not_there(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", "postgresql://nobody@127.0.0.1:9/none")
    commit(project)
    project.migration(A, "create table a (i int);", "drop table a;")

    assert project.run("check", "--base", "HEAD").code == 0
    ran = project.run("check", "--base", "origin/main")
    assert ran.code == 2
    assert ran.error()[0].startswith("✗ git does not know the commit origin/main here: ")
    assert "fetch-depth: 0" in ran.error()[2]
    assert project.run("check", "--base=--output=x").code == 2


def test_a_change_without_migrations_passes(project: Project) -> None:
    ran = project.run("check", "--base", "HEAD", "--out", "check.md")

    assert ran.code == 0
    assert ran.out.startswith("no new migration beside HEAD (")


def test_files_of_prisma(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", "postgresql://nobody@127.0.0.1:9/none", engine="prisma")
    project.migration(A, "create table a (i int);", None)
    commit(project)
    project.migration(B, "create table b (i int);", "drop table b;")

    ran = project.run("check", "--base", "HEAD")

    assert ran.code == 0, ran.err
    assert f"{B}  up, down, up" in ran.out


def test_revisions_of_alembic_with_the_python_of_this_checkout(
    alembic: Callable[..., AlembicProject],
) -> None:
    found = alembic("error_events")
    commit(found.project)
    table = 'op.add_column("error_events", sa.Column("seen", sa.Boolean()))'
    found.revision("b2", "1a2b3c4d5e6f", table, 'op.drop_column("error_events", "seen")')
    made = 'op.execute("create table c (i int)")'
    found.revision("c3", "b2", made, 'op.execute("select 1")')

    ran = found.project.run("check", "--base", "HEAD")

    assert ran.code == 1, ran.err
    assert "b2 b2 of a test  up, down, up" in ran.out
    assert "c3 c3 of a test  its rollback does not give the schema back: table public.c" in ran.out
    assert tables(found.project.url) == set()


@pytest.mark.unit
def test_a_comment_stays_within_what_github_takes_and_says_what_it_left_out() -> None:
    many = tuple(
        Checked(
            name=f"20260801_{at:06}_<b>|x",
            title="",
            phase="before",
            transactional=True,
            rollback=True,
            seconds=0.1,
            problem="no | <way>\n" * 400 if at % 2 else "",
            sql="select 1; -- ~~~~~~\n" * 500,
        )
        for at in range(200)
    )
    long = "no | <way>\n" * 400
    findings = [Finding(level="note", rule="r", file="f", line=1, message=long)] * 200
    found = PullRequestCheck(
        base="main",
        commit="c" * 40,
        applied=3,
        server="x",
        problems=(long,) * 200,
        findings=tuple(findings),
        migrations=many,
    )

    written = check_markdown(found)

    assert len(written) < LIMIT + 200
    assert written.count("… and 170 more; the job's log has all") == 3
    assert "is too long for a comment" in written
    assert "<b>" not in written
