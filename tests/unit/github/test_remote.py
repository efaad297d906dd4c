"""The repository on GitHub that the URL of a git remote names."""

import pytest

from pgwindlass.github.remote import GithubRepository, parse_remote

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("https://github.com/acme/shop.git", "github.com", "acme/shop"),
        ("https://github.com/acme/shop", "github.com", "acme/shop"),
        ("https://github.com/acme/shop/", "github.com", "acme/shop"),
        ("http://github.com:8080/acme/shop.git", "github.com", "acme/shop"),
        ("https://someone@github.com/acme/shop", "github.com", "acme/shop"),
        ("https://x:y@github.com/acme/shop", "github.com", "acme/shop"),
        ("git@github.com:acme/shop.git", "github.com", "acme/shop"),
        ("github.com:acme/shop", "github.com", "acme/shop"),
        ("ssh://git@github.com:22/acme/shop.git/", "github.com", "acme/shop"),
        ("git://ghe.example.com/acme/shop.js", "ghe.example.com", "acme/shop.js"),
    ],
)
def test_a_url_names_its_host_and_repository(url: str, host: str, name: str) -> None:
    assert parse_remote(url) == GithubRepository(host, name)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/git/shop.git",
        "file:///srv/git/shop.git",
        "../shop",
        "https://github.com/shop",
        "https://github.com/acme/shop/tree",
    ],
)
def test_another_remote_names_none(url: str) -> None:
    assert parse_remote(url) is None


@pytest.mark.parametrize(
    ("host", "hosted", "api"),
    [
        ("github.com", True, "https://api.github.com"),
        ("acme.ghe.com", True, "https://api.acme.ghe.com"),
        ("ghe.com", False, "https://ghe.com/api/v3"),
        ("ghe.example.com", False, "https://ghe.example.com/api/v3"),
        ("notgithub.com", False, "https://notgithub.com/api/v3"),
    ],
)
def test_the_api_is_where_the_server_has_it(host: str, hosted: bool, api: str) -> None:
    remote = GithubRepository(host, "acme/shop")

    assert (remote.hosted, remote.api) == (hosted, api)
    assert remote.site == f"https://{host}/acme/shop"
