"""The service on the copy: the version that serves now and the new one, on both schemas."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

BASE = "20260801_000000_base"
NEXT = "20260802_000000_next"
# A service as small as one can be: it reads one column, and tells what it was given.
SERVICE = """\
import http.server, json, os, psycopg, sys
COLUMN = {column!r}
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
                connection.execute(f"select {{COLUMN}} from orders")
            status, body = 200, json.dumps({{"variables": sorted(os.environ)}})
        except psycopg.Error as error:
            print("broken:", error, file=sys.stderr, flush=True)
            status, body = 500, "broken"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Api).serve_forever()
"""
ADD = "alter table orders add column remark text;", "alter table orders drop column remark;"
RENAME = (
    "alter table orders rename note to remark;",
    "alter table orders rename remark to note;",
)


def git(project: Project, *arguments: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    subprocess.run(["git", *who, *arguments], cwd=project.home, check=True, capture_output=True)


def serve(project: Project, column: str) -> None:
    (project.home / "serve.py").write_text(SERVICE.format(column=column))


def configure(project: Project, more: str = "", checks: str = "[{get: /health}]") -> None:
    text = project.deploy_yml.read_text().split("rehearsal:\n  service")[0]
    project.deploy_yml.write_text(
        f"{text}rehearsal:\n  service:\n    run: [{sys.executable}, serve.py]\n"
        f"    deadline: 15s\n    checks: {checks}\n{more}"
    )


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    """A project whose first commit is deployed in uat, with a service that reads `note`."""
    shop = Project(tmp_path / "shop", database16.url.reveal())
    shop.migration(BASE, "create table orders (id int, note text);", "drop table orders;")
    serve(shop, "note")
    configure(shop)
    git(shop, "init", "-q")
    (shop.home / ".gitignore").write_text("backups\nidentity\n")
    git(shop, "add", ".")
    git(shop, "commit", "-qm", "first")
    ran = shop.run("deploy", "--env", "uat")
    assert ran.code == 0, ran.err
    return shop


def refused(project: Project) -> list[str]:
    ran = project.run("rehearse", "--env", "uat")
    assert ran.code == 1, ran.out
    return ran.error()


def test_both_versions_are_asked_on_both_schemas(project: Project) -> None:
    project.migration(NEXT, *ADD)
    project.migration(
        "20260803_000000_last",
        "-- windlass: phase=after\nalter table orders drop column note;",
        "alter table orders add column note text;",
    )
    serve(project, "remark")

    ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith("service ")]
    assert [line.split(" (")[0] for line in lines] == [
        "service before any migration: the version that serves now",
        "service after the migrations of before the restart: the version that serves now",
        "service after the migrations of before the restart: the new version",
        "service after all migrations: the new version",
        "service after their rollback: the version that serves now",
    ]
    assert "serves: 1 check, ready in" in lines[0] and "commit " in lines[0]


def test_rollbacks_that_are_spread_over_the_restart_are_judged_as_one_set(project: Project) -> None:
    project.migration(NEXT, ADD[0], "select 1;")  # what it leaves, the next one's takes back
    project.migration(
        "20260803_000000_last",
        "-- windlass: phase=after\ncreate table later (i int);",
        f"drop table later; {ADD[1]}",
    )
    serve(project, "remark")

    ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith("service ")]
    assert len(lines) == 5 and all(" serves: " in line for line in lines), lines


def test_beside_what_is_irreversible_too_the_rest_is_judged_as_one_set(project: Project) -> None:
    """Before it and behind it something stays; what lies between is undone together."""
    project.migration(
        "20260801_120000_first", "-- windlass: irreversible kept\ncreate table kept ();", None
    )
    project.migration(NEXT, ADD[0], "select 1;")  # what it leaves, the next one's takes back
    project.migration(
        "20260803_000000_last",
        "-- windlass: phase=after\ncreate table later (i int);",
        f"drop table later; {ADD[1]}",
    )
    project.migration(
        "20260804_000000_end",
        "-- windlass: phase=after\n-- windlass: irreversible kept too\ncreate table stays ();",
        None,
    )
    serve(project, "remark")

    ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith("service ")]
    assert len(lines) == 5 and all(" serves: " in line for line in lines[:4]), lines
    assert "was not rolled back: irreversible: kept" in lines[4]


def test_a_schema_that_the_old_version_cannot_read_is_refused(project: Project) -> None:
    project.migration(NEXT, *RENAME)
    serve(project, "remark")

    what, state, next_step = refused(project)

    assert "the version that serves now (commit " in what
    assert "does not serve on the copy after the migrations of before the restart" in what
    assert "GET http://127.0.0.1:" in what and "status 500, expected 200" in what
    assert "its log: " in what and 'column "note" does not exist' in what
    assert "nothing was changed; seen on the copy; the service was not touched" in state
    assert "first add, then deploy, then remove" in next_step
    with psycopg.connect(project.url) as connection:
        connection.execute("select note from orders")


def test_a_service_that_ends_at_once_is_told_with_its_log(project: Project) -> None:
    project.migration(NEXT, *ADD)
    (project.home / "serve.py").write_text("import sys; sys.exit('no configuration')")

    (what, _, _) = refused(project)

    assert "the new version" in what and "no configuration" in what and "status 1" in what


def test_it_gets_the_copys_address_and_nothing_of_ours(project: Project) -> None:
    project.migration(NEXT, *ADD)
    named = ["DATABASE_URL", "HOME", "LANG", "LC_ALL", "PATH", "PORT", "PWD"]
    expected = json.dumps({"variables": named})
    checks = f"[{{get: /health, expect: {{json: {expected}}}}}]"
    configure(project, "    old: {commit: nobody}\n", checks)
    project.env |= {"STORE_SECRET": "never to be seen", "LANG": "C"}

    ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0, ran.err
    old, late, new, undone = (line for line in ran.out.splitlines() if "service " in line)
    for line in (old, late, undone):
        assert "was not tried: the commit nobody is not in this checkout: fetch it" in line
    assert "the new version (" in new and "serves: 1 check" in new


def test_it_reaches_the_copy_and_no_address_of_this_machine_or_another(project: Project) -> None:
    """The copy is reached by its socket: a door of this machine is not there for it."""
    project.migration(NEXT, *ADD)
    with socket.create_server(("127.0.0.1", 0)) as door:
        text = (project.home / "serve.py").read_text()
        probe = (
            f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', "
            f"{door.getsockname()[1]}))\n    raise SystemExit('it has a network')\n"
            "except OSError:\n    pass\n"
        )
        (project.home / "serve.py").write_text(probe + text)
        configure(project, "    old: {commit: nobody}\n")

        ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "serves: 1 check" in ran.out


def test_a_secret_in_the_command_is_refused(project: Project) -> None:
    project.migration(NEXT, *ADD)
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("serve.py]", "serve.py, '${STORE_SECRET}']"))
    project.env["STORE_SECRET"] = "never to be seen"

    ran = project.run("rehearse", "--env", "uat")

    assert ran.code != 0
    assert "rehearsal.service.run holds a secret" in ran.err
