"""A required reviewer of the GitHub environment, as GitHub's API tells it.

GET /repos/{owner}/{repo}/actions/runs/{run_id}/approvals gives who approved which environment,
and no time, commit or attempt: an approval lasts from when its plan was made, and the digest
binds the content.
https://docs.github.com/rest/actions/workflow-runs#get-the-review-history-for-a-workflow-run
"""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from ..config.sections import GithubApproval
from ..errors import NotApproved, Unchanged, Unreachable
from ..github.api import GithubApi, NotFound, this_run
from ..model import Approval, Plan
from ..secret import Secret

NEEDED = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_TOKEN")
SHORT = 12  # digits of a digest that name it, in a comment too
GHOST = "ghost"  # the name GitHub shows for an account that was deleted
PERMISSION = "actions: read"


class _Reviewer(msgspec.Struct, frozen=True):
    login: str
    type: str = "User"


class _EnvironmentName(msgspec.Struct, frozen=True):
    name: str


class _Review(msgspec.Struct, frozen=True):
    state: str
    comment: str | None
    user: _Reviewer | None
    environments: tuple[_EnvironmentName, ...]

    @property
    def by(self) -> str:
        return self.user.login if self.user else GHOST


class GithubSource:
    """Reads the reviews of the workflow run we are in."""

    required = 1

    def __init__(
        self,
        config: GithubApproval,
        *,
        environment: str,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.config, self.environment, self.note = config, environment, note

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return an approval of this run for this environment that counts; one is enough.

        Raises:
            PlanChanged: the plan is not the one whose digest the plan job gave out.
            NotApproved: a reviewer rejected it, no approval counts, or the plan is of
                another attempt.
            Unreachable: GitHub's API did not answer.

        """
        if _missing():
            return ()
        _require_own_attempt(plan)
        reviews = [
            r
            for r in self._reviews()
            if self.environment in {e.name.lower() for e in r.environments}
        ]
        rejected = [review.by for review in reviews if review.state == "rejected"]
        if rejected:
            raise NotApproved(
                f"{rejected[0]} rejected {self.environment} in this run",
                next_step="start a new run of the workflow: GitHub's list has no times, so an "
                "approval cannot be told to be later",
            )
        approvals = [r for r in reviews if r.state == "approved"]
        reasons = [why for r in approvals if (why := self._against(r, plan))]
        accepted = [r for r in approvals if not self._against(r, plan)]
        if approvals and not accepted:
            raise NotApproved("; ".join(dict.fromkeys(reasons)), next_step=self._instead(plan))
        return tuple(_approval(plan, review, self.config) for review in accepted[-1:])

    def _reviews(self) -> tuple[_Review, ...]:
        path = f"actions/runs/{os.environ['GITHUB_RUN_ID']}/approvals"
        answer = self._api().get(path, permission=PERMISSION)
        try:
            return msgspec.convert(answer, tuple[_Review, ...])
        except msgspec.ValidationError as error:
            raise Unreachable(
                f"GitHub's API gave an unexpected answer to {path}: {error}",
                state=Unchanged("without an answer nothing counts as approved"),
                next_step="check whether GITHUB_API_URL is GitHub's",
            ) from None

    def _against(self, review: _Review, plan: Plan) -> str:
        """Return why a review does not count; empty where it does."""
        starters = {os.environ.get(f"GITHUB_{n}ACTOR", "").lower() for n in ("", "TRIGGERING_")}
        if review.by == GHOST:
            return "the account that approved was deleted: whether it started the run is unknown"
        if review.user is not None and review.user.type != "User":
            return f"{review.by} is not a person"
        if review.by.lower() in starters and not self.config.self_approval:
            return f"{review.by} started this run and approved it alone"
        if self.config.comment == "digest" and not names_digest(review.comment or "", plan.digest):
            return f"the comment of {review.by} does not name plan {plan.digest[:SHORT]}"
        return ""

    def _instead(self, plan: Plan) -> str:
        if self.config.comment == "digest":
            return (
                "start a new run, and have another reviewer approve it with the comment: "
                f"approve {plan.digest[:SHORT]}"
            )
        return "have another reviewer approve, or set approval.self_approval: true"

    def how(self, plan: Plan) -> str:
        """Say what to do."""
        missing = _missing()
        if missing:
            return (
                f"run it in a GitHub workflow job of the environment {self.environment} "
                f"(not set here: {', '.join(missing)})"
            )
        comment = (
            f", with the comment: approve {plan.digest[:SHORT]}"
            if self.config.comment == "digest"
            else ""
        )
        return (
            f"approve the run under the environment {self.environment}{comment}: "
            f"{os.environ.get('GITHUB_SERVER_URL', '')}/{os.environ['GITHUB_REPOSITORY']}"
            f"/actions/runs/{os.environ['GITHUB_RUN_ID']}"
        )

    def check(self) -> str:
        """Return whether reviewers are set; naming an unknown environment would create it bare.

        Raises:
            NotApproved: the environment is missing, or it has no required reviewers.

        """
        missing = _missing()
        if missing:
            return f"not in a GitHub job ({', '.join(missing)} not set): would refuse"
        try:
            answer = self._api().get(f"environments/{self.environment}", permission=PERMISSION)
        except NotFound as error:
            raise NotApproved(
                f"the GitHub environment {self.environment} does not exist, or the token may not "
                "see it; a workflow that names it creates it, without any protection",
                next_step="create it, with required reviewers: invoke doctor --github says where",
            ) from error
        rules = answer.get("protection_rules", []) if isinstance(answer, dict) else []
        reviewers = [r for rule in rules for r in rule.get("reviewers", [])]
        if not reviewers:
            raise NotApproved(
                f"the GitHub environment {self.environment} has no required reviewers",
                next_step=f"set them: Settings → Environments → {self.environment}",
            )
        return f"{len(reviewers)} required reviewers"

    def _api(self) -> GithubApi:
        url, repository, _, token = (os.environ[name] for name in NEEDED)
        return GithubApi(url, repository, Secret(token), note=self.note)


def _missing() -> list[str]:
    """Return the variables that a job has, and this process has not."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    job = os.environ.get("GITHUB_ACTIONS") == "true"  # elsewhere anybody can set the others
    return missing if job else ["GITHUB_ACTIONS", *missing]


def names_digest(comment: str, digest: str) -> bool:
    """Tell whether a comment names a digest by its first 12 digits or more."""
    words = re.findall(r"\b[0-9a-f]{12,64}\b", comment.lower())
    return any(digest.startswith(word) for word in words)


def _require_own_attempt(plan: Plan) -> None:
    """Raise where the plan is of another run or attempt than this one.

    GitHub keeps the approvals of earlier attempts in its list, and the outputs of jobs that were
    not run again: so a later attempt has to show a plan that was made in it.
    """
    attempt = os.environ.get("GITHUB_RUN_ATTEMPT", "1")
    made_in = plan.about.origin.ci_run if plan.about else None
    if made_in is None and attempt == "1":
        return
    if made_in is None:
        what = f"attempt {attempt} of this run has no plan of its own"
    elif made_in == this_run():
        return
    else:
        what = f"the plan was made in {made_in}, and this is attempt {attempt} of run "
        what += os.environ["GITHUB_RUN_ID"]
    raise NotApproved(
        what, next_step="start a new run, or re-run all jobs, so that its plan is made and approved"
    )


def _approval(plan: Plan, review: _Review, config: GithubApproval) -> Approval:
    now = datetime.now(UTC)
    run, attempt = os.environ["GITHUB_RUN_ID"], os.environ.get("GITHUB_RUN_ATTEMPT", "1")
    return Approval(
        plan_digest=plan.digest,
        approver=review.by,
        source="github",
        granted_at=now,
        # From when the plan was made: the list does not say when it was approved.
        expires_at=(plan.about.made_at if plan.about else now)
        + timedelta(seconds=config.expires.seconds),
        comment=review.comment or "",
        nonce=f"github run {run} attempt {attempt}",  # one deployment for one review
    )
