"""Whom AWS lets take a role: the jobs of one environment of one repository."""

from typing import Any

import pytest

from pgwindlass.github.oidc import subjects, trust_policy

pytestmark = pytest.mark.unit

PROVIDER = "token.actions.githubusercontent.com"
OLD, NEW = "repo:acme/shop", "repo:acme@11/shop@22"


def repository(created_at: str) -> dict[str, Any]:
    """Return what the API tells of a repository."""
    return {"full_name": "acme/shop", "id": 22, "owner": {"id": 11}, "created_at": created_at}


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        ("2020-01-01T00:00:00Z", (OLD, NEW)),
        ("2026-07-15T23:59:59Z", (OLD, NEW)),
        ("2026-07-16T00:00:00Z", (NEW,)),
    ],
)
def test_a_repository_that_may_have_been_renamed_has_both_forms(
    created_at: str, expected: tuple[str, ...]
) -> None:
    assert subjects(repository(created_at)) == expected


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ((NEW,), [f"{NEW}:environment:uat"]),
        ((OLD, NEW), [f"{OLD}:environment:uat", f"{NEW}:environment:uat"]),
        ((), ["repo:OWNER/NAME:environment:uat"]),
    ],
)
def test_a_role_is_for_one_environment_of_the_repository(
    given: tuple[str, ...], allowed: list[str]
) -> None:
    assert trust_policy(given, "uat") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::ACCOUNT_ID:oidc-provider/{PROVIDER}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{PROVIDER}:aud": "sts.amazonaws.com",
                        f"{PROVIDER}:sub": allowed,
                    }
                },
            }
        ],
    }
