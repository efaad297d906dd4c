"""Objects that stand and are not recorded: found, compared on a throwaway server, told, stamped."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.engines import open_engine
from pgwindlass.plan.pending import in_running_order
from pgwindlass.rehearsal.existing import compare_untracked, find_untracked
from tests.fix_postgres import Server
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

INIT = "20260801_000000_init"
COLUMN = "20260802_000000_column"
ITEMS = "create table item (id int primary key, name text);"
ADD = "alter table item add column last_error text not null default 'none';"
DROP = "alter table item drop column last_error;"
STAMP = f"invoke stamp --env uat --name {COLUMN} --reason WHY"


def throwaway(shop: Project, url: str) -> None:
    text = shop.deploy_yml.read_text()
    shop.deploy_yml.write_text(text.replace('backups"}', f'backups", throwaway: "{url}"}}'))


@pytest.fixture
def shop(tmp_path: Path, database16: Database, server16: Server) -> Project:
    """A table that is applied, and a column that is to come; copies go onto a running server."""
    found = Project(tmp_path / "shop", database16.url.reveal())
    throwaway(found, server16.url())
    found.migration(INIT, ITEMS, "drop table item;")
    assert found.run("migrate", "--env", "dev").code == 0
    found.migration(COLUMN, ADD, DROP)
    return found


def by_hand(shop: Project, *statements: str) -> None:
    with psycopg.connect(shop.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_what_stands_exactly_so_is_told_and_stamped(shop: Project) -> None:
    by_hand(shop, ADD)

    status = shop.run("status", "--env", "uat")
    told = (
        f"{COLUMN} is not recorded, and column item.last_error already exists; "
        "the definitions match"
    )
    assert status.code == 3
    assert f"{told}\n  next: {STAMP}" in status.out, status.out + status.err
    plan = shop.json("plan", "--env", "uat")
    assert [one["verdict"] for one in plan["unrecorded"]] == ["alike"]
    ran = shop.run("deploy", "--env", "uat")
    assert ran.code == 3
    assert ran.error() == [
        f"✗ preflight: pending: {told}",
        "  state: nothing was changed",
        f"  next:  {STAMP}; all checks: invoke doctor --env uat",
    ]
    assert f"✗ pending        {told}" in shop.run("doctor", "--env", "uat").out

    stamped = shop.run(
        "stamp", "--env", "uat", "--name", COLUMN, "--reason", "made by hand", CONFIRM_HISTORY="yes"
    )

    assert stamped.code == 0, stamped.err
    clean = shop.run("status", "--env", "uat")
    assert (clean.code, "stands" in clean.out) == (0, False)
    assert shop.run("deploy", "--env", "uat").code == 0


@pytest.mark.parametrize(
    ("made", "stands"),
    [
        (
            "varchar(20) not null default 'none'",
            "last_error character varying(20) DEFAULT 'none'::character varying NOT NULL",
        ),
        ("text not null default 'some'", "last_error text DEFAULT 'some'::text NOT NULL"),
        ("text default 'none'", "last_error text DEFAULT 'none'::text"),
        (
            "text collate \"C\" not null default 'none'",
            "last_error text DEFAULT 'none'::text NOT NULL COLLATE pg_catalog.\"C\"",
        ),
    ],
    ids=["type", "default", "nullability", "collation"],
)
def test_what_stands_otherwise_is_told_with_both(shop: Project, made: str, stands: str) -> None:
    by_hand(shop, f"alter table item add column last_error {made}")

    ran = shop.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert ran.error()[0].endswith(
        "column item.last_error already exists; the definitions differ: "
        f"table public.item: {stands} exists; the migration creates last_error text "
        "DEFAULT 'none'::text NOT NULL"
    ), ran.err
    assert f"change the existing objects to match the file, then {STAMP}" in ran.error()[2]


def test_of_what_stands_in_part_the_rest_is_named(shop: Project) -> None:
    shop.migration(
        COLUMN,
        f"{ADD} create index item_error on item (last_error); "
        "create table log (n int); alter type mood add value 'sad';",
        DROP,
    )
    shop.migration(INIT, f"{ITEMS}\ncreate type mood as enum ('ok');", "drop table item;")
    by_hand(shop, "create type mood as enum ('ok')", ADD, "create table log (n int, extra int)")
    ran = shop.run(
        "repair", "--env", "uat", "--name", INIT, "--reason", "more of it", CONFIRM_HISTORY="yes"
    )
    assert ran.code == 0, ran.err

    (found,) = shop.json("status", "--env", "uat")["unrecorded"]

    assert found == {
        "migration": COLUMN,
        "objects": ["column item.last_error", "table log"],
        "fails": True,
        "verdict": "different",
        "says": [
            "index public.item_error is missing",
            "table public.log: extra integer exists; the migration does not create it",
            "type public.mood differs: - 'sad'",
        ],
    }


def test_with_if_not_exists_there_is_nothing_to_mend(shop: Project) -> None:
    shop.migration(
        COLUMN,
        "alter table item add column if not exists last_error text; "
        "create index if not exists item_error on item (last_error);",
        DROP,
    )
    by_hand(shop, "alter table item add column last_error text")
    assert shop.json("status", "--env", "uat")["unrecorded"] == []  # the index is still to come

    by_hand(shop, "create index item_error on item (last_error)")
    status = shop.run("status", "--env", "uat")

    assert status.code == 1
    assert (
        "the file says IF NOT EXISTS, so a deployment creates nothing\n  next: invoke stamp"
        in status.out
    )
    ran = shop.run("deploy", "--env", "uat")
    assert ran.code == 0, ran.err
    assert shop.run("status", "--env", "uat").code == 0


def test_with_if_not_exists_what_stands_otherwise_is_told_beforehand(shop: Project) -> None:
    shop.migration(COLUMN, "alter table item add column if not exists last_error text;", DROP)
    by_hand(shop, "alter table item add column last_error int")

    status = shop.run("status", "--env", "uat")

    assert status.code == 1
    assert "last_error integer exists; the migration creates last_error text" in status.out


def test_what_later_pending_ones_make_of_it_may_stand_as_well(shop: Project) -> None:
    shop.migration("20260803_000000_log", "create table log (n int);", "drop table log;")
    shop.migration("20260804_000000_more", "alter table log add column m int;", "select 1;")
    by_hand(shop, ADD, "create table log (n int, m int)")

    found = shop.json("status", "--env", "uat")["unrecorded"]

    assert [(one["migration"][16:], one["verdict"]) for one in found] == [
        ("column", "alike"),
        ("log", "alike"),
        ("more", "alike"),
    ]


def test_what_the_files_do_not_build_is_undone_and_made_again_on_a_copy(
    tmp_path: Path, database16: Database, server16: Server
) -> None:
    shop = Project(tmp_path / "shop", database16.url.reveal())
    throwaway(shop, server16.url())
    by_hand(shop, ITEMS, ADD, "create role seller", "grant select on item to seller")
    shop.migration(COLUMN, ADD, DROP)

    (alike,) = shop.json("status", "--env", "uat")["unrecorded"]
    by_hand(shop, "alter table item alter column last_error drop not null")
    (other,) = shop.json("status", "--env", "uat")["unrecorded"]
    shop.migration(COLUMN, ADD, rollback=None)
    (base := shop.home / "migrations" / f"{COLUMN}_rollback.sql").unlink()
    (unknown,) = shop.json("status", "--env", "uat")["unrecorded"]
    by_hand(shop, "drop owned by seller", "drop role seller")

    assert not base.exists()
    assert (alike["verdict"], other["verdict"]) == ("alike", "different")
    assert unknown["verdict"] == "unknown"
    assert 'relation "item" does not exist' in unknown["says"][0]
    assert f"{COLUMN} has no rollback script" in unknown["says"][0]


def test_where_no_server_can_be_had_it_says_so(shop: Project, server16: Server) -> None:
    by_hand(shop, ADD)
    text = shop.deploy_yml.read_text()
    shop.deploy_yml.write_text(text.replace(server16.url(), "postgresql://nobody@127.0.0.1:9/x"))

    ran = shop.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert (
        "column item.last_error already exists; it is not known whether the definitions match: "
        in (ran.error()[0])
    )
    assert f"where both match: {STAMP}" in ran.error()[2]


def test_a_part_that_is_recorded_is_none(shop: Project) -> None:
    shop.migration(
        COLUMN, f"-- windlass: transaction=off\n{ADD}\nselect 1 / 0;", "-- none\nselect 1;"
    )
    assert shop.run("migrate", "--env", "dev").code == 1

    status = shop.run("status", "--env", "dev")

    assert f"partial       {COLUMN}" in status.out
    assert "already exists" not in status.out


def test_what_another_run_finished_before_it_was_compared_is_left_out(
    shop: Project, database16: Database
) -> None:
    by_hand(shop, ADD)
    engine = open_engine(MigrationsConfig(), shop.home)
    untracked = find_untracked(database16, engine, in_running_order(engine.files.list()))
    assert [item.migration for item in untracked] == [COLUMN]

    by_hand(shop, f"insert into schema_migrations values ('{COLUMN}', null)")

    assert compare_untracked(untracked, database16, engine, None) == ()


Names = Callable[[str], tuple[str, ...]]


@pytest.fixture
def standing(tmp_path: Path, database16: Database) -> Names:
    """Return a function that gives what of a file stands in a database that has one of each."""
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        connection.execute(
            "create schema app; create table t (i int constraint positive check (i > 0), j int); "
            "create index x on t (i); create view v as select 1; create sequence q; "
            "create materialized view mv as select 1; create type mood as enum ('ok'); "
            "create domain d as int; create table app.t (k int); create type c as (i int)"
        )

    def look(text: str) -> tuple[str, ...]:
        directory = tmp_path / "migrations"
        directory.mkdir(exist_ok=True)
        (directory / f"{COLUMN}.sql").write_text(text)
        engine = open_engine(MigrationsConfig(), tmp_path)
        found = find_untracked(database16, engine, in_running_order(engine.files.list()))
        return found[0].objects if found else ()

    return look


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("create table t (z int)", "table t"),
        ("create table app.t (z int)", "table app.t"),
        ("create table app.u (z int)", ""),
        ("create table t as select 1", "table t"),
        ("create view v as select 2", "view v"),
        ("create or replace view v as select 2", ""),
        ("create materialized view mv as select 2", "materialized view mv"),
        ("create sequence q", "sequence q"),
        ("create index x on t (j)", "index x"),
        ("create index x on app.t (k)", ""),
        ("create index concurrently x on t (j)", "index x"),
        ("alter table t add column j int", "column t.j"),
        ("alter table app.t add column j int", ""),
        ("alter table t add constraint positive check (j > 0)", "constraint t.positive"),
        ("alter type mood add value 'ok'", "enum value 'ok' of mood"),
        ("alter type mood add value 'sad'", ""),
        ("create type mood as enum ('x')", "type mood"),
        ("create type c as (j int)", "type c"),
        ("create domain d as text", "type d"),
        ("create schema app", "schema app"),
        ("create temporary table t (i int)", ""),
        ("create function f() returns int language sql as 'select 1'", ""),
        ("drop table t; create table t (z int); alter table t add column j int", ""),
        ("drop table if exists t cascade; create index x on t (j)", ""),
        ("alter table t drop column j; alter table t add column j int", ""),
        ("alter table t rename column j to k; alter table t add column j int", ""),
        ("alter table t rename to old; create table t (z int)", ""),
        (
            "alter table t drop constraint positive; alter table t add constraint positive check "
            "(j > 0)",
            "",
        ),
        ("drop index x; create index x on t (j)", ""),
        ("alter type mood rename to old; create type mood as enum ('x')", ""),
        ("drop schema public cascade; create schema public; create table t (z int)", ""),
        ("alter table t set schema app; create table t (z int)", ""),
        ("set local search_path = app; create table t (z int)", ""),
        (
            "do $$ begin create type mood as enum ('x'); exception when duplicate_object then "
            "null; end $$",
            "",
        ),
    ],
)
def test_what_stands_by_name_is_what_the_file_would_fail_on(
    standing: Names, text: str, stands: str
) -> None:
    assert standing(f"{text};") == ((stands,) if stands else ())
