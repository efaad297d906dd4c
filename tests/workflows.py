"""Runs a workflow's jobs here: its own `run:` lines, with the files and variables GitHub documents.

What stands for GitHub: a checkout is `git clone`, an artifact a directory, and the line that
installs Windlass a link to the environment these tests run in. Everything else is what it is.
https://docs.github.com/actions/reference/workflows-and-actions/variables
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests import warm
from tests.fix_github import filled, operation, review
from tests.fix_runner import outputs_of
from tests.kit import ROOT

TOKEN = "ghs_stand_in_token"
WORKFLOWS = ROOT / ".github" / "workflows"
TEMPLATES = ROOT / "ci" / "templates" / "github"
SETUP = ROOT / ".github" / "actions" / "setup" / "action.yml"
BASH = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]}
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
OPERATORS = {"&&": " and ", "||": " or ", "!=": "!=", "!": " not "}


def read(path: Path) -> Any:
    """Return a workflow or an action; the key `on` stays a word."""
    text = re.sub(r"^on:", '"on":', path.read_text(), flags=re.MULTILINE)
    return yaml.safe_load(text.replace("{windlass}", "acme/windlass").replace("{ref}", "v1"))


class _Context(dict[str, Any]):
    """A context of an expression: what is not there is empty."""

    def __getattr__(self, name: str) -> Any:
        found = self.get(name, "")
        return _Context(found) if isinstance(found, dict) else found


def evaluate(text: object, contexts: Mapping[str, Any]) -> Any:
    """Return a value with its expressions evaluated; one alone keeps its type."""
    if not isinstance(text, str):
        return text
    whole = EXPRESSION.fullmatch(text)
    if whole:
        return _value(whole[1], contexts)
    return EXPRESSION.sub(lambda match: str(_value(match[1], contexts)), text)


def _value(expression: str, contexts: Mapping[str, Any]) -> Any:
    python = re.sub(r"&&|\|\||!=|!", lambda match: OPERATORS[match[0]], expression.strip())
    names: dict[str, Any] = {name: _Context(value) for name, value in contexts.items()}
    names |= {"cancelled": lambda: False, "failure": lambda: False, "always": lambda: True}
    return eval(python.strip(), {"__builtins__": {}}, names)


class Api:
    """GitHub's API of one repository: reviews of a run, environments, comments of a pull request.

    Paths, fields and status codes as https://docs.github.com/rest publishes them.
    """

    def __init__(self) -> None:
        self.reviews: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.faults: list[str] = []

    def review(self, login: str) -> None:
        """Let somebody approve the environment production of every run."""
        self.reviews = [review(login)]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        if method == "GET" and re.fullmatch(r"actions/runs/\d+/approvals", path):
            return 200, self.reviews
        if (method, path) == ("GET", "environments/production"):
            rule = {"type": "required_reviewers", "reviewers": [{"type": "User"}]}
            return 200, {"name": "production", "protection_rules": [rule]}
        if (method, path) == ("GET", "issues/17/comments"):
            asked = dict(one.split("=") for one in query.split("&"))
            first = (int(asked["page"]) - 1) * int(asked["per_page"])
            return 200, self.comments[first : first + int(asked["per_page"])]
        if (method, path) == ("POST", "issues/17/comments"):
            made = {
                "id": len(self.comments) + 1,
                "html_url": "https://github.com/…#1",
                **body,
                "user": {"login": "github-actions[bot]", "type": "Bot"},
            }
            self.comments.append(made)
            return 201, made
        if method == "PATCH" and (match := re.fullmatch(r"issues/comments/(\d+)", path)):
            found = next(one for one in self.comments if one["id"] == int(match[1]))
            found |= body
            return 200, found
        return 404, {"message": "Not Found"}


@contextmanager
def serving() -> Iterator[tuple[Api, str]]:
    """Serve the API, and yield it and its address."""
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"null")
            path = self.path.removeprefix("/repos/acme/shop/")
            code, answer = found.answer(self.command, path, body)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                code, answer = 401, {"message": "Bad credentials"}
            # What the published description knows of is held against it.
            known = operation(self.path) if self.command == "GET" else None
            if known is not None:
                found.faults += known.faults(self.path, self.headers)
                answer = filled(known.schema(code), answer)
            raw = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_PATCH = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
    assert found.faults == []


@dataclass(frozen=True)
class Done:
    """How a job ended: 0, or the code of the step that failed."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]

    def error(self) -> list[str]:
        """The three lines of the error."""
        lines = self.log.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("✗ "))
        return lines[first : first + 3]


@dataclass
class GitHub:
    """A repository with its environments, secrets and variables; and what ran."""

    home: Path
    origin: Path
    api: str
    token: str
    secrets: dict[str, dict[str, str]]  # of each environment
    variables: dict[str, dict[str, str]]  # likewise
    ran: set[tuple[str, str]] = field(default_factory=set)  # file and step
    count: int = 0

    def job(
        self,
        name: str,
        job: str,
        *,
        event: Mapping[str, Any] | None = None,
        run: int = 42,
        inputs: Mapping[str, Any] | None = None,
        ref: str = "main",
        needs: Any = None,
        prepare: str = "",
    ) -> Done:
        """Run one job of a workflow, called by the template that `init --github` writes.

        `prepare` is what a user may add to it.
        """
        caller = read(TEMPLATES / name)["jobs"][name.removesuffix(".yml")]
        github = {
            "token": self.token,
            "run_id": run,
            "run_attempt": 1,
            "repository": "acme/shop",
            "event": dict(event or {}),
        }
        given = {"inputs": dict(inputs or {}), "github": github, "secrets": {}}
        called = read(WORKFLOWS / name)
        declared = called["on"]["workflow_call"].get("inputs", {})
        values = {key: one.get("default", "") for key, one in declared.items()}
        values |= {key: evaluate(one, given) for key, one in caller.get("with", {}).items()}
        values["prepare"] = prepare
        passed = {key: evaluate(one, given) for key, one in caller.get("secrets", {}).items()}
        contexts = {"inputs": values, "github": github, "needs": needs or {}, "steps": {}}
        return _Job(self, name, called["jobs"][job], contexts, passed, ref).run()


@dataclass
class _Job:
    github: GitHub
    file: str
    text: dict[str, Any]
    contexts: dict[str, Any]
    passed: dict[str, str]
    ref: str
    log: str = ""
    code: int = 0

    def run(self) -> Done:
        self.github.count += 1
        self.room = self.github.home / f"job-{self.github.count}"
        self.workspace, self.temp = self.room / "workspace", self.room / "temp"
        for place in (self.workspace, self.temp):
            place.mkdir(parents=True)
        self.path: list[str] = []
        self.summary = self.room / "summary"
        environment = self.text.get("environment", "")
        named = environment["name"] if isinstance(environment, dict) else environment
        where = str(evaluate(named, self.contexts))
        assert where in {"", *self.github.secrets}, f"{where} would be made, unprotected"
        self.contexts |= {
            "secrets": {**self.passed, **self.github.secrets.get(where, {})},
            "vars": self.github.variables.get(where, {}),
        }
        for step in self.text["steps"]:
            self.step(step)
        outputs = {
            key: str(evaluate(value, self.contexts))
            for key, value in self.text.get("outputs", {}).items()
        }
        summary = self.summary.read_text() if self.summary.exists() else ""
        return Done(self.code, self.log, summary, outputs)

    def step(self, step: dict[str, Any]) -> None:
        wanted = str(step.get("if", ""))
        if self.code and "cancelled()" not in wanted:
            return
        given = {key: evaluate(one, self.contexts) for key, one in step.get("with", {}).items()}
        action = step.get("uses", "")
        if action.startswith("actions/checkout@"):
            self.checkout()
        elif action.startswith("$/"):
            self.setup(given)
        elif action.startswith("actions/upload-artifact@"):
            self.upload(given)
        elif action.startswith("actions/download-artifact@"):
            into = self.workspace / given.get("path", "")
            shutil.copytree(self.artifact(given["name"]), into, symlinks=True, dirs_exist_ok=True)
        elif action:
            raise AssertionError(f"{action} is not known here")
        else:
            self.shell(step)

    def checkout(self) -> None:
        clone = ["git", "clone", "--quiet", "--no-local", str(self.github.origin)]
        subprocess.run([*clone, str(self.workspace)], check=True)
        subprocess.run(["git", "checkout", "--quiet", self.ref], cwd=self.workspace, check=True)

    def setup(self, given: Mapping[str, str]) -> None:
        """Run the steps of the composite action, with a link for the one that installs."""
        inputs = {key: one["default"] for key, one in read(SETUP)["inputs"].items()}
        inputs |= given
        assert not inputs["aws-role"], "no AWS here"
        mask, install, prepare, aws = read(SETUP)["runs"]["steps"]
        assert mask["if"] == aws["if"] == "inputs.aws-role != ''"
        assert install["run"] == 'exec "$GITHUB_ACTION_PATH/install"'
        programs = self.temp / "windlass" / "bin"
        programs.mkdir(parents=True)
        for name in ("windlass", "invoke"):
            warm.write_launcher(programs / name)
        for name in ("python", "squawk"):
            (programs / name).symlink_to(Path(sys.executable).with_name(name))
        self.path.append(str(programs))
        if inputs["prepare"]:
            own = self.contexts
            self.contexts = {**own, "inputs": inputs}
            self.shell(prepare)
            self.contexts = own

    def artifact(self, name: str) -> Path:
        return self.github.home / f"artifacts-{self.contexts['github']['run_id']}" / name

    def upload(self, given: Mapping[str, str]) -> None:
        file = self.workspace / given["path"]
        if not file.exists():
            assert given["if-no-files-found"] == "ignore" or self.code
            return
        self.artifact(given["name"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self.artifact(given["name"]))

    def shell(self, step: dict[str, Any]) -> None:
        """Run a `run:` line as the runner does: in a file of its own, by `bash -e FILE`."""
        script, output = self.temp / "step.sh", self.temp / "output"
        script.write_text(step["run"])
        output.write_text("")
        env = {key: str(evaluate(one, self.contexts)) for key, one in step.get("env", {}).items()}
        done = subprocess.run(
            [*BASH[step.get("shell")], str(script)],
            cwd=self.workspace,
            env={**self.variables(output), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        self.github.ran.add((self.file, step["name"]))
        self.log += done.stdout
        self.code = self.code or done.returncode
        if "id" in step:
            outputs = outputs_of(output)
            self.contexts["steps"][step["id"]] = {"outputs": outputs}

    def variables(self, output: Path) -> dict[str, str]:
        """Return the whole environment of a step."""
        github = self.contexts["github"]
        event = self.temp / "event.json"
        event.write_text(json.dumps(github["event"]))
        return {
            "PATH": os.pathsep.join([*self.path, os.environ["PATH"]]),
            "HOME": os.environ["HOME"],
            "LANG": "C.UTF-8",
            "CI": "true",
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": "Linux",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_ENV": str(self.temp / "env"),
            "GITHUB_PATH": str(self.temp / "path"),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_STATE": str(self.temp / "state"),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_API_URL": self.github.api,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_RUN_ID": str(github["run_id"]),
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_ACTOR": "ada",
            "GITHUB_TRIGGERING_ACTOR": "ada",
            "GITHUB_ACTION_PATH": str(SETUP.parent),
        }
