"""Which extensions a migration creates."""

import pytest

from pgwindlass.parser.extensions import created_extensions

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("create extension citext;", ("citext",)),
        ("CREATE  EXTENSION\n IF NOT EXISTS PostGIS schema public;", ("postgis",)),
        ('create extension if not exists "uuid-ossp";', ("uuid-ossp",)),
        ('op.execute("CREATE EXTENSION IF NOT EXISTS \\"uuid-ossp\\"")', ("uuid-ossp",)),
        ("create extension a; create extension b; create extension a", ("a", "b")),
        ("-- create extension citext;\nselect 1;", ()),
        ("/* create extension citext; */ select 1;", ()),
        ("drop extension citext; alter extension citext update;", ()),
        ("create table extension (id int);", ()),
    ],
)
def test_an_extension_is_known_by_its_statement(text: str, names: tuple[str, ...]) -> None:
    assert created_extensions(text) == names
