"""What was approved is all that decides: commit, files, variables, server. Nothing beside it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.deployment.checkout import look
from pgwindlass.errors import ConfigError
from tests.kit import Project, Ran, tables

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

A = "20260801_000000_create_orders"
FILES = {
    "restart.sh": "#!/bin/sh\n. ./lib.sh\n",
    "scripts/api.sh": "exec true\n",
    "deploy/one.yml": "a: 1\n",
    "deploy/two.yml": "b: 2\n",
    "ident.sh": "date +%N\n",
    "notes.md": "words\n",
    ".gitignore": "*.local\nplan.json\n.windlass/\n",
}
RUN = (
    "run: [sh, -c, './restart.sh --to ${PLACE:-blue} && sh scripts/api.sh', "
    "--file=deploy/one.yml, deploy]"
)


def git(home: Path, *arguments: str) -> str:
    who = ["-c", "user.email=ann@example.com", "-c", "user.name=Ann"]
    argv = ["git", "-C", str(home), *who, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def write(home: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one commit, copied for each test."""
    project = Project(tmp_path_factory.mktemp("whole") / "shop", "postgresql:///nowhere")
    project.migration(A, "create table orders (id int);", "drop table orders;")
    text = project.deploy_yml.read_text()
    lines = [
        f"      {RUN}" if line.strip().startswith("run:") else line for line in text.splitlines()
    ]
    text = "\n".join(lines).replace(
        f'identity: [cat, "{project.home}/identity"]', "identity: [sh, ident.sh]"
    )
    project.deploy_yml.write_text(text.replace(str(project.home), "HOME") + "\n")
    write(project.home, FILES)
    for name in ("identity", "restart.py"):  # the kit's own service
        (project.home / name).unlink()
    git(project.home, "init", "--quiet")
    git(project.home, "add", *FILES, "deploy.yml", "migrations")
    git(project.home, "commit", "--quiet", "--message", "first")
    return project.home


@pytest.fixture
def project(bare: Path, tmp_path: Path, database16: Database) -> Project:
    home = tmp_path / "shop"
    found = object.__new__(Project)
    found.home, found.url, found.env, found.engine = home, database16.url.reveal(), {}, "sql"
    shutil.copytree(bare, home, symlinks=True)
    return found


def planned(project: Project) -> str:
    ran = project.run("plan", "--env", "production", "--out", "plan.json")
    assert ran.code == 0, ran.err
    return ran.out


def deployed(project: Project, *arguments: str, **variables: str) -> Ran:
    argv = ("deploy", "--env", "production", *(arguments or ("--plan", "plan.json")))
    return project.run(*argv, **variables)


def require_refused(ran: Ran, project: Project, *said: str) -> None:
    assert ran.code in (2, 3), ran.err
    lines = ran.error()
    for words in said:
        assert words in lines[0], ran.err
    assert tables(project.url) == set()


# What is changed on disk, in ways that git itself does not tell. Each returns what must be named.


def edited(home: Path) -> str:
    (home / "notes.md").write_text("other words\n")
    return "notes.md"


def edited_and_staged(home: Path) -> str:
    (home / "restart.sh").write_text("echo got in\n")
    git(home, "add", "restart.sh")
    return "restart.sh"


def assumed_unchanged(home: Path) -> str:
    git(home, "update-index", "--assume-unchanged", "restart.sh")
    (home / "restart.sh").write_text("echo got in\n")
    assert git(home, "status", "--porcelain") == ""
    return "restart.sh"


def skipped_in_the_work_tree(home: Path) -> str:
    git(home, "update-index", "--skip-worktree", "restart.sh")
    (home / "restart.sh").write_text("echo got in\n")
    assert git(home, "status", "--porcelain") == ""
    return "restart.sh"


def of_the_same_size_and_time(home: Path) -> str:
    file = home / "restart.sh"
    git(home, "config", "core.trustctime", "false")
    git(home, "config", "core.checkStat", "minimal")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    git(home, "update-index", "--refresh")
    file.write_text(file.read_text().replace("lib.sh", "evi.sh"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert git(home, "status", "--porcelain") == ""
    return "restart.sh"


def through_a_filter(home: Path) -> str:
    good = (home / "restart.sh").read_text()
    (home / "good").write_text(good)
    git(home, "config", "filter.x.clean", f"cat {home}/good")
    (home / ".git" / "info" / "attributes").write_text("restart.sh filter=x\n")
    (home / "restart.sh").write_text("echo got in\n")
    assert git(home, "hash-object", "restart.sh") == git(home, "rev-parse", "HEAD:restart.sh")
    return "restart.sh"


def under_a_replaced_commit(home: Path) -> str:
    first = git(home, "rev-parse", "HEAD")
    (home / "restart.sh").write_text("echo got in\n")
    git(home, "commit", "--quiet", "--all", "--message", "evil")
    evil = git(home, "rev-parse", "HEAD")
    git(home, "reset", "--quiet", "--soft", first)
    git(home, "replace", first, evil)
    assert git(home, "rev-parse", "HEAD") == first
    return "restart.sh"


def an_untracked_migration(home: Path) -> str:
    write(home, {"migrations/20260802_000000_more.sql": "select 1;"})
    write(home, {"migrations/20260802_000000_more_rollback.sql": "select 1;"})
    return "migrations/20260802_000000_more.sql (not in the commit)"


def an_ignored_migration(home: Path) -> str:
    (home / ".git" / "info" / "exclude").write_text("*_more*\n")
    return an_untracked_migration(home)


def a_migration_that_is_staged_alone(home: Path) -> str:
    name = an_untracked_migration(home)
    git(home, "add", "migrations")
    return name


def a_migration_that_is_gone(home: Path) -> str:
    (home / "migrations" / f"{A}_rollback.sql").unlink()
    (home / "migrations" / f"{A}.sql").unlink()
    return f"migrations/{A}.sql"


def an_untracked_file_in_a_directory_that_is_named(home: Path) -> str:
    (home / "deploy" / "three.yml").write_text("c: 3\n")
    return "deploy/three.yml (not in the commit)"


def a_script_that_became_a_link(home: Path) -> str:
    (home / "restart.sh").unlink()
    (home / "other.local").write_text(FILES["restart.sh"])
    (home / "restart.sh").symlink_to("other.local")
    return "restart.sh"


def another_deploy_yml(home: Path) -> str:
    text = (home / "deploy.yml").read_text()
    (home / "deploy.yml").write_text(text.replace("within: 5s", "within: 6s"))
    return "deploy.yml"


def no_readable_repository(home: Path) -> str:
    (home / ".git" / "HEAD").write_text("ref: refs/heads/none\n")
    return ".git (git does not read it, or it has no commit)"


@pytest.mark.parametrize(
    "change",
    [
        edited,
        edited_and_staged,
        assumed_unchanged,
        skipped_in_the_work_tree,
        of_the_same_size_and_time,
        through_a_filter,
        under_a_replaced_commit,
        an_untracked_migration,
        an_ignored_migration,
        a_migration_that_is_staged_alone,
        a_migration_that_is_gone,
        an_untracked_file_in_a_directory_that_is_named,
        a_script_that_became_a_link,
        another_deploy_yml,
        no_readable_repository,
    ],
    ids=lambda change: change.__name__,
)
def test_production_runs_nothing_that_no_commit_has(
    project: Project, change: Callable[[Path], str]
) -> None:
    name = change(project.home)

    ran = deployed(project, "--yes")

    require_refused(ran, project, "the files here are not those of ", name)
    assert ran.error()[1] == "  state: nothing was changed"
    assert "git status" in ran.error()[2]


def test_what_decides_nothing_may_lie_beside_the_commit(project: Project) -> None:
    """A plan's file, an artifact, what a .gitignore names: no attack, and no refusal."""
    write(project.home, {"plan.json": "{}", "report.html": "x", "a.local": "x"})

    assert " has no approval" in deployed(project, "--yes").error()[0]


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"])
def test_git_cannot_be_pointed_at_another_repository(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(tmp_path))

    with pytest.raises(ConfigError) as caught:
        look(bare)
    assert caught.value.next_step == f"unset {name}"


def test_a_submodule_is_looked_into(tmp_path: Path) -> None:
    inner, home = tmp_path / "inner", tmp_path / "outer"
    for place in (inner, home):
        place.mkdir()
        git(place, "init", "--quiet")
        write(place, {"lib.sh": "true\n"})
        git(place, "add", ".")
        git(place, "commit", "--quiet", "--message", "first")
    allow = ("-c", "protocol.file.allow=always")
    git(home, *allow, "submodule", "--quiet", "add", str(inner), "lib")
    git(home, "commit", "--quiet", "--message", "lib")
    assert look(home).changed == ()

    (home / "lib" / "lib.sh").write_text("echo got in\n")
    git(home, "config", "submodule.lib.ignore", "all")

    assert git(home, "status", "--porcelain") == ""
    assert look(home).changed == ("lib/lib.sh",)
    git(home / "lib", "commit", "--quiet", "--all", "--message", "evil")
    assert look(home).changed == ("lib (another commit of the submodule)", "lib/lib.sh")


# What changes between the look and the run. Each returns the words of the difference.


def another_commit(project: Project) -> str:
    git(project.home, "commit", "--quiet", "--allow-empty", "--message", "second")
    return "another commit: "


def a_script(project: Project) -> str:
    write(project.home, {"restart.sh": "echo got in\n"})
    return "the file restart.sh was edited"


def a_script_that_a_shell_s_words_name(project: Project) -> str:
    write(project.home, {"scripts/api.sh": "echo got in\n"})
    return "the file scripts/api.sh was edited"


def a_file_behind_an_equals_sign(project: Project) -> str:
    write(project.home, {"deploy/one.yml": "a: 9\n"})
    return "the file deploy/one.yml was edited"


def a_file_of_a_directory(project: Project) -> str:
    write(project.home, {"deploy/three.yml": "c: 3\n"})
    return "the file deploy/three.yml is new"


def the_identity(project: Project) -> str:
    write(project.home, {"ident.sh": "echo got in\n"})
    return "the file ident.sh was edited"


def a_variable(project: Project) -> str:
    project.env["PLACE"] = "green; curl evil"
    return "the variable PLACE has another value"


def a_copy_of_the_server(project: Project) -> str:
    """The same system identifier and database, as a physical copy has, at another address."""
    host = psycopg.conninfo.conninfo_to_dict(project.url)["host"]
    link = project.home.parent / "copy"
    link.symlink_to(str(host))
    project.url = project.url.replace(str(host), str(link))
    return f"now: at {link}:"


def a_copy_by_a_variable_of_libpq(project: Project) -> str:
    host = psycopg.conninfo.conninfo_to_dict(project.url)["host"]
    link = project.home.parent / "copy"
    link.symlink_to(str(host))
    name = psycopg.conninfo.conninfo_to_dict(project.url)["dbname"]
    project.url = f"postgresql://postgres@/{name}"
    project.env["PGHOST"] = str(link)
    return f"{link}:5432/{name}"


@pytest.mark.parametrize(
    "change",
    [
        another_commit,
        a_script,
        a_script_that_a_shell_s_words_name,
        a_file_behind_an_equals_sign,
        a_file_of_a_directory,
        the_identity,
        a_variable,
        a_copy_of_the_server,
        a_copy_by_a_variable_of_libpq,
    ],
    ids=lambda change: change.__name__,
)
def test_what_decides_and_was_changed_after_the_plan_refuses(
    project: Project, change: Callable[[Project], str]
) -> None:
    shutil.rmtree(project.home / ".git") if change is not another_commit else None
    text = project.deploy_yml.read_text()  # in UAT, where no tree must be clean: the digest alone
    production = text.index("  production:")
    service = text[text.index("    restart:", production) :]
    head = text[:production].rstrip("\n")
    project.deploy_yml.write_text(f"{head}\n{service}")
    ran = project.run("plan", "--env", "uat", "--out", "plan.json")
    assert ran.code == 0, ran.err
    before = project.url
    words = change(project)

    ran = project.run("deploy", "--env", "uat", "--plan", "plan.json")

    assert ran.code == 3, ran.err
    assert words.removeprefix("now: at ") in ran.error()[0]
    assert "orders" not in tables(before)


def test_a_server_of_several_names_is_named_in_deploy_yml(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("  uat:\n", "  uat:\n    addresses: [db.internal:5432/shop]\n")
    )

    require_refused(
        project.run("deploy", "--env", "uat"),
        project,
        "environments.uat.addresses: the database is reached at ",
    )


def test_a_plan_of_files_that_no_commit_has_cannot_be_signed(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("approval: {from: terminal}", "approval: {from: ssh, signers: notes.md}")
    )
    planned(project)

    ran = project.run("approve", "--env", "production", "--plan", "plan.json")

    require_refused(ran, project, "the files here are not those of commit ", "deploy.yml")


def test_the_commit_is_what_is_checked_out_whatever_a_variable_says(project: Project) -> None:
    project.env["GITHUB_SHA"] = "c0ffee" * 6 + "c0ff"

    assert f"  commit     {git(project.home, 'rev-parse', 'HEAD')}\n" in planned(project)


@pytest.mark.parametrize(
    ("written", "variables", "said"),
    [
        ("{from: '${A:-ssh}', signers: notes.md}", {"A": "terminal"}, "unknown key"),
        ("{from: '${A:-github}'}", {"A": "terminal"}, '"terminal", by a variable'),
        ("{from: '${A}'}", {"A": "terminal"}, 'laxer than "github or ssh"'),
        ("{from: ssh, signers: '${A:-notes.md}'}", {"A": "/tmp/mine"}, "approval.signers: a vari"),
        ("{from: ssh, signers: '${A:-notes.md}'}", {}, "approval.signers: a variable may not"),
        ("{from: ssh, signers: notes.md, expires: '${A:-1h}'}", {"A": "900d"}, "approval.expires"),
    ],
)
def test_a_variable_does_not_weaken_the_approval(
    project: Project, written: str, variables: dict[str, str], said: str
) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("approval: {from: terminal}", f"approval: {written}")
    )

    require_refused(deployed(project, "--yes", **variables), project, said)


def test_a_variable_does_not_choose_the_tier(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("tier: production", "tier: ${TIER:-production}"))

    ran = deployed(project, "--yes", TIER="development")

    require_refused(ran, project, "environments.production.tier: a variable may not set it")


def test_a_secret_in_a_command_stands_in_no_plan(project: Project) -> None:
    project.env["PLACE"] = "hunter2-hunter2"

    out = planned(project)

    said = out + (project.home / "plan.json").read_text()
    assert "hunter2" not in said and '"PLACE","scrypt:' in said


def test_the_command_of_an_identity_is_not_run_before_the_approval(project: Project) -> None:
    (project.home / "ident.sh").write_text(f"date +%N; touch {project.home}/ran.local\n")
    git(project.home, "commit", "--quiet", "--all", "--message", "identity")

    ran = project.run("deploy", "--env", "production")

    assert ran.code != 0
    assert "approv" in ran.err
    assert not (project.home / "ran.local").exists()
