"""Where a database is, as one text."""

import pytest

from pgwindlass.database.address import address_of, normalised

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("parameters", "address"),
    [
        ({"host": "DB.Example.com.", "dbname": "shop"}, "db.example.com:5432/shop"),
        ({"host": "db", "port": "6432", "dbname": "Shop"}, "db:6432/Shop"),
        ({"host": "a,b", "port": "1,2", "dbname": "d"}, "a:1,b:2/d"),
        ({"host": "a,b", "port": "1", "dbname": "d"}, "a:1,b:1/d"),
        ({"host": "a,b", "dbname": "d"}, "a:5432,b:5432/d"),
        ({"host": "2001:DB8::0001", "dbname": "d"}, "[2001:db8::1]:5432/d"),
        ({"host": "db", "hostaddr": "10.0.0.9", "dbname": "d"}, "db=10.0.0.9:5432/d"),
        ({"host": "10.0.0.9", "hostaddr": "10.0.0.9", "dbname": "d"}, "10.0.0.9:5432/d"),
        ({"hostaddr": "10.0.0.9", "dbname": "d"}, "=10.0.0.9:5432/d"),
        ({"host": "/run/Postgres", "dbname": "d"}, "/run/Postgres:5432/d"),
        ({"dbname": "d"}, "local socket:5432/d"),
        ({"hostaddr": "10.0.0.8,10.0.0.9", "dbname": "d"}, "=10.0.0.8:5432,=10.0.0.9:5432/d"),
        ({"host": "a,b,c", "port": "1,2", "dbname": "d"}, "a:1,b:2,c:5432/d"),
        ({"host": "@Abstract", "dbname": "d"}, "@Abstract:5432/d"),
        ({"host": "xen.XX.", "dbname": "d"}, "xen.xx:5432/d"),
        ({}, "local socket:5432/"),
    ],
)
def test_an_address_has_neither_user_nor_password(parameters: dict[str, str], address: str) -> None:
    secrets = {"user": "ann", "password": "s3cret"}

    assert address_of(parameters | secrets) == address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("DB/d", "db:5432/d"),
        ("db:6432/d", "db:6432/d"),
        ("a:1,b:2/d", "a:1,b:2/d"),
        ("[2001:db8::1]/d", "[2001:db8::1]:5432/d"),
        ("[2001:db8::1]:6432/d", "[2001:db8::1]:6432/d"),
        ("/run/pg:5433/d", "/run/pg:5433/d"),
        ("/run/pg/d", "/run/pg:5432/d"),
        ("[2001:db8::1],[2001:db8::2]:7/d", "[2001:db8::1]:5432,[2001:db8::2]:7/d"),
        (" XENX:1/d ", "xenx:1/d"),
    ],
)
def test_an_address_of_deploy_yml_is_written_alike(written: str, address: str) -> None:
    assert normalised(written) == address
