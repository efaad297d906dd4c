"""Law 6: no secret leaves. Planted, and looked for in everything that comes out."""

from pathlib import Path

import psycopg
import pytest

from ci.database import Database
from ci.secret import Secret, redact
from tests.fix_postgres import Server
from tests.kit import Project

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
