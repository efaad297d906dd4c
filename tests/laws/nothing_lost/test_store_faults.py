"""Whatever a store answers, and whenever: an error that says which, and nothing left behind."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.backup import catalog
from pgwindlass.database.connection import Database
from pgwindlass.errors import LockTimeout, StepFailed, StoreFailed, Unreachable
from pgwindlass.secret import Secret
from pgwindlass.stores.directory import DirectoryStore
from pgwindlass.stores.s3 import S3Store, upload
from pgwindlass.stores.s3 import bucket as bucket_module
from tests import fix_postgres
from tests.fix_backup import configured, take, verify
from tests.fix_faults import Faults
from tests.fix_s3 import Bucket
from tests.heavy import some

pytestmark = pytest.mark.sampled(3)

FILL = """
create table large (id int, t text);
insert into large
select i, (select string_agg(md5(i::text || j::text), '') from generate_series(1, 250) j)
from generate_series(1, 1000) i;
create table other (like large);
insert into other select * from large;
"""
# What S3 says -> what a person reads.
ANSWERS = [
    (500, "InternalError", "refused (InternalError"),
    (503, "SlowDown", "is overloaded (SlowDown"),
    (400, "ExpiredToken", "says that the credentials have expired"),
    (403, "RequestTimeTooSkewed", "says that this machine's clock is wrong"),
    (404, "NoSuchBucket", "has no such bucket"),
    (403, "AccessDenied", "denies access"),
    (400, "BadDigest", "received other bytes than were sent"),
    (507, "QuotaExceeded", "is full"),
]
# The moments of a backup: its first object, a part in the middle, the last step, the manifest.
MOMENTS = {
    "the start": (r"POST .*pgc\?uploads", 1),
    "the first part": (r"PUT .*partNumber=1\b", 1),
    "a part in the middle": (r"PUT .*partNumber=4\b", 1),
    "the completion": (r"POST .*uploadId=", 1),
    "the size": (r"HEAD .*pgc", 2),  # the first asks whether the name is free
    "the manifest": (r"PUT .*manifest\.json", 1),
}


@pytest.fixture
def line(
    bucket: Bucket, faults: Callable[[int], Faults], monkeypatch: pytest.MonkeyPatch
) -> Faults:
    monkeypatch.setattr(upload, "PART", 1 << 20)  # several parts of a small database
    monkeypatch.setattr(bucket_module, "ATTEMPTS", 2)
    return faults(bucket.server.port)


@pytest.fixture
def large(database16: Database) -> Database:
    with database16.connect("test") as connection:
        connection.execute(FILL.encode())
    return database16


def in_minutes(count: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=count)).isoformat()


def require_nothing(bucket: Bucket, line: Faults) -> None:
    line.rules.clear()
    assert catalog.backups(bucket.store(), environment="uat") == ()
    assert (bucket.files(), bucket.unfinished()) == ([], [])


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_at_any_moment(large: Database, bucket: Bucket, line: Faults, moment: str) -> None:
    pattern, first = MOMENTS[moment]
    tried = list(zip((1, 2) * 4, ANSWERS, strict=True))
    for jobs, (status, code, said) in some(tried, list(MOMENTS).index(moment), of=6):
        line.answer(pattern, status, code, first=first)

        with pytest.raises(StepFailed) as caught:
            take(large, bucket.store(endpoint=line.url), configured(jobs=jobs))

        # A HEAD's answer has no body: its status is all that is known.
        if moment != "the size":
            assert said in caught.value.what, (moment, code)
            assert code in caught.value.what
        else:
            assert re.match("(checking|looking for) s3://", caught.value.what)
        require_nothing(bucket, line)


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_hiccup_is_no_failure(
    large: Database, bucket: Bucket, line: Faults, moment: str
) -> None:
    pattern, first = MOMENTS[moment]
    line.answer(pattern, 503, "SlowDown", first=first, last=first)

    store = bucket.store(endpoint=line.url)
    assert verify(take(large, store), store).rows == 2000


def test_credentials_that_expire_in_the_middle_are_told_and_nothing_is_kept(
    large: Database, bucket: Bucket, line: Faults
) -> None:
    # From then on everything is refused, the clean-up too.
    line.answer(r"partNumber=3\b", 400, "ExpiredToken")
    line.answer(r"DELETE ", 400, "ExpiredToken")

    with pytest.raises(Unreachable) as caught:
        take(large, bucket.store(endpoint=line.url), configured(globals=False))

    assert "the credentials have expired" in caught.value.what
    assert any("may remain in" in note for note in caught.value.__notes__)
    line.rules.clear()
    assert catalog.backups(bucket.store(), environment="uat") == ()
    # The next backup removes what that one had to leave.
    take(large, bucket.store(endpoint=line.url), deployment="d2")
    assert bucket.unfinished() == []


def test_credentials_known_to_expire_too_early_are_refused_before_the_dump(
    large: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = take(large, bucket.store(), deployment="before")
    slow = msgspec.structs.replace(former, seconds=1800.0)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(20))

    with pytest.raises(Unreachable) as caught:
        take(large, bucket.store(), former=slow)

    assert "expire in 1" in caught.value.what
    assert "takes about 1" in caught.value.what
    assert len(catalog.backups(bucket.store(), environment="uat")) == 1
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(60))
    take(large, bucket.store(), former=slow)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(-1))
    with pytest.raises(Unreachable, match="the credentials have expired"):
        list(bucket.store().keys(""))
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "tomorrow")
    with pytest.raises(Unreachable, match="is not a time with a zone"):
        take(large, bucket.store())


def test_an_object_that_the_store_cut_is_found_by_its_size(
    large: Database,
    moto_port: int,
    moto_bucket: str,
    faults: Callable[[int], Faults],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "PART", 1 << 20)
    line = faults(moto_port)
    line.change(r"PUT .*partNumber=2\b", lambda body: body[:-1])
    store = S3Store(bucket=moto_bucket, endpoint=line.url)

    with pytest.raises(StoreFailed, match=r"sent \d+ bytes, the store has \d+"):
        take(large, store)

    assert list(store.keys("")) == []


def test_a_byte_that_the_store_flipped_is_found_by_the_checksum(
    large: Database,
    moto_port: int,
    moto_bucket: str,
    faults: Callable[[int], Faults],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # moto minds no Content-MD5: the proof is ours.
    monkeypatch.setattr(upload, "PART", 1 << 20)
    line = faults(moto_port)
    line.change(
        r"PUT .*partNumber=2\b", lambda body: body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]
    )
    store = S3Store(bucket=moto_bucket, endpoint=line.url)

    manifest = take(large, store)

    with pytest.raises(StepFailed, match="is damaged: expected"):
        verify(manifest, store, level="checksum")


def test_a_bucket_that_cannot_be_listed_is_an_error_not_an_empty_list(
    bucket: Bucket, line: Faults
) -> None:
    line.answer(r"GET .*list-type=2", 403, "AccessDenied")

    with pytest.raises(StoreFailed, match="denies access"):
        catalog.backups(bucket.store(endpoint=line.url), environment="uat")


def test_a_disk_that_fills_up_leaves_nothing(large: Database, small_disk: Path) -> None:
    store = DirectoryStore(small_disk / "backups")
    for jobs in (1, 2):
        with pytest.raises(StoreFailed, match="No space left on device"):
            take(large, store, configured(jobs=jobs))

        assert list(store.keys("")) == []
        assert not any(path.is_file() for path in small_disk.rglob("*"))


def test_a_server_that_is_restarted_ends_every_dump(
    tmp_path_factory: pytest.TempPathFactory, bucket: Bucket, line: Faults
) -> None:
    directory = tmp_path_factory.mktemp("pg")
    for place in (directory, *directory.parents[:3]):
        place.chmod(0o755)
    server, stop = fix_postgres.start(16, directory / "own")
    database = Database(url=Secret(server.url()), deployment_id="test")
    with database.connect("test") as connection:
        connection.execute(FILL.encode())
    stopped = threading.Event()

    def restart(done: int, total: int | None) -> None:
        if done > 1 << 20 and not stopped.is_set():
            stopped.set()
            stop()

    with pytest.raises(StepFailed):
        take(database, bucket.store(endpoint=line.url), configured(jobs=2), progress=restart)

    assert stopped.is_set()
    require_nothing(bucket, line)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_table_that_is_dropped_meanwhile_is_kept_until_the_dump_is_done(
    large: Database, bucket: Bucket, line: Faults, jobs: int
) -> None:
    refused: list[psycopg.Error] = []

    def drop(done: int, total: int | None) -> None:
        if not refused:
            with large.connect("test") as connection:
                connection.execute("set lock_timeout = '50ms'")
                try:
                    connection.execute("drop table other")
                except psycopg.errors.LockNotAvailable as error:
                    refused.append(error)

    store = bucket.store(endpoint=line.url)
    manifest = take(large, store, configured(jobs=jobs), progress=drop)

    assert refused
    assert verify(manifest, store).rows == 2000


def test_a_table_locked_by_a_drop_that_does_not_end_is_named(
    large: Database, bucket: Bucket, line: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwindlass.backup.snapshot.LOCK_WAIT", "200ms")
    with large.connect("dropper", autocommit=False) as other:
        other.execute("drop table other")

        with pytest.raises(LockTimeout, match="other: process"):
            take(large, bucket.store(endpoint=line.url), configured(jobs=2))

    require_nothing(bucket, line)
