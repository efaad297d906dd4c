"""A store that dies must not leave anything that looks like a backup."""

from collections.abc import Callable

import pytest

from pgwindlass.backup import catalog
from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.stores.s3 import upload
from tests.fix_backup import configured, take, verify
from tests.fix_proxy import Proxy, Upstream
from tests.fix_s3 import Bucket

MakeProxy = Callable[[Upstream], Proxy]
FILL = """
create table large (id int, t text);
insert into large
select i, (select string_agg(md5(i::text || j::text), '') from generate_series(1, 250) j)
from generate_series(1, 1000) i;
"""


@pytest.fixture
def line(bucket: Bucket, proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    monkeypatch.setattr(upload, "PART", 1 << 20)  # several parts of a small database
    return proxy(("127.0.0.1", bucket.server.port))


@pytest.fixture
def large(database16: Database) -> Database:
    with database16.connect("test") as connection:
        connection.execute(FILL.encode())
    return database16


def fails(
    large: Database, bucket: Bucket, line: Proxy, *, at_bytes: int | None = None
) -> StepFailed:
    left = [] if at_bytes is None else [at_bytes]

    def progress(done: int, total: int | None) -> None:
        if left and done >= left[0]:
            left.clear()
            line.refuse()

    with pytest.raises(StepFailed) as caught:
        take(
            large,
            bucket.store(endpoint=line.url),
            configured(globals=False),
            progress=progress,
        )
    line.heal()
    return caught.value


def test_after_the_last_part_nothing_is_left(large: Database, bucket: Bucket, line: Proxy) -> None:
    line.cut("up", pattern=b"<CompleteMultipartUpload")

    error = fails(large, bucket, line)

    assert "the connection was cut" in error.what
    assert (bucket.files(), bucket.unfinished()) == ([], [])


def test_when_its_answer_is_lost_the_store_is_asked(
    large: Database, bucket: Bucket, line: Proxy
) -> None:
    line.cut("down", pattern=b"<CompleteMultipartUploadResult")

    manifest = take(large, bucket.store(endpoint=line.url), configured(globals=False))

    verify(manifest, bucket.store())
    assert bucket.unfinished() == []


def test_at_the_manifest_the_archive_stays_where_the_store_does_not_say_whether_it_is_there(
    large: Database, bucket: Bucket, line: Proxy
) -> None:
    line.cut("up", pattern=b"manifest.json")

    error = fails(large, bucket, line)

    assert "exists is not known: its archives are stored" in error.state
    assert "nothing was removed" in error.state
    assert catalog.backups(bucket.store(), environment="uat") == ()
    assert [name.rsplit("/", 1)[-1] for name in bucket.files()] == ["dump.pgc"]
    assert bucket.unfinished() == []


def test_for_good_half_way_there_is_no_backup(large: Database, bucket: Bucket, line: Proxy) -> None:
    error = fails(large, bucket, line, at_bytes=5 << 19)

    assert list(bucket.store().keys("")) == []
    assert any("may remain" in note for note in error.__notes__)


def test_a_line_cut_at_any_part_leaves_nothing(
    large: Database, bucket: Bucket, line: Proxy
) -> None:
    for part in (1, 2, 3, 4):
        line.cut("up", pattern=b"partNumber=%d" % part)

        error = fails(large, bucket, line)

        assert "the connection was cut" in error.what, part
        assert (bucket.files(), bucket.unfinished()) == ([], [])
