"""GitHub's reviewers, from a stand-in of its API: paths, headers and refusals as published."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pgwindlass.approvals.github import NEEDED, GithubSource, names_digest
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import GithubApproval
from pgwindlass.errors import ConfigError, NotApproved, Unreachable
from pgwindlass.github.api import limited
from pgwindlass.model import About, Origin, Plan, Target
from pgwindlass.plan.gate import require_approval
from tests.fix_github import TOKEN, Answer, Github, review
from tests.kit import parts

__all__ = ["TOKEN", "review"]
RUN = "https://github.com/acme/shop/actions/runs/42"
APPROVALS = "/actions/runs/42/approvals"


def a_plan(made_in: str | None = "") -> Plan:
    """Return a plan; `made_in` is the attempt that it says it is from, empty: no origin at all."""
    origin = Origin(deployer="ada", host="runner", commit=None, ci_run=made_in or None)
    about = About(
        made_at=datetime.now(UTC), origin=origin, tables=(), findings=(), host="db", backup_to=""
    )
    return Plan(
        project="shop",
        environment="production",
        tier="production",
        direction="up",
        engine="sql",
        engine_version="1",
        history=(),
        schema_fingerprint="",
        migrations=(),
        steps=(),
        policy=(),
        about=about if made_in != "" else None,
        target=Target(system_identifier="1", database="shop", server_version=160000),
    )


@pytest.fixture
def plan() -> Plan:
    return a_plan()


def source(**options: Any) -> GithubSource:
    config = GithubApproval(expires=Duration(3600), **options)
    return GithubSource(config, environment="production")


def test_a_reviewer_who_is_not_the_starter_approves(github: Github, plan: Plan) -> None:
    asked = github([review("grace")])

    (found,) = source().find(plan)

    assert (found.approver, found.source, found.plan_digest) == ("grace", "github", plan.digest)
    assert found.comment == "ship it"
    assert (found.expires_at - found.granted_at).total_seconds() == 3600
    assert asked == ["/repos/acme/shop/actions/runs/42/approvals"]


@pytest.mark.parametrize(
    "reviews",
    [[], [review("grace", environment="uat")], [review("grace", "pending")]],
    ids=["none", "another environment", "pending"],
)
def test_without_a_yes_for_this_environment_nothing_is_approved(
    github: Github, plan: Plan, reviews: list[object]
) -> None:
    github(reviews)

    assert source().find(plan) == ()


@pytest.mark.parametrize(
    "reviews",
    [
        [review("linus", "rejected")],
        [review("grace"), review("linus", "rejected")],
        [review("linus", "rejected"), review("grace")],
    ],
    ids=["rejected", "approved and rejected", "rejected and approved"],
)
def test_a_no_in_this_run_stands_whatever_else_was_said(
    github: Github, plan: Plan, reviews: list[object]
) -> None:
    github(reviews)

    with pytest.raises(NotApproved, match="linus rejected production in this run") as caught:
        source().find(plan)
    assert caught.value.next_step.startswith("start a new run of the workflow")


def test_a_no_to_another_environment_is_none_to_this_one(github: Github, plan: Plan) -> None:
    github([review("linus", "rejected", "uat"), review("grace")])

    assert source().find(plan)[0].approver == "grace"


@pytest.mark.parametrize("login", ["ada", "Ada"])
def test_whoever_started_the_run_does_not_count(github: Github, plan: Plan, login: str) -> None:
    github([review(login)])

    with pytest.raises(NotApproved, match=f"{login} started this run and approved it alone"):
        source().find(plan)
    assert source(self_approval=True).find(plan)


def test_whoever_started_it_again_does_not_count_either(
    github: Github, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    github([review("grace")])
    monkeypatch.setenv("GITHUB_TRIGGERING_ACTOR", "grace")

    with pytest.raises(NotApproved, match="grace started this run"):
        source().find(plan)


def test_of_several_reviews_one_that_counts_is_enough(github: Github, plan: Plan) -> None:
    github([review("ada"), review("grace"), review("release[bot]", kind="Bot")])

    (found,) = source().find(plan)
    assert found.approver == "grace"


def test_a_program_is_no_reviewer(github: Github, plan: Plan) -> None:
    github([review("release[bot]", kind="Bot")])

    with pytest.raises(NotApproved, match=r"release\[bot\] is not a person"):
        source().find(plan)


@pytest.mark.parametrize("user", [None, {"login": "ghost", "id": 10137, "type": "User"}])
def test_a_deleted_account_is_nobody(github: Github, plan: Plan, user: object) -> None:
    github.then(APPROVALS, Answer(200, [{**review("x"), "user": user}], as_it_is=True))

    with pytest.raises(NotApproved, match="the account that approved was deleted"):
        source().find(plan)


def test_the_digest_in_the_comment_where_it_is_asked_for(github: Github, plan: Plan) -> None:
    github([review("grace")])
    strict = source(comment="digest")

    with pytest.raises(NotApproved, match="the comment of grace does not name plan") as caught:
        strict.find(plan)
    assert f"approve {plan.digest[:12]}" in caught.value.next_step
    assert strict.how(plan).count(f"approve {plan.digest[:12]}") == 1

    github([review("grace", comment=f"Approve {plan.digest[:12].upper()}, looks well")])
    assert strict.find(plan)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("comment", "names"),
    [
        ("{12}", True),
        ("approve {12}.", True),
        ("`{64}`", True),
        ("{16}", True),
        ("{11}", False),
        ("", False),
        ("approve 0123456789ab", False),
        ("x{12}", False),
        ("{12}0", False),
        ("{64}0", False),
    ],
)
def test_a_comment_names_a_digest_by_twelve_digits_or_more(
    plan: Plan, comment: str, names: bool
) -> None:
    for length in (11, 12, 16, 64):
        comment = comment.replace(f"{{{length}}}", plan.digest[:length])
    if comment == plan.digest[:13]:  # the digit after the twelfth happens to be a 0
        names = True

    assert names_digest(comment, plan.digest) is names


@pytest.mark.parametrize(
    ("attempt", "made_in", "said"),
    [
        ("1", "", ""),
        ("1", f"{RUN}/attempts/1", ""),
        ("2", f"{RUN}/attempts/2", ""),
        ("2", "", "attempt 2 of this run has no plan of its own"),
        ("2", None, "attempt 2 of this run has no plan of its own"),
        ("2", f"{RUN}/attempts/1", "/runs/42/attempts/1, and this is attempt 2 of run 42"),
        ("1", f"{RUN[:-2]}41/attempts/1", "/runs/41/attempts/1, and this is attempt 1 of run 42"),
    ],
)
def test_a_later_attempt_needs_a_plan_of_its_own(
    github: Github, monkeypatch: pytest.MonkeyPatch, attempt: str, made_in: str | None, said: str
) -> None:
    github([review("grace")])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", attempt)

    if not said:
        assert source().find(a_plan(made_in))
        return
    with pytest.raises(NotApproved, match=said) as caught:
        source().find(a_plan(made_in))
    assert "re-run all jobs" in caught.value.next_step


def test_an_approval_lasts_from_when_its_plan_was_made(github: Github) -> None:
    github([review("grace")])
    plan = a_plan(None)
    assert plan.about is not None
    old = msgspec.structs.replace(plan.about, made_at=datetime.now(UTC) - timedelta(hours=25))

    (found,) = source().find(msgspec.structs.replace(plan, about=old))

    with pytest.raises(NotApproved, match="the approval of grace expired at"):
        require_approval(plan, (found,), now=datetime.now(UTC), how="")


@pytest.mark.parametrize("code", [403, 404])
def test_an_api_that_refuses_approves_nothing_and_names_the_permission(
    github: Github, plan: Plan, code: int
) -> None:
    github([], code=code)

    with pytest.raises(Unreachable, match=f"status {code}") as caught:
        source().find(plan)
    assert "actions: read" in caught.value.next_step


def test_the_permission_is_the_one_that_github_names(github: Github, plan: Plan) -> None:
    refused = {"message": "Resource not accessible by integration"}
    github.say(APPROVALS, refused, code=403, X_Accepted_GitHub_Permissions="actions=read")

    with pytest.raises(Unreachable, match="not accessible by integration") as caught:
        source().find(plan)
    assert "give the token actions: read" in caught.value.next_step


def test_an_api_that_fails_is_asked_four_times(github: Github, plan: Plan) -> None:
    asked = github([], code=500)

    with pytest.raises(Unreachable, match="status 500") as caught:
        source().find(plan)
    assert len(asked) == 4
    assert "it was asked 4 times" in caught.value.next_step


def test_a_failure_that_passes_is_not_even_told(github: Github, plan: Plan) -> None:
    busy = Answer(502, {"message": "Server Error"})
    github.then(APPROVALS, busy, busy, Answer(200, [review("grace")]))

    assert source().find(plan)
    assert len(github.asked) == 3


def test_a_server_that_is_not_there_is_named(
    github: Github, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")

    with pytest.raises(Unreachable, match="Connection refused") as caught:
        source().find(plan)
    assert "on GitHub Enterprise Server https://HOST/api/v3" in caught.value.next_step


def test_a_page_for_people_is_no_api(github: Github, plan: Plan) -> None:
    """What an Enterprise server says where /api/v3 is missing."""
    github.then(APPROVALS, Answer(200, "<html>Sign in</html>", as_it_is=True))

    with pytest.raises(Unreachable, match="<html>Sign in</html>") as caught:
        source().find(plan)
    assert "https://HOST/api/v3" in caught.value.next_step


def test_an_answer_of_another_form_is_said(github: Github, plan: Plan) -> None:
    github.then(APPROVALS, Answer(200, {"reviews": []}, as_it_is=True))

    with pytest.raises(Unreachable, match="gave an unexpected answer"):
        source().find(plan)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GITHUB_REPOSITORY", "shop", "expected OWNER/NAME"),
        ("GITHUB_REPOSITORY", "../acme/shop", "expected OWNER/NAME"),
        ("GITHUB_API_URL", "github.example.com", "expected a URL"),
    ],
)
def test_a_wrong_repository_or_address_is_said_before_anything_is_asked(
    github: Github, plan: Plan, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=said):
        source().find(plan)
    assert github.asked == []


def test_a_rate_limit_is_waited_for_and_said(github: Github, plan: Plan) -> None:
    secondary = {"message": "You have exceeded a secondary rate limit."}
    github.then(
        APPROVALS,
        Answer(403, secondary, {"Retry-After": "1"}),
        Answer(200, [review("grace")]),
    )
    notes: list[str] = []
    began = time.monotonic()

    found = GithubSource(GithubApproval(), environment="production", note=notes.append).find(plan)

    assert found[0].approver == "grace"
    assert time.monotonic() - began >= 1
    assert notes == ["GitHub's rate limit is used up; going on in 1 s"]


def test_a_rate_limit_that_lasts_too_long_is_not_waited_for(github: Github, plan: Plan) -> None:
    reset = str(int(time.time()) + 3000)
    github.say(
        APPROVALS,
        {"message": "API rate limit exceeded"},
        code=403,
        X_RateLimit_Remaining="0",
        X_RateLimit_Reset=reset,
    )

    with pytest.raises(Unreachable, match=r"used up for another (2999|300\d) s") as caught:
        source().find(plan)
    assert caught.value.next_step.startswith("the same command in 50 minutes")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("code", "headers", "message", "seconds"),
    [
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1090"}, "", None),
        (403, {}, "Resource not accessible by integration", None),
        (403, {"Retry-After": "7"}, "", 7),
        (429, {"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, "", 7),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1090"}, "", 91),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "990"}, "", 1),
        (403, {"X-RateLimit-Remaining": "4000"}, "", None),
        (403, {}, "You have exceeded a secondary rate limit", 60),
        (429, {}, "", 60),
    ],
)
def test_what_counts_as_a_rate_limit_and_how_long_it_lasts(
    code: int, headers: dict[str, str], message: str, seconds: float | None
) -> None:
    assert limited(code, headers, message, now=1000) == seconds


def test_a_wrong_token_is_said_and_not_shown(
    github: Github, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    github([review("grace")])
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_another_token")

    with pytest.raises(Unreachable, match="Bad credentials") as caught:
        source().find(plan)
    assert "ghs_another_token" not in parts(caught.value)
    assert caught.value.next_step.startswith("set GITHUB_TOKEN to a token that is valid")


@pytest.mark.parametrize("name", NEEDED)
def test_outside_a_github_job_there_is_nobody_to_ask(
    github: Github, plan: Plan, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)

    assert source().find(plan) == ()
    assert name in source().how(plan)
    assert "would refuse" in source().check()


def test_an_environment_without_reviewers_is_refused(github: Github) -> None:
    github([], environment={"name": "production", "protection_rules": []})

    with pytest.raises(NotApproved, match="has no required reviewers"):
        source().check()


def test_an_environment_that_does_not_exist_is_refused(github: Github) -> None:
    with pytest.raises(NotApproved, match="production does not exist"):
        source().check()


def test_an_environment_with_reviewers_is_well(github: Github) -> None:
    rule = {"type": "required_reviewers", "reviewers": [{"type": "User"}, {"type": "Team"}]}
    github([], environment={"name": "production", "protection_rules": [{"id": 1}, rule]})

    assert source().check() == "2 required reviewers"
