"""A dump that ends early must not leave anything that looks like a backup."""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from pgwindlass.backup import stream
from pgwindlass.backup.stream import MANIFEST, NOT_KEPT
from pgwindlass.database.connection import Database
from pgwindlass.errors import ChildFailed, LockTimeout, StepFailed, StoreFailed
from pgwindlass.model import Manifest
from pgwindlass.secret import Secret
from pgwindlass.stores import Store
from pgwindlass.stores.directory import DirectoryStore
from tests import fix_backup
from tests.fix_backup import configured, silent, verify
from tests.fix_postgres import Server
from tests.fix_s3 import Bucket

pytestmark = pytest.mark.sampled(2)

# 8 MB that do not compress: more than every pipe and buffer between pg_dump and the store holds.
FILL = """
create table large (id int, t text);
insert into large
select i, (select string_agg(md5(i::text || j::text), '') from generate_series(1, 250) j)
from generate_series(1, 1000) i;
create table last (id int);
insert into last values (1), (2);
"""


# Roles aside: the first bytes that pass are then the dump's own.
ALONE = configured(globals=False)


def take(database: Database, store: Store, progress: stream.Progress = silent) -> Manifest:
    return fix_backup.take(database, store, ALONE, progress=progress)


def once(action: Callable[[], object]) -> Callable[[int, int | None], None]:
    """Return a progress function that acts after the first chunk."""
    left = [action]

    def progress(done: int, total: int | None) -> None:
        if left:
            left.pop()()

    return progress


def dumps() -> list[int]:
    """The process ids of every pg_dump that is ours, found by its snapshot."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            argv = (place / "cmdline").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended
            continue
        if argv[0].endswith(b"pg_dump") and parent == os.getpid():
            found.append(int(place.name))
    return found


@pytest.fixture(params=["s3", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "backups")
    bucket = request.getfixturevalue("bucket")
    assert isinstance(bucket, Bucket)
    return bucket.store()


@pytest.fixture
def local(tmp_path: Path) -> DirectoryStore:
    """For what cannot depend on the store."""
    return DirectoryStore(tmp_path / "backups")


@pytest.fixture
def large(database16: Database) -> Database:
    with database16.connect("test") as connection:
        connection.execute(FILL.encode())
    return database16


def test_a_killed_pg_dump_is_an_error_and_leaves_nothing(large: Database, store: Store) -> None:
    def kill() -> None:
        (dump,) = dumps()
        os.killpg(dump, signal.SIGKILL)

    with pytest.raises(ChildFailed) as caught:
        take(large, store, once(kill))

    assert "pg_dump was killed by SIGKILL" in caught.value.what
    assert caught.value.state == str(NOT_KEPT)
    assert list(store.keys("")) == []


def test_a_terminated_backend_is_an_error_and_leaves_nothing(
    large: Database, server16: Server, store: Store
) -> None:
    def terminate() -> None:
        with psycopg.connect(server16.url(), autocommit=True) as admin:
            ended = admin.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = %s and query like 'COPY public.large%%'",
                [large.name],
            ).fetchone()
        assert ended == (1,)

    with pytest.raises(ChildFailed, match="pg_dump ended with status 1"):
        take(large, store, once(terminate))

    assert list(store.keys("")) == []


def test_losing_the_session_that_holds_the_locks_is_an_error(
    large: Database, server16: Server, local: DirectoryStore
) -> None:
    def terminate() -> None:
        with psycopg.connect(server16.url(), autocommit=True) as admin:
            ended = admin.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = %s and state = 'idle in transaction'"
                " and application_name like 'windlass/%%/backup'",
                [large.name],
            ).fetchone()
        assert ended == (1,)

    with pytest.raises(StepFailed, match="the database did not answer as it should") as caught:
        take(large, local, once(terminate))

    assert caught.value.state == str(NOT_KEPT)
    assert list(local.keys("")) == []


def test_an_interrupt_ends_pg_dump_and_leaves_nothing(large: Database, store: Store) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(large, store, once(interrupt))

    assert dumps() == []
    assert list(store.keys("")) == []


def test_truncate_during_the_dump_waits_and_the_backup_has_every_row(
    large: Database, local: DirectoryStore
) -> None:
    refused: list[type[BaseException]] = []

    def truncate() -> None:
        # `last` is dumped after `large`: without our lock, its rows would be gone by then.
        with large.connect("test") as connection:
            connection.execute("set lock_timeout = '100ms'")
            try:
                connection.execute("truncate last")
            except pg.LockNotAvailable as error:
                refused.append(type(error))

    manifest = take(large, local, once(truncate))

    assert refused == [pg.LockNotAvailable]
    proof = verify(manifest, local)
    assert (proof.tables, proof.rows) == (2, 1002)


def test_truncate_while_we_wait_for_the_lock_cannot_be_older_than_the_snapshot(
    large: Database, local: DirectoryStore
) -> None:
    # The snapshot is taken after the locks: a TRUNCATE that commits first is simply earlier.
    with large.connect("test", autocommit=False) as other:
        other.execute("truncate last")
        other.execute("insert into last select generate_series(1, 7)")
        threading.Timer(0.5, other.commit).start()

        manifest = take(large, local, silent)

    assert dict(manifest.row_counts)["public.last"] == 7
    verify(manifest, local)


def test_a_table_that_stays_locked_is_named_with_its_holder(
    large: Database, local: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwindlass.backup.snapshot.LOCK_WAIT", "200ms")

    with large.connect("holder", autocommit=False) as other:
        other.execute("lock table last in access exclusive mode")
        with pytest.raises(LockTimeout) as caught:
            take(large, local, silent)

    assert "last: process" in caught.value.what
    assert "windlass/test/holder" in caught.value.what
    assert list(local.keys("")) == []


def test_row_security_that_hides_rows_is_an_error_not_a_smaller_backup(
    large: Database, server16: Server, local: DirectoryStore
) -> None:
    role = f"r_{large.name}"
    with large.connect("test") as admin:
        admin.execute(
            f"create role {role} login; grant pg_read_all_data to {role};"
            "alter table last enable row level security;"
            f"create policy few on last using (id = 1)".encode()
        )
    url = server16.url(large.name).replace("postgres@", f"{role}@")
    try:
        with pytest.raises(StepFailed, match="row-level security") as caught:
            take(Database(url=Secret(url)), local, silent)
    finally:
        with large.connect("test") as admin:
            admin.execute(f"drop owned by {role}; drop role {role}".encode())

    assert "BYPASSRLS" in caught.value.next_step
    assert list(local.keys("")) == []


def test_a_manifest_that_cannot_be_written_takes_the_archive_with_it(
    large: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(store).write

    def write(self: Any, key: str, chunks: Iterable[bytes], **options: Any) -> str:
        if key.endswith(MANIFEST):
            raise StoreFailed("gone", state="nothing", next_step="none")
        return str(whole(self, key, chunks, **options))

    monkeypatch.setattr(type(store), "write", write)

    with pytest.raises(StepFailed, match="gone"):
        take(large, store, silent)

    assert list(store.keys("")) == []
