"""The names of databases that a restore makes and puts aside."""

import re
from datetime import UTC, datetime

import pytest

from pgwindlass.backup.names import LONGEST, is_kept, kept_name, kept_prefix, new_name

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 20, 12, 30, 15, tzinfo=UTC)


def test_a_short_name_stays_whole() -> None:
    assert kept_name("shop", AT) == "shop_before_restore_20261120_123015"
    assert new_name("shop", "restored", AT) == "shop_restored_20261120_123015"


@pytest.mark.parametrize("name", ["s" * 32, "s" * 33, "s" * 63, "ü" * 31, "s" + "ü" * 31])
def test_no_name_is_longer_than_the_server_takes(name: str) -> None:
    for made in (kept_name(name, AT), new_name(name, "restored", AT)):
        assert len(made.encode()) <= LONGEST
    assert is_kept(name, kept_name(name, AT))


def test_a_name_is_cut_only_where_it_has_no_room() -> None:
    assert kept_prefix("s" * 32) == "s" * 32 + "_before_restore_"
    assert re.fullmatch("s{23}_[0-9a-f]{8}_before_restore_", kept_prefix("s" * 33))


def test_what_is_put_aside_for_one_long_name_is_not_anothers() -> None:
    uat, production = "a" * 40 + "_uat", "a" * 40 + "_production"

    assert not is_kept(uat, kept_name(production, AT))
    assert kept_name(uat, AT) != kept_name(production, AT)


@pytest.mark.parametrize(
    "other", ["shop", "shop_before_restore_", "shop_before_restore_app", "xshop_before_restore_1"]
)
def test_another_database_whose_name_begins_alike_is_not_put_aside(other: str) -> None:
    assert not is_kept("shop", other)
    assert not is_kept("shop", f"x{kept_name('shop', AT)}")
    assert not is_kept("shop", f"{kept_name('shop', AT)}_more")
