"""GitHub's reviewers, from a stand-in of its API: paths, headers and refusals as published."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ci.approvals.github import NEEDED, GithubSource
from ci.config import Duration, GithubApproval
from ci.errors import NotApproved, Unreachable
from ci.model import Plan, Target

TOKEN = "ghs_stand_in_token"


def review(login: str, state: str = "approved", environment: str = "production") -> object:
    return {
        "state": state,
        "comment": "ship it",
        "environments": [{"id": 1, "name": environment, "url": "…", "created_at": "…"}],
        "user": {"login": login, "id": 7, "type": "User", "site_admin": False},
    }


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Return a function that sets what the API answers, and gives the paths asked for."""
    answers: dict[str, tuple[int, object]] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            asked.append(self.path)
            code, body = answers.get(self.path, (404, {"message": "Not Found"}))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                code, body = 401, {"message": "Bad credentials"}
            raw = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/shop")
    monkeypatch.setenv("GITHUB_RUN_ID", "42")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    monkeypatch.setenv("GITHUB_TRIGGERING_ACTOR", "ada")

    def answer(reviews: list[object], *, code: int = 200, environment: object = None) -> list[str]:
        answers["/repos/acme/shop/actions/runs/42/approvals"] = (code, reviews)
        if environment is not None:
            answers["/repos/acme/shop/environments/production"] = (200, environment)
        return asked

    yield answer
    server.shutdown()
    server.server_close()


@pytest.fixture
def plan() -> Plan:
    return Plan(
        project="shop", environment="production", tier="production", direction="up",
        engine="sql", engine_version="1", history=(), schema_fingerprint="", migrations=(),
        steps=(), policy=(),
        target=Target(system_identifier="1", database="shop", server_version=160000),
    )  # fmt: skip


def source(*, self_approval: bool = False) -> GithubSource:
    config = GithubApproval(expires=Duration(3600), self_approval=self_approval)
    return GithubSource(config, environment="production")


def test_a_reviewer_who_is_not_the_starter_approves(
    github: Callable[..., list[str]], plan: Plan
) -> None:
    asked = github([review("grace")])

    (found,) = source().find(plan)

    assert (found.approver, found.source, found.plan_digest) == ("grace", "github", plan.digest)
    assert found.comment == "ship it"
    assert (found.expires_at - found.granted_at).total_seconds() == 3600
    assert asked == ["/repos/acme/shop/actions/runs/42/approvals"]


@pytest.mark.parametrize(
    "reviews",
    [[], [review("grace", environment="uat")], [review("grace", "rejected")],
     [review("grace"), review("linus", "rejected")]],
    ids=["none", "another environment", "rejected", "approved and rejected"],
)  # fmt: skip
def test_without_a_yes_for_this_environment_nothing_is_approved(
    github: Callable[..., list[str]], plan: Plan, reviews: list[object]
) -> None:
    github(reviews)

    assert source().find(plan) == ()


def test_whoever_started_the_run_does_not_count(
    github: Callable[..., list[str]], plan: Plan
) -> None:
    github([review("ada")])

    with pytest.raises(NotApproved, match="ada started this run and approved it alone"):
        source().find(plan)
    assert source(self_approval=True).find(plan)


@pytest.mark.parametrize("code", [403, 404, 500])
def test_an_api_that_refuses_approves_nothing_and_names_the_permission(
    github: Callable[..., list[str]], plan: Plan, code: int
) -> None:
    github([], code=code)

    with pytest.raises(Unreachable, match=f"status {code}") as caught:
        source().find(plan)
    assert "actions: read" in caught.value.next_step


def test_a_wrong_token_is_said_and_not_shown(
    github: Callable[..., list[str]], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    github([review("grace")])
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_another_token")

    with pytest.raises(Unreachable, match="Bad credentials") as caught:
        source().find(plan)
    assert "ghs_another_token" not in str(caught.value)


@pytest.mark.parametrize("name", NEEDED)
def test_outside_a_github_job_there_is_nobody_to_ask(
    github: Callable[..., list[str]], plan: Plan, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)

    assert source().find(plan) == ()
    assert name in source().how(plan)
    assert "would refuse" in source().check()


def test_an_environment_without_reviewers_is_refused(github: Callable[..., list[str]]) -> None:
    github([], environment={"name": "production", "protection_rules": []})

    with pytest.raises(NotApproved, match="has no required reviewers"):
        source().check()


def test_an_environment_with_reviewers_is_well(github: Callable[..., list[str]]) -> None:
    rule = {"type": "required_reviewers", "reviewers": [{"type": "User"}, {"type": "Team"}]}
    github([], environment={"name": "production", "protection_rules": [{"id": 1}, rule]})

    assert source().check() == "2 required reviewers"
