"""A store that trickles: a byte now and then, so that no single wait is ever over."""

import random
from collections.abc import Callable

import pytest

from pgwindlass.errors import StoreFailed
from pgwindlass.stores.s3 import S3Store, lines, upload
from tests.fix_proxy import Proxy, Upstream
from tests.fix_s3 import Bucket

CONTENT = random.Random(5).randbytes(1 << 20)


@pytest.fixture
def line(bucket: Bucket, proxy: Callable[[Upstream], Proxy]) -> Proxy:
    return proxy(("127.0.0.1", bucket.server.port))


@pytest.fixture
def slow(bucket: Bucket, line: Proxy, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store that is connected, with two seconds for each request and little for its bytes."""
    bucket.store().write("large", [CONTENT])
    through_the_line = bucket.store(endpoint=line.url)
    list(through_the_line.keys(""))
    monkeypatch.setattr(lines, "ANSWERED_WITHIN", 2.0)
    monkeypatch.setattr(lines, "SLOWEST", 10_000_000)
    return through_the_line


def test_a_listing_that_trickles_ends(slow: S3Store, line: Proxy) -> None:
    line.trickle("down")
    with pytest.raises(StoreFailed, match=r"listing .*: the store is too slow: an answer in 2 s"):
        list(slow.keys(""))


def test_an_object_that_trickles_ends(slow: S3Store, line: Proxy) -> None:
    line.trickle("down", 300_000)
    with pytest.raises(StoreFailed, match=r"reading .*: the store is too slow: \d+ bytes in 2"):
        b"".join(slow.read("large"))


def test_an_answer_to_a_small_object_that_trickles_ends(slow: S3Store, line: Proxy) -> None:
    line.trickle("down")
    with pytest.raises(StoreFailed, match=r"writing .*: the store is too slow: 1 bytes in 2 s"):
        slow.write("small", [b"x"])


def test_a_part_that_trickles_ends(
    slow: S3Store, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PART", 5 << 20)
    line.trickle("up", 1 << 20)

    with pytest.raises(StoreFailed, match=r"part \d: the store is too slow"):
        slow.write("other", (CONTENT for _ in range(6)))
