"""Where a restore may go."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgwindlass.config.address import Address
from pgwindlass.errors import ConfigError, Refused
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


def test_a_server_that_is_not_named_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused) as caught:
        found("postgresql://evil/x", "dr", "dr2:6432")

    assert caught.value.what == (
        "evil is not a server that deploy.yml lets a restore go to; restore_to names dr, dr2:6432"
    )
    assert caught.value.next_step == (
        "name it under the environment: restore_to: [evil]; or restore into a "
        "new database of its own server: --into NAME"
    )
    with pytest.raises(Refused) as caught:
        found("postgresql://evil/x")
    assert caught.value.what.endswith("lets a restore go to; none is named")


HOST = "write one host: postgresql://USER@HOST:PORT/DATABASE"
DATABASE = "write it last: postgresql://USER@HOST:PORT/DATABASE"
LEFT_OUT = "leave {} out, and write the host: postgresql://USER@HOST/DATABASE"
OPEN = "--into has {}, so that it does not say by itself which server it means"


@pytest.mark.parametrize(
    ("url", "what", "next_step"),
    [
        (
            "host=dr hostaddr=192.0.2.1 dbname=x",
            OPEN.format("hostaddr"),
            LEFT_OUT.format("hostaddr"),
        ),
        ("host=dr service=shop dbname=x", OPEN.format("service"), LEFT_OUT.format("service")),
        ("dbname=x", "--into names no host", HOST),
        ("host='' dbname=x", "--into names no host", HOST),
        ("host=dr,dr2 dbname=x", "--into does not name one host", HOST),
        ("host=dr port=1,2 dbname=x", "--into does not name one host", HOST),
        ("host=dr", "--into names no database", DATABASE),
        ("host=dr dbname='host=evil'", "--into names no database", DATABASE),
        ("host=dr dbname='postgresql://evil/x'", "--into names no database", DATABASE),
    ],
)
def test_a_url_that_leaves_open_where_it_goes_is_refused(
    url: str, what: str, next_step: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        found(url, "dr")

    assert (caught.value.what, caught.value.next_step) == (what, next_step)


@pytest.mark.parametrize("name", ["PGHOSTADDR", "PGSERVICE"])
def test_a_variable_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found("postgresql://dr/x", "dr", own=OWN, **{name: "192.0.2.1"})

    assert caught.value.what == (
        f"{name} is set, and would lead the restore to another server than --into names"
    )
    assert caught.value.next_step == f"unset {name}"


def test_the_own_servers_port_is_looked_at() -> None:
    own = {"host": "db.example.com", "port": "6432"}
    assert found("postgresql://db.example.com:6432/x", own=own) == Address("db.example.com", "6432")
