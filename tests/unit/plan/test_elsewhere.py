"""Where a restore may go."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgwindlass.config.address import Address
from pgwindlass.errors import Refused
from pgwindlass.plan.elsewhere import find_address

pytestmark = pytest.mark.unit

OWN = {"host": "db.example.com", "dbname": "shop"}


def found(url: str, *named: str, own: dict[str, str] = OWN, **variables: str) -> Address:
    parameters = {k: str(v) for k, v in conninfo_to_dict(url).items() if v is not None}
    return find_address(parameters, named=named, own=own, variables=variables)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@dr.example.com/x",
        "postgresql://me@DR.Example.com/x",
        "postgresql://me@dr.example.com:5432/x",
        "host=dr.example.com port=05432 dbname=x",
    ],
)
def test_a_named_server_may_be_written_in_several_ways(url: str) -> None:
    assert found(url, "Dr.example.com") == Address("dr.example.com", "5432")


def test_a_port_is_part_of_the_name() -> None:
    assert found("postgresql://dr:6432/x", "dr:6432") == Address("dr", "6432")
    with pytest.raises(Refused, match="dr:6432 is not a server"):
        found("postgresql://dr:6432/x", "dr")


@pytest.mark.parametrize(
    "own", [OWN, {"host": "DB.example.com", "port": "5432"}, {"host": "db.example.com", "port": ""}]
)
def test_the_own_server_needs_no_name(own: dict[str, str]) -> None:
    assert found("postgresql://db.example.com/x", own=own) == Address("db.example.com", "5432")


@pytest.mark.parametrize(
    "own",
    [
        {"host": "db.example.com", "port": "6432"},
        {"host": "db.example.com", "hostaddr": "192.0.2.1"},
        {"host": "db.example.com", "service": "shop"},
        {"host": "db.example.com,db2.example.com"},
        {},
    ],
)
def test_a_server_that_is_own_only_perhaps_is_to_be_named(own: dict[str, str]) -> None:
    with pytest.raises(Refused, match="none is named") as caught:
        found("postgresql://db.example.com/x", own=own)

    assert "restore_to: [db.example.com]" in caught.value.next_step


def test_an_empty_variable_leads_nowhere() -> None:
    assert found("postgresql://dr/x", "dr", PGHOSTADDR="", PGHOST="evil") == Address("dr", "5432")
