"""Backups of real databases: taken, listed, proven, restored."""

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.backup import catalog, dump
from pgwindlass.backup.rowcount import RowCounter
from pgwindlass.database import create
from pgwindlass.database.connection import Database
from pgwindlass.errors import Refused, StepFailed, StoreFailed
from pgwindlass.model import Manifest, ProofLevel
from pgwindlass.postgres.clients import find_clients
from pgwindlass.stores import Store
from pgwindlass.stores.directory import DirectoryStore
from pgwindlass.stores.s3 import S3Store
from tests.fix_backup import MOMENT, configured, planned_fingerprint, restore, take, verify
from tests.fix_postgres import Server
from tests.kit import ROOT

NewDatabase = Callable[[Server], Database]

# Everything whose rows are easily miscounted, or lost.
SCHEMA = r"""
create table plain (id int primary key, t text);
insert into plain select i, 'row ' || i from generate_series(1, 1000) i;
create table empty (id int);
create table "Odd ""name"".with (parens) FROM stdin;" ("a b" int);
insert into "Odd ""name"".with (parens) FROM stdin;" values (1), (2);
create schema "select";
create table "select"."table" (id int);
insert into "select"."table" values (1);
create table "two
lines" (id int);
insert into "two
lines" values (1), (2), (3);
create table naïve (id int);
insert into naïve values (1);
create table columnless ();
insert into columnless default values;
insert into columnless default values;
create table awkward (t text);
insert into awkward
values ('\.'), (E'\\.\n\\.'), (E'a\nb'), (''), (null), (E'\r\n'),
('COPY plain (id, t) FROM stdin;');
create table parent (id int);
create table child () inherits (parent);
insert into parent values (1);
insert into child values (2), (3);
create table parted (id int, at int) partition by range (at);
create table parted_1 partition of parted for values from (0) to (10);
create table parted_2 partition of parted for values from (10) to (20);
insert into parted select i, i from generate_series(0, 14) i;
create type mood as enum ('a', 'b', 'c', 'd', 'e', 'f');
create table hashed (m mood) partition by hash (m);
create table hashed_0 partition of hashed for values with (modulus 2, remainder 0);
create table hashed_1 partition of hashed for values with (modulus 2, remainder 1);
insert into hashed select unnest(enum_range(null::mood));
create table doubled (id int, twice int generated always as (id * 2) stored);
insert into doubled values (1), (2);
create unlogged table fast (id int);
insert into fast values (1);
create view seen as select * from plain;
create materialized view kept as select * from plain where id < 10;
create sequence counter;
select nextval('counter'), nextval('counter');
create function f() returns int language sql as $$ select 1 /*
COPY plain (id, t) FROM stdin;
*/ $$;
select lo_from_bytea(0, convert_to(repeat(E'COPY plain (id, t) FROM stdin;\n', 100), 'UTF8'));
"""
ROWS = {
    "public.plain": 1000,
    "public.empty": 0,
    'public."Odd ""name"".with (parens) FROM stdin;"': 2,
    '"select"."table"': 1,
    'public."two\nlines"': 3,
    'public."naïve"': 1,
    "public.columnless": 2,
    "public.awkward": 7,
    "public.parent": 1,
    "public.child": 2,
    "public.parted_1": 10,
    "public.parted_2": 5,
    "public.hashed": 6,
    "public.doubled": 2,
    "public.fast": 1,
}


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


@pytest.fixture
def full(database: Database) -> Database:
    run(database, SCHEMA)
    return database


@pytest.fixture
def small(database16: Database) -> Database:
    run(database16, "create table t (id int); insert into t select generate_series(1, 3)")
    return database16


def run(database: Database, script: str) -> None:
    with database.connect("test") as connection:
        connection.execute(script.encode())


def manifests(
    store: Store, *, environment: str, database: str | None = None
) -> tuple[Manifest, ...]:
    found = catalog.backups(store, environment=environment, database=database)
    return tuple(one.manifest for one in found)


def dumped_schema(server: Server, database: Database) -> str:
    with database.connect("test") as connection:
        version = connection.info.server_version
    dumped = subprocess.run(
        [*find_clients(version).command("pg_dump", "--schema-only"), server.url(database.name)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return "\n".join(line for line in dumped.splitlines() if "restrict" not in line)


def content(database: Database) -> dict[str, list[str]]:
    with database.connect("test") as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname !~ '^pg_' and schemaname <> 'information_schema'"
        ).fetchall()
        return {
            name: [
                row[0]
                for row in connection.execute(
                    f"select t::text from only {name} t order by 1".encode()
                )
            ]
            for (name,) in tables
            if not name.startswith("public.hashed_")  # which partition is not kept, on purpose
        }


def test_the_manifest_says_what_was_dumped(full: Database, store: DirectoryStore) -> None:
    seen: list[tuple[int, int | None]] = []

    manifest = take(full, store, progress=lambda done, total: seen.append((done, total)))

    part, roles = manifest.parts
    assert manifest.key == f"uat/{full.name}/20260803T101500Z-d1/"
    assert manifest.id == "20260803T101500Z-d1"
    assert part.key == f"{manifest.key}dump.pgc"
    assert part.size == (store.path / part.key).stat().st_size
    assert seen[-1][0] == manifest.size == part.size + roles.size
    assert (part.holds, roles.holds) == ("all", "globals")
    assert manifest.database_size > 7_000_000
    assert manifest.encoding == "UTF8"
    assert dict(manifest.extensions).keys() == {"plpgsql"}
    assert manifest.roles == ("postgres",)
    assert dict(manifest.row_counts) == ROWS
    assert manifest.applied == ("m1", "m2")
    assert manifest.schema_fingerprint == planned_fingerprint(full)
    assert manifest.client_version.split(".")[0] == str(manifest.server_version // 10_000)
    assert manifest.restore_command.startswith("cat ")
    assert list(store.keys("")) == [part.key, roles.key, f"{manifest.key}manifest.json"]


@pytest.mark.parametrize("level", ["checksum", "rows"])
def test_a_whole_backup_is_proven(full: Database, store: DirectoryStore, level: ProofLevel) -> None:
    manifest = take(full, store)
    seen: list[tuple[int, int | None]] = []

    proof = verify(
        manifest, store, level=level, progress=lambda done, total: seen.append((done, total))
    )

    assert proof.level == level
    expected = (len(ROWS), sum(ROWS.values())) if level == "rows" else (0, 0)
    assert (proof.tables, proof.rows) == expected
    assert seen[-1] == (manifest.size, manifest.size)


def test_a_restore_equals_its_origin(
    server: Server, full: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    manifest = take(full, store)
    target = new_database(server)

    restored = restore(manifest, store, target)

    assert (restored.database, restored.tables) == (target.name, len(ROWS))
    assert dumped_schema(server, target) == dumped_schema(server, full)
    assert content(target) == content(full)
    with target.connect("test") as connection:
        assert connection.execute("select last_value from counter").fetchone() == (2,)
        assert connection.execute("select count(*) from kept").fetchone() == (9,)
        assert connection.execute("select count(*) from pg_largeobject").fetchone() != (0,)


def follow(recipe: str, server: Server, target: Database, place: Path) -> None:
    """Type a manifest's recipe into a shell, as somebody without Windlass would."""
    subprocess.run(
        ["sh", "-ec", recipe.replace("NEW_DATABASE", target.name)],
        check=True,
        cwd=place,
        env={
            **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
            "PATH": f"{server.binaries}:{ROOT}/.servers/aws/bin:{os.environ['PATH']}",
            "PGHOST": str(server.directory),
            "PGUSER": "postgres",
        },
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_recipe_restores_from_a_directory(
    server16: Server,
    small: Database,
    store: DirectoryStore,
    new_database: NewDatabase,
    tmp_path: Path,
    jobs: int,
) -> None:
    manifest = take(small, store, configured(jobs=jobs))
    target = new_database(server16)

    follow(manifest.restore_command, server16, target, tmp_path)

    assert content(target) == content(small)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_recipe_restores_from_a_bucket_with_the_aws_tool(
    server16: Server,
    small: Database,
    s3_store: S3Store,
    new_database: NewDatabase,
    tmp_path: Path,
    jobs: int,
) -> None:
    manifest = take(small, s3_store, configured(jobs=jobs))
    target = new_database(server16)

    assert manifest.restore_command.startswith(
        f"aws s3 cp --endpoint-url {s3_store.bucket.endpoint} s3://{s3_store.bucket.name}/backups/"
    )
    follow(manifest.restore_command, server16, target, tmp_path)

    assert content(target) == content(small)


def test_a_backup_in_a_bucket_is_taken_proven_and_restored(
    server16: Server, small: Database, s3_store: S3Store, new_database: NewDatabase
) -> None:
    manifest = take(small, s3_store)

    verify(manifest, s3_store)
    target = new_database(server16)
    restore(manifest, s3_store, target)

    assert content(target) == content(small)


def test_a_database_that_is_not_empty_is_refused(small: Database, store: DirectoryStore) -> None:
    manifest = take(small, store)

    with pytest.raises(Refused) as caught:
        restore(manifest, store, small)

    assert caught.value.what == f"the database {small.name} is not empty: it has public.t"
    assert caught.value.state == "nothing was changed"


def test_a_role_that_is_missing_is_named_before_anything_starts(
    server16: Server, small: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    role = f"r_{small.name}"
    run(small, f"create role {role}; grant select on t to {role}")
    manifest = take(small, store)
    target = new_database(server16)
    run(small, f"drop owned by {role}; drop role {role}")

    with pytest.raises(StepFailed) as caught:
        restore(manifest, store, target)

    assert caught.value.what == f"the server lacks roles that own or may use something: {role}"
    assert "globals.sql" in caught.value.next_step
    assert content(target) == {}


def test_a_created_database_has_the_encoding_and_locale_of_its_origin(
    server: Server, full: Database, store: DirectoryStore
) -> None:
    name = f"{full.name} new=1"
    target = create.create_database(full, name)
    try:
        assert target.name == name
        with full.connect("test") as one, target.connect("test") as other:
            locale = "select encoding, datcollate, datctype from pg_database where datname = "
            locale += "current_database()"
            assert (
                one.execute(locale.encode()).fetchone() == other.execute(locale.encode()).fetchone()
            )
        manifest = take(full, store)
        restore(manifest, store, target)
        assert content(target) == content(full)
        with pytest.raises(Refused, match="already exists"):
            create.create_database(full, name)
    finally:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f'drop database "{name}" with (force)'.encode())


def test_backups_are_listed_newest_first_and_by_database(
    server16: Server, small: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    other = new_database(server16)
    first = take(small, store, deployment="a")
    second = take(small, store, deployment="b", at=MOMENT + timedelta(days=1))
    third = take(other, store, deployment="c", at=MOMENT + timedelta(hours=1))

    assert manifests(store, environment="uat") == (second, third, first)
    assert manifests(store, environment="uat", database=small.name) == (second, first)
    assert manifests(store, environment="production") == ()


def test_a_backup_without_a_manifest_is_none(small: Database, store: DirectoryStore) -> None:
    manifest = take(small, store)
    store.delete(f"{manifest.key}manifest.json")

    assert manifests(store, environment="uat") == ()


@pytest.mark.unit
@pytest.mark.parametrize("text", [b"", b"{", b"{}", b"\xff\xfe", b'{"format": 2}'])
def test_a_manifest_that_cannot_be_read_is_an_error_that_names_it(
    store: DirectoryStore, text: bytes
) -> None:
    store.write("uat/app/1/manifest.json", [text])

    with pytest.raises(StoreFailed, match=r"uat/app/1/manifest\.json is not a readable manifest"):
        manifests(store, environment="uat")


def test_a_manifest_in_another_place_is_an_error(small: Database, store: DirectoryStore) -> None:
    manifest = take(small, store)
    store.write("uat/app/1/manifest.json", [manifest.canonical()])

    with pytest.raises(StoreFailed, match="it describes uat/"):
        manifests(store, environment="uat")


def test_a_backup_is_found_by_latest_by_id_and_by_key(
    small: Database, store: DirectoryStore
) -> None:
    first = take(small, store, deployment="a")
    second = take(small, store, deployment="b", at=MOMENT + timedelta(days=1))

    assert catalog.find_backup(store, environment="uat", which="latest").manifest == second
    assert catalog.find_backup(store, environment="uat", which=first.id).manifest == first
    assert catalog.find_backup(store, environment="uat", which=first.key).manifest == first
    with pytest.raises(StepFailed) as caught:
        catalog.find_backup(store, environment="uat", which="20260101T000000Z-x")
    assert caught.value.what == 'uat has no backup "20260101T000000Z-x"'
    assert caught.value.next_step == f"name one of: {second.id}, {first.id}"


@pytest.mark.unit
def test_no_backup_at_all_says_how_to_take_one(store: DirectoryStore) -> None:
    with pytest.raises(StepFailed) as caught:
        catalog.find_backup(store, environment="uat", which="latest")

    assert caught.value.what == "uat has no backup"
    assert caught.value.next_step == "invoke backup --env uat"


def test_one_id_in_two_databases_must_be_told_apart_by_key(
    server16: Server, small: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    one, two = take(small, store), take(new_database(server16), store)

    with pytest.raises(StepFailed, match="2 backups of uat have the id") as caught:
        catalog.find_backup(store, environment="uat", which=one.id)

    assert one.key in caught.value.next_step
    assert two.key in caught.value.next_step


def test_a_difference_in_rows_names_table_expected_and_got(
    small: Database, store: DirectoryStore
) -> None:
    manifest = msgspec.structs.replace(
        take(small, store), row_counts=(("public.t", 4), ("public.u", 1))
    )

    with pytest.raises(StepFailed) as caught:
        verify(manifest, store)

    assert "public.t: expected 4 rows, got 3" in caught.value.what
    assert "public.u: expected 1 rows, got no such table" in caught.value.what


def test_rows_of_a_table_nobody_counted_are_a_difference(
    small: Database, store: DirectoryStore
) -> None:
    manifest = msgspec.structs.replace(take(small, store), row_counts=())

    with pytest.raises(StepFailed, match=r"public\.t: expected 0 rows, got 3"):
        verify(manifest, store)


def test_an_extensions_own_rows_are_not_counted(database: Database, store: DirectoryStore) -> None:
    run(
        database,
        "create extension vector; create table v (e vector(2)); insert into v values ('[1,2]')",
    )

    manifest = take(database, store)

    assert manifest.row_counts == (("public.v", 1),)
    verify(manifest, store)


def test_a_database_with_nothing_in_it_has_a_backup_too(
    database: Database, store: DirectoryStore
) -> None:
    manifest = take(database, store)

    assert manifest.row_counts == ()
    verify(manifest, store)


def test_the_dump_command_is_this() -> None:
    clients = find_clients(160014)

    assert dump.dump_command(clients, snapshot="00000003-1") == (
        *clients.command("pg_dump"),
        "--format=custom",
        "--compress=gzip:1",
        "--snapshot=00000003-1",
        "--lock-wait-timeout=30s",
        "--no-password",
        "--dbname=keepalives=1 keepalives_idle=15 keepalives_interval=5 keepalives_count=3",
    )


SCRIPT = (
    rb"""SET client_encoding = 'LATIN1';
COPY public.a (id, t) FROM stdin;
1	x
2	\\.
\.


COPY public.b (id) FROM stdin;
\.

COPY "s""t"."caf"""
    + b"\xe9"
    + rb"""" (id) FROM stdin;
1
\.
COPY public.c  FROM stdin;


\.
SELECT pg_catalog.setval('public.counter', 2, true);
"""
)


@pytest.mark.unit
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 100_000])
def test_rows_are_counted_right_wherever_the_stream_is_cut(size: int) -> None:
    counter = RowCounter()

    for start in range(0, len(SCRIPT), size):
        counter.feed(SCRIPT[start : start + size])

    assert counter.finish() == {
        ("public", "a"): 2,
        ("public", "b"): 0,
        ('s"t', "café"): 1,
        ("public", "c"): 2,
    }


@pytest.mark.unit
def test_a_block_without_an_end_is_an_error() -> None:
    counter = RowCounter()
    counter.feed(b"COPY public.a (id) FROM stdin;\n1\n2\n")

    with pytest.raises(StepFailed, match=r"the data of public\.a has no end"):
        counter.finish()


def test_an_extension_that_the_server_lacks_is_named_before_anything_starts(
    server16: Server, small: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    manifest = msgspec.structs.replace(
        take(small, store), extensions=(("plpgsql", "1.0"), ("postgis", "3.5.2"))
    )
    target = new_database(server16)

    with pytest.raises(StepFailed) as caught:
        restore(manifest, store, target)

    assert caught.value.what == "the server lacks extensions of the backup: postgis 3.5.2"
    assert content(target) == {}
