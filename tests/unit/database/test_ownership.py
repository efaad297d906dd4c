"""Which tables of ours are believed."""

from typing import Any

import pytest

from pgwindlass.database.ownership import KINDS, Looked, reason, remedy

pytestmark = pytest.mark.unit


def looked(**fields: Any) -> Looked:
    usual: dict[str, Any] = {
        "schema": "public",
        "name": "schema_migrations",
        "kind": "r",
        "owner": "app",
        "superuser": False,
        "ours": False,
        "login": True,
        "member": False,
        "logins": (),
        "carries": (),
    }
    return Looked(**usual | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"ours": True},
        {"superuser": True},
        {"owner": "named"},
        {"login": False, "member": True},
        {"login": False, "member": True, "logins": ("me",)},
        {"login": False, "member": True, "logins": ("me", "named")},
    ],
    ids=str,
)
def test_a_trusted_owner(fields: dict[str, Any]) -> None:
    assert reason(looked(**fields), "me", ("named",)) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"owner": "name"},
        {"member": True},
        {"login": False},
        {"login": False, "member": True, "logins": ("me", "app")},
        {"login": False, "member": True, "logins": ("app",)},
    ],
    ids=str,
)
def test_an_owner_who_is_not(fields: dict[str, Any]) -> None:
    owner = fields.get("owner", "app")
    assert reason(looked(**fields), "me", ("named",)) == (
        f"public.schema_migrations belongs to {owner}, neither to me nor to a role trusted by name"
    )


def test_everybody_is_trusted_in_a_copy() -> None:
    assert reason(looked(), "me", None) == ""
    assert reason(looked(), "me", ()) != ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_table_is_refused_whoever_owns_it(kind: str) -> None:
    why = reason(looked(kind=kind, ours=True), "me", None)

    assert why == f"public.schema_migrations is {KINDS[kind]}, not a table of its own"


def test_what_runs_code_is_refused_whoever_owns_it() -> None:
    why = reason(looked(ours=True, carries=("the rule r", "the trigger t")), "me", None)

    assert why == "public.schema_migrations carries the rule r, which would run or act as me"


def test_the_schema_is_called_so() -> None:
    one = looked(schema="", name="windlass", kind="n")

    assert str(one) == "the schema windlass"
    assert reason(one, "me", ()).startswith("the schema windlass belongs to app")
    assert "alter schema windlass owner to me" in remedy(one, "me")
    assert "migrations: {owners: [app]}" in remedy(one, "me")


def test_what_to_do_is_about_what_was_found() -> None:
    assert "alter table public.schema_migrations owner to me" in remedy(looked(), "me")
    for fields in ({"kind": "v"}, {"carries": ("the rule r",)}):
        assert "\\d public.schema_migrations in psql" in remedy(looked(**fields), "me")
