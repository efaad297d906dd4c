"""Smoke tests against a real HTTP server: what counts as right, and what an error shows."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import Expect, SmokeCheck, SmokeConfig
from pgwindlass.errors import StepFailed
from pgwindlass.secret import Secret
from pgwindlass.smoke import run_checks, subset_difference
from tests.kit import parts

Answer = tuple[int, dict[str, str], bytes]
Serve = Callable[[Callable[[Any], Answer]], str]


def ok(_: object) -> Answer:
    return 200, {}, b'{"status": "ok"}'


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves a handler and gives the base URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[Any], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self.body = self.rfile.read(length)
                code, headers, body = answer(self)
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def smoke(url: str, *checks: SmokeCheck, deadline: float = 0.5, successes: int = 2) -> SmokeConfig:
    return SmokeConfig(
        base_url=url,
        checks=checks or (SmokeCheck(get="/health"),),
        deadline=Duration(deadline),
        successes=successes,
        pause=Duration(0.05),
    )


def run(config: SmokeConfig) -> str:
    """Run the checks and return the error's headline; empty where they held."""
    try:
        run_checks(config, progress=lambda *_: None)
    except StepFailed as error:
        return error.what
    return ""


def test_every_check_right_in_a_row_is_a_success(serve: Serve) -> None:
    told: list[tuple[int, int]] = []

    report = run_checks(
        smoke(serve(ok), SmokeCheck(get="/a"), SmokeCheck(get="/b")),
        progress=lambda *t: told.append(t),
    )

    assert (report.checks, report.attempts) == (2, 2)
    assert 0 < report.slowest < 0.5
    assert told == [(1, 2), (2, 2)]


def test_a_wrong_status_shows_request_status_and_body(serve: Serve) -> None:
    url = serve(lambda _: (503, {}, b'{"error":\n "database is away"}'))

    assert run(smoke(url)) == (
        f'GET {url}/health: status 503, expected 200; the body: {{"error": "database is away"}}'
    )


@pytest.mark.unit
@pytest.mark.parametrize("token", ["token-with-a-line-break\n", "token-with-…-in-it"])
def test_a_token_that_no_header_can_hold_is_refused_at_once_and_not_shown(token: str) -> None:
    check = SmokeCheck(post="/api/chat", bearer=Secret(token))

    with pytest.raises(StepFailed) as caught:
        run_checks(smoke("http://127.0.0.1:9", check, deadline=60), progress=lambda *_: None)

    assert parts(caught.value) == (
        "POST http://127.0.0.1:9/api/chat: a header cannot be sent: it begins with a space, or has "
        "a line break or a character outside Latin-1\n"
        "this request was not sent\n"
        "mend the check's bearer or headers; a line break after a token is common"
    )


def test_no_half_of_a_token_is_left_where_the_body_is_cut(serve: Serve) -> None:
    url = serve(lambda _: (403, {}, b"x" * 290 + b"token-across-the-cut"))

    said = run(smoke(url, SmokeCheck(get="/", bearer=Secret("token-across-the-cut"))))

    assert said.endswith("x***")


def test_the_token_is_sent_whatever_netrc_says(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    def look(request: Any) -> Answer:
        return (200 if request.headers["Authorization"] == "Bearer our-token" else 401), {}, b""

    assert run(smoke(serve(look), SmokeCheck(get="/", bearer=Secret("our-token")))) == ""


def test_a_password_in_the_url_is_used_and_not_shown(serve: Serve) -> None:
    def look(request: Any) -> Answer:
        return (500 if request.headers["Authorization"] == "Basic bWU6cHc=" else 401), {}, b""

    url = serve(look)

    said = run(smoke(url.replace("//", "//me:pw@")))

    assert said == f"GET {url}/health: status 500, expected 200"


def test_an_answer_that_drips_does_not_outlive_the_deadline(serve: Serve) -> None:
    done = threading.Event()

    def drip(request: Any) -> Answer:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        while not done.wait(0.05):
            request.wfile.write(b"x")
        request.close_connection = True
        return 200, {}, b""

    url, began = serve(drip), time.monotonic()

    try:
        said = run(smoke(url))
    finally:
        done.set()

    assert time.monotonic() - began < 2
    assert said == (
        f"GET {url}/health: no answer: Timeout: "
        "not answered, or not to the end, when the deadline was over"
    )


def test_one_long_value_is_cut_in_the_error(serve: Serve) -> None:
    url = serve(lambda _: (200, {}, json.dumps(list(range(5000))).encode()))

    assert len(run(smoke(url, SmokeCheck(get="/", expect=Expect(json=[1]))))) < 720


def test_json_nested_without_end_is_no_json(serve: Serve) -> None:
    url = serve(lambda _: (200, {}, b"[" * 200_000))

    assert "the body is no JSON" in run(smoke(url, SmokeCheck(get="/", expect=Expect(json=[]))))


def test_a_long_body_is_cut(serve: Serve) -> None:
    url = serve(lambda _: (500, {}, b"x" * 10_000))

    assert len(run(smoke(url))) < 420


def test_the_token_is_sent_and_never_shown(serve: Serve) -> None:
    def echo(request: Any) -> Answer:
        return 403, {}, f"denied: {request.headers['Authorization']}".encode()

    check = SmokeCheck(post="/api/chat", bearer=Secret("very-secret-token"), json={"a": 1})

    said = run(smoke(serve(echo), check))

    assert "denied: Bearer ***" in said
    assert "very-secret-token" not in said


def test_headers_and_json_body_are_sent(serve: Serve) -> None:
    def look(request: Any) -> Answer:
        right = json.loads(request.body) == {"n": 1} and request.headers["X-Team"] == "a-team"
        return (200 if right else 400), {}, b""

    check = SmokeCheck(post="/x", headers={"X-Team": Secret("a-team")}, json={"n": 1})

    assert run(smoke(serve(look), check)) == ""


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (Expect(json={"status": "ok"}), ""),
        (Expect(json={"status": "up"}), '$.status is "ok", expected "up"'),
        (Expect(json={"version": 2}), "$.version is missing"),
        (Expect(headers={"X-Build": "7"}), ""),
        (Expect(headers={"X-Build": "8"}), 'header X-Build is "7", expected "8"'),
        (Expect(status=201), "status 200, expected 201"),
    ],
)
def test_an_answer_is_compared_with_what_is_expected(
    serve: Serve, expect: Expect, said: str
) -> None:
    url = serve(lambda _: (200, {"X-Build": "7"}, b'{"status": "ok", "more": 1}'))

    found = run(smoke(url, SmokeCheck(get="/", expect=expect)))

    assert found.startswith(f"GET {url}/: {said};") if said else found == ""


def test_a_slow_answer_is_wrong_where_a_time_is_set(serve: Serve) -> None:
    def slow(_: object) -> Answer:
        time.sleep(0.15)
        return 200, {}, b""

    check = SmokeCheck(get="/", expect=Expect(within=Duration(0.05)))

    assert "ms, expected within 50ms" in run(smoke(serve(slow), check, deadline=0.5))


def test_a_redirect_is_not_followed_and_says_where_to(serve: Serve) -> None:
    url = serve(lambda _: (302, {"Location": "/login"}, b""))

    assert run(smoke(url)) == f"GET {url}/health: status 302 to /login, expected 200"


def test_a_body_that_is_no_json_is_wrong_where_json_is_expected(serve: Serve) -> None:
    url = serve(lambda _: (200, {}, b"<html>"))

    assert "the body is no JSON" in run(smoke(url, SmokeCheck(get="/", expect=Expect(json={}))))


def test_a_refused_connection_is_said_in_the_systems_words() -> None:
    said = run(smoke("http://127.0.0.1:9"))

    assert said.startswith("GET http://127.0.0.1:9/health: no answer: ConnectionError: ")
    assert "refused" in said


def test_a_service_that_comes_up_late_is_waited_for(serve: Serve) -> None:
    began = time.monotonic()

    def late(_: object) -> Answer:
        return (200 if time.monotonic() - began > 0.3 else 503), {}, b""

    report = run_checks(smoke(serve(late), deadline=5), progress=lambda *_: None)

    assert report.attempts > 2


def test_one_wrong_answer_starts_the_count_anew(serve: Serve) -> None:
    answers = iter([200, 200, 500, 200, 200, 200])

    report = run_checks(
        smoke(serve(lambda _: (next(answers), {}, b"")), deadline=5, successes=3),
        progress=lambda *_: None,
    )

    assert report.attempts == 6


def test_a_service_that_wavers_until_the_deadline_fails(serve: Serve) -> None:
    count = iter(range(1000))

    said = run(smoke(serve(lambda _: (200 if next(count) % 2 else 500, {}, b"")), deadline=0.6))

    assert "status 500" in said or "rounds in a row" in said


@pytest.mark.unit
@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, ""),
        ([1, {"a": 1}], [1, {"a": 1, "b": 2}], ""),
        ([1], [1, 2], "$ is [1, 2], expected [1]"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "$.a[0].b is 2, expected 1"),
        (True, 1, "$ is 1, expected true"),
        (None, None, ""),
    ],
)
def test_json_is_compared_as_a_subset(expected: Any, found: Any, said: str) -> None:
    assert subset_difference(expected, found) == said


@pytest.mark.unit
def test_a_check_names_exactly_one_method() -> None:
    with pytest.raises(msgspec.ValidationError, match="exactly one of get, post"):
        msgspec.convert({"get": "/a", "post": "/b"}, SmokeCheck)
