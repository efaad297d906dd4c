"""Temporary directories: they go with their run, or with the next one where it was killed."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgwindlass import temporary

HOLD = """
import sys, time
from pgwindlass import temporary
place = temporary.make("key")
(place / "key").write_text("a private key")
print(place, flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files, in this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def holder(place: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds one."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, cwd=place
    ) as child:
        yield child
        child.kill()


def path_of(holder: "subprocess.Popen[str]") -> Path:
    assert holder.stdout is not None
    return Path(holder.stdout.readline().strip())


def test_it_goes_with_its_block(place: Path) -> None:
    with temporary.directory("lint") as directory:
        (directory / "a.sql").touch()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert temporary.sweep(young=0) == ()

    assert list(place.iterdir()) == []


def test_one_of_a_killed_run_is_removed_and_one_of_a_living_run_stays(
    place: Path, holder: "subprocess.Popen[str]"
) -> None:
    left = path_of(holder)

    assert temporary.sweep(young=0) == ()
    assert (left / "key").is_file()

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert temporary.sweep() == (left,)
    assert list(place.iterdir()) == []


def test_one_that_is_not_locked_yet_stays_while_it_is_young(place: Path) -> None:
    left = place / f".{temporary.PREFIX}key-abc"
    left.mkdir()

    assert temporary.sweep() == ()  # a run may be about to lock it
    assert temporary.sweep(young=0) == (left,)


def test_one_has_its_name_from_when_it_is_locked(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(fcntl, "flock", lambda *_: seen.append([p.name for p in place.iterdir()]))

    made = temporary.make("key")

    assert seen == [[f".{made.name}"]]
    temporary.remove(made)


def test_what_is_not_ours_stays(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (place / f"{temporary.PREFIX}link").symlink_to(elsewhere)
    if os.geteuid() == 0:  # who else is somebody else
        other = place / f"{temporary.PREFIX}other"
        other.mkdir()
        os.chown(other, 12345, 12345)
    (place / "windlass-other").mkdir()
    before = sorted(place.iterdir())

    assert temporary.sweep(young=0) == ()

    assert sorted(place.iterdir()) == before
    assert (elsewhere / "file").is_file()
