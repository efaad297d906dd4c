"""The identity of a workflow's jobs at AWS: how its subject begins, and the role that takes it."""

from typing import Any

# The subject of a workflow's identity since then, for repositories created, renamed or moved:
# https://docs.github.com/actions/reference/security/oidc
IMMUTABLE_SINCE = "2026-07-15"
PROVIDER = "token.actions.githubusercontent.com"


def subjects(repository: dict[str, Any]) -> tuple[str, ...]:
    """Return how the subject of a repository's identity may begin, from what the API tells.

    The API does not tell when a repository was renamed, so one that was created before
    IMMUTABLE_SINCE has both forms.
    """
    owner, name = str(repository["full_name"]).split("/")
    new = f"repo:{owner}@{repository['owner']['id']}/{name}@{repository['id']}"
    old = f"repo:{owner}/{name}"
    return (new,) if str(repository["created_at"])[:10] > IMMUTABLE_SINCE else (old, new)


def trust_policy(subjects: tuple[str, ...], environment: str) -> dict[str, Any]:
    """Return the trust policy of an AWS role that jobs of one environment alone may take.

    Without subjects it names OWNER/NAME, to be filled in by hand.
    https://docs.github.com/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
    """
    beginnings = subjects or ("repo:OWNER/NAME",)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::ACCOUNT_ID:oidc-provider/{PROVIDER}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{PROVIDER}:aud": "sts.amazonaws.com",
                        f"{PROVIDER}:sub": [f"{s}:environment:{environment}" for s in beginnings],
                    }
                },
            }
        ],
    }
