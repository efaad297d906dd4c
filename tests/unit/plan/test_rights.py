"""What a role lacks for a job, decided from what the server says of it."""

from typing import Any

import msgspec
import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.plan.rights import (
    Job,
    MissingRight,
    RelationRights,
    Rights,
    RoleRights,
    SchemaRights,
    configuring,
    job_of,
    missing_rights,
    of_history,
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
    with pytest.raises(ConfigError, match='"boss" is no role') as caught:
        job_of("boss")

    assert caught.value.next_step == "--role with one of: migrate, plan, backup, restore"


def remedies(given: Rights, job: Job, **more: Any) -> list[str]:
    return [missing.remedy for missing in missing_rights(given, job, HISTORY, **more)]


@pytest.mark.parametrize(
    ("table", "tool_s"),
    [
        (relation("schema_migrations"), True),
        (relation("schema_migrations", kind="p"), True),
        (relation("schema_migrations", kind="S"), False),
        (relation("schema_migrations", schema="app"), False),
        (relation("journal", schema="windlass"), True),
        (relation("orders"), False),
    ],
)
def test_the_history_is_in_tables_of_the_tool_and_of_windlass(
    table: RelationRights, tool_s: bool
) -> None:
    assert (of_history((table,), HISTORY) == (table,)) is tool_s


def test_the_history_of_a_tool_may_be_in_any_schema() -> None:
    table = relation("alembic_version", schema="app")

    assert of_history((table,), (("", "alembic_version"),)) == (table,)
    assert of_history((table,), (("", "other"),)) == ()


def test_a_role_that_may_do_all_lacks_nothing() -> None:
    given = rights(
        create=True,
        createdb=True,
        read_all=True,
        schemas=(
            SchemaRights(name="public", usage=True, create=True, owned=False),
            SchemaRights(name="windlass", usage=True, create=False, owned=True),
            SchemaRights(name="app", usage=True, create=False, owned=False),
        ),
        relations=(
            relation("schema_migrations", select=True, write=True),
            relation("orders", select=True, owned=True),
        ),
        owners=(RoleRights(name="owner", usage=True, assume=True, configure=False),),
    )

    assert [named(given, job) for job in ("migrate", "plan", "backup", "restore")] == [[]] * 4


@pytest.mark.parametrize("right", ["owned", "write"])
def test_the_history_is_written_by_its_owner_or_by_who_was_given_it(right: str) -> None:
    given = rights(relations=(relation("schema_migrations", **{right: True}),))

    assert not any("schema_migrations" in words for words in named(given, "migrate"))


def test_each_remedy_is_a_statement() -> None:
    assert remedies(rights(), "migrate") == [
        'grant create on database "shop" to "me"',
        'grant usage, create on schema public to "me"',
        'grant OWNER to "me", where OWNER owns it',
        'grant "owner" to "me"',
    ]
    assert remedies(rights(), "plan") == [
        'grant usage on schema windlass to "me"',
        'grant select on public."schema_migrations" to "me"',
    ]
    assert remedies(rights(), "backup") == ['grant pg_read_all_data to "me"']
    assert remedies(rights(), "restore")[0] == 'alter role "me" createdb'


def test_tables_of_a_superuser_are_given_away() -> None:
    boss = RoleRights(name="boss", usage=False, assume=False, configure=False, superuser=True)
    tables = [
        relation("one", schema="windlass", owner="boss"),
        relation("two", schema="windlass", owner="boss"),
        relation("schema_migrations"),
    ]
    owner = RoleRights(name="owner", usage=False, assume=False, configure=False)
    given = rights(relations=tuple(tables), owners=(boss, owner))

    assert remedies(given, "migrate")[-2:] == [
        'alter table windlass."one" owner to OWNER; alter table windlass."two" owner to OWNER',
        'grant "owner" to "me"',
    ]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (1, "t0"),
        (3, "t0, windlass.t1, windlass.t2"),
        (5, "t0, windlass.t1, windlass.t2 and 2 more"),
    ],
)
def test_the_first_three_tables_are_named(tables: int, words: str) -> None:
    given = rights(relations=tuple(relation(f"t{n}", schema="windlass") for n in range(tables)))

    assert named(given, "migrate")[-1] == f"ownership of windlass.{words}"


def test_from_14_on_one_role_reads_every_table() -> None:
    given = rights(server_version=140000, relations=(relation("orders"),))

    assert missing_rights(given, "backup") == (
        MissingRight(
            "pg_read_all_data, for SELECT on public.orders", 'grant pg_read_all_data to "me"'
        ),
    )
    assert remedies(rights(server_version=139999, relations=(relation("orders"),)), "backup") == [
        'grant select on public."orders" to "me"'
    ]


def test_what_hides_rows_and_large_objects_has_its_remedy() -> None:
    given = rights(relations=(relation("orders", select=True, filtered=True),), sealed=(7,))

    assert named(given, "backup")[-1] == "SELECT on the large object 7"
    assert remedies(given, "backup") == [
        'alter role "me" bypassrls',
        'grant select on large object 7 to "me"',
    ]


@pytest.mark.parametrize(
    ("usage", "assume", "remedy"),
    [
        (False, False, True),
        (True, False, True),
        (False, True, True),
        (True, True, False),
    ],
)
def test_a_restore_needs_an_owner_s_rights_and_to_become_it(
    usage: bool, assume: bool, remedy: bool
) -> None:
    role = RoleRights(name="owner", usage=usage, assume=assume, configure=False)

    assert remedies(rights(createdb=True, owners=(role,)), "restore") == (
        ['grant "owner" to "me"'] if remedy else []
    )


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (150999, 'alter role "me" createrole'),
        (
            160000,
            'alter role "me" createrole; grant "app" to "me" with admin true, inherit false, '
            "set false",
        ),
    ],
)
def test_who_may_configure_a_role_depends_on_the_server(version: int, remedy: str) -> None:
    app = RoleRights(name="app", usage=False, assume=False, configure=False)
    given = rights(server_version=version, createdb=True, owners=(), configured=(app,))

    assert remedies(given, "restore") == [remedy]


def test_a_right_is_plain_data() -> None:
    assert msgspec.to_builtins(signal_missing(rights())[0])["right"].startswith("pg_signal")
