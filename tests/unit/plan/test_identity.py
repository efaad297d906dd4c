"""Whether a database is the one that an environment means."""

import pytest

from pgwindlass.errors import Refused
from pgwindlass.model import DatabaseIdentity, Tier
from pgwindlass.plan.identity import (
    adopted,
    difference,
    guarding,
    laxer,
    recorded,
    require_same,
)

pytestmark = pytest.mark.unit


def identity(
    environment: str = "uat", tier: Tier = "acceptance", project: str = "shop"
) -> DatabaseIdentity:
    return DatabaseIdentity(project=project, environment=environment, tier=tier)


UAT = identity()
DEV = identity("dev", "development")
PRODUCTION = identity("production", "production")


def test_a_database_that_says_nothing_is_anybodys() -> None:
    assert difference(None, PRODUCTION) == ""
    require_same(None, DEV, "db")


@pytest.mark.parametrize("asked", [UAT, identity(tier="production")], ids=str)
def test_the_same_and_a_stricter_tier_pass(asked: DatabaseIdentity) -> None:
    assert difference(UAT, asked) == ""


@pytest.mark.parametrize(
    ("known", "asked", "why"),
    [
        (PRODUCTION, DEV, "it is production (production), not dev"),
        (UAT, PRODUCTION, "it is uat (acceptance), not production"),
        (
            UAT,
            identity(tier="development"),
            "its tier is acceptance; deploy.yml says development, which asks for less",
        ),
        (UAT, identity(project="bank"), "it belongs to the project shop, not to bank"),
    ],
    ids=str,
)
def test_another_one_is_refused(known: DatabaseIdentity, asked: DatabaseIdentity, why: str) -> None:
    assert difference(known, asked) == why
    with pytest.raises(Refused) as caught:
        require_same(known, asked, "db")
    assert caught.value.what == f"the database db is another one: {why}"
    assert f"invoke identity --env {asked.environment} --adopt" in caught.value.next_step


def test_tiers_have_an_order() -> None:
    assert laxer("development", "acceptance")
    assert laxer("acceptance", "production")
    assert not laxer("production", "production")
    assert not laxer("production", "development")


def test_a_deployment_records_what_is_not_recorded_above_development() -> None:
    assert recorded(None, DEV) is None
    assert recorded(None, UAT) == UAT
    assert recorded(UAT, UAT) is None
    assert recorded(UAT, identity(tier="production")) == identity(tier="production")


def test_adopting_by_development_takes_the_record_away() -> None:
    assert adopted(DEV) is None
    assert adopted(UAT) == UAT


def test_the_stricter_one_confirms_and_of_equals_the_present_one() -> None:
    assert guarding(None, UAT) == UAT
    assert guarding(PRODUCTION, DEV) == PRODUCTION
    assert guarding(UAT, PRODUCTION) == PRODUCTION
    assert guarding(UAT, identity("other")) == UAT
