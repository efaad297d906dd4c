"""What every backup store must do, whichever it is."""

import hashlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from pgwindlass.errors import StoreFailed
from pgwindlass.stores import Store
from pgwindlass.stores.directory import DirectoryStore
from pgwindlass.stores.s3 import S3Store

pytestmark = pytest.mark.sampled(2)

MIB = 1 << 20


@pytest.fixture(params=["s3", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "backups")
    found = request.getfixturevalue("s3_store")
    assert isinstance(found, S3Store)
    return found


def read(store: Store, key: str) -> bytes:
    return b"".join(store.read(key))


def test_what_is_written_is_read_back(store: Store) -> None:
    address = store.write("uat/app/1/dump.pgc", [b"one, ", b"", b"two"])

    assert read(store, "uat/app/1/dump.pgc") == b"one, two"
    assert address == store.address("uat/app/1/dump.pgc")


def test_an_empty_stream_is_an_empty_object(store: Store) -> None:
    store.write("empty", [])

    assert read(store, "empty") == b""
    assert list(store.keys("")) == ["empty"]


def test_thirty_megabytes_in_uneven_chunks_come_back_the_same(store: Store) -> None:
    source = random.Random(7)
    sent = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        left = 30 * MIB
        while left:
            chunk = source.randbytes(min(left, source.randint(1, 3 * MIB)))
            left -= len(chunk)
            sent.update(chunk)
            yield chunk

    store.write("large", chunks(), expected_bytes=200 * MIB)

    got, size, largest = hashlib.sha256(), 0, 0
    for chunk in store.read("large"):
        got.update(chunk)
        size, largest = size + len(chunk), max(largest, len(chunk))
    assert (size, got.digest()) == (30 * MIB, sent.digest())
    assert largest <= MIB


@pytest.mark.parametrize("size", [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB])
def test_sizes_around_a_part_come_back_whole(store: Store, size: int) -> None:
    content = random.Random(size).randbytes(size)

    store.write("edge", [content])

    assert read(store, "edge") == content


def test_an_existing_key_is_replaced(store: Store) -> None:
    store.write("key", [b"old and longer"])
    store.write("key", [b"new"])

    assert read(store, "key") == b"new"
    assert list(store.keys("")) == ["key"]


def test_a_missing_key_is_an_error_of_the_call(store: Store) -> None:
    with pytest.raises(StoreFailed) as caught:
        store.read("uat/none")

    assert "uat/none" in caught.value.what
    assert "backup.list" in caught.value.next_step


def test_deleting_removes_and_deleting_again_is_an_error(store: Store) -> None:
    store.write("a/b", [b"x"])
    store.write("a/c", [b"y"])

    store.delete("a/b")

    assert list(store.keys("")) == ["a/c"]
    with pytest.raises(StoreFailed):
        store.delete("a/b")


def test_keys_are_listed_in_order_by_prefix_of_their_text(store: Store) -> None:
    keys = ["uat/app/2/x", "uat/app/10/x", "uat/app-2/x", "uat/app", "uat.old/x", "production/x"]
    for key in keys:
        store.write(key if key != "uat/app" else "uat/apps", [b"x"])

    assert list(store.keys("uat/")) == sorted(
        ["uat/app/2/x", "uat/app/10/x", "uat/app-2/x", "uat/apps"]
    )
    assert list(store.keys("uat/app/")) == ["uat/app/10/x", "uat/app/2/x"]
    assert list(store.keys("ua")) == sorted(
        ["uat/app/2/x", "uat/app/10/x", "uat/app-2/x", "uat/apps", "uat.old/x"]
    )
    assert list(store.keys("nothing/")) == []


class SourceBroke(Exception):
    """Nobody's but the source's."""


@pytest.mark.parametrize("after", [0, 1, 20 * MIB])
@pytest.mark.parametrize("kind", [SourceBroke, OSError, KeyboardInterrupt])
def test_an_error_of_the_source_comes_back_as_it_is_and_nothing_is_left(
    store: Store, after: int, kind: type[BaseException]
) -> None:
    raised = kind("the dump died")

    def chunks() -> Iterator[bytes]:
        for start in range(0, after, MIB):
            yield bytes(min(MIB, after - start))
        raise raised

    with pytest.raises(kind) as caught:
        store.write("uat/app/1/dump.pgc", chunks())

    assert caught.value is raised
    assert list(store.keys("")) == []


def test_a_source_that_breaks_leaves_the_older_object_alone(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(9 * MIB)
        raise SourceBroke

    store.write("key", [b"old"])
    with pytest.raises(SourceBroke):
        store.write("key", chunks())

    assert read(store, "key") == b"old"


@pytest.mark.parametrize(
    "key",
    [
        "with space",
        "plus+and&and=",
        "per%20cent",
        "naïve/ключ/鍵",
        "quote'\"",
        "a:b@c",
        "x/~.y.z",
        "#?",
    ],
)
def test_odd_keys_are_kept_as_they_are(store: Store, key: str) -> None:
    store.write(key, [key.encode()])

    assert list(store.keys("")) == [key]
    assert read(store, key) == key.encode()
    store.delete(key)
    assert list(store.keys("")) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/."])
def test_keys_that_lead_elsewhere_are_refused(store: Store, key: str) -> None:
    for action in (lambda: store.write(key, [b"x"]), lambda: store.read(key)):
        with pytest.raises(StoreFailed, match="is not a key"):
            action()
    with pytest.raises(StoreFailed, match="is not a key"):
        store.delete(key)


def test_the_check_leaves_nothing(store: Store, request: pytest.FixtureRequest) -> None:
    said = store.check()

    assert said.startswith(store.address("").rstrip("/"))
    assert list(store.keys("")) == []
    if isinstance(store, S3Store):
        assert request.getfixturevalue("bucket").unfinished() == []


def test_a_source_is_asked_for_no_more_than_is_needed(store: Store) -> None:
    store.write("lazy", itertools.chain([b"x"], iter(())))

    assert read(store, "lazy") == b"x"


def test_sweeping_removes_what_a_killed_writer_left_and_no_key(
    store: Store, request: pytest.FixtureRequest
) -> None:
    store.write("uat/app/1/dump.pgc", [b"whole"])
    store.write("uat/other/1/dump.pgc", [b"whole"])
    for key in ("uat/app/2/dump.pgc", "uat/other/2/dump.pgc"):
        _killed_in_the_middle(store, key, request)

    swept = store.sweep("uat/app/")

    assert len(swept) == 1
    assert swept[0].startswith(store.address("uat/app/2/"))
    assert store.sweep("uat/app/") == ()
    assert list(store.keys("")) == ["uat/app/1/dump.pgc", "uat/other/1/dump.pgc"]
    assert len(store.sweep("")) == 1


def _killed_in_the_middle(store: Store, key: str, request: pytest.FixtureRequest) -> None:
    """Leave what `kill -9` leaves: nobody runs the code that cleans up."""
    if isinstance(store, DirectoryStore):
        place = Path(store.address(key)).parent
        place.mkdir(parents=True)
        (place / ".0123456789abcdef.windlass-partial").write_bytes(b"half")
        return
    bucket = request.getfixturevalue("bucket")
    client = boto3.client("s3", endpoint_url=bucket.server.url)
    name = store.address(key).removeprefix(f"s3://{bucket.name}/")
    upload = client.create_multipart_upload(Bucket=bucket.name, Key=name)["UploadId"]
    client.upload_part(Bucket=bucket.name, Key=name, UploadId=upload, PartNumber=1, Body=b"half")
