"""A stand-in of GitHub's API that keeps to the published description, and holds us to it.

`openapi/github.json` is an excerpt of that description (its licence beside it). A request must
have a path, parameters and headers that it knows; what the stand-in answers must fit its schema.
"""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest

from tests.kit import ROOT

TOKEN = "ghs_stand_in_token"
REPOSITORY = "acme/shop"
VERSIONS = ("2022-11-28", "2026-03-10")  # those that have a file in github/rest-api-description
OPENAPI = ROOT / "tests" / "openapi" / "github.json"
RUN = f"/repos/{REPOSITORY}/actions/runs/42"


@cache
def description() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OPENAPI.read_text())
    return found


def resolved(schema: Any) -> Any:
    """Follow references to where they lead."""
    while isinstance(schema, dict) and "$ref" in schema:
        at: Any = description()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        schema = at
    return schema


@dataclass(frozen=True)
class Operation:
    """A GET of the description."""

    template: str
    spec: dict[str, Any]

    def schema(self, code: int) -> dict[str, Any] | None:
        """Return the schema of an answer's body; None where the description has none."""
        answer = resolved(self.spec["responses"].get(str(code)))
        content = (answer or {}).get("content", {})
        found: dict[str, Any] | None = content.get("application/json", {}).get("schema")
        if found is None and code >= 400:
            return {"$ref": "#/components/schemas/basic-error"}
        return found

    def faults(self, url: str, headers: Any) -> list[str]:
        """Return what is wrong with a request for it."""
        parameters = [resolved(one) for one in self.spec.get("parameters", [])]
        query = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
        given = parse_qs(urlsplit(url).query)
        names = re.findall(r"\{(\w+)\}", self.template)
        match = pattern(self.template).fullmatch(urlsplit(url).path)
        assert match
        values = dict(zip(names, match.groups(), strict=True))
        path = {one["name"]: one["schema"] for one in parameters if one["in"] == "path"}
        found = [f"unknown parameter {name}" for name in given if name not in query]
        found += [
            f"{name}={value}: no {schema['type']}"
            for name, schema in [*query.items(), *path.items()]
            for value in [*given.get(name, []), *([values[name]] if name in values else [])]
            if schema.get("type") == "integer" and not value.isdigit()
        ]
        if headers.get("Accept") != "application/vnd.github+json":
            found.append(f"Accept: {headers.get('Accept')}")
        if headers.get("X-GitHub-Api-Version") not in VERSIONS:
            found.append(f"X-GitHub-Api-Version: {headers.get('X-GitHub-Api-Version')}")
        if not headers.get("User-Agent"):
            found.append("no User-Agent")
        return found


def pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", r"([^/]+)", re.escape(template)))


def operation(url: str) -> Operation | None:
    """Return the operation that a URL asks for."""
    path = urlsplit(url).path
    fitting = [one for one in description()["paths"] if pattern(one).fullmatch(path)]
    # The one with the fewest parameters, as OpenAPI 3 says of several that fit.
    best = min(fitting, key=lambda one: one.count("{"), default=None)
    return Operation(best, description()["paths"][best]["get"]) if best else None


SAMPLES = {"integer": 1, "number": 1, "string": "x", "boolean": False, "null": None}
FORMATS = {"date-time": "2026-01-02T03:04:05Z", "uri": "https://api.github.com/x"}


def filled(schema: Any, given: Any = None) -> Any:
    """Complete what is given with samples of whatever else the schema requires."""
    schema = resolved(schema)
    if not isinstance(schema, dict):
        return given
    if isinstance(given, list):
        return [filled(schema.get("items", {}), one) for one in given]
    if isinstance(given, dict) or (given is None and "properties" in schema):
        given = dict(given or {})
        if "anyOf" in schema and "properties" not in schema:
            schema = _of(schema["anyOf"], given)
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            given.setdefault(name, None)
        return {
            name: filled(properties.get(name, {}), value)
            if value is not None or name in schema.get("required", [])
            else None
            for name, value in given.items()
        }
    return sample(schema) if given is None else given


def _of(choices: list[Any], given: dict[str, Any]) -> Any:
    """Return the choice that knows most of the given keys."""
    return max(
        map(resolved, choices), key=lambda one: len(set(one.get("properties", {})) & set(given))
    )


def sample(schema: dict[str, Any]) -> Any:
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return filled(schema[keyword][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if schema.get("nullable") or (isinstance(kind, list) and "null" in kind):
        return None
    if kind == "array":
        return []
    if kind == "object":
        return {}
    return FORMATS.get(schema.get("format", ""), SAMPLES.get(str(kind), "x"))


def misfit(schema: dict[str, Any], body: Any) -> str:
    """Return how a body differs from its schema; empty where it fits."""
    whole = {**_as_json_schema(schema), "components": _components()}
    error = jsonschema.Draft202012Validator(whole).iter_errors(body)
    return next((f"{one.json_path}: {one.message}" for one in error), "")


@cache
def _components() -> Any:
    return _as_json_schema(description()["components"])


def _as_json_schema(schema: Any) -> Any:
    """Say OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_json_schema(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, found]}
    return found


@dataclass
class Answer:
    """One answer; `as_it_is` leaves the body as it is, whatever the description says."""

    code: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    as_it_is: bool = False


@dataclass
class Github:
    """What the API answers, by path; several answers to one path come one after the other."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __call__(
        self, reviews: list[Any], *, code: int = 200, environment: Any = None
    ) -> list[str]:
        """Set the run's reviews, and the environment; return the paths asked for."""
        body: Any = reviews if code == 200 else {"message": "Not for you"}
        self.say("/actions/runs/42/approvals", body, code=code)
        if environment is not None:
            self.say("/environments/production", environment)
        return self.asked

    def say(self, path: str, body: Any, *, code: int = 200, **headers: str) -> None:
        """Set the answer to a path below the repository; headers with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[f"/repos/{REPOSITORY}{path}"] = [Answer(code, body, named)]

    def then(self, path: str, *answers: Answer) -> None:
        """Set several answers to a path; the last one stays."""
        self.answers[f"/repos/{REPOSITORY}{path}"] = list(answers)

    def answer(self, url: str, headers: Any) -> Answer:
        self.asked.append(url)
        path = urlsplit(url).path
        known = operation(url)
        if known is None:
            self.faults.append(f"GET {path}: not in the description")
            return Answer(404, {"message": "Not Found"})
        self.faults += [f"GET {url}: {fault}" for fault in known.faults(url, headers)]
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Bad credentials"})
        waiting = self.answers.get(path, [Answer(404, {"message": "Not Found"})])
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        schema = known.schema(found.code)
        if schema is None or found.as_it_is:
            return found
        body = filled(schema, found.body)
        wrong = misfit(schema, body)
        if wrong:
            self.faults.append(f"answer to {path}: {wrong}")
        return Answer(found.code, body, found.headers)


def serving(github: Github) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            found = github.answer(self.path, self.headers)
            text = isinstance(found.body, str)
            raw = found.body.encode() if text else json.dumps(found.body).encode()
            self.send_response(found.code)
            kind = "text/html" if text else "application/json; charset=utf-8"
            for name, value in {"Content-Type": kind, **found.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    github.url = f"http://127.0.0.1:{server.server_port}"
    return server


def variables(github: Github) -> dict[str, str]:
    """Return the environment of a job of run 42, its first attempt, started by ada."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "42",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_ACTOR": "ada",
        "GITHUB_TRIGGERING_ACTOR": "ada",
    }


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Github]:
    """The stand-in, and a job's environment; what is asked or answered wrongly fails the test."""
    found = Github()
    server = serving(found)
    for name, value in variables(found).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GH_TOKEN", raising=False)
    yield found
    server.shutdown()
    server.server_close()
    assert found.faults == []


def review(
    login: str,
    state: str = "approved",
    environment: str = "production",
    *,
    comment: str = "ship it",
    kind: str = "User",
) -> dict[str, Any]:
    """Return a review of a run, as the API lists it."""
    return {
        "state": state,
        "comment": comment,
        "environments": [{"id": 1, "name": environment}],
        "user": {"login": login, "id": 7, "type": kind, "site_admin": False},
    }
