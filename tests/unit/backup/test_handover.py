"""Who deals with what of an archive: by its list, and by its script."""

import pytest

from pgwindlass.backup.handover import (
    Extension,
    Handover,
    Statement,
    divided,
    grants_of,
    is_left,
    read,
    without_schemas,
    without_subscriptions,
    without_triggers,
)

pytestmark = pytest.mark.unit
LINES = (
    "1; 2615 1 SCHEMA - s o",
    "2; 3079 2 EXTENSION - v ",
    "3; 0 0 COMMENT - EXTENSION v ",
    "4; 1259 3 TABLE public t o",
    "5; 0 3 TABLE DATA public t o",
    "6; 0 3 SEQUENCE SET public q o",
    "7; 3466 4 EVENT TRIGGER - e o",
    "8; 0 0 COMMENT - EVENT TRIGGER e o",
    "9; 6104 5 PUBLICATION - p o",
    "10; 2328 6 FOREIGN DATA WRAPPER - f o",
    "11; 0 0",
)


def test_the_list_is_divided_by_who_may() -> None:
    parts = divided(LINES)

    assert parts.load == (LINES[0], LINES[3], LINES[4], LINES[5], LINES[10])
    assert parts.script == (*LINES[:4], LINES[8], LINES[10])
    assert parts.refused == (
        "EVENT TRIGGER - e o",
        "COMMENT - EVENT TRIGGER e o",
        "FOREIGN DATA WRAPPER - f o",
    )


@pytest.mark.parametrize(("schemas", "first"), [((), 0), (("s",), 1), (("x",), 0)])
def test_a_schema_that_is_there_already_is_not_made(schemas: tuple[str, ...], first: int) -> None:
    assert without_schemas(LINES, schemas) == LINES[first:]


def test_event_triggers_are_left_out_of_a_copy() -> None:
    kept, left = without_triggers(LINES)

    assert kept == (*LINES[:6], *LINES[8:])
    assert left == ("EVENT TRIGGER - e o", "COMMENT - EVENT TRIGGER e o")


@pytest.mark.parametrize(
    ("kind", "name", "schema", "left"),
    [
        ("EVENT TRIGGER", "e", "-", True),
        ("COMMENT", "EVENT TRIGGER e", "-", True),
        ("ACL", "FUNCTION pg_read_file(text)", "pg_catalog", True),
        ("ACL", "FOREIGN DATA WRAPPER f", "-", True),
        ("ACL", "TABLE t", "public", False),
        ("COMMENT", "TABLE t", "public", False),
        ("TABLE", "t", "public", False),
    ],
)
def test_a_definition_that_a_role_without_rights_cannot_make(
    kind: str, name: str, schema: str, *, left: bool
) -> None:
    assert is_left(kind, name, schema) is left


LISTED = (
    "1; 2 3 SUBSCRIPTION - orders postgres",
    "2; 3 4 ACL public TABLE words owner",
    "3; 0 0 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES owner",
    "4; 3 4 TABLE public words owner",
    "5; 0 0 COMMENT - SUBSCRIPTION orders postgres",
)


def test_subscriptions_are_left_out_and_named() -> None:
    rest, left = without_subscriptions(LISTED)

    assert rest == LISTED[1:4]
    assert left == ("SUBSCRIPTION - orders postgres", "COMMENT - SUBSCRIPTION orders postgres")


def test_grants_are_those_on_objects_and_by_default() -> None:
    assert grants_of(LISTED) == LISTED[1:3]


TAKEN = (
    "ALTER TABLE public.t OWNER TO o",
    "ALTER FUNCTION public.f(integer) OWNER TO o",
    "ALTER LARGE OBJECT 5 OWNER TO o",
    "GRANT SELECT ON TABLE public.t TO app",
    "GRANT SELECT(a) ON TABLE public.t TO app",
    "GRANT ALL ON FUNCTION public.f(integer) TO app",
    "GRANT ALL ON TYPE public.d TO app",
    "GRANT USAGE ON SCHEMA s TO app",
    "GRANT SELECT ON LARGE OBJECT 5 TO app",
    "REVOKE ALL ON FUNCTION pg_catalog.lo_import(text) FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA s GRANT ALL ON TABLES TO app",
    "SET SESSION AUTHORIZATION o",
    "RESET SESSION AUTHORIZATION",
)


@pytest.mark.parametrize("text", TAKEN)
def test_owners_and_grants_are_our_roles(text: str) -> None:
    grant = text.startswith(("GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES"))
    expected = Statement(text, gives=True, grant=grant)

    assert read(f"select 1; {text}; select 2;").statements == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE PUBLICATION p FOR ALL TABLES",
        "ALTER PUBLICATION p ADD TABLE ONLY public.t",
        "COMMENT ON EXTENSION v IS 'x'",
        "COMMENT ON PUBLICATION p IS 'x'",
    ],
)
def test_what_is_about_no_owner_is_told_apart(text: str) -> None:
    assert read(text + ";").statements == (Statement(text, gives=False),)


@pytest.mark.parametrize(
    "text",
    [
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO app",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app",
        "GRANT SELECT ON TABLE pg_authid TO app",
        "GRANT SELECT ON TABLE pg_catalog.pg_authid TO app",
        "GRANT ALL ON SCHEMA pg_catalog TO app",
        "GRANT ALL ON ALL TABLES IN SCHEMA pg_catalog TO app",
        "GRANT SET ON PARAMETER archive_command TO app",
        "GRANT ALL ON DATABASE x TO app",
        "GRANT CREATE ON TABLESPACE x TO app",
        "GRANT USAGE ON TYPE int4 TO app",
        "ALTER TABLE public.t OWNER TO boss",
        "ALTER FUNCTION public.f() OWNER TO boss",
        "ALTER TABLE public.t OWNER TO CURRENT_USER",
        "ALTER FUNCTION public.f() OWNER TO SESSION_USER",
        "SET SESSION AUTHORIZATION 'boss'",
        "ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER GRANT ALL ON TABLES TO app",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE o, boss GRANT ALL ON TABLES TO app",
    ],
)
def test_what_gives_rights_away_is_refused(text: str) -> None:
    handover = read(text + ";", superusers=frozenset({"boss", "postgres"}))

    assert (handover.statements, handover.refused, handover.superusers) == ((), (text,), ())


def test_a_trusted_superuser_is_given_what_was_its_own() -> None:
    text = "ALTER TABLE public.t OWNER TO boss"
    handover = read(text, superusers=frozenset({"boss"}), trusted=frozenset({"boss"}))

    assert handover.statements == (Statement(text, gives=True),)
    assert handover.superusers == ("boss",)


@pytest.mark.parametrize(
    "text",
    [
        "DO $$ begin execute 'alter role app superuser'; end $$",
        "ALTER ROLE app SUPERUSER",
        "GRANT pg_read_server_files TO app",
        "ALTER SYSTEM SET archive_command = 'x'",
        "ALTER TABLE public.t ADD CHECK (f() > 0), OWNER TO o",
        "ALTER TABLE public.t ADD CHECK (f() > 0)",
        "ALTER EVENT TRIGGER e OWNER TO o",
        "ALTER LANGUAGE c OWNER TO o",
        "ALTER DATABASE x OWNER TO o",
        "COMMENT ON TABLE public.t IS 'ALTER TABLE x OWNER TO y;'",
        "SET search_path = public",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'ALTER TABLE t OWNER TO o;'",
        "ALTER TABLE",
    ],
)
def test_the_rest_is_none_of_our_roles_business(text: str) -> None:
    assert read(text + ";") == Handover()


def test_an_extension_is_a_name_and_a_schema_and_no_text() -> None:
    script = (
        "\\restrict abc\nCREATE EXTENSION IF NOT EXISTS v WITH SCHEMA s;\n"
        'CREATE EXTENSION "a-b";\n\\unrestrict abc\n'
    )

    assert read(script).extensions == (Extension("v", "s"), Extension("a-b", ""))


def test_every_trusted_superuser_that_is_given_something_is_named_once() -> None:
    names = frozenset({"boss", "chief"})
    script = "".join(
        f"alter table public.{table} owner to {owner};\n"
        for table, owner in (("a", "boss"), ("b", "chief"), ("c", "boss"))
    )

    assert read(script, superusers=names, trusted=names).superusers == ("boss", "chief")
