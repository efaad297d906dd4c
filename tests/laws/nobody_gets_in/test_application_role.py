"""The application's role, which may create in the database, does not become who deploys."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_pgbouncer import Pooler
from tests.fix_postgres import Server
from tests.kit import Project

pytestmark = [pytest.mark.attack, pytest.mark.sampled(3)]

A = "20260801_000000_a"

# What the application's role creates first; {app} is its name.
PAYLOAD = """
    create function public.pwn() returns trigger language plpgsql as
    $$begin execute 'alter role {app} superuser'; return new; end$$;
    create function public.pwn_value() returns timestamptz language plpgsql as
    $$begin execute 'alter role {app} superuser'; return now(); end$$;
    create function public.pwn_check(text) returns boolean language plpgsql as
    $$begin execute 'alter role {app} superuser'; return true; end$$;
"""
COLUMNS = "migration_name text primary key, checksum text, applied_at timestamptz default now()"
HISTORY = "create table public.schema_migrations ({columns}{more});"


def history(more: str = "", columns: str = COLUMNS) -> str:
    return HISTORY.format(columns=columns, more=more)


TABLE = {
    "a trigger": history() + "create trigger t before insert on public.schema_migrations "
    "for each row execute function public.pwn();",
    "a trigger of a constraint": history()
    + "create constraint trigger t after insert on public.schema_migrations "
    "initially deferred for each row execute function public.pwn();",
    "a trigger for later": history(),
    "a rule": history() + "create rule r as on insert to public.schema_migrations do also "
    "select public.pwn_value();",
    "a default": history(columns=COLUMNS.replace("default now()", "default public.pwn_value()")),
    "a check": history(", check (public.pwn_check(migration_name))"),
    "a policy": history() + "create policy p on public.schema_migrations "
    "using (public.pwn_check(migration_name)); "
    "alter table public.schema_migrations enable row level security, force row level security;",
    "a view": "create view public.schema_migrations as select ''::text as migration_name, "
    "''::text as checksum, public.pwn_value() as applied_at;",
    "a view of nothing": "create view public.schema_migrations as select null::text as "
    "migration_name, null::text as checksum, now() as applied_at where false;",
    "a parent": "create table public.parent (" + COLUMNS + "); create table "
    "public.schema_migrations () inherits (public.parent);",
    "a child": history() + "create table public.child () inherits (public.schema_migrations); "
    "insert into public.child values ('" + A + "', null, now());",
    "partitions": history(columns=COLUMNS, more="").replace(");", ") partition by list "
    "(migration_name); create table public.p partition of public.schema_migrations default; "
    "create trigger t before insert on public.p for each row execute function public.pwn();"),
    "an index": history() + "create function public.key(text) returns text immutable language "
    "plpgsql as $$begin execute 'alter role {app} superuser'; return $1; end$$; "
    "create index on public.schema_migrations (public.key(migration_name));",
    "a domain": "create domain public.word as text check (public.pwn_check(value)); "
    + history(columns=COLUMNS.replace("checksum text", "checksum public.word")),
    "a foreign key": "create table public.names (name text primary key); "
    + history(", foreign key (migration_name) references public.names"),
    "an unrelated column": history(", more timestamptz default public.pwn_value()"),
}  # fmt: skip
SCHEMA = {
    "the schema alone": "create schema windlass;",
    "the schema and a rule": "create schema windlass; create table windlass.version (version int "
    "primary key, release text not null, at timestamptz default now()); create rule r as on "
    "insert to windlass.version do also select public.pwn_value();",
    "the schema and the lease": "create schema windlass; create table windlass.lease (name text "
    "primary key, token text, holder text, address text, acquired_at timestamptz, expires_at "
    "timestamptz); create trigger t before insert on windlass.lease for each row execute function "
    "public.pwn();",
    "the schema and a view": "create schema windlass; create view windlass.deployment as select "
    "''::text as id, public.pwn_value() as started_at, now() as finished_at, '' as status, "
    "'{{}}'::jsonb as record, '{{}}'::jsonb as plan; create view windlass.step as select 1;",
    "the schema and an identity": "create schema windlass; create view windlass.identity as select "
    "'shop' as project, 'dev' as environment, public.pwn_value()::text as tier;",
}


@dataclass
class Town:
    """A database that one role deploys to, and another one's application uses."""

    database: Database
    project: Project
    app: str
    deployer: str

    def as_(self, role: str) -> psycopg.Connection:
        url = self.database.url.reveal().replace("postgres@", f"{role}@")
        return psycopg.connect(url, autocommit=True)

    def attack(self, text: str) -> None:
        with self.as_(self.app) as connection:
            connection.execute(text.format(app=self.app).encode())

    def superusers(self) -> set[str]:
        query = "select rolname from pg_roles where rolsuper"
        with self.as_("postgres") as connection:
            return {row[0] for row in connection.execute(query).fetchall()}

    def escaped(self) -> bool:
        return self.app in self.superusers()


@pytest.fixture
def town(tmp_path: Path, database16: Database) -> Iterator[Town]:
    suffix = secrets.token_hex(4)
    app, deployer = f"app_{suffix}", f"deployer_{suffix}"
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        setup = f"""
            create role {app} login; create role {deployer} login superuser;
            grant create on schema public to {app};
            grant create on database {database16.name} to {app}"""
        connection.execute(setup.encode())
    url = database16.url.reveal().replace("postgres@", f"{deployer}@")
    project = Project(tmp_path / "shop", url)
    project.migration(A, "create table a (id int);", "drop table a;")
    yield Town(database16, project, app, deployer)
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        undo = f"""
            drop owned by {app} cascade; drop role {app};
            drop owned by {deployer} cascade; drop role {deployer}"""
        connection.execute(undo.encode())


@pytest.mark.parametrize("made", TABLE.values(), ids=TABLE)
def test_a_history_that_the_application_made_first_is_refused(town: Town, made: str) -> None:
    town.attack(PAYLOAD + made)

    ran = town.project.run("migrate", "--env", "dev")

    assert ran.code == 3
    assert not town.escaped()
    assert "public.schema_migrations" in ran.error()[0]
    assert ran.error()[1] == "  state: nothing was changed"
    with town.as_("postgres") as connection:
        row = connection.execute("select to_regclass('public.a'), to_regclass('windlass.step')")
        assert row.fetchone() == (None, None)


@pytest.mark.parametrize("made", SCHEMA.values(), ids=SCHEMA)
def test_a_schema_that_the_application_made_first_is_refused(
    town: Town, made: str, pooler: Pooler
) -> None:
    town.attack(PAYLOAD + made)

    direct = town.project.run("migrate", "--env", "dev")
    pooled = town.project.run("migrate", "--env", "dev", DATABASE_URL=_through(town, pooler))

    assert (direct.code, pooled.code) == (3, 3)
    assert not town.escaped()
    assert town.app in direct.error()[0]
    assert "windlass" in pooled.error()[0]


def _through(town: Town, pooler: Pooler) -> str:
    """Return the address of a pooler, which connects as a superuser: the prey of an attacker."""
    return pooler(town.database).url.reveal()


@pytest.mark.parametrize("verb", ["status", "plan", "history", "doctor", "stamp", "backup"])
def test_no_verb_reads_or_writes_what_the_application_made(town: Town, verb: str) -> None:
    town.attack(PAYLOAD + TABLE["a view"] + SCHEMA["the schema and a view"])
    more = ("--name", A, "--reason", "r") if verb == "stamp" else ()

    ran = town.project.run(verb, "--env", "uat", *more, CONFIRM_HISTORY="yes")

    assert ran.code in (1, 3)
    assert not town.escaped()
    assert "is a view" in ran.out + ran.err or town.app in ran.out + ran.err


def test_a_trigger_that_a_grant_allows_is_refused_after_years_of_trust(town: Town) -> None:
    assert town.project.run("migrate", "--env", "dev").code == 0
    with town.as_("postgres") as connection:
        connection.execute(f"grant all on public.schema_migrations to {town.app}".encode())
    town.attack(PAYLOAD + TABLE["a trigger"].removeprefix(history()))
    town.project.migration("20260802_000000_b", "create table b (id int);", "drop table b;")

    ran = town.project.run("migrate", "--env", "dev")

    assert ran.code == 3
    assert "carries the trigger t" in ran.error()[0]
    assert not town.escaped()


def test_a_trigger_that_comes_while_a_migration_runs_is_refused(town: Town) -> None:
    assert town.project.run("migrate", "--env", "dev").code == 0
    b = town.project.migration(
        "20260802_000000_b",
        # Inside the transaction, as if the application had been quicker than our first look.
        "create trigger t before insert on public.schema_migrations "
        "for each row execute function public.pwn();",
        "",
    )
    town.attack(PAYLOAD)

    ran = town.project.run("migrate", "--env", "dev")

    assert ran.code == 3
    assert "carries the trigger t" in ran.error()[0]
    assert not town.escaped()
    assert b not in town.project.applied()


def test_an_owner_is_trusted_by_name_and_by_a_group_of_our_own(
    town: Town, new_database: Callable[[Server], Database]
) -> None:
    group = f"group_{secrets.token_hex(4)}"
    with town.as_("postgres") as connection:
        connection.execute(f"create role {group}; grant {group} to {town.deployer}".encode())
        connection.execute(f"alter role {town.deployer} nosuperuser".encode())
        connection.execute(history().encode())
        connection.execute(f"alter table public.schema_migrations owner to {group}".encode())
    try:
        assert town.project.run("status", "--env", "dev").code == 1
        with town.as_("postgres") as connection:
            connection.execute(f"grant {group} to {town.app}".encode())

        ran = town.project.run("status", "--env", "dev")

        assert ran.code == 3
        assert f"belongs to {group}" in ran.error()[0]
        assert f"migrations: {{owners: [{group}]}}" in ran.error()[2]
        text = town.project.deploy_yml.read_text()
        town.project.deploy_yml.write_text(
            text + f"migrations: {{owners: [{group}, {town.app}]}}\n"
        )
        assert town.project.run("status", "--env", "dev").code == 1
    finally:
        with town.as_("postgres") as connection:
            connection.execute(f"drop owned by {group}; drop role {group}".encode())
            connection.execute(f"alter role {town.deployer} superuser".encode())


# Operators and functions that fit better than the server's own, wherever those do not fit exactly.
TYPES = ("oid", "regclass", "regtype", "int2", "int4", "int8", "text", "varchar", "name", '"char"')
OPERATORS = ("=", "<>", "<", ">", "||", "~")
TRAPS = """
    create function public.trap() returns boolean language plpgsql as
    $$begin execute 'alter role {{app}} superuser'; raise exception 'in the trap'; end$$;
    do $$
    declare
        l text; r text; o text;
    begin
        foreach l in array array[{types}] loop foreach r in array array[{types}] loop
            execute format('create function public.trap(%1$s, %2$s) returns boolean language sql '
                           'as ''select public.trap()''', l, r);
            foreach o in array array[{operators}] loop
                execute format('create operator public.%s (leftarg = %s, rightarg = %s, '
                               'function = public.trap)', o, l, r);
            end loop;
        end loop; end loop;
        foreach o in array array['now', 'current_schema', 'pg_backend_pid'] loop
            execute format('create function public.%I() returns text language sql as '
                           '''select public.trap()::text''', o);
        end loop;
        foreach l in array array[{types}] loop
            foreach o in array array['min', 'max', 'sum', 'count', 'format', 'quote_ident',
                                     'to_regclass', 'length', 'lower', 'jsonb', 'unnest'] loop
                execute format('create function public.%I(%s) returns text language sql as '
                               '''select public.trap()::text''', o, l);
            end loop;
        end loop;
    end $$;
    create temporary table schema_migrations (x int);
""".format(
    types=", ".join(f"'{one}'" for one in TYPES),
    operators=", ".join(f"'{one}'" for one in OPERATORS),
)
B = "20260802_000000_b"
C = "20260803_000000_c"
VERBS = {
    "deploy": [
        ("status", "--env", "uat"),
        ("plan", "--env", "uat"),
        ("doctor", "--env", "uat"),
        ("deploy", "--env", "uat"),
        ("history", "--env", "uat"),
        ("status", "--env", "uat"),
        ("verify", "--env", "uat"),
        ("rollback", "--env", "uat", "--steps", "1"),
        ("unstamp", "--env", "uat", "--name", B, "--reason", "r"),
        ("stamp", "--env", "uat", "--name", B, "--reason", "r"),
        ("identity", "--env", "uat"),
    ],
    "restore": [
        ("migrate", "--env", "dev"),
        ("backup", "--env", "uat"),
        ("restore", "--env", "uat", "--into", "copy_{name}"),
    ],
}


@pytest.mark.parametrize(
    ("way", "verbs"),
    [("direct", "deploy"), ("direct", "restore"), ("pooled", "deploy")],  # no backup is pooled
)
def test_operators_and_functions_on_the_search_path_are_never_called(
    town: Town, verbs: str, way: str, pooler: Pooler
) -> None:
    town.attack(TRAPS)
    name = town.database.name
    with town.as_("postgres") as connection:
        for owner in (f"database {name}", f"role {town.deployer}"):
            connection.execute(f"alter {owner} set search_path = public, pg_catalog".encode())
    town.project.migration(
        B,
        "create table if not exists b (id int, t text);\n"
        "create index if not exists b_t on b (t);\n"
        "alter table b add column if not exists more int;\n",
        "drop table b;",
        "select true;",
    )
    index = "-- windlass: transaction=off\ncreate index concurrently if not exists b_m on b (t);"
    if way == "pooled":  # where no statement runs outside a transaction
        index = "create index if not exists b_m on b (t);"
    town.project.migration(C, index, "drop index b_m;")
    url = _through(town, pooler) if way == "pooled" else town.project.url
    environment = {"DATABASE_URL": url, "CONFIRM_HISTORY": "yes", "CONFIRM_ROLLBACK": "yes"}
    try:
        for verb in VERBS[verbs]:
            words = [word.format(name=name) for word in verb]
            if way == "pooled":  # the tier that takes no backup
                words = ["dev" if word == "uat" else word for word in words]
            ran = town.project.run(*words, **environment)
            assert "trap" not in ran.out + ran.err, verb
            assert not town.escaped()
            if verb[0] not in ("status", "doctor"):
                assert ran.code == 0, (verb, ran.err)
    finally:
        with town.as_("postgres") as connection:
            connection.execute(f"drop database if exists copy_{name}".encode())


def test_a_migration_cannot_leave_its_role_or_path_to_our_record(town: Town) -> None:
    town.attack(TRAPS)
    hidden = (
        f"do $$begin perform set_config('role', '{town.app}', true); "
        "perform set_config('search_path', 'public, pg_catalog', true); end$$;"
    )
    town.project.migration(A, f"create table a (id int);\n{hidden}", "drop table a;")

    ran = town.project.run("migrate", "--env", "dev")

    assert ran.code == 0, ran.err
    assert town.project.applied() == [A]
    assert not town.escaped()


def test_a_session_has_our_path_from_the_start_packet_on(town: Town) -> None:
    with town.as_("postgres") as connection:
        connection.execute(
            f"alter database {town.database.name} set search_path = public, pg_catalog".encode()
        )
    with town.database.connect("attack") as connection:
        connection.execute("reset search_path")
        shown = connection.execute("show search_path").fetchone()
    assert shown is not None
    assert shown[0].replace(" ", "") == "pg_catalog,pg_temp"
