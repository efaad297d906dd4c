"""`doctor --github`: every setting that is wrong is said, with what to do at which page."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgwindlass.config import load
from pgwindlass.errors import ConfigError
from pgwindlass.github import settings
from pgwindlass.github.api import GithubApi
from pgwindlass.github.remote import open_github
from pgwindlass.model import PreflightCheck
from pgwindlass.secret import Secret
from tests.fix_github import REPOSITORY, TOKEN, Answer, Github, variables
from tests.kit import ROOT, Project

SITE = "https://github.com/acme/shop"
DEPLOY_YML = """\
project: shop
backups: {to: "${BACKUPS_TO}", endpoint: "${S3_ENDPOINT:-}"}
environments:
  dev: {tier: development, database: "${DEV_URL:-embedded}"}
  production:
    tier: production
    database: ${PRODUCTION_URL}
    approval: {from: github}
"""
PROTECTED = {
    "id": 7,
    "protection_rules": [
        {
            "type": "required_reviewers",
            "prevent_self_review": True,
            "reviewers": [{"type": "User"}, {"type": "Team"}],
        },
        {"type": "branch_policy"},
    ],
    "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
    "can_admins_bypass": False,
}
BARE = {"id": 7, "protection_rules": [], "deployment_branch_policy": None}


def listed(key: str, *names: str) -> dict[str, Any]:
    return {"total_count": len(names), key: [{"name": name} for name in names]}


def well_set(github: Github, *, private: bool = False) -> None:
    """Let the API tell a repository as it should be."""
    github.say("", {"private": private, "default_branch": "main"})
    github.say(
        "/actions/permissions/workflow",
        {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False},
    )
    for name in ("dev", "production", "production-plan", "production-backup"):
        environment = dict(PROTECTED) if name == "production" else dict(BARE)
        if name in ("production-plan", "production-backup"):
            environment["deployment_branch_policy"] = PROTECTED["deployment_branch_policy"]
        github.say(f"/environments/{name}", {"name": name, **environment})
        github.say(
            f"/environments/{name}/deployment-branch-policies", listed("branch_policies", "main")
        )
        github.say(f"/environments/{name}/secrets", listed("secrets", "PRODUCTION_URL"))
        github.say(f"/environments/{name}/variables", listed("variables"))
    for place in ("", "organization-"):
        github.say(f"/actions/{place}secrets", listed("secrets"))
        github.say(f"/actions/{place}variables", listed("variables", "BACKUPS_TO"))


@pytest.fixture
def deploy_yml(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.yml"
    path.write_text(DEPLOY_YML)
    return path


def look(github: Github, deploy_yml: Path, only: str = "") -> dict[str, PreflightCheck]:
    api = GithubApi(github.url, REPOSITORY, Secret(TOKEN))
    wanted = settings.wanted_environments(load(deploy_yml), only)
    return {check.name: check for check in settings.check_environments(api, SITE, wanted)}


def test_a_repository_as_it_should_be_has_nothing_to_mend(github: Github, deploy_yml: Path) -> None:
    well_set(github)

    found = look(github, deploy_yml)

    assert {name: check.problem for name, check in found.items() if check.problem} == {}
    assert {name: check.found for name, check in found.items()} == {
        "repository": "acme/shop, public, default branch main",
        "workflow token": "reads by default, approves no pull requests",
        "dev: reviewers": "none, and none needed",
        "dev: variables": "BACKUPS_TO: there",
        "production: reviewers": "2 required, one of them has to approve",
        "production: branches": "main alone",
        "production: admins": "wait for a review, like everyone else",
        "production: variables": "BACKUPS_TO, PRODUCTION_URL: there",
        "production-plan: reviewers": "none, and none needed",
        "production-plan: branches": "main alone",
        "production-plan: variables": "BACKUPS_TO, PRODUCTION_URL: there",
        "production-backup: reviewers": "none, and none needed",
        "production-backup: branches": "main alone",
        "production-backup: variables": "BACKUPS_TO, PRODUCTION_URL: there",
    }
    assert set(look(github, deploy_yml, "dev")) == {
        "repository",
        "workflow token",
        "dev: reviewers",
        "dev: variables",
    }


PAGE = f"{SITE}/settings/environments/7/edit"


@pytest.mark.parametrize(
    ("changed", "check", "found", "problem"),
    [
        (
            {"protection_rules": []},
            "reviewers",
            "none are required: every run that waits there starts",
            f"set them: {PAGE}",
        ),
        (
            {
                "protection_rules": [
                    {
                        "type": "required_reviewers",
                        "prevent_self_review": False,
                        "reviewers": [{"type": "User"}],
                    }
                ]
            },
            "reviewers",
            "the person who starts a run may approve it",
            f"tick “Prevent self-review”: {PAGE}",
        ),
        (
            {"deployment_branch_policy": None},
            "branches",
            "every branch may use it",
            f"under “Deployment branches and tags” allow main alone: {PAGE}",
        ),
        (
            {
                "deployment_branch_policy": {
                    "protected_branches": True,
                    "custom_branch_policies": False,
                }
            },
            "branches",
            "protected branches alone, and none is protected: every branch may use it",
            f"protect main: {SITE}/settings/branches",
        ),
        (
            {"can_admins_bypass": True},
            "admins",
            "administrators may start what waits, without a review",
            f"untick “Allow administrators to bypass configured protection rules”: {PAGE}",
        ),
    ],
    ids=["no reviewers", "self-review", "any branch", "nothing protected", "admins"],
)
def test_a_setting_that_is_wrong_is_said_with_its_page(
    github: Github, deploy_yml: Path, changed: dict[str, Any], check: str, found: str, problem: str
) -> None:
    well_set(github)
    github.say("/environments/production", {"name": "production", **PROTECTED, **changed})
    github.say("/branches", [{"name": "main", "protected": False}])

    told = look(github, deploy_yml)

    assert told[f"production: {check}"] == PreflightCheck(f"production: {check}", found, problem)
    assert [name for name, one in told.items() if one.problem] == [f"production: {check}"]


def test_other_branches_are_named(github: Github, deploy_yml: Path) -> None:
    well_set(github)
    path = "/environments/production/deployment-branch-policies"
    github.say(path, listed("branch_policies", "main", "release/*"))

    told = look(github, deploy_yml)["production: branches"]
    assert told.found == "selected branches and tags: main, release/*"
    assert told.problem == f"allow main alone: {PAGE}"


def test_a_list_is_read_to_its_last_page(github: Github, deploy_yml: Path) -> None:
    well_set(github)
    path = "/environments/production/deployment-branch-policies"
    more = {"Link": f'<{github.url}/repos/acme/shop{path}?page=2>; rel="next"'}
    github.then(
        path,
        Answer(200, listed("branch_policies", "main"), more),
        Answer(200, listed("branch_policies", "wip/*")),
    )

    assert "main, wip/*" in look(github, deploy_yml)["production: branches"].found


@pytest.mark.parametrize("name", ["production", "production-plan", "dev"])
def test_an_environment_that_does_not_exist_is_refused(
    github: Github, deploy_yml: Path, name: str
) -> None:
    well_set(github)
    github.say(f"/environments/{name}", {"message": "Not Found"}, code=404)

    told = look(github, deploy_yml)[name]
    assert "a workflow that names it creates it, without any protection" in told.found
    assert told.problem.startswith(f"create it by hand: {SITE}/settings/environments/new")


def test_a_private_repository_without_reviewers_takes_signatures(
    github: Github, deploy_yml: Path
) -> None:
    well_set(github, private=True)
    github.say("/environments/production", {"name": "production", **PROTECTED, **BARE})

    told = look(github, deploy_yml)["production: reviewers"]
    assert "a private repository has them with GitHub Enterprise alone" in told.found
    assert "approval: {from: ssh, signers: .github/approvers}" in told.problem

    deploy_yml.write_text(
        DEPLOY_YML.replace("{from: github}", "{from: ssh, signers: .github/approvers}")
    )
    assert look(github, deploy_yml)["production: reviewers"].problem == ""


def test_what_the_token_may_not_see_is_told_and_fails_nothing(
    github: Github, deploy_yml: Path
) -> None:
    well_set(github)
    refused = Answer(403, {"message": "Resource not accessible by integration"})
    for path in list(github.answers):
        if path.endswith(("secrets", "variables", "workflow")):
            github.answers[path] = [refused]

    told = look(github, deploy_yml)

    assert [check for check in told.values() if check.problem] == []
    assert "administration: read" in told["workflow token"].found
    assert told["production: variables"].found == (
        "BACKUPS_TO, PRODUCTION_URL: not visible to this token, which needs "
        "environments: read, secrets: read, variables: read"
    )


def test_a_name_that_is_nowhere_is_missing(github: Github, deploy_yml: Path) -> None:
    well_set(github)
    github.say("/environments/production/secrets", listed("secrets"))

    told = look(github, deploy_yml)["production: variables"]
    assert told.found == "PRODUCTION_URL: neither a secret nor a variable"
    assert told.problem == f"add them as environment secrets or variables: {PAGE}"


def test_a_workflow_token_that_writes_is_refused(github: Github, deploy_yml: Path) -> None:
    well_set(github)
    path = "/actions/permissions/workflow"
    setting = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": False}
    github.say(path, setting)
    assert look(github, deploy_yml)["workflow token"].problem.endswith(f"{SITE}/settings/actions")

    github.say(
        path,
        {
            **setting,
            "default_workflow_permissions": "read",
            "can_approve_pull_request_reviews": True,
        },
    )
    assert "may approve" in look(github, deploy_yml)["workflow token"].found


def test_a_repository_that_cannot_be_seen_is_one_failing_check(
    github: Github, deploy_yml: Path
) -> None:
    assert [(c.name, bool(c.problem)) for c in look(github, deploy_yml).values()] == [
        ("repository", True)
    ]


def test_the_task_prints_every_check_and_exits_by_them(github: Github, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", "postgresql://nowhere.invalid/shop")
    project.deploy_yml.write_text(DEPLOY_YML)
    well_set(github)
    job = variables(github)

    ran = project.run("doctor", "--github", **job)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("  ✓ ") == 14

    github.say("/environments/production", {"name": "production", **PROTECTED, **BARE})
    ran = project.run("doctor", "--github", "--env", "production", **job)
    assert ran.code == 1
    assert f"    next: set them: {PAGE}" in ran.out.splitlines()
    assert TOKEN not in ran.out + ran.err

    ran = project.run("doctor", "--github", "--env", "prodution", **job)
    assert (ran.code, 'did you mean "production"?' in ran.err) == (2, True)


def test_a_token_of_github_s_goes_to_no_other_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remote of a repository can name any host."""
    for name in ("GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GH_TOKEN", "ghp_of_github_com")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    url = "https://git.example.com/acme/shop.git"
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", url], check=True)

    with pytest.raises(ConfigError, match="no token") as caught:
        open_github(tmp_path, note=print)
    assert "GH_ENTERPRISE_TOKEN=$(gh auth token --hostname git.example.com)" in (
        caught.value.next_step
    )
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_of_the_enterprise")
    api, _ = open_github(tmp_path, note=print)
    assert api.url == "https://git.example.com/api/v3"
    assert api.token.reveal() == "ghp_of_the_enterprise"


def test_nothing_says_which_repository_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)

    with pytest.raises(ConfigError, match="the GitHub repository is unknown"):
        open_github(tmp_path, note=print)


@pytest.mark.unit
def test_the_project_s_own_environments_are_the_ones_its_workflow_names() -> None:
    wanted = settings.wanted_environments(load(ROOT / "deploy.yml"))

    assert [(one.name, one.reviewed) for one in wanted] == [
        ("dev", False),
        ("uat", False),
        ("uat-backup", False),
        ("production", True),
        ("production-plan", False),
        ("production-backup", False),
    ]
