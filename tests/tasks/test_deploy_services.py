"""A production deployment with real services: systemd, docker, kubectl; restarted and proven."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_kubernetes import Cluster
from tests.kit import Project, tables

BREAK_GLASS = ("--break-glass", "no reviewer in a test")


def project(tmp_path: Path, database: Database, restart: str, base_url: str) -> Project:
    """A production whose service is restarted as given; rehearsal and approval are left out."""
    found = Project(tmp_path / "shop", database.url.reveal(), base_url)
    text = found.deploy_yml.read_text()
    start, end = text.index("    restart:\n"), text.index("    smoke:\n")
    found.deploy_yml.write_text(f"{text[:start]}    restart: {restart}\n{text[end:]}")
    found.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    return found


@pytest.fixture
def health() -> Callable[[int], str]:
    """Return a function that serves /health with a status, and gives the base URL."""

    def serve(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "16")
                self.end_headers()
                self.wfile.write(b'{"status": "ok"}')

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    return serve


def evidence(found: Project) -> dict[str, str]:
    """Return what the journal has of the newest deployment's restart."""
    newest = found.deployments("production")[0]
    shown = found.json("history", "--env", "production", "--deployment", newest["id"])
    (restart,) = [r for r in shown["results"] if r["step"] == "restart" and not r["undo"]]
    return dict(restart["evidence"])


def test_systemd_gets_a_new_invocation_and_the_journal_has_both(
    tmp_path: Path,
    database16: Database,
    unit: Callable[..., str],
    health: Callable[[int], str],
) -> None:
    name = unit("wl-deploy.service", "/bin/sleep 600")
    found = project(
        tmp_path,
        database16,
        f"{{with: systemd, unit: {name}, user: true, settle: 300ms}}",
        health(200),
    )

    ran = found.run("deploy", "--env", "production", *BREAK_GLASS)

    assert ran.code == 0, ran.err
    assert f"systemd {name}: new invocation, active" in ran.err
    seen = evidence(found)
    assert seen["instance"] and seen["instance"] != seen["instance_before"]


def test_docker_gets_a_new_start(
    tmp_path: Path,
    database16: Database,
    docker_host: str,
    container: Callable[..., str],
    health: Callable[[int], str],
) -> None:
    name = container("wl-deploy", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    restart = f'{{with: docker, container: {name}, host: "{docker_host}", settle: 300ms}}'
    found = project(tmp_path, database16, restart, health(200))

    ran = found.run("deploy", "--env", "production", *BREAK_GLASS)

    assert ran.code == 0, ran.err
    assert evidence(found)["instance"] != evidence(found)["instance_before"]


def test_kubectl_goes_back_to_the_revision_before_when_the_smoke_test_fails(
    tmp_path: Path, database16: Database, cluster: Cluster, health: Callable[[int], str]
) -> None:
    restart = "{with: kubectl, deployment: api, settle: 300ms, within: 20s}"
    found = project(tmp_path, database16, restart, health(500))

    ran = found.run("deploy", "--env", "production", *BREAK_GLASS)

    # The API answers 500 after the rollback too, and that is said first.
    assert ran.code == 1, ran.err
    assert "and rolling back failed" in ran.error()[0]
    undo = next(line for line in ran.err.splitlines() if "undo restart" in line)
    assert "serves again" in undo
    assert ran.err.index("undo restart") < ran.err.index("undo migrate")
    assert "a" not in tables(found.url)


def test_kubectl_goes_back_alone_where_a_migration_is_irreversible(
    tmp_path: Path, database16: Database, cluster: Cluster, health: Callable[[int], str]
) -> None:
    restart = "{with: kubectl, deployment: api, settle: 300ms, within: 20s}"
    found = project(tmp_path, database16, restart, health(500))
    (name,) = found.names
    found.script(name, "_rollback").unlink()
    found.script(name).write_text("-- windlass: irreversible a test\ncreate table a (i int);")

    ran = found.run("deploy", "--env", "production", *BREAK_GLASS)

    assert ran.code == 1, ran.err
    assert "serves again" in next(x for x in ran.err.splitlines() if "undo restart" in x)
    assert "undo migrate" not in ran.err
    assert "a" in tables(found.url)


def test_a_service_that_does_not_come_back_leaves_the_old_schema(
    tmp_path: Path,
    database16: Database,
    unit: Callable[..., str],
    health: Callable[[int], str],
) -> None:
    name = unit("wl-never.service", "/bin/false", start=False)
    found = project(
        tmp_path,
        database16,
        f"{{with: systemd, unit: {name}, user: true, settle: 300ms}}",
        health(200),
    )

    ran = found.run("deploy", "--env", "production", *BREAK_GLASS)

    # The old schema is back and the service is still down: the worst case, said plainly.
    assert ran.code == 1, ran.err
    assert "restart: wl-never.service" in ran.error()[0]
    assert "the database and the service may not fit each other" in ran.error()[1]
    assert "a" not in tables(found.url)
