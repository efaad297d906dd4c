"""What each level of a proof finds, and what it does not look at."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.backup import catalog, retention
from pgwindlass.backup.proof import verify_and_record
from pgwindlass.backup.restore import restore_backup
from pgwindlass.database.connection import Database
from pgwindlass.errors import ChildFailed, StepFailed
from pgwindlass.model import LEVELS, Manifest, ProofLevel
from pgwindlass.postgres import throwaway
from pgwindlass.secret import Secret
from pgwindlass.stores.directory import DirectoryStore
from tests import fix_postgres, npm_postgres
from tests.fix_backup import CONFIG, configured, silent, take
from tests.fix_postgres import Server
from tests.kit import ROOT
from tests.test_backup import ROWS, SCHEMA, run

pytestmark = pytest.mark.sampled(3)

NewDatabase = Callable[[Server], Database]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


def prove(manifest: Manifest, store: DirectoryStore, level: ProofLevel) -> None:
    verify_and_record(manifest, store, CONFIG, level=level, progress=silent)


def replaced(manifest: Manifest, store: DirectoryStore, other: Database) -> Manifest:
    """Return a manifest that vouches for another database's archive: the hash is right."""
    forged = take(other, store, deployment="forged")
    key = manifest.parts[0].key
    store.write(key, store.read(forged.parts[0].key))
    part = msgspec.structs.replace(forged.parts[0], key=key)
    return msgspec.structs.replace(manifest, parts=(part, *manifest.parts[1:]))


TABLES = """
create table t (id int);
insert into t select generate_series(1, 1000);
create table u (id int);
"""


def test_a_flipped_byte_is_found_by_the_checksum(
    database16: Database, store: DirectoryStore
) -> None:
    run(database16, TABLES)
    manifest = take(database16, store)
    path = store.path / manifest.parts[0].key
    held = bytearray(path.read_bytes())

    for at in range(0, len(held), 97):
        held[at] ^= 4
        path.write_bytes(held)
        with pytest.raises(StepFailed, match="is damaged: expected"):
            prove(manifest, store, "checksum")
        held[at] ^= 4
    path.write_bytes(held)
    prove(manifest, store, "checksum")


def test_a_truncated_table_is_found_by_the_rows(
    server16: Server, database16: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    run(database16, TABLES)
    emptied = new_database(server16)
    run(emptied, TABLES + "truncate t")
    manifest = replaced(take(database16, store), store, emptied)

    prove(manifest, store, "checksum")
    with pytest.raises(StepFailed, match=r"public\.t: expected 1000 rows, got 0"):
        prove(manifest, store, "rows")


def test_a_broken_constraint_is_found_by_the_restore(
    database16: Database, store: DirectoryStore
) -> None:
    run(
        database16,
        """
        create table parent (id int primary key);
        create table child (parent int references parent);
        insert into parent values (1);
        insert into child values (1);
        set session_replication_role = replica;  -- how a bad repair leaves it
        delete from parent;
        """,
    )
    manifest = take(database16, store)

    prove(manifest, store, "checksum")
    prove(manifest, store, "rows")
    with pytest.raises(ChildFailed, match="violates foreign key constraint"):
        prove(manifest, store, "restore")
    assert [one.level for one in _known(store).proofs] == ["checksum", "rows"]


def test_what_the_server_words_anew_after_a_restore_is_the_same(
    database16: Database, store: DirectoryStore
) -> None:
    run(
        database16,
        "create table worded (role varchar(20), check (role in ('a', 'b)::text')));"
        "create view worded_a as select role from worded where role in ('a', 'c');"
        "create index worded_b on worded (role) where role in ('a', 'b')",
    )

    prove(take(database16, store), store, "restore")

    assert _known(store).level == "restore"


def test_definitions_that_differ_are_found_by_the_restore(
    database16: Database, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database16, TABLES + "create index i on t (id)")
    manifest = take(database16, store)
    restore = restore_backup

    def forgetful(*arguments: object, **options: object) -> object:
        done = restore(*arguments, **options)  # type: ignore[arg-type]
        run(arguments[2], "drop index i; alter table u add x int")  # type: ignore[arg-type]
        return done

    monkeypatch.setattr("pgwindlass.backup.drill.restore_backup", forgetful)

    with pytest.raises(StepFailed, match="has other definitions than its source") as caught:
        prove(manifest, store, "restore")

    assert "i; Type: INDEX" in caught.value.what
    assert "u; Type: TABLE" in caught.value.what


@pytest.mark.parametrize("level", LEVELS)
def test_everything_that_is_easily_lost_passes_every_level(
    database: Database, store: DirectoryStore, level: ProofLevel
) -> None:
    run(database, SCHEMA)
    manifest = take(database, store)

    proof = verify_and_record(manifest, store, CONFIG, level=level, progress=silent)

    assert _known(store).proofs == (proof,)
    counted = (0, 0) if level == "checksum" else (len(ROWS), sum(ROWS.values()))
    assert (proof.tables, proof.rows) == counted
    assert proof.seconds > 0
    major = manifest.server_version // 10_000
    assert proof.server == (f"embedded PostgreSQL {major}" if level == "restore" else "")


def test_several_parts_pass_every_level(database16: Database, store: DirectoryStore) -> None:
    run(database16, SCHEMA)
    manifest = take(database16, store, configured(jobs=2))

    for level in LEVELS:
        prove(manifest, store, level)

    assert _known(store).level == "restore"


def test_roles_that_are_not_here_are_made_for_the_copy(
    database16: Database, store: DirectoryStore
) -> None:
    role = f"r_{database16.name}"
    run(
        database16,
        f"""
        create role {role};
        {TABLES}
        alter table t owner to {role};
        grant select on u to {role};
        alter table u enable row level security;
        create policy p on u to {role} using (true);
        """,
    )
    try:
        manifest = take(database16, store)
        assert role in manifest.roles
        prove(manifest, store, "restore")
    finally:
        run(database16, f"drop owned by {role}; drop role {role}")


def test_a_server_of_the_users_own_is_used_and_left_as_it_was(
    server16: Server, database16: Database, store: DirectoryStore
) -> None:
    role = f"r_{database16.name}"
    run(database16, f"create role {role}; {TABLES} grant select on t to {role}")
    manifest = take(database16, store)
    run(database16, f"drop owned by {role}; drop role {role}")
    config = configured(throwaway=Secret(server16.url()))

    proof = verify_and_record(manifest, store, config, level="restore", progress=silent)

    assert proof.server.startswith("the throwaway server, PostgreSQL 16, without what only a super")
    assert "ALTER TABLE public.t OWNER TO postgres" in proof.server
    with database16.connect("test") as connection:
        left = connection.execute(
            "select datname from pg_database where starts_with(datname, 'windlass_copy')"
            " union select rolname from pg_roles where rolname = %s",
            [role],
        ).fetchall()
    assert left == []


# Starts a throwaway server with a copy on it, says where, and waits to be killed.
KILLED = """
import sys, time
import msgspec
from pgwindlass.postgres import throwaway
from pgwindlass.model import Manifest
manifest = msgspec.json.decode(sys.argv[1].encode(), type=Manifest)
needs = throwaway.needs_of(manifest)
with (
    throwaway.running(needs, None, sandboxed=sys.argv[2]) as server,
    throwaway.copy(server) as copy,
):
    print(server.admin.url.reveal(), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("major", [16, 15], ids=["embedded", "installed"])
def test_what_a_killed_run_left_is_ended_and_removed_by_the_next(
    database16: Database, store: DirectoryStore, major: int
) -> None:
    if major not in fix_postgres.dumpable_majors():
        pytest.skip("no PostgreSQL of Debian here")
    manifest = msgspec.structs.replace(take(database16, store), server_version=major * 10_000)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, manifest.canonical().decode(), "off"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    with child.stdout:
        child.kill()
        child.wait(10)
    directory = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
    assert directory.exists()

    with throwaway.running(throwaway.needs_of(manifest), None) as server:
        assert server.name

    assert not directory.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


@pytest.mark.parametrize("major", [16, 15], ids=["embedded", "installed"])
def test_no_other_user_and_no_other_machine_reaches_the_copy(
    database16: Database, store: DirectoryStore, major: int
) -> None:
    if major not in fix_postgres.dumpable_majors():
        pytest.skip("no PostgreSQL of Debian here")
    manifest = msgspec.structs.replace(take(database16, store), server_version=major * 10_000)

    with (
        throwaway.running(throwaway.needs_of(manifest), None) as server,
        server.admin.connect("test") as connection,
    ):
        assert connection.execute("show listen_addresses").fetchone() == ("",)
        code = "import psycopg, sys; psycopg.connect(sys.argv[1])"
        other = subprocess.run(
            npm_postgres.as_user([sys.executable, "-c", code, server.admin.url.reveal()]),
            capture_output=True,
            text=True,
            check=False,
        )
        if os.geteuid() == 0:
            assert "Permission denied" in other.stderr


def _lacking(manifest: Manifest) -> str:
    return throwaway.missing_reason(
        manifest.server_version, [n for n, _ in manifest.extensions], None
    )


def test_where_no_server_fits_it_says_what_is_missing(
    database16: Database, store: DirectoryStore
) -> None:
    manifest = take(database16, store)
    postgis = msgspec.structs.replace(manifest, extensions=(("postgis", "3.5"),))
    ancient = msgspec.structs.replace(manifest, server_version=90624)

    assert _lacking(manifest) == ""
    assert _lacking(postgis) == "the server here lacks postgis"
    assert "no PostgreSQL 9 server is installed here" in _lacking(ancient)
    with pytest.raises(StepFailed, match="no server to restore into") as caught:
        prove(postgis, store, "restore")
    assert "throwaway: URL under backups" in caught.value.next_step


def test_a_proof_of_the_same_level_takes_the_place_of_the_older_one(
    database16: Database, store: DirectoryStore
) -> None:
    run(database16, TABLES)
    manifest = take(database16, store)

    prove(manifest, store, "rows")
    prove(manifest, store, "rows")
    prove(manifest, store, "checksum")

    assert [one.level for one in _known(store).proofs] == ["checksum", "rows"]
    assert _known(store).level == "rows"


def _known(store: DirectoryStore) -> retention.Backup:
    (found,) = (
        b for b in catalog.backups(store, environment="uat") if b.manifest.deployment != "forged"
    )
    return found
