"""Law 6: no secret leaves. Planted, and looked for in everything that comes out."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret, redact
from tests.fix_postgres import Server
from tests.fix_runner import Job
from tests.kit import WINDLASS, Project

PASSWORD = "s3cret/p%40ss"  # as it stands in the URL; the server knows it decoded
DECODED = "s3cret/p@ss"


@pytest.fixture
def project(tmp_path: Path, database16: Database, server16: Server) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    found.url = found.url.replace("postgres@", f"postgres:{PASSWORD.replace('/', '%2F')}@")
    return found


def everything(project: Project, *runs: tuple[str, ...]) -> str:
    found = [project.run(*arguments) for arguments in runs]
    texts = [ran.out + ran.err for ran in found]
    texts += [
        path.read_text(errors="replace") for path in project.home.rglob("*") if path.is_file()
    ]
    with psycopg.connect(project.url) as connection:
        for table in ("windlass.deployment", "windlass.step"):
            rows = connection.execute(f"select t::text from {table} t".encode()).fetchall()
            texts += [row[0] for row in rows]
    return "\n".join(texts)


def test_the_password_shows_in_no_output_plan_backup_or_journal(project: Project) -> None:
    found = everything(
        project,
        ("doctor", "--env", "uat"),
        ("plan", "--env", "uat", "--out", "plan.json"),
        ("plan", "--env", "uat", "--json"),
        ("deploy", "--env", "uat", "--json"),
        ("deploy", "--env", "uat", "--debug"),
        ("history", "--env", "uat", "--json"),
        ("backup.list", "--env", "uat", "--json"),
    )

    for form in (PASSWORD, DECODED, "s3cret"):
        assert form not in found


def test_a_refused_login_does_not_show_the_password(project: Project) -> None:
    project.url = f"postgresql://nobody:{PASSWORD.replace('/', '%2F')}@127.0.0.1:9/x"

    for arguments in (("status",), ("deploy",), ("deploy", "--debug"), ("doctor", "--json")):
        ran = project.run(*arguments, "--env", "uat")
        assert ran.code == 1
        assert "s3cret" not in ran.out + ran.err


def test_a_url_that_is_none_does_not_show_the_password(project: Project) -> None:
    project.url = f"postgresql://u:{PASSWORD.replace('/', '%2F')}@[bad/x"

    ran = project.run("status", "--env", "uat")

    assert ran.code == 2
    assert "s3cret" not in ran.out + ran.err


def test_a_password_that_a_server_message_repeats_is_taken_out(project: Project) -> None:
    project.migration(
        "20260802_000000_b", f"do $$ begin raise exception 'seen: {DECODED}'; end $$;", "select 1;"
    )

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 1
    assert "seen: ***" in ran.err


def test_every_form_of_a_url_password_is_known() -> None:
    Secret("postgresql://u:a%2Fb%40cde@host/db")

    assert redact("a%2Fb%40cde and a/b@cde") == "*** and ***"
    assert repr(Secret("abcdef")) == str(Secret("abcdef")) == f"{Secret('abcdef')}" == "***"


PLANTED = {
    "SHOP_PASSWORD": "pgp4ss-in-a-variable",
    "API_TOKEN": "b34rer-of-the-smoke-test",
    "HEADER_KEY": "h34der-of-the-smoke-test",
    "GITHUB_TOKEN": "ghs_0123456789abcdef",
    "AWS_SECRET_ACCESS_KEY": "s3/secret+access0key",
    "AWS_SESSION_TOKEN": "s3session0token",
    "DEPLOY_KEY": "-----BEGIN KEY-----\nf1rst-line-of-a-key\nsec0nd-line-of-a-key\n",
}
FORMS = [
    line for value in PLANTED.values() for line in value.splitlines() if "-----" not in line
] + ["s3cret"]


def test_no_secret_shows_on_github_wherever_it_was_planted(project: Project) -> None:
    shown = ", ".join(f"'{value}'" for value in (*FORMS[:-1], DECODED))
    texts = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        texts.replace(
            "checks: [{get: /health,",
            'checks: [{get: "/x", bearer: "${API_TOKEN}", headers: {X-Key: "${HEADER_KEY}"},',
        )
    )
    (project.home / "restart.py").write_text(
        "import os, sys\n"
        "for name, value in os.environ.items():\n"
        "    print(name, value)\n    print(name, value, file=sys.stderr)\nsys.exit(1)\n"
    )
    project.migration(
        "20260802_000000_b",
        f"do $$ declare one text; begin foreach one in array array[{shown}] loop "
        f"raise notice '%', one; end loop; raise exception 'seen: %', array[{shown}]; end $$;",
        "select 1;",
    )
    job = Job(project)

    ran = [
        job.run(*arguments, **PLANTED)
        for arguments in (
            ("plan", "--env", "uat", "--json"),
            ("plan", "--env", "uat", "--out", "plan.json"),
            ("lint", "--sarif", "lint.sarif"),
            ("migrate", "--env", "uat", "--dry-run"),
            ("restart", "--env", "production"),  # before the database is another environment's
            ("deploy", "--env", "uat", "--debug", "--json"),
            ("smoke", "--env", "production"),
            ("plan", "--env", "uat"),
        )
    ]

    assert [one.code for one in ran] == [0, 3, 0, 0, 1, 1, 1, 0]
    log = "\n".join(
        line
        for one in ran
        for line in (one.out + one.err).splitlines()
        if not line.startswith("::add-mask::")
    )
    assert "seen: " in log
    project.script("20260802_000000_b").unlink()  # where it was planted
    (project.home / "plan.json").unlink(missing_ok=True)
    files = [path for path in project.home.parent.rglob("*") if path.is_file()]
    log += "\n".join(path.read_text(errors="replace") for path in files)
    log += everything(project)
    assert [form for form in FORMS if form in log] == []


def test_everything_is_masked_before_anything_is_said(project: Project) -> None:
    ran = Job(project).run("status", "--env", "dev", **PLANTED)

    lines = ran.err.splitlines()
    masks = [line.removeprefix("::add-mask::") for line in lines if line.startswith("::add-mask::")]
    assert set(FORMS) - {"s3cret"} <= set(masks)
    assert DECODED in masks
    assert lines[: len(masks)] == [f"::add-mask::{mask}" for mask in masks]
    assert "***" not in masks


def test_a_file_keeps_no_masks(project: Project, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        subprocess.run(
            [str(WINDLASS), "status", "--env", "dev"],
            cwd=project.home,
            stdout=log,
            stderr=log,
            env={**project.variables(), **PLANTED, "GITHUB_ACTIONS": "true"},
            check=False,
        )

    assert "pending" in (tmp_path / "log").read_text()
    assert "add-mask" not in (tmp_path / "log").read_text()


def test_a_password_that_is_a_word_stops_no_plan(project: Project) -> None:
    project.migration("20260802_000000_b", "create table logins (password text);", "select 1;")

    ran = project.run("plan", "--env", "uat", "--out", "plan.json", SHOP_PASSWORD="password")

    assert ran.code == 0
