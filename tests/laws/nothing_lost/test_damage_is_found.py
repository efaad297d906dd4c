"""Bytes that changed in the store are found by the proof, and never restored."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.model import LEVELS, Manifest
from pgwindlass.stores import Store
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import restore, take, verify
from tests.fix_postgres import Server
from tests.fix_s3 import Bucket

pytestmark = pytest.mark.sampled(3)

Damage = Callable[[bytes], bytes]


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Damage] = {
    "flipped in the middle": lambda content: flip(content, len(content) // 2),
    "flipped at the start": lambda content: flip(content, 30),
    "flipped at the end": lambda content: flip(content, len(content) - 1),
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "empty": lambda content: content[:0],
    "another file": lambda content: random.Random(1).randbytes(len(content)),
}


@pytest.fixture
def origin(database16: Database) -> Database:
    with database16.connect("test") as connection:
        connection.execute(
            b"create table t (id int, t text);"
            b"insert into t select i, md5(i::text) from generate_series(1, 20000) i"
        )
    return database16


@pytest.fixture(params=["s3", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return DirectoryStore(tmp_path)
    bucket = request.getfixturevalue("bucket")
    assert isinstance(bucket, Bucket)
    return bucket.store()


def damaged(origin: Database, store: Store, damage: Damage) -> Manifest:
    manifest = take(origin, store)
    key = manifest.parts[0].key
    store.write(key, [damage(b"".join(store.read(key)))])
    return manifest


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_checksum_and_the_rows_find_it(
    origin: Database, tmp_path: Path, damage: Damage
) -> None:
    store = DirectoryStore(tmp_path)
    manifest = damaged(origin, store, damage)

    for level in LEVELS[:2]:
        with pytest.raises(StepFailed, match=r"dump\.pgc is damaged: expected") as caught:
            verify(manifest, store, level=level)
        assert manifest.parts[0].sha256 in caught.value.what
        assert caught.value.state == "nothing was changed; this backup cannot be used"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_restore_commits_none_of_it(
    origin: Database,
    server16: Server,
    new_database: Callable[[Server], Database],
    tmp_path: Path,
    damage: Damage,
) -> None:
    store = DirectoryStore(tmp_path)
    manifest = damaged(origin, store, damage)
    target = new_database(server16)

    with pytest.raises(StepFailed) as caught:
        restore(manifest, store, target)

    assert caught.value.state == f"nothing was restored: {target.name} is empty"
    with target.connect("test") as connection:
        assert connection.execute("select to_regclass('t')").fetchone() == (None,)


@pytest.mark.parametrize("name", ["flipped in the middle", "one byte short"])
def test_the_checksum_finds_it_wherever_it_is_kept(
    origin: Database, store: Store, name: str
) -> None:
    manifest = damaged(origin, store, DAMAGES[name])

    with pytest.raises(StepFailed, match=r"dump\.pgc is damaged: expected"):
        verify(manifest, store, level="checksum")


def test_a_missing_archive_is_an_error_before_anything_happens(
    origin: Database, store: Store
) -> None:
    manifest = damaged(origin, store, lambda content: content)
    store.delete(manifest.parts[0].key)

    with pytest.raises(StepFailed, match=r"dump\.pgc"):
        verify(manifest, store)
