"""apt-get waits for a lock that somebody else holds, and says so; the real apt-get, no network."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import aptget

# Holds a lock as apt does, and gives it up when it is told to.
HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "wb") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held(lock: Path, seconds: float) -> "Iterator[subprocess.Popen[str]]":
    argv = [sys.executable, "-c", HOLD, str(lock), str(seconds)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


@pytest.fixture
def apt(tmp_path: Path) -> tuple[list[str], Path]:
    """Options for an apt-get that knows no source, and the lock of its lists."""
    lists = tmp_path / "lists"
    (lists / "partial").mkdir(parents=True)
    options = {
        "Dir::State::Lists": lists,
        "Dir::Cache": tmp_path / "cache",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    return [f"-o{name}={value}" for name, value in options.items()], lists / "lock"


def test_alone_apt_get_fails_at_the_lock_of_its_lists(apt: tuple[list[str], Path]) -> None:
    options, lock = apt
    with held(lock, 60):
        assert subprocess.run(["apt-get", *options, "update"], check=False).returncode == 100


def test_it_waits_for_the_lock_and_says_who_holds_it(
    apt: tuple[list[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    options, lock = apt
    with held(lock, 1.5) as other:
        code = aptget.main([*options, "update"], locks=[lock], within=60)

    assert code == 0
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "waiting" in line]
    assert line == f"waiting up to 60 s for python3, process {other.pid}, which holds {lock}"


def test_it_does_not_wait_for_ever(apt: tuple[list[str], Path]) -> None:
    options, lock = apt
    with held(lock, 60) as other, pytest.raises(SystemExit) as caught:
        aptget.main([*options, "update"], locks=[lock], within=0.2)

    assert str(caught.value) == (
        f"python3, process {other.pid} still holds {lock}: end it, or try again later"
    )


def test_what_fails_for_another_reason_fails_at_once(apt: tuple[list[str], Path]) -> None:
    options, lock = apt
    assert aptget.main([*options, "no-such-command"], locks=[lock], within=60) == 100
