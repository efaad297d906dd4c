"""Which variables a project's Python gets, and what stands in a secret's place."""

import pytest

from pgwindlass.engines.alembic.variables import PLACEHOLDER, is_secret, named, scheme
from pgwindlass.secret import Secret

pytestmark = pytest.mark.unit

URL = "://placeholder:placeholder@localhost/placeholder"


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("APP_ENV", "staging", "staging"),
        ("LOG_LEVEL", "", ""),
        ("API_URL", "https://api.example/v1", "https://api.example/v1"),
        ("SECRET_KEY", "abc", PLACEHOLDER),
        ("STRIPE_TOKEN", "sk_live_1", PLACEHOLDER),
        ("SENTRY_DSN", "https://key@sentry.example/7", f"https{URL}"),
        ("CACHE", "redis://:swordfish@cache/0", f"redis{URL}"),
        ("BROKER", "amqp+ssl://user@broker/v", PLACEHOLDER),
        ("READ_REPLICA", "postgresql+asyncpg://u:p@replica/shop", f"postgresql+asyncpg{URL}"),
        ("DATABASE_URL", "postgresql://replica/shop", f"postgresql{URL}"),
        ("SECRET_KEY_FILE", "/run/secrets/key", "/run/secrets/key"),
    ],
)
def test_before_an_approval_a_placeholder_stands_for_a_secret(
    name: str, value: str, instead: str
) -> None:
    if instead == PLACEHOLDER and "://" in value:
        instead = f"{scheme(value)}{URL}"

    assert named([name], {name: value}, secrets=False) == {name: instead}
    assert named([name], {name: value}, secrets=True) == {name: value}


def test_what_has_a_secret_of_deploy_yml_in_it_is_one_whatever_its_name() -> None:
    Secret("a-key-of-the-bucket")

    assert is_secret("SETTINGS", '{"bucket": "a-key-of-the-bucket"}')
    assert not is_secret("SETTINGS", '{"bucket": "photos"}')


def test_only_what_is_named_and_set_passes() -> None:
    assert named(["A", "B"], {"A": "1", "C": "3"}, secrets=True) == {"A": "1"}
    assert named([], {"A": "1"}, secrets=True) == {}


def test_the_placeholder_is_long_enough_for_those_who_check_and_says_what_it_is() -> None:
    assert len(PLACEHOLDER) >= 32
    assert PLACEHOLDER.startswith("placeholder-until-the-plan-is-approved")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg"),
        ("postgres://h/d", "postgres"),
        ("host=h dbname=d", ""),
        ("", ""),
        ("p'; x://h", ""),
    ],
)
def test_the_scheme_of_a_url_names_its_driver(url: str, found: str) -> None:
    assert scheme(url) == found
