"""Several pg_dumps of one snapshot: together they are the database, and restore as one."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from psycopg import errors as pg

from pgwindlass.backup import catalog, toc
from pgwindlass.backup.dump import _DumpRun
from pgwindlass.database.connection import Database
from pgwindlass.errors import ChildFailed, StepFailed
from pgwindlass.model import Manifest, Part
from pgwindlass.stores.directory import DirectoryStore
from pgwindlass.stores.s3 import S3Store
from tests.fix_backup import configured, planned_fingerprint, restore, take, verify
from tests.fix_postgres import Server
from tests.test_backup import ROWS, SCHEMA, content, dumped_schema, run

NewDatabase = Callable[[Server], Database]
TWO, THREE = configured(jobs=2), configured(jobs=3)
# Rows enough that the tables are shared out; each has an owned sequence, an index, a foreign key.
LARGE = """
create table accounts (id serial primary key, note text);
insert into accounts (note) select repeat(md5(i::text), 8) from generate_series(1, 20000) i;
create table events (id bigint generated always as identity primary key,
                     account int references accounts, body jsonb);
insert into events (account, body)
select i, jsonb_build_object('n', i, 'h', md5(i::text)) from generate_series(1, 20000) i;
alter table accounts add last_event bigint references events;
create index on events (account);
"""


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


@pytest.fixture
def full(database: Database) -> Database:
    run(database, SCHEMA + LARGE)
    return database


@pytest.fixture
def large(database16: Database) -> Database:
    run(database16, LARGE)
    return database16


def test_the_parts_are_the_whole_database_and_restore_as_one(
    server: Server, full: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    manifest = take(full, store, THREE)

    holds = sorted(part.holds for part in manifest.parts)
    assert holds == ["data", "data", "data", "globals", "schema"]
    assert manifest.toc_entries > len(ROWS)
    assert manifest.schema_fingerprint == planned_fingerprint(full)
    proof = verify(manifest, store)
    assert (proof.tables, proof.rows) == (len(ROWS) + 2, sum(ROWS.values()) + 40_000)
    target = new_database(server)
    restored = restore(manifest, store, target)
    assert restored.rows == proof.rows
    assert dumped_schema(server, target) == dumped_schema(server, full)
    assert content(target) == content(full)
    with target.connect("test") as connection:
        assert connection.execute("select last_value from counter").fetchone() == (2,)
        assert connection.execute("select nextval('accounts_id_seq')").fetchone() == (20_001,)
        assert connection.execute("select count(*) from kept").fetchone() == (9,)
        assert connection.execute("select count(*) from pg_largeobject").fetchone() != (0,)


def test_a_bucket_holds_the_same_parts(
    server16: Server, large: Database, s3_store: S3Store, new_database: NewDatabase
) -> None:
    manifest = take(large, s3_store, TWO)

    verify(manifest, s3_store)
    target = new_database(server16)
    restore(manifest, s3_store, target)
    assert content(target) == content(large)


def test_rows_written_while_it_runs_are_in_no_part(
    large: Database, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pg_dump reads the same snapshot, however late it starts."""
    dump = _DumpRun._dump
    once = threading.Lock()

    def late(self: _DumpRun, *arguments: object) -> frozenset[str]:
        if once.acquire(blocking=False):
            run(large, "insert into accounts (note) values ('late'); update events set body = null")
        return dump(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_DumpRun, "_dump", late)

    manifest = take(large, store, TWO)

    assert dict(manifest.row_counts) == {"public.accounts": 20_000, "public.events": 20_000}
    assert verify(manifest, store).rows == 40_000


def test_a_schema_changed_while_it_runs_is_not_the_fingerprints(
    large: Database, store: DirectoryStore
) -> None:
    run(large, "create function one() returns int language sql as 'select 1'")
    before = planned_fingerprint(large)
    changes = [
        "create or replace function one() returns int language sql as 'select 2';"
        "create index on accounts (note); create view v as select 1 as one"
    ]

    def change(done: int, total: int | None) -> None:
        if changes:
            run(large, changes.pop())

    manifest = take(large, store, TWO, progress=change)

    assert manifest.schema_fingerprint == before != planned_fingerprint(large)


@pytest.mark.parametrize(
    "change",
    [
        "create or replace function one() returns int language sql as 'select 2'",
        "drop view v",
    ],
)
def test_a_schema_changed_while_it_begins_is_not_known(
    large: Database, store: DirectoryStore, change: str
) -> None:
    run(
        large,
        "create function one() returns int language sql as 'select 1';"
        "create view v as select 1 as one; create table last (id int)",
    )
    with large.connect("holder", autocommit=False) as holder:
        holder.execute("lock table last in access exclusive mode")
        done = threading.Thread(target=lambda: taken.append(take(large, store, TWO)))
        taken: list[Manifest] = []
        done.start()
        _wait_until_it_waits(large)
        run(large, change)
        holder.commit()
        done.join()

    assert [manifest.schema_fingerprint for manifest in taken] == [""]


def _wait_until_it_waits(database: Database) -> None:
    waiting = (
        "select from pg_locks where not granted and relation = 'last'::regclass "
        "and mode = 'AccessShareLock'"
    )
    deadline = time.monotonic() + 20
    with database.connect("test") as connection:
        while connection.execute(waiting.encode()).fetchone() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_truncate_is_kept_out_until_the_last_part_is_done(
    large: Database, store: DirectoryStore
) -> None:
    refused: list[BaseException] = []

    def truncate(done: int, total: int | None) -> None:
        if not refused:
            with large.connect("test") as connection:
                connection.execute("set lock_timeout = '50ms'")
                try:
                    connection.execute("truncate accounts, events")
                except pg.LockNotAvailable as error:
                    refused.append(error)

    manifest = take(large, store, TWO, progress=truncate)

    assert refused
    assert verify(manifest, store).rows == 40_000


def test_one_pg_dump_that_dies_ends_all_and_leaves_nothing(
    large: Database, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _DumpRun._stream

    def broken(self: _DumpRun, options: tuple[str, ...]) -> object:
        wrong = "--schema=nobody" if any("--table=" in one for one in options) else ""
        return stream(self, (*options, wrong) if wrong else options)

    monkeypatch.setattr(_DumpRun, "_stream", broken)

    with pytest.raises(ChildFailed, match=r"no matching (schemas|tables) were found"):
        take(large, store, TWO)

    assert list(store.keys("")) == []
    assert catalog.backups(store, environment="uat") == ()


def test_a_part_that_lacks_a_table_is_no_backup(
    large: Database, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _DumpRun._stream

    def without(self: _DumpRun, options: tuple[str, ...]) -> object:
        skipped = tuple(one for one in options if "--table=" not in one)
        if skipped == options or len(options) == 1:
            return stream(self, options)
        return stream(self, (*skipped, "--exclude-table-data=*"))

    monkeypatch.setattr(_DumpRun, "_stream", without)

    with pytest.raises(StepFailed, match="are not the whole database: 1 missing") as caught:
        take(large, store, TWO)

    assert "TABLE DATA public" in caught.value.what
    assert list(store.keys("")) == []


def test_parts_that_do_not_fit_together_are_refused(
    server16: Server, large: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    manifest = take(large, store, TWO)
    parts = tuple(part for part in manifest.parts if part.holds != "schema")

    with pytest.raises(StepFailed, match="names parts that do not fit together"):
        restore(msgspec.structs.replace(manifest, parts=parts), store, new_database(server16))


def test_a_damaged_part_is_named_and_its_rows_are_not_committed(
    server16: Server, large: Database, store: DirectoryStore, new_database: NewDatabase
) -> None:
    manifest = take(large, store, TWO)
    part: Part = next(one for one in manifest.parts if one.key.endswith("data-1.pgc"))
    path = store.path / part.key
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)
    target = new_database(server16)

    with pytest.raises(StepFailed, match=r"data-1\.pgc is damaged: expected"):
        verify(manifest, store, level="checksum")
    with pytest.raises(StepFailed) as caught:
        restore(manifest, store, target)

    assert f"{target.name} holds a part of the backup: drop it" in caught.value.state
    counts = {name: len(rows) for name, rows in content(target).items()}
    assert 0 in counts.values()


def test_entries_are_compared_without_the_numbers_of_one_dump() -> None:
    one = toc.entries(["215; 1259 16400 TABLE public a postgres", "9; 0 0 COMMENT - x y"])
    two = toc.entries(["4711; 1259 16400 TABLE public a postgres", "1; 0 0 COMMENT - x y"])

    assert one == two
    toc.require_whole(one, two)
