"""The sample API as it is deployed: a child process on a free port, a real database behind it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import yaml

from pgwindlass.database.connection import Database
from sample.data import fill
from tests.test_sample_migrations import (
    BASE,
    LAST_ERROR,
    PREFERENCES,
    ROLE,
    STATUS_CODE,
    TOOL_COLUMNS,
    apply_up_to,
    number,
    run,
    undo,
)

pytestmark = pytest.mark.sampled(2)

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-that-no-log-may-show"
MESSAGE = {"conversation_id": "smoke", "message": "List my tasks"}


@dataclass
class Api:
    """A running API; `log` grows while it runs, and is whole once `wait` has returned."""

    process: subprocess.Popen[str]
    port: int = 0
    log: list[str] = field(default_factory=list)
    reading: threading.Thread | None = None

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        raw: bytes | None = None,
    ) -> tuple[int, dict[str, object]]:
        """Send one request and return the status and the decoded answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def wait(self) -> int:
        code = self.process.wait(timeout=20)
        if self.reading is not None:
            self.reading.join(timeout=20)
        return code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


@pytest.fixture
def start_api() -> Iterator[Callable[..., Api]]:
    """Return a function that starts the API on a database; what still runs is stopped after."""
    started: list[Api] = []

    def start(database: Database, **variables: str) -> Api:
        process = subprocess.Popen(
            [sys.executable, "-m", "sample.api"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": database.url.reveal(),
                "PORT": "0",
                "SMOKE_TOKEN": TOKEN,
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        api = Api(process)
        started.append(api)
        assert process.stderr is not None
        first = process.stderr.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", first)
        assert found is not None, first + process.stderr.read()
        api.port = int(found[1])
        api.reading = threading.Thread(target=api.read_log)
        api.reading.start()
        return api

    yield start
    for api in started:
        api.process.kill()
        api.wait()
        if api.process.stderr is not None:
            api.process.stderr.close()


@pytest.fixture
def connection(database16: Database) -> Iterator[psycopg.Connection]:
    """A connection to the database that the API under test uses."""
    with database16.connect("test") as opened:
        yield opened


def test_health_says_the_newest_applied_migration(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    api = start_api(database16)
    assert api.request("GET", "/health", token=None) == (200, {"status": "ok", "schema": None})

    connection.execute("create table schema_migrations (migration_name text primary key)")
    assert api.request("GET", "/health", token=None) == (200, {"status": "ok", "schema": None})

    for name in (BASE, ROLE, LAST_ERROR):
        connection.execute("insert into schema_migrations values (%s)", (name,))
    assert api.request("GET", "/health", token=None) == (200, {"status": "ok", "schema": ROLE})


def test_health_is_not_broken_by_another_tools_history(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    connection.execute("create table schema_migrations (version text primary key)")

    api = start_api(database16)
    assert api.request("GET", "/health") == (200, {"status": "ok", "schema": None})


def test_health_fails_without_the_database_and_recovers_with_it(
    database16: Database, start_api: Callable[..., Api]
) -> None:
    with database16.connect("test", dbname="postgres") as server:
        api = start_api(database16)
        server.execute(f"alter database {database16.name} allow_connections false".encode())
        assert api.request("GET", "/health") == (503, {"error": "the database is unavailable"})

        server.execute(f"alter database {database16.name} allow_connections true".encode())
        assert api.request("GET", "/health")[0] == 200


def test_health_can_be_broken_on_purpose(
    database16: Database, start_api: Callable[..., Api]
) -> None:
    api = start_api(database16, SAMPLE_API_BREAK="health")

    assert api.request("GET", "/health") == (500, {"status": "broken"})
    assert api.request("GET", "/version")[0] == 200


def test_health_is_broken_while_a_file_is_there(
    database16: Database, start_api: Callable[..., Api], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    api = start_api(database16, SAMPLE_API_BREAK_FILE=str(broken))
    assert api.request("GET", "/health")[0] == 200

    broken.touch()
    assert api.request("GET", "/health") == (500, {"status": "broken"})

    broken.unlink()
    assert api.request("GET", "/health")[0] == 200


def test_version_says_which_build_and_which_process_answers(
    database16: Database, start_api: Callable[..., Api]
) -> None:
    api = start_api(database16, SAMPLE_API_VERSION="2.1")

    expected = {"version": "2.1", "pid": api.process.pid}
    assert api.request("GET", "/version", token=None) == (200, expected)


def test_without_the_token_nobody_gets_in(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    api = start_api(database16)

    refused = (401, {"error": "expected a bearer token"})
    for token in (None, "", "another", TOKEN + "x", TOKEN[:-1], "é"):
        assert api.request("POST", "/api/chat", MESSAGE, token=token) == refused
        assert api.request("POST", "/api/v1/environments", {}, token=token) == refused
        assert api.request("GET", "/api/errors", token=token) == refused
    assert number(connection, "select count(*) from messages") == 0


def test_where_no_token_is_configured_nobody_gets_in(
    database16: Database, start_api: Callable[..., Api]
) -> None:
    api = start_api(database16, SMOKE_TOKEN="")

    assert api.request("POST", "/api/chat", MESSAGE, token="")[0] == 401


def test_chat_works_while_the_role_is_an_enum_after_it_became_a_varchar_and_back(
    database: Database, start_api: Callable[..., Api]
) -> None:
    with database.connect("test") as connection:
        apply_up_to(connection, TOOL_COLUMNS)
        api = start_api(database)
        status, first = api.request("POST", "/api/chat", MESSAGE | {"message": "Buy milk"})
        assert (status, first["tasks"], first["reply"]) == (200, [], "noted: Buy milk")

        run(connection, ROLE)
        status, second = api.request("POST", "/api/chat", MESSAGE)
        milk = {"id": first["message_id"], "title": "Buy milk"}
        assert (status, second["tasks"]) == (200, [milk])

        undo(connection, ROLE)
        status, third = api.request("POST", "/api/chat", MESSAGE)
        list_my_tasks = {"id": second["message_id"], "title": "List my tasks"}
        assert (status, third["tasks"]) == (200, [list_my_tasks, milk])

        found = connection.execute("select distinct role::text from messages").fetchall()
        assert found == [("user",)]


def test_the_role_bound_as_varchar_fails_on_the_enum_until_the_migration_as_the_guide_says(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    apply_up_to(connection, TOOL_COLUMNS)
    api = start_api(database16, SAMPLE_API_BREAK="role")
    assert api.request("POST", "/api/chat", MESSAGE) == (500, {"error": "internal error"})
    assert number(connection, "select count(*) from conversations") == 0

    run(connection, ROLE)
    assert api.request("POST", "/api/chat", MESSAGE)[0] == 200
    api.stop()

    assert (
        'database: 42804 column "role" is of type message_role '
        "but expression is of type character varying"
    ) in api.log


def test_an_environment_is_created_with_and_without_the_column_for_its_error(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    api = start_api(database16)
    wanted = {"name": "test-env", "templateId": "template-id"}
    for _ in ("before", "after"):
        status, made = api.request("POST", "/api/v1/environments", wanted)
        assert (status, made.pop("id") != "") == (201, True)
        assert made == wanted | {"status": "CREATING"}
        connection.execute((ROOT / "migrations" / f"{LAST_ERROR}.sql").read_bytes())

    found = connection.execute("select name, last_error from environments").fetchall()
    assert found == [("test-env", None), ("test-env", None)]


def test_errors_are_found_by_status_code_in_the_payload_and_in_the_column(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    fill(connection, 400)
    api = start_api(database16)
    in_payload = api.request("GET", "/api/errors?status_code=500")
    every = api.request("GET", "/api/errors")

    run(connection, STATUS_CODE)
    in_column = api.request("GET", "/api/errors?status_code=500")
    assert in_column == in_payload
    assert api.request("GET", "/api/errors") == every

    status, answer = in_column
    assert isinstance(answer["errors"], list)
    assert (status, {e["status_code"] for e in answer["errors"]}) == (200, {500})
    query = "select count(*) from error_events where status_code = 500"
    assert answer["count"] == number(connection, query)
    assert api.request("GET", "/api/errors?status_code=418")[1] == {"count": 0, "errors": []}
    assert isinstance(every[1]["errors"], list)
    assert {e["status_code"] for e in every[1]["errors"]} == {404, 422, 500, 502, 503, None}


def test_what_cannot_be_answered_is_refused_with_the_reason(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    api = start_api(database16)

    def refused(method: str, path: str, raw: bytes | None = None) -> tuple[int, object]:
        status, answer = api.request(method, path, raw=raw)
        return status, answer["error"]

    chat = "/api/chat"
    half = "holds a NUL or half a surrogate pair; expected Unicode text"
    three_digits = "status_code is none we know; expected three digits such as 500"
    assert refused("GET", "/nowhere") == (404, "no such thing here")
    assert refused("GET", chat) == (404, "no such thing here")
    assert refused("POST", chat, b"{") == (400, "the body is no JSON")
    assert refused("POST", chat, b"[" * 100_000) == (400, "the body is no JSON")
    assert refused("POST", chat, b"\xff") == (400, "the body is no JSON")
    assert refused("POST", chat, b"[1]") == (400, "the body is no JSON object")
    assert refused("POST", chat, b"{}") == (400, "conversation_id is missing; expected a text")
    for value in (rb"\u0000", rb"\ud800"):
        body = b'{"conversation_id": "x", "message": "%s"}' % value
        assert refused("POST", chat, body) == (400, f"message {half}")
    assert refused("GET", "/api/errors?status_code=abc") == (400, three_digits)
    assert refused("GET", "/api/errors?status_code=99999999999") == (400, three_digits)


def test_each_request_has_one_line_in_the_log_and_no_token_is_in_it(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    api = start_api(database16)
    api.request("POST", f"/api/chat?token={TOKEN}", MESSAGE)
    api.request("GET", f"http://user:{TOKEN}@example.com/health")
    api.request("GET", "/api/errors", token="wrong")
    api.stop()

    lines = [re.sub(r"\d+ ms$", "N ms", line) for line in api.log]
    assert lines == [
        "POST /api/chat 200 N ms",
        "GET - 404 N ms",
        "GET /api/errors 401 N ms",
        "stopped",
    ]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_quickly_and_the_port_is_free(
    database16: Database, start_api: Callable[..., Api], sent: signal.Signals
) -> None:
    api = start_api(database16)
    began = time.monotonic()
    api.process.send_signal(sent)

    assert api.wait() == 0
    assert time.monotonic() - began < 3
    with pytest.raises(ConnectionRefusedError):
        api.request("GET", "/health")


def test_a_signal_stops_it_in_the_middle_of_many_requests(
    database16: Database, start_api: Callable[..., Api]
) -> None:
    for _ in range(4):  # a signal lost to a thread that was just starting is lost once in three
        api = start_api(database16)
        asking = [threading.Thread(target=ask_until_refused, args=(api,)) for _ in range(4)]
        for thread in asking:
            thread.start()
        time.sleep(0.1)

        assert api.stop() == 0
        for thread in asking:
            thread.join(timeout=20)


def ask_until_refused(api: Api) -> None:
    while api.process.returncode is None and accepts(api):
        pass


def test_what_is_being_answered_is_answered_before_it_stops(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    run(connection, BASE)
    api = start_api(database16)
    answers: list[tuple[int, dict[str, object]]] = []
    asking = threading.Thread(
        target=lambda: answers.append(api.request("POST", "/api/chat", MESSAGE))
    )
    with connection.transaction():
        connection.execute("lock table messages")
        asking.start()
        until(lambda: waiters(database16) == 1)
        api.process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(api))
        assert api.process.poll() is None
    asking.join(timeout=20)

    assert [status for status, _ in answers] == [200]
    assert api.wait() == 0


def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that within 10 s"
        time.sleep(0.02)


def waiters(database: Database) -> int:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = '"
    with database.connect("test", dbname="postgres") as connection:
        return number(connection, f"{query}{database.name}'")


def accepts(api: Api) -> bool:
    """Tell whether somebody still takes requests from the queue; a connection alone proves none."""
    probe = http.client.HTTPConnection("127.0.0.1", api.port, timeout=0.5)
    try:
        probe.request("GET", "/version")
        return probe.getresponse().status == 200
    except OSError:
        return False
    finally:
        probe.close()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"DATABASE_URL": ""},
            "DATABASE_URL is not set; expected postgresql://USER@HOST/DATABASE\n",
        ),
        ({"PORT": "http"}, 'PORT is "http"; expected a number from 0 to 65535\n'),
        ({"PORT": "65536"}, 'PORT is "65536"; expected a number from 0 to 65535\n'),
        ({"PORT": "1", "HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1:1: "),
    ],
    ids=["no database", "port is a word", "port is too high", "no such address"],
)
def test_a_wrong_setting_is_named_and_it_does_not_start(
    variables: dict[str, str], said: str
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "sample.api"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql:///none"} | variables,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (finished.returncode, finished.stderr[: len(said)]) == (1, said)


def test_the_smoke_checks_of_the_sample_deploy_yml_pass(
    database16: Database, connection: psycopg.Connection, start_api: Callable[..., Api]
) -> None:
    apply_up_to(connection, PREFERENCES)
    api = start_api(database16)
    environments = yaml.safe_load((ROOT / "deploy.yml").read_text())["environments"]

    for check in environments["production"]["smoke"]["checks"]:
        began = time.monotonic()
        method = "GET" if "get" in check else "POST"
        status, answer = api.request(method, check[method.lower()], check.get("json"))
        assert status == check["expect"]["status"]
        assert answer.items() >= check["expect"].get("json", {}).items()
        assert time.monotonic() - began < 2
