"""Checkpoints of a stream: noted while it passes, judged when it comes back."""

import hashlib
import random
from collections.abc import Iterator

import pytest

from pgwindlass.backup import checkpoints
from pgwindlass.backup.checkpoints import Checkpoints, judged

pytestmark = pytest.mark.unit

CONTENT = random.Random(5).randbytes(1000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def noted(content: bytes, size: int, every: int = 100) -> Checkpoints:
    found, sha256, done = Checkpoints(every=every), hashlib.sha256(), 0
    for chunk in cut(content, size):
        found.pass_by(sha256, done, chunk)
        done += len(chunk)
    assert sha256.digest() == hashlib.sha256(content).digest()
    return found


def read(content: bytes, size: int, *, every: int = 100, own: tuple[str, ...] = ()) -> bytes:
    digests = own or tuple(noted(CONTENT, 7, every).digests)
    return b"".join(judged(cut(content, size), every, digests, size=len(CONTENT), sha256=DIGEST))


@pytest.mark.parametrize("size", [1, 7, 99, 100, 101, 200, 250, 1000])
def test_a_checkpoint_is_the_hash_of_a_beginning_however_it_was_cut(size: int) -> None:
    assert noted(CONTENT, size).digests == [
        hashlib.sha256(CONTENT[:end]).hexdigest() for end in range(100, 1001, 100)
    ]


def test_of_too_many_every_second_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST", 4)
    monkeypatch.setattr(checkpoints, "WIDEST", 200)

    found = noted(CONTENT, 33, every=50)

    assert found.every == 200
    assert found.digests == [
        hashlib.sha256(CONTENT[:end]).hexdigest() for end in range(200, 1001, 200)
    ]


@pytest.mark.parametrize("size", [1, 7, 100, 333, 1000])
@pytest.mark.parametrize("every", [100, 300, 5000])
def test_what_was_noted_comes_back_whole(size: int, every: int) -> None:
    assert read(CONTENT, size, every=every) == CONTENT


@pytest.mark.parametrize("at", [0, 99, 100, 555, 999])
def test_nothing_from_the_changed_piece_on_comes_back(at: int) -> None:
    changed = CONTENT[:at] + bytes([CONTENT[at] ^ 1]) + CONTENT[at + 1 :]

    assert read(changed, 33) == CONTENT[: at - at % 100]


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_a_shorter_or_longer_stream_is_not_yielded_to_its_end(size: int) -> None:
    assert read(CONTENT[:950], size) == CONTENT[:900]
    longer = read(CONTENT + b"!", size, every=300)
    assert CONTENT.startswith(longer)
    assert len(longer) <= 900


def test_without_checkpoints_nothing_comes_before_the_whole_is_right() -> None:
    assert list(judged(cut(CONTENT, 10), 5000, (), size=1000, sha256=DIGEST)) == [CONTENT]
    assert list(judged(cut(CONTENT, 10), 5000, (), size=1000, sha256="0" * 64)) == []


def test_an_empty_stream_is_an_empty_stream() -> None:
    empty = hashlib.sha256().hexdigest()

    assert list(judged(iter(()), 100, (), size=0, sha256=empty)) == []


def test_no_more_than_a_chunk_beyond_the_size_is_read() -> None:
    read_so_far = []

    def endless() -> Iterator[bytes]:
        while True:
            read_so_far.append(1)
            yield CONTENT[:100]

    assert list(judged(endless(), 5000, (), size=1000, sha256=DIGEST)) == []
    assert len(read_so_far) == 11
