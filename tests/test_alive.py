"""Processes that outlive us, and those that do not: what a kill -9 of their parent leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pgwindlass import alive, process
from pgwindlass.alive import Alive, started_at
from pgwindlass.errors import ChildFailed, Unreachable
from pgwindlass.purposes import TOOL

EVENTS_WITHIN = 20.0  # seconds
DEAF = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
PARENT = """\
import pathlib, sys, threading, time
from pgwindlass import process
from pgwindlass.purposes import TOOL
def watched():
    while {waits} and not process._watchman._watched:
        time.sleep(0.01)
    pathlib.Path("{here}/watched").touch()
threading.Thread(target=watched, daemon=True).start()
argv = ("sh", "-c", "sleep 601 & echo $! > {here}/grandchild; echo $$ > {here}/child; wait")
{how}
"""
HOW = {
    "run": "process.run(argv, purpose=TOOL, within=600)",
    "stream": "list(process.stream(argv, purpose=TOOL))",
    "pipe": "list(process.pipe(argv, [b''], purpose=TOOL))",
    "background": "with process.background(argv, purpose=TOOL): sys.stdin.read()",
    "talk": "talk = process.Talk(argv, purpose=TOOL); list(talk.lines())",
}


def until(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + EVENTS_WITHIN
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    return not started_at(pid)


def killed_parent(tmp_path: Path, how: str) -> tuple[int, int]:
    """Kill a parent while its child runs; return the child and the grandchild."""
    script = PARENT.format(here=tmp_path, how=how, waits="announce" not in how)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True
    ) as parent:
        child = tmp_path / "child"
        until("the child does not begin", lambda: child.exists() and child.read_text().strip())
        until("nobody watches it", (tmp_path / "watched").exists)
        parent.kill()
    return int(child.read_text()), int((tmp_path / "grandchild").read_text())


@pytest.mark.parametrize("how", list(HOW))
def test_children_end_with_us_and_so_do_theirs(tmp_path: Path, how: str) -> None:
    for pid in killed_parent(tmp_path, HOW[how]):
        until(f"{pid} lives on", partial(has_ended, pid))


def test_one_that_is_announced_lives_on(tmp_path: Path) -> None:
    how = "process.run(argv, purpose=TOOL, within=600, announce=process.unannounced)"

    child, _ = killed_parent(tmp_path, how)

    time.sleep(0.5)  # what would end it needs a hundredth of that
    assert started_at(child)
    assert alive.end(Alive(child, started_at(child)))


def test_one_whose_announcement_fails_never_begins(tmp_path: Path) -> None:
    def refuse(_child: Alive) -> None:
        raise Unreachable("no", state="no", next_step="no")

    with pytest.raises(Unreachable, match="no"):
        process.run(
            ("touch", str(tmp_path / "begun")),
            purpose=TOOL,
            within=20,
            announce=refuse,  # type: ignore[arg-type]
        )

    assert not (tmp_path / "begun").exists()


def test_a_program_that_does_not_exist_is_told_as_ever() -> None:
    with pytest.raises(ChildFailed, match=r"nobody could not be started: No such file"):
        process.run(("nobody",), purpose=TOOL, within=20, announce=process.unannounced)


def test_what_is_announced_reads_nothing_and_keeps_its_status(tmp_path: Path) -> None:
    argv = ("sh", "-c", "cat; echo out; echo err >&2; exit 3")

    ended = process.run(argv, purpose=TOOL, within=20, check=False, announce=process.unannounced)

    assert (ended.code, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


def test_one_that_is_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "GRACE", 0.5)
    script = f"{DEAF}print('deaf', flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()

        assert alive.end(Alive(child.pid, started_at(child.pid)))
        assert child.wait() == -signal.SIGKILL


def test_another_process_of_the_same_number_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        assert alive.end(Alive(other.pid, "1"))
        assert alive.wait(Alive(other.pid, ""), 5)
        assert other.poll() is None
        other.kill()


def test_a_fork_of_ours_does_not_end_what_its_parent_watches() -> None:
    with process.background(("sleep", "602"), purpose=TOOL) as check:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.3)
        check()
