"""The one comment of a pull request, against a stand-in of GitHub's API."""

from collections.abc import Iterator

import pytest

from pgwindlass.errors import ConfigError, Unreachable
from pgwindlass.github.pullrequest import MARKER, NEEDED, comment
from tests.kit import parts
from tests.workflows import TOKEN, Api, serving

BOT, PERSON = {"login": "github-actions[bot]", "type": "Bot"}, {"login": "eve", "type": "User"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving() as (found, url):
        for name, value in zip(NEEDED, (url, "acme/shop", TOKEN), strict=True):
            monkeypatch.setenv(name, value)
        yield found


def test_the_comment_of_before_is_found_behind_a_hundred_others(api: Api) -> None:
    api.comments += [{"id": at, "body": f"{MARKER} mine", "user": PERSON} for at in range(1, 121)]
    assert comment(17, "first").startswith("https://github.com/")
    comment(17, "second")

    assert len(api.comments) == 121
    assert api.comments[-1]["body"] == f"{MARKER}\nsecond"
    assert all(one["body"].endswith("mine") for one in api.comments[:-1])


def test_what_has_no_body_or_no_author_any_more_is_passed_over(api: Api) -> None:
    api.comments += [{"id": 1, "body": None, "user": BOT}, {"id": 2, "body": MARKER, "user": None}]

    comment(17, "first")

    assert [one["id"] for one in api.comments] == [1, 2, 3]


def test_a_refusal_names_the_permission_and_no_token(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_another_token")

    with pytest.raises(Unreachable, match="status 401") as caught:
        comment(17, "x")
    assert "pull-requests: write" in caught.value.next_step
    assert "ghs_another" not in parts(caught.value)
    with pytest.raises(Unreachable, match="did not take GET issues/18/comments: status 401"):
        comment(18, "x")


@pytest.mark.parametrize("name", NEEDED)
def test_outside_a_job_it_says_what_is_missing(
    api: Api, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)

    with pytest.raises(ConfigError, match=name):
        comment(17, "x")


def test_an_api_that_is_down_is_said(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")

    with pytest.raises(Unreachable, match="did not take GET issues/17/comments"):
        comment(17, "x")
