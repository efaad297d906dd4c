"""The S3 store against a real server: what it says when things break, and what it leaves."""

import itertools
import random
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pgwindlass.errors import StepFailed, StoreFailed, Unreachable
from pgwindlass.stores.s3 import S3Store, errors, upload
from pgwindlass.stores.s3 import store as s3store
from tests.fix_proxy import Proxy, Upstream
from tests.fix_s3 import SECRET, Bucket, free_port
from tests.kit import parts

pytestmark = pytest.mark.sampled(2)

MIB = 1 << 20
MakeProxy = Callable[[Upstream], Proxy]


def chunks(count: int) -> Iterator[bytes]:
    source = random.Random(3)
    return (source.randbytes(MIB) for _ in range(count))


@pytest.fixture
def line(bucket: Bucket, proxy: MakeProxy) -> Proxy:
    return proxy(("127.0.0.1", bucket.server.port))


def test_a_wrong_secret_key_says_which_variables_to_check(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quite-wrong-secret")

    with pytest.raises(Unreachable) as caught:
        bucket.store().write("key", [b"x"])

    assert "does not accept this secret key (SignatureDoesNotMatch" in caught.value.what
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.next_step
    assert "quite-wrong-secret" not in parts(caught.value)


def test_an_unknown_access_key_says_which_variables_to_check(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")

    with pytest.raises(Unreachable) as caught:
        bucket.store().check()

    assert "AWS_ACCESS_KEY_ID" in caught.value.next_step


def test_no_credentials_at_all_say_how_to_give_some(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(Unreachable) as caught:
        list(bucket.store().keys(""))

    assert "no usable credentials" in caught.value.what
    assert "AWS_ACCESS_KEY_ID" in caught.value.next_step


def test_a_missing_bucket_is_named(bucket: Bucket) -> None:
    store = S3Store(bucket="no-such-bucket", endpoint=bucket.server.url)

    with pytest.raises(StoreFailed) as caught:
        store.write("key", [b"x"])

    assert caught.value.what.startswith(
        "writing s3://no-such-bucket/key: the store has no such bucket (NoSuchBucket"
    )
    assert caught.value.next_step == "create the bucket, or mend backups.to in deploy.yml"


def test_a_refused_connection_is_unreachable(bucket: Bucket) -> None:
    store = bucket.store(endpoint=f"http://127.0.0.1:{free_port()}")

    with pytest.raises(Unreachable) as caught:
        store.check()

    assert "does not answer" in caught.value.what
    assert "backups.endpoint" in caught.value.next_step


def test_an_endpoint_that_is_no_url_is_named(bucket: Bucket) -> None:
    with pytest.raises(StoreFailed, match=r"backups\.endpoint no url"):
        bucket.store(endpoint="no url").check()


def test_a_line_cut_in_the_middle_of_an_upload_leaves_nothing(bucket: Bucket, line: Proxy) -> None:
    def cut_late() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(40)):
            if number == 20:
                line.cut("up", pattern=b"partNumber=3")
            yield chunk

    with pytest.raises(StoreFailed) as caught:
        bucket.store(endpoint=line.url).write("uat/dump.pgc", cut_late())

    assert "uat/dump.pgc, part 3: the connection was cut" in caught.value.what
    assert (bucket.files(), bucket.unfinished()) == ([], [])


def test_a_line_cut_at_completion_leaves_nothing(bucket: Bucket, line: Proxy) -> None:
    line.cut("up", pattern=b"<CompleteMultipartUpload")

    with pytest.raises(StoreFailed) as caught:
        bucket.store(endpoint=line.url).write("uat/dump.pgc", chunks(20))

    assert "completing writing" in caught.value.what
    assert (bucket.files(), bucket.unfinished()) == ([], [])


def test_an_answer_lost_after_completion_is_asked_for(bucket: Bucket, line: Proxy) -> None:
    # The server has stored it, and says so when it is asked for the object.
    line.cut("down", pattern=b"<CompleteMultipartUploadResult")

    bucket.store(endpoint=line.url).write("uat/dump.pgc", chunks(20))

    assert b"".join(bucket.store().read("uat/dump.pgc")) == b"".join(chunks(20))
    assert bucket.unfinished() == []


def test_an_answer_lost_after_a_small_object_is_asked_for(bucket: Bucket, line: Proxy) -> None:
    store = bucket.store(endpoint=line.url)
    list(store.keys(""))  # connected already
    line.cut("down", pattern=b"Etag: ", once=True)

    store.write("small", [b"x"], once=True)

    assert b"".join(store.read("small")) == b"x"


def test_a_small_object_whose_fate_nobody_tells_leaves_nothing(bucket: Bucket, line: Proxy) -> None:
    store = bucket.store(endpoint=line.url)
    list(store.keys(""))
    line.cut("down", pattern=b"Etag: ")

    with pytest.raises(StoreFailed):
        store.write("small", [b"x"])

    assert bucket.files() == []


@pytest.mark.parametrize(
    ("code", "status", "tries", "lost"),
    [
        ("PreconditionFailed", 412, 0, False),  # somebody else's object
        ("PreconditionFailed", 412, 1, True),  # perhaps what the first try stored
        ("AccessDenied", 403, 0, False),
        ("InternalError", 500, 0, True),
        ("SlowDown", 503, 3, True),
    ],
)
def test_a_refusal_of_a_second_try_says_nothing_of_the_first(
    code: str, status: int, tries: int, lost: bool
) -> None:
    answer: Any = {
        "Error": {"Code": code},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": tries},
    }

    assert errors.is_lost(ClientError(answer, "PutObject")) is lost


def test_a_store_that_stays_dead_is_named_with_what_may_remain(bucket: Bucket, line: Proxy) -> None:
    def die_late() -> Iterator[bytes]:
        yield from chunks(20)
        line.refuse()

    with pytest.raises(StepFailed) as caught:
        bucket.store(endpoint=line.url).write("uat/dump.pgc", die_late())

    assert any("invisible and billed" in note for note in caught.value.__notes__)
    assert list(bucket.store().keys("")) == []
    assert bucket.unfinished() == ["backups/uat/dump.pgc"]


def test_a_flipped_bit_on_the_way_up_is_refused_by_its_md5(bucket: Bucket, line: Proxy) -> None:
    store = bucket.store(endpoint=line.url)
    list(store.keys(""))
    line.corrupt("up", 300_000)

    # The server refuses the damaged request; a second one goes through whole, or none is stored.
    content = random.Random(1).randbytes(MIB)
    try:
        store.write("small", [content])
    except StepFailed:
        assert bucket.files() == []
    else:
        assert b"".join(bucket.store().read("small")) == content


def test_a_line_cut_while_reading_is_an_error_not_an_end(bucket: Bucket, line: Proxy) -> None:
    bucket.store().write("large", chunks(10))
    store = bucket.store(endpoint=line.url)
    list(store.keys(""))
    line.cut("down", 3 * MIB)

    got = 0
    with pytest.raises(StoreFailed, match="the connection was cut"):
        for chunk in store.read("large"):
            got += len(chunk)

    assert got < 10 * MIB


def test_memory_stays_bounded_however_long_the_stream(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PART", 2 * MIB)
    monkeypatch.setattr(upload, "THREADS", 3)
    store = bucket.store()
    store.check()  # what boto3 loads once is not what is measured
    chunk = bytes(MIB)

    tracemalloc.start()
    try:
        store.write("large", itertools.repeat(chunk, 60))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Besides the parts, botocore signs a body in blocks of 1 MiB, and holds two in each thread.
    assert peak < (3 + 2) * 2 * MIB + 3 * 2 * MIB + MIB


@pytest.mark.parametrize(
    ("expected", "parts"), [(0, 3), (9000 * 8 * MIB, 3), (9000 * 10 * MIB, 2), (9000 * 30 * MIB, 1)]
)
def test_parts_grow_with_the_expected_size(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, expected: int, parts: int
) -> None:
    sent: list[int] = []
    original = upload.md5

    def measured(body: bytes) -> str:
        sent.append(len(body))
        return original(body)

    monkeypatch.setattr(upload, "md5", measured)

    bucket.store().write("key", chunks(20), expected_bytes=expected)

    assert len(sent) == parts
    assert len(set(sent[:-1])) <= 1, "parts are equal"


def test_more_parts_than_a_store_takes_is_an_error_that_says_so(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PART", MIB)
    monkeypatch.setattr(upload, "MOST_PARTS", 3)

    with pytest.raises(StoreFailed, match="more than 3 parts"):
        bucket.store().write("key", chunks(5))

    assert (bucket.files(), bucket.unfinished()) == ([], [])


def test_a_store_without_a_prefix_works_alike(bucket: Bucket) -> None:
    store = bucket.store(prefix="")
    store.write("uat/x", [b"x"])

    assert list(store.keys("uat/")) == ["uat/x"]
    assert store.address("uat/x") == f"s3://{bucket.name}/uat/x"


def test_listings_go_on_after_the_first_page(bucket: Bucket) -> None:
    folder = bucket.path("backups/many")
    folder.mkdir(parents=True)
    for number in range(1100):  # a page holds 1000
        (folder / f"{number:04}").touch()

    assert len(list(bucket.store().keys("many/"))) == 1100


def test_the_secret_key_is_in_no_error(bucket: Bucket, line: Proxy) -> None:
    line.refuse()

    with pytest.raises(StepFailed) as caught:
        bucket.store(endpoint=line.url).check()

    assert SECRET not in parts(caught.value)


def test_every_error_code_we_know_has_a_meaning_and_a_next_step() -> None:
    assert all(meaning and next_step for meaning, next_step in errors.MEANINGS.values())
    assert set(errors.MEANINGS) >= errors.LETS_NOBODY_IN


def test_a_check_ends_what_a_killed_check_left_and_no_living_one(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket.store()
    left = f"backups/uat/{s3store.PROBE}0123"
    store.bucket.client.create_multipart_upload(Bucket=bucket.name, Key=left)
    store.bucket.client.create_multipart_upload(Bucket=bucket.name, Key="backups/uat/dump.pgc")

    store.check("uat/")  # a day is not over yet
    young = bucket.unfinished()
    monkeypatch.setattr(s3store, "PROBE_AGE", timedelta(0))
    store.check("uat/")

    assert sorted(young) == [left, "backups/uat/dump.pgc"]
    assert bucket.unfinished() == ["backups/uat/dump.pgc"]
