"""The directory store: modes, full disks, killed writers."""

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgwindlass.errors import StoreFailed
from pgwindlass.stores.directory import SUFFIX, DirectoryStore

MIB = 1 << 20


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*"))


def test_files_and_directories_are_for_the_owner_alone(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        DirectoryStore(tmp_path / "new" / "backups").write("uat/app/dump", [b"x"])
    finally:
        os.umask(before)

    for place in ("new", "new/backups", "new/backups/uat", "new/backups/uat/app"):
        assert stat.S_IMODE((tmp_path / place).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new/backups/uat/app/dump").stat().st_mode) == 0o600


def test_the_mode_is_right_from_the_first_byte_on(tmp_path: Path) -> None:
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        yield b"x"
        seen.extend(stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob(f"*{SUFFIX}"))

    DirectoryStore(tmp_path).write("dump", chunks())

    assert seen == [0o600]


def test_a_file_being_written_is_not_listed(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    seen: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"x"
        seen.extend(store.keys(""))

    store.write("dump", chunks())

    assert seen == []
    assert list(store.keys("")) == ["dump"]


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)

    with pytest.raises(StoreFailed) as caught:
        store.write("uat/app/dump", (bytes(MIB) for _ in range(8)))

    assert caught.value.what == f"cannot write {small_disk}/uat/app/dump: No space left on device"
    assert caught.value.next_step.startswith("make room there")
    assert files(small_disk) == []


def test_a_file_size_limit_is_an_error_that_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
    try:
        with pytest.raises(StoreFailed) as caught:
            DirectoryStore(tmp_path).write("uat/dump", (bytes(MIB) for _ in range(4)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert "File too large" in caught.value.what
    assert files(tmp_path) == []


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.write("uat", [b"x"])

    with pytest.raises(StoreFailed, match="cannot write"):
        store.write("uat/dump", [b"x"])
    with pytest.raises(StoreFailed):
        store.read("uat/dump")


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.write("uat/dump", [b"x"])

    with pytest.raises(StoreFailed):
        store.read("uat")
    with pytest.raises(StoreFailed):
        store.delete("uat")


def test_a_directory_that_is_missing_holds_no_keys(tmp_path: Path) -> None:
    assert list(DirectoryStore(tmp_path / "none").keys("")) == []


def test_deleting_the_last_file_removes_its_directory(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.write("uat/app/1/dump", [b"x"])
    store.write("uat/app/2/dump", [b"x"])

    store.delete("uat/app/1/dump")

    assert files(tmp_path) == ["uat", "uat/app", "uat/app/2", "uat/app/2/dump"]


WRITER = """
import sys, time
from pgwindlass.stores.directory import DirectoryStore

def chunks():
    yield b"x" * 1000
    print("writing", flush=True)
    time.sleep(60)

DirectoryStore(sys.argv[1]).write("uat/app/dump", chunks())
"""


def test_what_a_killed_writer_left_is_no_key_and_is_swept_by_the_next(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        (partial,) = tmp_path.rglob(f"*{SUFFIX}")
        old = time.time() - 3600
        os.utime(partial, (old, old))

        store.write("uat/app/other", [b"x"])
        assert partial.exists(), "its writer lives, and holds the lock"
        writer.kill()

    assert list(store.keys("")) == ["uat/app/other"]
    store.write("uat/app/third", [b"x"])
    assert not partial.exists()
