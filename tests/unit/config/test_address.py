"""The address of one server, as deploy.yml names it."""

import pytest

from pgwindlass.config.address import Address, read_address

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("db", "db", "5432", "db"),
        ("DB.Example.com:6432", "db.example.com", "6432", "db.example.com:6432"),
        ("db:5432", "db", "5432", "db"),
        ("192.0.2.7:1", "192.0.2.7", "1", "192.0.2.7:1"),
        ("2001:db8::7", "2001:db8::7", "5432", "[2001:db8::7]"),
        ("[2001:DB8::7]", "2001:db8::7", "5432", "[2001:db8::7]"),
        ("[2001:db8::7]:6432", "2001:db8::7", "6432", "[2001:db8::7]:6432"),
        ("/run/Postgres", "/run/Postgres", "5432", "/run/Postgres"),
        ("xen:007", "xen", "7", "xen:7"),
        ("db:000", "db", "0", "db:0"),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: str, shown: str) -> None:
    address = read_address(text)

    assert address == Address(host, port)
    assert str(address) == shown
    assert read_address(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5432",
        "*",
        "*.example.com",
        "a?",
        "a,b",
        "me@a",
        "a b",
        "a:",
        "a:x",
        "a:٥",
        "[::1",
        "[::1]x",
        "[::1]:1]:2",
    ],
)
def test_what_is_no_address_of_one_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        read_address(text)
