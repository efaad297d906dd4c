"""What has to be set on GitHub by hand, checked through its API: `doctor --github`.

Every check says what to do and at which page. What the token may not see is told and fails
nothing: a workflow's own token sees neither secrets nor the repository's settings.
https://docs.github.com/actions/reference/workflows-and-actions/deployments-and-environments
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import policy
from ..config import Config
from ..config.sections import approval_of
from ..errors import Refused, WindlassError
from ..model import PreflightCheck, StepName
from .api import GithubApi, NotFound, NotPermitted
from .remote import open_github

ENVIRONMENT = "actions: read"  # what the API asks for, as GitHub names it
ADMINISTRATION = "administration: read"
LISTS = (  # where a variable or a secret may be: its list, the key in it, the permission
    ("environments/{name}/secrets", "secrets", "environments: read"),
    ("environments/{name}/variables", "variables", "environments: read"),
    ("actions/secrets", "secrets", "secrets: read"),
    ("actions/variables", "variables", "variables: read"),
    ("actions/organization-secrets", "secrets", "secrets: read"),
    ("actions/organization-variables", "variables", "variables: read"),
)


@dataclass(frozen=True, kw_only=True)
class WantedEnvironment:
    """An environment on GitHub as deploy.yml needs it.

    `reviewed`: GitHub's required reviewers are its approval. `guarded`: the default branch alone
    may use it. `names`: the variables that deploy.yml cannot do without.
    """

    name: str
    reviewed: bool = False
    self_approval: bool = False
    guarded: bool = False
    names: tuple[str, ...] = ()


def check_settings(
    config: Config, only: str = "", *, note: Callable[[str], None]
) -> tuple[PreflightCheck, ...]:
    """Return every check of what deploy.yml needs on GitHub; `only` chooses one environment.

    Raises:
        ConfigError: there is no such environment, no token, or no repository on GitHub.

    """
    if only:
        config.require(only)
    api, site = open_github(config.root, note=note)
    return check_environments(api, site, wanted_environments(config, only))


def wanted_environments(config: Config, only: str = "") -> tuple[WantedEnvironment, ...]:
    """Return the environments that deploy.yml needs on GitHub; `only` chooses one of them.

    Where people have to approve, there is a second one, NAME-plan: its plan job runs before the
    approval. Where backups are asked for, there is a NAME-backup: backups start without a person
    (.github/workflows/backup.yml). Variables are not expanded: no one has the secrets of every
    environment.
    """
    shared = set(config.variables())
    environments = []
    for name in config.names:
        data = config.written(name)
        approval, tier = data.get("approval"), str(data.get("tier"))
        row = policy.TIERS.index(tier) if tier in policy.TIERS else len(policy.TIERS) - 1
        needs_approval = (
            policy.TABLE[StepName.APPROVAL][row] is policy.REQUIRED or approval is not None
        )
        own = approval if isinstance(approval, dict) else {}
        environment = WantedEnvironment(
            name=name,
            reviewed=needs_approval and approval_of(approval).reviewed,
            self_approval=own.get("self_approval") is True,
            guarded=policy.TABLE[StepName.BACKUP][row] is policy.REQUIRED,
            names=tuple(sorted(shared | set(config.variables(name)))),
        )
        extra_jobs = (["plan"] if needs_approval else []) + (
            ["backup"] if environment.guarded else []
        )
        environments.append(environment)
        environments += [
            WantedEnvironment(
                name=f"{name}-{job}", guarded=environment.guarded, names=environment.names
            )
            for job in extra_jobs
        ]
    names = (only, f"{only}-plan", f"{only}-backup")
    return tuple(
        environment for environment in environments if not only or environment.name in names
    )


def check_environments(
    api: GithubApi, site: str, environments: Iterable[WantedEnvironment]
) -> tuple[PreflightCheck, ...]:
    """Return a check for every setting; a failing one does not hide the others.

    `site` is the repository's address for people, https://github.com/OWNER/NAME.
    """
    try:
        repository = api.get(permission="metadata: read")
    except WindlassError as error:
        return (PreflightCheck("repository", error.what, problem=error.next_step),)
    kind = "private" if repository["private"] else "public"
    branch = str(repository["default_branch"])
    checks = [PreflightCheck("repository", f"{api.repository}, {kind}, default branch {branch}")]
    checks.append(_check("workflow token", partial(_workflow_token, api, site)))
    for environment in environments:
        checks += _Environment(
            api, site, environment, private=bool(repository["private"]), branch=branch
        ).checks()
    return tuple(checks)


def _check(name: str, look_at: Callable[[], str]) -> PreflightCheck:
    try:
        return PreflightCheck(name, look_at())
    except (NotPermitted, NotFound) as error:
        return PreflightCheck(name, f"not visible to this token: {error.next_step}")
    except WindlassError as error:
        return PreflightCheck(name, error.what, problem=error.next_step)


def _workflow_token(api: GithubApi, site: str) -> str:
    permissions = api.get("actions/permissions/workflow", permission=ADMINISTRATION)
    if permissions["default_workflow_permissions"] != "read":
        raise Refused(
            "a workflow that names no permissions may write",
            next_step=f"choose “Read repository contents and packages permissions”: "
            f"{site}/settings/actions",
        )
    if permissions["can_approve_pull_request_reviews"]:
        raise Refused(
            "a workflow may approve pull requests",
            next_step=f"untick “Allow GitHub Actions to create and approve pull requests”: "
            f"{site}/settings/actions",
        )
    return "reads by default, approves no pull requests"


@dataclass(frozen=True)
class _Environment:
    """The checks of one environment."""

    api: GithubApi
    site: str
    wanted: WantedEnvironment
    private: bool
    branch: str

    def checks(self) -> list[PreflightCheck]:
        name = self.wanted.name
        try:
            settings = self.api.get(f"environments/{name}", permission=ENVIRONMENT)
        except NotFound:
            return [
                PreflightCheck(
                    name,
                    "does not exist, or the token may not see it; a workflow that names it "
                    "creates it, without any protection",
                    problem=f"create it by hand: {self.site}/settings/environments/new "
                    f"(seen with {ENVIRONMENT})",
                )
            ]
        except WindlassError as error:
            return [PreflightCheck(name, error.what, problem=error.next_step)]
        page = f"{self.site}/settings/environments/{settings['id']}/edit"
        rules = {rule["type"]: rule for rule in settings.get("protection_rules") or []}
        checks = [_check(f"{name}: reviewers", partial(self._reviewers, rules, page))]
        if self.wanted.guarded:
            branches = partial(self._branches, settings.get("deployment_branch_policy"), page)
            checks.append(_check(f"{name}: branches", branches))
        if self.wanted.reviewed:
            checks.append(_check(f"{name}: admins", partial(_admins, settings, page)))
        if self.wanted.names:
            checks.append(_check(f"{name}: variables", partial(self._variables, page)))
        return checks

    def _reviewers(self, rules: dict[str, dict[str, Any]], page: str) -> str:
        rule = rules.get("required_reviewers", {})
        count = len(rule.get("reviewers") or [])
        if not self.wanted.reviewed:
            return f"{count} required" if count else "none, and none needed"
        if not count and self.private:
            raise Refused(
                "none are required; a private repository has them with GitHub Enterprise alone",
                next_step=f"with GitHub Enterprise set them: {page}; else let approvers sign: "
                "approval: {from: ssh, signers: .github/approvers}, and invoke deploy "
                "--wait-for-approval 2h",
            )
        if not count:
            raise Refused(
                "none are required: every run that waits there starts",
                next_step=f"set them: {page}",
            )
        if not rule.get("prevent_self_review") and not self.wanted.self_approval:
            raise Refused(
                "the person who starts a run may approve it",
                next_step=f"tick “Prevent self-review”: {page}",
            )
        return f"{count} required, one of them has to approve"

    def _branches(self, rule: dict[str, bool] | None, page: str) -> str:
        if not rule:
            raise Refused(
                "every branch may use it",
                next_step=f"under “Deployment branches and tags” allow {self.branch} alone: {page}",
            )
        if rule["protected_branches"]:
            where, key = "branches", ""
            names = [
                branch["name"]
                for branch in self.api.all(where, key, permission="contents: read")
                if branch["protected"]
            ]
            which = "protected branches"
        else:
            where, key = (
                f"environments/{self.wanted.name}/deployment-branch-policies",
                "branch_policies",
            )
            names = [policy["name"] for policy in self.api.all(where, key, permission=ENVIRONMENT)]
            which = "selected branches and tags"
        if which == "protected branches" and not names:
            raise Refused(
                "protected branches alone, and none is protected: every branch may use it",
                next_step=f"protect {self.branch}: {self.site}/settings/branches",
            )
        if names != [self.branch]:
            raise Refused(
                f"{which}: {', '.join(names) or 'none'}",
                next_step=f"allow {self.branch} alone: {page}",
            )
        return f"{self.branch} alone"

    def _variables(self, page: str) -> str:
        """Look for the names of variables and secrets; values are never asked for."""
        known, hidden = set[str](), list[str]()
        for path, key, permission in LISTS:
            try:
                variables = self.api.all(
                    path.format(name=self.wanted.name), key, permission=permission
                )
            except (NotPermitted, NotFound):
                hidden.append(permission)
            else:
                known |= {variable["name"] for variable in variables}
        missing = [name for name in self.wanted.names if name.upper() not in known]
        if missing and hidden:
            needs = ", ".join(dict.fromkeys(hidden))
            return f"{', '.join(missing)}: not visible to this token, which needs {needs}"
        if missing:
            raise Refused(
                f"{', '.join(missing)}: neither a secret nor a variable",
                next_step=f"add them as environment secrets or variables: {page}",
            )
        return f"{', '.join(self.wanted.names)}: there"


def _admins(settings: dict[str, Any], page: str) -> str:
    """Look whether administrators may start what waits; older servers do not tell."""
    if "can_admins_bypass" not in settings:
        return "GitHub does not tell whether they may start what waits: look there"
    if settings["can_admins_bypass"]:
        raise Refused(
            "administrators may start what waits, without a review",
            next_step="untick “Allow administrators to bypass configured protection rules”: "
            f"{page}",
        )
    return "wait for a review, like everyone else"
