"""Freeze windows and pauses, and who is told: on real PostgreSQL and real HTTP receivers."""

import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pgwindlass.database.connection import Database
from tests.kit import ROOT, Project

A, B, C = "20260801_000000_a", "20260802_000000_b", "20260803_000000_c"
SECRET = "notice-secret-5f1d"


class Receiver:
    """A real HTTP server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.code = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append((self.path, headers, body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.code)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def documents(self) -> list[Any]:
        return [json.loads(body) for path, _, body in self.posts if path == "/plain"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()
    found.thread.join()


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    shop = Project(tmp_path / "shop", database16.url.reveal())
    shop.migration(A, "create table a (i int)", "drop table a;")
    return shop


def with_key(project: Project, key: str) -> None:
    """Add a key to the environment uat."""
    text = project.deploy_yml.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"    {key.split(':')[0]}:")]
    at = lines.index("    tier: acceptance")
    project.deploy_yml.write_text(
        "\n".join([*lines[: at + 1], f"    {key}", *lines[at + 1 :]]) + "\n"
    )


def kinds(project: Project) -> list[str]:
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select kind from windlass.event order by id").fetchall()
    return [row[0] for row in rows]


def test_a_freeze_refuses_before_anything_and_a_reason_passes_it(project: Project) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    freeze = f'{{from: "2026-01-01", until: "{tomorrow:%Y-%m-%dT%H:%M}", reason: the year}}'
    with_key(project, f"freeze: [{freeze}]")

    refused = project.run("deploy", "--env", "uat")
    assert refused.code == 3
    assert f"uat is frozen until {tomorrow:%Y-%m-%d %H:%M} UTC: the year" in refused.error()[0]
    assert project.run("migrate", "--env", "uat").code == 3
    with psycopg.connect(project.url) as connection:
        assert connection.execute("select to_regnamespace('windlass')").fetchone() == (None,)

    passed = project.run("deploy", "--env", "uat", "--break-glass", "an incident")
    assert passed.code == 0, passed.err
    assert "BREAK-GLASS: an incident: uat is frozen until" in passed.err
    assert "freeze-passed" in kinds(project)
    assert project.deployments("uat")[0]["break_glass"] == "an incident"

    back = project.run("rollback", "--env", "uat", "--name", A, CONFIRM_ROLLBACK="yes")
    assert back.code == 0, back.err


def test_the_servers_clock_decides_about_a_freeze(project: Project) -> None:
    """A window of the year 2000, and a runner that believes to be in it."""
    with_key(project, 'freeze: [{from: "2000-01-01", until: "2001-01-01"}]')

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err


def test_a_pause_refuses_every_change_but_the_way_back(project: Project) -> None:
    assert project.run("pause", "--env", "uat").code == 2  # without a reason
    assert "nothing to resume" in project.run("resume", "--env", "uat", "--reason", "x").out
    assert project.run("deploy", "--env", "uat").code == 0
    project.migration(B, "create table b (i int)", "drop table b;")

    paused = project.run("pause", "--env", "uat", "--reason", "an incident")
    assert paused.code == 0, paused.err
    for arguments in (
        ("deploy", "--env", "uat", "--break-glass", "an incident"),
        ("migrate", "--env", "uat"),
        ("stamp", "--env", "uat", "--name", B, "--reason", "x"),
        ("backup.prune", "--env", "uat"),
    ):
        if arguments[0] == "backup.prune":
            project.deploy_yml.write_text(
                project.deploy_yml.read_text().replace("backups: {", "backups: {keep: {last: 1}, ")
            )
        ran = project.run(*arguments, CONFIRM_HISTORY="yes")
        assert ran.code == 3, (arguments, ran.err)
        assert "uat is paused by" in ran.error()[0] and "an incident" in ran.error()[0]
        assert "invoke resume --env uat --reason WHY" in ran.error()[2]
    assert "uat is paused by" in project.run("status", "--env", "uat").out
    assert project.json("status", "--env", "uat")["pause"].endswith(": an incident")
    back = project.run("rollback", "--env", "uat", "--name", A, CONFIRM_ROLLBACK="yes")
    assert back.code == 0, back.err

    assert project.run("resume", "--env", "uat", "--reason", "it is over").code == 0
    assert project.run("deploy", "--env", "uat").code == 0
    assert [k for k in kinds(project) if k in ("paused", "resumed")] == ["paused", "resumed"]
    assert project.run("history", "--env", "uat", "--verify").code == 0


def test_a_pause_ends_by_itself_and_is_possible_before_anything_was_deployed(
    project: Project,
) -> None:
    assert project.run("pause", "--env", "uat", "--reason", "x", "--until", "2001-01-01").code == 2
    paused = project.run("pause", "--env", "uat", "--reason", "a test", "--for", "2h")
    assert paused.code == 0, paused.err
    assert project.run("deploy", "--env", "uat").code == 3
    with psycopg.connect(project.url) as connection:  # two hours later
        connection.execute(
            "update windlass.pause set record = jsonb_set(record, '{until}', "
            "to_jsonb(now() - interval '1 s'))"
        )

    assert project.run("deploy", "--env", "uat").code == 0


def test_notices_tell_what_becomes_of_a_deployment_signed(
    project: Project, receiver: Receiver
) -> None:
    plain = '{url: "${PLAIN}", secret: "${NOTICE_SECRET}"}'
    slack = '{url: "${SLACK:-}", format: slack, on: [failed, paused]}'
    with_key(project, f"notices: [{plain}, {slack}]")
    project.env = {
        "PLAIN": f"{receiver.url}/plain",
        "SLACK": f"{receiver.url}/services/T0000/B0000/XXXXXXXX",
        "NOTICE_SECRET": SECRET,
    }
    assert project.run("deploy", "--env", "uat").code == 0
    project.migration(B, "create table b (i int); select 1 / 0", "drop table b;")
    failed = project.run("deploy", "--env", "uat")
    assert failed.code in (1, 4)
    assert project.run("pause", "--env", "uat", "--reason", "<!here>").code == 0

    documents = receiver.documents()
    assert [d["event"] for d in documents] == ["started", "done", "started", "failed", "paused"]
    assert documents[1]["migrations"] == [A] and documents[1]["plan_digest"]
    assert "division by zero" in documents[3]["text"] and documents[3]["next_step"]
    for path, headers, body in receiver.posts:
        if path == "/plain":
            signed = f"{headers['x-windlass-timestamp']}.".encode() + body
            expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            assert headers["x-windlass-signature"] == f"v1={expected}"
    texts = [json.loads(body)["text"] for path, _, body in receiver.posts if path != "/plain"]
    assert len(texts) == 2 and "division by zero" in texts[0] and "&lt;!here&gt;" in texts[1]
    assert SECRET not in str(receiver.posts)


def test_a_receiver_that_does_not_take_a_notice_fails_nothing_and_its_url_stays_secret(
    project: Project, receiver: Receiver
) -> None:
    with_key(project, 'notices: [{url: "${HOOK}"}, {url: "${GONE}", within: 1s}]')
    receiver.code = 500
    project.env = {
        "HOOK": f"{receiver.url}/services/T0000/B0000/YYYYYYYY",
        "GONE": "http://127.0.0.1:9/services/T0000/B0000/ZZZZZZZZ",
    }

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0
    assert "127.0.0.1 was not told that this is started: it answered 500" in ran.err
    assert "was not told that this is done" in ran.err
    assert "YYYYYYYY" not in ran.err + ran.out and "ZZZZZZZZ" not in ran.err + ran.out
    with psycopg.connect(project.url) as connection:
        plan = connection.execute("select plan::text from windlass.deployment").fetchone()
    assert plan is not None and "notices" not in plan[0]


def spans_of(receiver: Receiver) -> list[Any]:
    spans = []
    for path, _, body in receiver.posts:
        assert path == "/v1/traces"
        message = ExportTraceServiceRequest()
        message.ParseFromString(body)
        spans += [s for r in message.resource_spans for c in r.scope_spans for s in c.spans]
    return spans


def attributes(span: Any) -> dict[str, Any]:
    return {
        a.key: a.value.int_value if a.value.HasField("int_value") else a.value.string_value
        for a in span.attributes
    }


def test_a_deployment_is_a_trace_with_a_span_for_each_step(
    project: Project, receiver: Receiver
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    project.env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "TRACEPARENT": f"00-{trace}-b7ad6b7169203331-01",
    }
    assert project.run("deploy", "--env", "uat").code == 0
    spans = spans_of(receiver)
    (root,) = [span for span in spans if span.name == "deploy uat"]
    steps = [span for span in spans if span.parent_span_id == root.span_id]
    record = project.deployments("uat")[0]

    assert {span.trace_id.hex() for span in spans} == {trace}
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert attributes(root)["windlass.plan.digest"] == record["plan_digest"]
    assert attributes(root)["windlass.migrations"] == 1
    assert {"lock", "backup", "migrate"} <= {span.name for span in steps}
    assert {attributes(span)["windlass.outcome"] for span in steps} <= {"ok", "skipped"}
    assert all(
        root.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in steps
    )

    receiver.posts.clear()
    project.migration(B, "select 1 / 0", "select 1;")
    assert project.run("deploy", "--env", "uat").code in (1, 4)
    failed = {span.name: span for span in spans_of(receiver) if span.status.code == 2}
    assert {"deploy uat", "migrate"} <= failed.keys()
    assert attributes(failed["migrate"])["windlass.outcome"] == "failed"
    assert project.url not in str(receiver.posts)


def test_a_backup_a_restore_and_a_correction_are_told_and_traced_as_a_deployment_is(
    project: Project, receiver: Receiver
) -> None:
    with_key(project, f'notices: [{{url: "{receiver.url}/plain"}}]')
    assert project.run("deploy", "--env", "uat").code == 0
    receiver.posts.clear()
    project.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}

    assert project.run("backup", "--env", "uat").code == 0
    archive = max((project.home / "backups" / "uat").rglob("*.pgc"))
    whole = archive.read_bytes()
    archive.write_bytes(whole[:100])
    failed = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")
    archive.write_bytes(whole)
    done = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")
    project.migration(B, "create table b (i int);")
    reason = ("--name", B, "--reason", "x")
    stamp = project.run("stamp", "--env", "uat", *reason, CONFIRM_HISTORY="yes")
    drop = project.run("restore", "--env", "uat", "--drop-old", CONFIRM_RESTORE="yes")

    assert [failed.code, done.code, stamp.code, drop.code] == [1, 0, 0, 0], done.err + stamp.err
    posts, receiver.posts = receiver.posts, []
    receiver.posts = [post for post in posts if post[0] == "/plain"]
    told = [(d["task"], d["event"]) for d in receiver.documents()]
    assert told == [
        (task, event)
        for task, end in (
            ("backup", "done"),
            ("restore", "failed"),
            ("restore", "done"),
            ("stamp", "done"),
            ("restore", "done"),
        )
        for event in ("started", end)
    ]
    assert receiver.documents()[2]["text"].startswith("restore in uat started, plan ")
    receiver.posts = [post for post in posts if post[0] != "/plain"]
    spans = spans_of(receiver)
    assert [(span.name, span.status.code) for span in spans] == [
        ("backup uat", 0),
        ("restore uat", 2),
        ("restore uat", 0),
        ("stamp uat", 0),
        ("restore uat", 0),
    ]
    assert attributes(spans[1])["windlass.task"] == "restore"


def test_a_collector_that_does_not_take_it_is_an_alarm(
    project: Project, receiver: Receiver
) -> None:
    receiver.code = 400
    project.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "the trace of this run was not sent" in ran.err


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; import pgwindlass.tasks; import pgwindlass.deployment.proposals;"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'requests'))])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
