"""A required reviewer of the GitHub environment, as GitHub's API tells it.

GET /repos/{owner}/{repo}/actions/runs/{run_id}/approvals gives who approved which environment,
and no time, commit or attempt: the approval counts from now, and the digest binds the content.
https://docs.github.com/rest/actions/workflow-runs#get-the-review-history-for-a-workflow-run
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import requests

from ci.config import GithubApproval
from ci.errors import NotApproved, Unreachable
from ci.model import Approval, Plan
from ci.secret import Secret, redact

WITHIN = 20  # seconds, per request
NEEDED = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_TOKEN")


class _User(msgspec.Struct, frozen=True):
    login: str


class _Environment(msgspec.Struct, frozen=True):
    name: str


class _Review(msgspec.Struct, frozen=True):
    state: str
    comment: str
    user: _User
    environments: tuple[_Environment, ...]


class GithubSource:
    """Reads the reviews of the workflow run we are in."""

    def __init__(self, config: GithubApproval, *, environment: str) -> None:
        self.config, self.environment = config, environment

    def find(self, plan: Plan) -> tuple[Approval, ...]:
        """Return the newest approval of this run for this environment that counts."""
        if any(not os.environ.get(name) for name in NEEDED):
            return ()
        path = f"actions/runs/{os.environ['GITHUB_RUN_ID']}/approvals"
        reviews = msgspec.convert(self._get(path), tuple[_Review, ...])
        ours = [r for r in reviews if self.environment in {e.name for e in r.environments}]
        if any(review.state == "rejected" for review in ours):
            return ()
        approved = [r for r in ours if r.state == "approved"]
        starters = {os.environ.get("GITHUB_ACTOR"), os.environ.get("GITHUB_TRIGGERING_ACTOR")}
        counting = [
            r for r in approved if self.config.self_approval or r.user.login not in starters
        ]
        if approved and not counting:
            raise NotApproved(
                f"{approved[0].user.login} started this run and approved it alone",
                next_step="have another reviewer approve, or set approval.self_approval: true",
            )
        if not counting:
            return ()
        now = datetime.now(UTC)
        run, attempt = os.environ["GITHUB_RUN_ID"], os.environ.get("GITHUB_RUN_ATTEMPT", "1")
        approval = Approval(
            plan_digest=plan.digest,
            approver=counting[-1].user.login,
            source="github",
            granted_at=now,
            expires_at=now + timedelta(seconds=self.config.expires.seconds),
            comment=counting[-1].comment,
            nonce=f"github run {run} attempt {attempt}",  # one deployment for one review
        )
        return (approval,)

    def how(self, plan: Plan) -> str:  # noqa: ARG002  # the protocol's form
        """Say what to do."""
        missing = [name for name in NEEDED if not os.environ.get(name)]
        if missing:
            return (
                f"run it in a GitHub workflow job of the environment {self.environment} "
                f"(not set here: {', '.join(missing)})"
            )
        return (
            f"approve the run under the environment {self.environment}: "
            f"{os.environ.get('GITHUB_SERVER_URL', '')}/{os.environ['GITHUB_REPOSITORY']}"
            f"/actions/runs/{os.environ['GITHUB_RUN_ID']}"
        )

    def check(self) -> str:
        """Return whether reviewers are set; naming an unknown environment would create it bare.

        Raises:
            NotApproved: the environment is missing, or nobody has to approve in it.

        """
        missing = [name for name in NEEDED if not os.environ.get(name)]
        if missing:
            return f"not in a GitHub job ({', '.join(missing)} not set): would refuse"
        found = self._get(f"environments/{self.environment}")
        rules = found.get("protection_rules", []) if isinstance(found, dict) else []
        reviewers = [r for rule in rules for r in rule.get("reviewers", [])]
        if not reviewers:
            raise NotApproved(
                f"the GitHub environment {self.environment} has no required reviewers",
                next_step=f"set them: Settings → Environments → {self.environment}",
            )
        return f"{len(reviewers)} required reviewers"

    def _get(self, path: str) -> Any:  # noqa: ANN401  # JSON of GitHub's; its shape is checked after
        token = Secret(os.environ["GITHUB_TOKEN"])
        base = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
        headers = {
            "Authorization": f"Bearer {token.reveal()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        try:
            answer = requests.get(f"{base}/{path}", headers=headers, timeout=WITHIN)
        except requests.RequestException as error:
            raise self._unreachable(path, redact(str(error))) from error
        if answer.status_code != requests.codes.ok:
            raise self._unreachable(path, f"status {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    @staticmethod
    def _unreachable(path: str, said: str) -> Unreachable:
        return Unreachable(
            f"GitHub's API gave no answer to {path}: {said}",
            state="nothing was changed; without an answer nothing counts as approved",
            next_step="give the job permissions: actions: read, and GITHUB_TOKEN in its env",
        )
