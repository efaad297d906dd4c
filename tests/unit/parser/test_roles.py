"""Which roles a script names and does not create itself."""

import pytest

from pgwindlass.parser.roles import named_roles

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("grant select on t to app, public, pg_monitor, current_user", {"app"}),
        ("alter table t owner to carl; set role bob", {"carl"}),
        ("create schema s authorization fred", {"fred"}),
        ("create policy p on t to gina using (true)", {"gina"}),
        ("alter default privileges for role hans grant select on tables to ida", {"hans", "ida"}),
        ("create role dora; grant dora to eve", {"eve"}),
        ('grant select on t to "Odd Name"', {"Odd Name"}),
        ("do $$ begin execute 'grant x to y'; end $$", {"y"}),
        ("do $$ begin execute $x$grant x to y$x$; end $$", {"y"}),
        ("do $$ begin execute format('grant x to %I', 'y'); end $$", set()),
        ("do $$ begin grant select on t to app, carl; end $$", {"app", "carl"}),
        (
            "do $$ begin if not exists (select from pg_roles where rolname = 'app') then "
            "create role app; end if; grant select on t to app, eve; end $$",
            {"eve"},
        ),
        ("do $$ begin grant select on t to app $$", set()),
        ("do $$ this is no block $$", set()),
        ("this is no sql", set()),
    ],
)
def test_named_and_not_created(sql: str, names: set[str]) -> None:
    assert named_roles([sql]) == names


def test_a_role_that_another_script_creates_is_not_named() -> None:
    assert named_roles(["grant select on t to app", "create role app"]) == set()
