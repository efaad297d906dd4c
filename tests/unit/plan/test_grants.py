"""The SQL of each role, made from what the server says of the owner."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError, Refused
from pgwindlass.plan.grants import RoleGrants, grants_for, grants_text, role_names
from pgwindlass.plan.rights import JOBS, RoleRights
from tests.unit.plan.test_rights import HISTORY, relation, rights

pytestmark = pytest.mark.unit


def script(job: str, **more: object) -> str:
    found = rights(user="owner", **more)
    grants = grants_for(found, role_names(job, "shop"), HISTORY)
    return "\n".join(one.sql for one in grants[0].statements if not one.optional)


def test_a_role_without_a_name_has_the_databases() -> None:
    assert role_names("", "shop") == {job: f"shop_{job}" for job in JOBS}
    assert role_names(" plan = reader , backup", "shop") == {
        "plan": "reader",
        "backup": "shop_backup",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("boss", '"boss" is no role'),
        ("plan,plan=x", "names plan twice"),
        ("plan=", "cannot be a role's name"),
        ("plan=pg_x", "cannot be a role's name"),
        ("plan=" + "é" * 32, "cannot be a role's name"),
        ("plan=Public", "is no role of its own"),
    ],
)
def test_what_cannot_be_a_role_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        role_names(text, "shop")


def test_an_owner_who_is_a_superuser_is_refused() -> None:
    with pytest.raises(Refused, match="owner, the owner, is a superuser"):
        script("plan", superuser=True)


def test_a_plan_reads_the_records_alone() -> None:
    text = script("plan")

    assert 'grant select on public."schema_migrations" to "shop_plan"' in text
    assert "orders" not in text
    assert "all tables in schema public" not in text


def test_a_backup_reads_all_by_name_where_there_is_no_role_for_it() -> None:
    assert "pg_read_all_data" in script("backup")
    old = script("backup", server_version=130010)
    assert "pg_read_all_data" not in old
    assert 'grant select on all sequences in schema public to "shop_backup"' in old
    assert 'for role "owner" in schema public grant select on sequences to "shop_backup"' in old


def test_row_security_and_large_objects_are_asked_for_where_they_are() -> None:
    assert "bypassrls" not in script("backup")
    orders = relation("orders", select=True, secured=True)
    text = script("backup", relations=(orders,), large_objects=2)
    assert 'alter role "shop_backup" bypassrls' in text
    assert "grant select on large object %s to %I" in text


def test_a_restore_is_a_member_of_every_owner_but_superusers() -> None:
    owners = (
        RoleRights(name="boss", usage=False, assume=False, configure=False, superuser=True),
        RoleRights(name="other", usage=False, assume=False, configure=False),
    )
    text = script("restore", owners=owners)

    assert 'grant "owner" to "shop_restore"' in text
    assert 'grant "other" to "shop_restore"' in text
    assert "boss" not in text


def test_the_owner_itself_needs_no_membership() -> None:
    assert 'grant "owner" to' not in script("migrate=owner")
    assert 'alter role "shop_migrate" set role to "owner"' in script("migrate")


def test_a_line_end_in_a_name_stays_in_its_comment() -> None:
    name = "x\nalter role evil superuser;"
    found = rights(user="owner", database=name)
    text = grants_text(grants_for(found, {"plan": name}, ()), found, ["note\nalter role evil;"])

    outside = [line for line in text.splitlines() if line.startswith("alter role evil")]
    quoted = text.count('"' + name + '"') + text.count(" E'") + text.count("'" + name + "'")
    assert len(outside) <= quoted


def test_what_is_optional_is_a_comment() -> None:
    found = rights(user="owner", server_version=180000)
    text = grants_text(grants_for(found, {"migrate": "m"}, ()), found)

    assert '-- grant pg_signal_autovacuum_worker to "owner";' in text
    assert "\ngrant pg_signal" not in text
    assert "pg_signal" not in script("migrate")


def all_jobs(**more: object) -> tuple[RoleGrants, ...]:
    """Every job's role, in a database that has what needs a statement of its own."""
    owners = tuple(
        RoleRights(name=name, usage=False, assume=False, configure=False, superuser=name == "boss")
        for name in ("owner", "boss", "other")
    )
    application = RoleRights(name="app", usage=False, assume=False, configure=False)
    relations = (relation("orders", secured=True), relation("schema_migrations", select=True))
    owner = rights(
        user="owner",
        relations=relations,
        large_objects=2,
        owners=owners,
        configured=(application,),
        **more,
    )
    return grants_for(owner, role_names("", "shop"), HISTORY)


@pytest.mark.parametrize("version", [130010, 140000, 180000])
def test_the_whole_script_of_a_version(version: int) -> None:
    owner = rights(user="owner", server_version=version)

    script = grants_text(all_jobs(server_version=version), owner, ("a note", "one\nof two lines"))

    file = Path(__file__).with_name(f"grants_{version // 10_000}.sql")
    assert script + "\n" == file.read_text()


def test_a_role_that_is_the_owner_is_given_nothing_of_itself() -> None:
    owner = rights(user="owner", create=True)
    (migrate, restore) = grants_for(owner, role_names("migrate=owner,restore=owner", "shop"), ())

    assert [statement.why for statement in migrate.statements] == [
        "a login; its password is set apart: \\password",
        "for new tables",
        "Windlass's own tables; made first, nobody else can make it",
        "a deployment's backup reads tables of other owners too",
    ]
    assert [statement.sql for statement in restore.statements[1:]] == [
        'alter role "owner" createdb',
        'grant pg_signal_backend to "owner"',
    ]


@pytest.mark.parametrize(
    ("text", "what", "next_step"),
    [
        ("plan,plan=x", "--role names plan twice", "--role plan=NAME once"),
        (
            "plan=",
            '"" cannot be a role\'s name',
            "--role plan=NAME: 1 to 63 bytes, not beginning with pg_",
        ),
        (
            "plan=none",
            '"none" is no role of its own: what it is given, everybody has',
            "--role plan=NAME with another name",
        ),
    ],
)
def test_what_is_wrong_with_a_name_is_said(text: str, what: str, next_step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        role_names(text, "shop")

    assert (caught.value.what, caught.value.next_step) == (what, next_step)


def test_a_name_may_have_sixty_three_bytes() -> None:
    assert role_names("plan=" + "x" * 63, "shop") == {"plan": "x" * 63}
    with pytest.raises(ConfigError):
        role_names("plan=" + "x" * 64, "shop")
    with pytest.raises(ConfigError):
        role_names("plan=a\0b", "shop")


def test_a_superuser_who_owns_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refused) as caught:
        grants_for(rights(user="owner", superuser=True), role_names("plan", "shop"), ())

    assert caught.value.what == (
        "owner, the owner, is a superuser: a role that is its member is one too"
    )
    assert caught.value.next_step == (
        'let a role without a login own it: alter database "shop" owner to NAME; or --owner '
        "NAME, who owns the tables"
    )
