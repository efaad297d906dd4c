"""Which values of deploy.yml are secrets."""

import json

import pytest

from pgwindlass import secret
from pgwindlass.config.secretplaces import (
    as_policy,
    masked,
    remember_userinfo,
    remember_value,
    require_long,
    without_userinfo,
)
from pgwindlass.errors import ConfigError, Place
from pgwindlass.secret import redact

pytestmark = pytest.mark.unit
SMOKE = ("environments", "uat", "smoke")
RESTART = ("environments", "uat", "restart")


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_known", set())


@pytest.mark.parametrize(
    ("name", "value", "at", "before", "hidden"),
    [
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "headers", "X-Shop"), "", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "bearer"), "", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "json", "a", "b"), "", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "get"), "/x?key=", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "get"), "/x/", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://me:", True),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://me@host:", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://h/x?y=", True),
        ("SHOP_TOKEN", "some-value-1", (*SMOKE, "base_url"), "https://", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "expect", "json", "a"), "", False),
        ("SHOP", "some-value-1", (*RESTART, "run", 1), "--with=", True),
        ("SHOP", "some-value-1", (*RESTART, "identity", 1), "", True),
        ("SHOP_HOST", "some-value-1", (*RESTART, "run", 1), "", False),
        ("SHOP", "/srv/some-value-1", (*RESTART, "run", 1), "", False),
        ("SHOP", "./some-value-1", (*RESTART, "run", 1), "", False),
        ("SHOP", "8080", (*RESTART, "run", 1), "", False),
        ("SHOP", "true", (*SMOKE, "checks", 0, "json", "a"), "", False),
        ("SHOP_PASSWORD", "/srv/some-value-1", (*RESTART, "run", 1), "", True),
        ("SHOP_PASSWORD", "some-value-1", (*RESTART, "host"), "", True),
        ("SHOP", "some-value-1", (*RESTART, "host"), "ssh://deploy:", True),
        ("SHOP", "some-value-1", (*RESTART, "unit"), "", False),
        ("SHOP", "some-value-1", ("backups", "to"), "s3://bucket/x?y=", True),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "name"), "is it up?", False),
        ("SHOP", "some-value-1", ("get", "checks", 0, "name"), "is it up?", False),
        ("SHOP", "some-value-1", (*SMOKE, "checks", "get", "name"), "is it up?", False),
        ("SHOP", "some-value-1", (*SMOKE, "checks", 0, "bearer"), "host=", True),
        ("SHOP_HOST", "some-value-1", (*SMOKE, "checks", 0, "bearer"), "", True),
        ("SHOP_HOST", "some-value-1", (*RESTART, "identity", 1), "", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://host/a:", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://:", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://me:and://", False),
        ("SHOP", "some-value-1", (*SMOKE, "base_url"), "https://:a:", False),
    ],
)
def test_a_value_is_a_secret_by_its_place(
    name: str, value: str, at: tuple[str | int, ...], before: str, hidden: bool
) -> None:
    remember_value(name, value, at, before)

    assert (redact(value) == "***") is hidden


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("https://me:pass-word-1@host", "pass-word-1", "***"),
        ("https://tok3n-alone@host", "tok3n-alone", "***"),
        ("https://deploy@host", "deploy", "deploy"),
        ("https://host/a@b", "host", "host"),
        ("https://[bad@host", "host", "host"),
        ("ssh://us3r-name@host", "us3r-name", "us3r-name"),
        # user:password as a header has it
        ("https://me:pass-word-1@host", "bWU6cGFzcy13b3JkLTE=", "***="),
        ("http://me:pass-word-1@host", "pass-word-1", "***"),
        ("http://tok3n-alone@host", "tok3n-alone", "***"),
        ("https://me:pass@word-1@host", "pass@word-1", "***"),
    ],
)
def test_the_userinfo_of_an_address_is_a_secret(url: str, text: str, shown: str) -> None:
    remember_userinfo(url)

    assert redact(text) == shown


def test_an_address_is_shown_without_its_userinfo() -> None:
    assert without_userinfo("https://me:pw@host/a@b") == "https://host/a@b"
    assert without_userinfo("https://host/a@b?c@d") == "https://host/a@b?c@d"


@pytest.mark.parametrize(
    ("name", "value", "key", "refused"),
    [
        ("SHOP_PASSWORD", "abc", "host", True),
        ("SHOP_PASSWORD", "abcd", "host", False),
        ("SHOP_PASSWORD", "", "host", False),
        ("SHOP", "abc", "bearer", True),
        ("SHOP", "abc", "host", False),
    ],
)
def test_a_secret_too_short_to_be_hidden_is_refused(
    name: str, value: str, key: str, refused: bool
) -> None:
    place = Place("deploy.yml", 7)
    if not refused:
        require_long(name, value, (key,), place)
        return

    with pytest.raises(ConfigError) as caught:
        require_long(name, value, (key,), place)

    assert caught.value.what == (
        f"deploy.yml:7: {key}: the secret in {name} has 3 characters, and only those of 4 or more "
        "can be kept out of logs"
    )
    assert caught.value.next_step == "set a longer secret"


def test_a_plan_shows_no_literal_secret_of_the_file() -> None:
    written = {
        "base_url": "https://me:pw@host/x",
        "other": "https://${USER}:${PW}@host",
        "checks": [
            {"get": "/", "bearer": "literal", "headers": {"X-Api-Key": "k", "Accept": "a/b"}},
            {"get": "/", "bearer": "${TOKEN}", "headers": {"Authorization": "Basic ${B}"}},
        ],
        "successes": 3,
    }

    assert json.loads(as_policy(written)) == {
        "base_url": "https://***@host/x",
        "other": "https://${USER}:${PW}@host",
        "checks": [
            {"get": "/", "bearer": "***", "headers": {"X-Api-Key": "***", "Accept": "a/b"}},
            {"get": "/", "bearer": "${TOKEN}", "headers": {"Authorization": "Basic ${B}"}},
        ],
        "successes": 3,
    }


def test_a_secret_of_one_character_is_refused_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"smoke\.checks\.0\.bearer: .* has 1 characters"):
        require_long("SHOP", "a", ("smoke", "checks", 0, "bearer"), Place("deploy.yml", 7))


def test_the_items_of_a_list_are_masked_by_the_key_of_the_list() -> None:
    written = {"headers": {"Cookie": ["a", "b"], "Accept": ["a"]}, "bearer": ("a", "${T}")}

    assert masked(written) == {
        "headers": {"Cookie": ["***", "***"], "Accept": ["a"]},
        "bearer": ["***", "${T}"],
    }
    assert masked("literal") == "literal"
