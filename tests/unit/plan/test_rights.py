"""What a role lacks for a job, decided from what the server says of it."""

from typing import Any

import msgspec
import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.plan.rights import (
    Job,
    RelationRights,
    Rights,
    RoleRights,
    SchemaRights,
    configuring,
    job_of,
    missing_rights,
    signal_missing,
)

pytestmark = pytest.mark.unit

HISTORY = (("public", "schema_migrations"),)


def relation(name: str, **more: Any) -> RelationRights:
    given = {
        "schema": "public",
        "kind": "r",
        "owner": "owner",
        "owned": False,
        "select": False,
        "write": False,
    }
    return RelationRights(**{**given, "name": name, **more})


def rights(**more: Any) -> Rights:
    given: dict[str, Any] = {
        "user": "me",
        "database": "shop",
        "owner": "owner",
        "server_version": 160004,
        "superuser": False,
        "createdb": False,
        "read_all": False,
        "signal": False,
        "create": False,
        "schemas": (
            SchemaRights(name="public", usage=True, create=False, owned=False),
            SchemaRights(name="windlass", usage=False, create=False, owned=False),
        ),
        "relations": (relation("orders"), relation("schema_migrations")),
        "owners": (RoleRights(name="owner", usage=False, assume=False, configure=False),),
    }
    return Rights(**{**given, **more})


def named(found: Rights, job: Job, **more: Any) -> list[str]:
    return [one.right for one in missing_rights(found, job, HISTORY, **more)]


def test_each_job_lacks_what_it_needs() -> None:
    assert named(rights(), "migrate") == [
        "CREATE on the database shop",
        "CREATE on the schema public",
        "ownership of the schema windlass",
        "ownership of public.schema_migrations",
    ]
    assert named(rights(), "plan") == [
        "USAGE on the schema windlass",
        "SELECT on public.schema_migrations",
    ]
    assert named(rights(), "backup") == [
        "pg_read_all_data, for SELECT on public.orders (and 1 more)"
    ]
    assert named(rights(), "restore") == ["CREATEDB", "membership in owner, which owns objects"]


@pytest.mark.parametrize("job", ["migrate", "plan", "backup", "restore"])
def test_a_superuser_lacks_nothing(job: Job) -> None:
    assert missing_rights(rights(superuser=True), job, HISTORY) == ()


def test_before_14_every_table_is_named() -> None:
    found = missing_rights(rights(server_version=130010), "backup")

    assert [one.remedy for one in found] == [
        'grant select on public."orders" to "me"',
        'grant select on public."schema_migrations" to "me"',
    ]


def test_a_deployment_that_saves_must_read_every_table() -> None:
    assert named(rights(), "migrate", saves=True)[-1].startswith("pg_read_all_data")


def test_rows_and_objects_that_stay_hidden_are_named() -> None:
    orders = relation("orders", select=True, secured=True, filtered=True)
    found = rights(relations=(orders,), sealed=(7, 8))

    assert named(found, "backup") == [
        "BYPASSRLS, for the row security of public.orders",
        "SELECT on the large object 7 (and 1 more)",
    ]


def test_no_remedy_makes_a_member_of_a_superuser() -> None:
    boss = RoleRights(name="boss", usage=False, assume=False, configure=False, superuser=True)
    found = rights(owners=(boss,), relations=(relation("schema_migrations", owner="boss"),))

    for job in ("migrate", "restore"):
        assert all('grant "boss"' not in one.remedy for one in missing_rights(found, job, HISTORY))
    assert named(found, "restore")[-1].startswith("the objects of boss, a superuser")


def test_a_role_with_settings_here_must_be_ours_to_configure() -> None:
    app = RoleRights(name="app", usage=False, assume=False, configure=False)
    owner = RoleRights(name="owner", usage=True, assume=True, configure=False)
    found = rights(createdb=True, owners=(owner,), configured=(app,))

    assert named(found, "restore") == ["ADMIN on app, which has settings in this database"]
    assert configuring(found, "app", '"me"').endswith("inherit false, set false")
    assert configuring(rights(server_version=150000), "app", '"me"') == 'alter role "me" createrole'


def test_the_right_to_end_sessions_is_named() -> None:
    (found,) = signal_missing(rights())

    assert found.remedy == 'grant pg_signal_backend to "me"'
    assert signal_missing(rights(signal=True)) == ()


def test_another_word_is_no_job() -> None:
    assert job_of("plan") == "plan"
    with pytest.raises(ConfigError, match='"boss" is no role'):
        job_of("boss")


def test_a_right_is_plain_data() -> None:
    assert msgspec.to_builtins(signal_missing(rights())[0])["right"].startswith("pg_signal")
