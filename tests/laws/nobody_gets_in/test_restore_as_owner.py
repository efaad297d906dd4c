"""A restore by a superuser: what the archive's SQL does, it does as a role without rights.

Whoever writes the archive, with the key that signs or where nothing is signed, puts code into it.
"""

import hashlib
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.backup import loader
from pgwindlass.backup.drill import drill
from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed, Unreachable
from pgwindlass.model import Manifest
from pgwindlass.secret import Secret
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import configured, restore, silent, take
from tests.fix_own_server import own_server
from tests.fix_postgres import Server
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

LONG = "-" * 400
CARRIERS = ("check", "generated", "domain", "partition", "index", "matview", "statistics", "do")
PAYLOADS = (
    "copy (select 1) to program 'touch {file}'",
    "reset role; copy (select 1) to program 'touch {file}'",
    "reset session authorization; copy (select 1) to program 'touch {file}'",
    "set session authorization default; copy (select 1) to program 'touch {file}'",
    "copy (select 1) to '{file}'",
    "alter role {role} superuser",
    "grant pg_execute_server_program to {role}",
    "select pg_catalog.lo_import('/etc/passwd', {number})",
    "select pg_catalog.lo_from_bytea({number}, pg_catalog.pg_read_binary_file('/etc/passwd'))",
)
# What is declared immutable may not write; what it calls may.
EVIL = """
create function public.run(carrier text) returns void language plpgsql volatile as $f$
declare payload text;
begin
  foreach payload in array public.payloads(carrier) loop
    begin execute payload; exception when others then null; end;
  end loop;
end $f$;
create or replace function public.evil(carrier text, value int) returns int language plpgsql
immutable as $f$ begin perform public.run(carrier); return value; end $f$
"""
TABLES = """
create function public.evil(carrier text, value int) returns int language sql immutable
  as 'select value';
create table t_check (i int check (public.evil('check', i) > 0));
create table t_generated (i int, j int generated always as (public.evil('generated', i)) stored);
create domain d as int check (public.evil('domain', value) > 0);
create table t_domain (i d);
create table t_partition (i int) partition by range (public.evil('partition', i));
create table t_partition_1 partition of t_partition for values from (0) to (10);
create table t_index (i int);
create index on t_index (public.evil('index', i));
create materialized view t_matview as select public.evil('matview', 1) i;
create table t_statistics (i int, j int);
create statistics on (public.evil('statistics', i)), j from t_statistics;
create table t_do (i int);
insert into t_check values (1); insert into t_generated values (1); insert into t_domain values (1);
insert into t_partition values (1); insert into t_index values (1);
insert into t_statistics select 1, 1 from generate_series(1, 100);
"""
# Several owners, one of them without rights in the schema; what belongs to nobody in particular.
NORMAL = """
create extension vector;
create schema sales authorization {1};
create table public.plain (id int generated always as identity primary key, v vector(2));
alter table public.plain owner to {1};
insert into public.plain (v) select '[1,2]' from generate_series(1, 5);
create table sales.orders (id serial primary key, words text default 'x');
alter table sales.orders owner to {2};
insert into sales.orders (words) values ('a'), ('b');
create sequence public.alone; alter sequence public.alone owner to {2};
create domain public.positive as int check (value > 0); alter domain positive owner to {1};
create function public.f() returns int language sql security definer as 'select 1';
alter function public.f() owner to {2};
revoke execute on function public.f() from public;
grant execute on function public.f() to {0};
create view public.v as select count(*) n from public.plain; alter view public.v owner to {1};
create materialized view public.m as select n from public.v; alter materialized view m owner to {1};
grant usage on schema sales to {0}; grant select (words) on sales.orders to {0};
grant select on public.plain to {2} with grant option;
set role {2}; grant select on public.plain to {0}; reset role;
alter default privileges for role {1} in schema sales grant select on tables to {0};
alter table sales.orders enable row level security;
alter table sales.orders force row level security;
create policy own on sales.orders to {0} using (words = 'a');
create table public.parts (i int) partition by range (i);
create table public.parts_1 partition of public.parts for values from (0) to (10);
alter table public.parts owner to {1}; alter table public.parts_1 owner to {2};
insert into public.parts values (1);
select lo_from_bytea(77, 'abc'); alter large object 77 owner to {1};
grant select on large object 77 to {0};
create publication changes for table public.plain; alter publication changes owner to {0};
comment on table public.plain is 'plain'; comment on schema sales is 'theirs';
alter schema public owner to {1};
"""
WATCHED = """
create function watch() returns event_trigger language plpgsql as 'begin end';;
create event trigger watching on sql_drop execute function watch()
"""


@dataclass(frozen=True)
class Attack:
    """A database that was restored from a hostile archive, and where its marks would be."""

    admin: Database
    files: Path
    role: str

    def all(self) -> frozenset[tuple[str, int]]:
        pairs = ((carrier, n) for carrier in CARRIERS for n in range(len(PAYLOADS)))
        return frozenset(pair for pair in pairs if self.broken(*pair))

    def broken(self, carrier: str, number: int) -> bool:
        if (self.files / f"{carrier}-{number}").exists():
            return True
        row = self.admin.read(
            "test",
            lambda c: c.execute(
                "select exists (select from pg_roles r where rolname = %(role)s and (rolsuper or "
                "pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER'))) or "
                "exists (select from pg_largeobject_metadata where oid = %(number)s)",
                {"role": f"{self.role}_{carrier}", "number": mark(carrier, number)},
            ).fetchone(),
        )
        return row == (True,)


def mark(carrier: str, number: int) -> int:
    return 900_000 + 100 * CARRIERS.index(carrier) + number


def patched(manifest: Manifest, root: Path, new: str) -> Manifest:
    """Put another statement in the place of a comment, and rewrite the manifest."""
    (part,) = manifest.archives
    file = root / part.key
    content = file.read_bytes()
    before = f"COMMENT ON TABLE public.t_do IS '{LONG}';\n".encode()
    assert content.count(before) == 1, "the comment is not there as written"
    assert len(new) < len(before)
    content = content.replace(before, new.encode().ljust(len(before) - 1) + b"\n")
    file.write_bytes(content)
    new_part = msgspec.structs.replace(
        part, sha256=hashlib.sha256(content).hexdigest(), every=0, checkpoints=()
    )
    parts = tuple(new_part if other.key == part.key else other for other in manifest.parts)
    return msgspec.structs.replace(manifest, parts=parts)


def run(server: Server, text: str, database: str = "postgres") -> None:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        for statement in text.split(";;"):
            connection.execute(statement.encode())


@dataclass(frozen=True)
class Bench:
    """A server whose superuser restores, with an owner that is none and a hostile database."""

    server: Server
    name: str  # of the source, and the beginning of all other names
    files: Path

    def database(self, name: str) -> Database:
        return Database(url=Secret(self.server.url(name)), deployment_id="test", owners=None)

    def empty(self) -> Database:
        """Return a new database of the owner's."""
        name = f"{self.name}_{secrets.token_hex(3)}"
        run(self.server, f"create database {name} owner {self.name}_owner")
        return self.database(name)

    def archive(self, store: DirectoryStore) -> Manifest:
        return take(self.database(self.name), store, configured(jobs=1))

    def described(self, database: Database) -> list[str]:
        """Return what pg_dump says of a database, with owners and grants, its rows included."""
        pg_dump = str(self.server.binaries / "pg_dump")
        dump = [pg_dump, "--dbname", self.server.url(database.name)]
        ran = subprocess.run(dump, capture_output=True, text=True, check=True)
        lines = ran.stdout.splitlines()
        return sorted(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))

    def roles(self) -> int:
        with psycopg.connect(self.server.url()) as connection:
            row = connection.execute(
                "select count(*) from pg_roles where starts_with(rolname, 'windlass_load_')"
            ).fetchone()
            return row[0] if row else 0


@pytest.fixture(scope="module")
def bench(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    server, name = servers(16), f"load{secrets.token_hex(3)}"
    files = tmp_path_factory.mktemp("planted")
    files.chmod(0o777)
    bench = Bench(server, name, files)
    names = [f"{name}_{carrier}" for carrier in ("owner", *CARRIERS)]
    run(server, ";;".join(f"create role {role}" for role in names))
    run(server, f"create database {name} owner {name}_owner")
    values = ", ".join(f"({n}, $p${payload}$p$)" for n, payload in enumerate(PAYLOADS))
    numbers = f"""
        create function public.payloads(carrier text) returns text[] language sql immutable as $f$
          select array_agg(replace(replace(replace(p, '{{file}}',
              '{files}/' || carrier || '-' || n), '{{role}}', '{name}_' || carrier), '{{number}}',
              (900000 + 100 * array_position(array{list(CARRIERS)!r}, carrier) + n)::text))
          from (values {values}) v(n, p) $f$
    """
    run(server, numbers, name)
    run(server, TABLES, name)
    run(server, f"comment on table t_do is '{LONG}'", name)
    run(server, EVIL, name)
    give = "".join(
        f"alter {kind} {what} owner to {name}_owner;"
        for kind, what in (
            *(("table", f"t_{carrier}") for carrier in CARRIERS if carrier != "matview"),
            ("table", "t_partition_1"),
            ("materialized view", "t_matview"),
            ("domain", "d"),
            ("statistics", "t_statistics_expr_j_stat"),
            ("function", "evil"),
            ("function", "payloads"),
            ("function", "run"),
        )
    )
    run(server, give, name)
    yield bench
    with psycopg.connect(server.url(), autocommit=True) as connection:
        rows = connection.execute(
            "select datname from pg_database where starts_with(datname, %s)", [name]
        ).fetchall()
        for (database,) in rows:
            connection.execute(f'drop database "{database}" with (force)'.encode())
        for role in names:
            connection.execute(f"drop role {role}".encode())


@pytest.fixture(scope="module")
def hostile(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, DirectoryStore]:
    root = tmp_path_factory.mktemp("hostile")
    store = DirectoryStore(root)
    return patched(bench.archive(store), root, "select public.evil('do', 1)"), store


@pytest.fixture(scope="module")
def broken(bench: Bench, hostile: tuple[Manifest, DirectoryStore]) -> frozenset[tuple[str, int]]:
    """Return what the archive did where it was restored, by carrier and payload."""
    admin = bench.empty()
    restore(*hostile, admin)
    return Attack(admin, bench.files, bench.name).all()


@pytest.mark.attack
@pytest.mark.parametrize("number", range(len(PAYLOADS)))
@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_an_archive_runs_has_no_superusers_rights(
    broken: frozenset[tuple[str, int]], carrier: str, number: int
) -> None:
    assert (carrier, number) not in broken


def test_as_superuser_lets_the_same_archive_do_each_of_them(
    broken: frozenset[tuple[str, int]], bench: Bench, hostile: tuple[Manifest, DirectoryStore]
) -> None:
    admin = bench.empty()
    restore(*hostile, admin, as_superuser=True)

    done = Attack(admin, bench.files, bench.name).all() - broken
    for carrier in CARRIERS:
        role = f"{bench.name}_{carrier}"
        taken = f"alter role {role} nosuperuser;; revoke pg_execute_server_program from {role}"
        run(bench.server, taken)

    assert {number for _, number in done} == set(range(len(PAYLOADS)))
    assert {carrier for carrier, _ in done} >= {"check", "generated", "domain", "do"}


@pytest.mark.attack
@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("alter function public.run(text) owner to postgres", "what only a superuser may do"),
        ("alter table public.t_do owner to postgres", "what only a superuser may do"),
        (
            "grant execute on function pg_catalog.pg_read_file(text) to {name}_do",
            "what only a superuser may do",
        ),
        ("grant execute on function pg_read_file(text) to public", "what only a superuser may do"),
        ("grant select on table pg_catalog.pg_authid to public", "what only a superuser may do"),
        ("grant all on all tables in schema pg_catalog to public", "what only a superuser may do"),
        (
            "alter default privileges for role postgres grant all on tables to public",
            "what only a superuser may do",
        ),
        ("alter default privileges grant all on tables to public", "what only a superuser may do"),
        ("set session authorization postgres", "what only a superuser may do"),
        ("alter function pg_catalog.pg_read_file(text) owner to {name}_do", "must be owner"),
        ("alter schema pg_catalog owner to {name}_do", "must be owner"),
        ("grant {name}_owner to {name}_do", "permission denied"),
        ("alter role {name}_do superuser", "permission denied"),
        ("alter database {name} owner to {name}_do", "must be owner"),
        ("alter system set archive_command = 'true'", "cannot run inside a transaction"),
        ("create extension if not exists no_such_thing", "no_such_thing"),
    ],
)
def test_a_statement_that_gives_rights_away_is_not_our_roles(
    bench: Bench, tmp_path: Path, statement: str, told: str
) -> None:
    store = DirectoryStore(tmp_path)
    manifest = patched(bench.archive(store), tmp_path, statement.format(name=bench.name) + ";")
    admin = bench.empty()

    with pytest.raises(StepFailed) as caught:
        restore(manifest, store, admin)

    assert told in caught.value.what
    assert bench.roles() == 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_several_own_is_theirs_again(bench: Bench, tmp_path: Path, jobs: int) -> None:
    names = [f"{bench.name}_{who}" for who in ("owner", "check", "domain")]
    source, store = bench.empty(), DirectoryStore(tmp_path)
    run(bench.server, NORMAL.format(*names, database=source.name), source.name)
    before = bench.described(source)

    manifest = take(source, store, configured(jobs=jobs))
    copy = bench.empty()
    restored = restore(manifest, store, copy)

    assert restored.loaded_as.startswith("windlass_load_")
    after = bench.described(copy)
    assert (sorted(set(before) - set(after)), sorted(set(after) - set(before))) == ([], [])
    assert after == before
    assert bench.roles() == 0


def test_what_only_a_superuser_creates_is_named_with_its_switch(
    bench: Bench, tmp_path: Path
) -> None:
    source, store = bench.empty(), DirectoryStore(tmp_path)
    run(
        bench.server,
        WATCHED + f";; alter function watch() owner to {bench.name}_owner",
        source.name,
    )
    manifest = take(source, store, configured(jobs=1))

    with pytest.raises(StepFailed, match="EVENT TRIGGER - watching") as caught:
        restore(manifest, store, bench.empty())

    assert "--as-superuser" in caught.value.next_step
    assert bench.roles() == 0
    assert restore(manifest, store, bench.empty(), as_superuser=True).loaded_as == ""


@pytest.mark.attack
def test_a_drill_without_a_sandbox_runs_nothing_as_a_superuser(
    bench: Bench, hostile: tuple[Manifest, DirectoryStore]
) -> None:
    for file in bench.files.iterdir():
        file.unlink()

    with pytest.raises(StepFailed, match="other definitions than its source: TABLE t_do;"):
        drill(*hostile, configured(sandbox="off"), progress=silent)

    assert list(bench.files.iterdir()) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_drill_without_a_sandbox_proves_a_database_of_several_owners(
    bench: Bench, tmp_path: Path, jobs: int
) -> None:
    names = [f"{bench.name}_{who}" for who in ("owner", "check", "domain")]
    source, store = bench.empty(), DirectoryStore(tmp_path)
    run(bench.server, NORMAL.format(*names, database=source.name), source.name)
    run(bench.server, WATCHED, source.name)
    manifest = take(source, store, configured(jobs=jobs))

    for sandbox in ("off", "auto"):
        proof = drill(manifest, store, configured(sandbox=sandbox), progress=silent)

        assert proof.rows == sum(count for _, count in manifest.row_counts)
        assert "without" in proof.server and "EVENT TRIGGER - watching" in proof.server


def test_a_deployment_drops_the_role_of_a_killed_restore_once_its_database_is_gone(
    bench: Bench, tmp_path: Path
) -> None:
    name, admin, owned = f"{loader.PREFIX}2_dead", bench.empty(), f"{bench.name}_theirs"
    run(bench.server, f"create role {name};; comment on role {name} is '{loader.NOTE}'")
    run(bench.server, f"create database {owned} owner {name}")
    project = Project(tmp_path / "shop", bench.server.url(admin.name))
    project.migration("20260801_000000_orders", "create table orders (id int);", "")

    kept = project.run("deploy", "--env", "dev")
    left = bench.roles()
    run(bench.server, f"drop database {owned}")
    project.migration("20260802_000000_more", "create table more (id int);", "")
    swept = project.run("deploy", "--env", "dev")

    assert (kept.code, left, swept.code) == (0, 1, 0), kept.err + swept.err
    assert f"dropped the role {name}, which a killed restore left" in swept.out + swept.err
    assert bench.roles() == 0


def test_the_role_of_a_killed_restore_is_swept(bench: Bench) -> None:
    with psycopg.connect(bench.server.url(), autocommit=True) as connection:
        for name, note in (("1_dead", loader.NOTE), ("1_other", "a person's")):
            connection.execute(f"create role {loader.PREFIX}{name}".encode())
            connection.execute(f"comment on role {loader.PREFIX}{name} is $${note}$$".encode())
        try:
            assert loader.sweep(connection) == (f"{loader.PREFIX}1_dead",)
        finally:
            connection.execute(f"drop role {loader.PREFIX}1_other".encode())


PEERS = "local all postgres trust\nlocal all all peer\n"
LEFT = "select rolname from pg_roles where starts_with(rolname, 'windlass_load_')"
LINE = 'local all "/^windlass_load_" scram-sha-256'  # before 16 there is no pattern


@pytest.mark.parametrize("known", [True, False], ids=["16", "before"])
def test_where_the_role_may_not_log_in_the_line_that_lets_it_in_is_named(
    bench: Bench, tmp_path: Path, known: bool
) -> None:
    store = DirectoryStore(tmp_path)
    with own_server(binaries=bench.server.binaries if known else None) as server:
        rules = server.data / "pg_hba.conf"
        rules.write_text(PEERS)
        server.restart()

        def of(name: str) -> Database:
            url = f"postgresql://postgres@/{name}?host={server.directory}&port={server.port}"
            return Database(url=Secret(url), deployment_id="test", owners=None)

        def run(text: str, name: str = "postgres") -> list[tuple[object, ...]]:
            with of(name).connect("test") as connection:
                for statement in text.split(";;"):
                    connection.execute(statement.encode())
                return connection.execute(LEFT).fetchall()

        run("create role o;; create database source owner o;; create database copy owner o")
        run(
            "create table t (i int);; alter table t owner to o;; insert into t values (1)", "source"
        )
        manifest = take(of("source"), store, configured(jobs=1))
        config = configured(sandbox="off", throwaway=of("postgres").url)

        with pytest.raises(Unreachable) as restored:
            restore(manifest, store, of("copy"))
        with pytest.raises(Unreachable) as drilled:
            drill(manifest, store, config, progress=silent)
        left = run("select")
        if known:
            rules.write_text(f"{LINE}\n{PEERS}")
            server.restart()
            assert restore(manifest, store, of("copy")).rows == 1
            assert drill(manifest, store, config, progress=silent).rows == 1

    for caught in (restored, drilled):
        assert (LINE in caught.value.next_step) == known
    assert "--as-superuser" in restored.value.next_step
    assert "backups.throwaway" in drilled.value.next_step
    assert left == []
