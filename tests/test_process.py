"""Children: nothing deadlocks, no failure is lost, nobody is left running, no secret shows."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgwindlass import movement, process
from pgwindlass.errors import ChildFailed, Stalled
from pgwindlass.purposes import TOOL
from pgwindlass.secret import Secret
from tests.kit import parts

PYTHON = sys.executable
MEBIBYTE = 1 << 20


def script(text: str) -> tuple[str, ...]:
    return (PYTHON, "-c", text)


NOISY = script("import sys; sys.stderr.write('x' * (1 << 20)); sys.stdout.write('y' * (1 << 20))")


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less: where init is slow to reap orphans, the group is there until the grace is over."""
    monkeypatch.setattr(process, "GRACE", 0.5)


def test_a_mebibyte_on_stderr_does_not_block_run() -> None:
    found = process.run(NOISY, within=20, purpose=TOOL)

    assert (len(found.stdout), len(found.stderr)) == (MEBIBYTE, MEBIBYTE)


def test_a_mebibyte_on_stderr_does_not_block_a_stream() -> None:
    assert sum(len(chunk) for chunk in process.stream(NOISY, purpose=TOOL)) == MEBIBYTE


def test_a_pipe_gives_back_what_it_is_fed() -> None:
    cat = script(
        "import shutil, sys; sys.stderr.write('x' * (1 << 20));"
        "shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    )

    found = b"".join(process.pipe(cat, (b"z" * 100_000 for _ in range(50)), purpose=TOOL))

    assert found == b"z" * 5_000_000


def test_a_stream_whose_child_fails_raises_after_the_last_chunk() -> None:
    chunks = process.stream(
        script("import sys; print('part', flush=True); sys.exit(3)"), purpose=TOOL
    )

    seen = b""
    with pytest.raises(ChildFailed) as caught:
        for chunk in chunks:
            seen += chunk
    assert seen == b"part\n"
    assert caught.value.code == 3


def test_a_stream_whose_child_is_killed_raises_and_names_the_signal() -> None:
    suicide = "import os, signal; print('part', flush=True); os.kill(os.getpid(), signal.SIGKILL)"

    with pytest.raises(ChildFailed, match="was killed by SIGKILL"):
        list(process.stream(script(suicide), purpose=TOOL))


def test_closing_a_stream_early_ends_the_whole_group(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    chunks = process.stream(
        ("sh", "-c", f"sleep 600 & echo $! > {pid}; echo started; wait"), purpose=TOOL
    )
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    deadline = time.monotonic() + 5
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_gone(pid)


STRAGGLER = "sleep 600 & echo $! > {pid}; echo started"  # it holds both pipes when sh has ended


def is_gone(pid: Path) -> bool:
    """Tell whether the process ended; a zombie has, and waits for somebody else to reap it."""
    try:
        stat = Path(f"/proc/{int(pid.read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_what_outlives_the_child_is_ended_when_the_deadline_is_over(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    with pytest.raises(ChildFailed, match=r"did not finish within 0.3 s"):
        process.run(("sh", "-c", STRAGGLER.format(pid=pid)), within=0.3, purpose=TOOL)

    assert is_gone(pid)


def test_what_outlives_the_child_does_not_hold_up_closing_a_stream(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    chunks = process.stream(("sh", "-c", STRAGGLER.format(pid=pid)), purpose=TOOL)
    next(chunks)
    time.sleep(0.2)  # for sh to end
    began = time.monotonic()
    chunks.close()  # type: ignore[attr-defined]

    assert is_gone(pid)
    assert time.monotonic() - began < 5


def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stubborn = f"trap '' TERM; echo $$ > {pid}; echo started; sleep 600; :"
    chunks = process.stream(("sh", "-c", 'sh -c "$0" & wait', stubborn), purpose=TOOL)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    deadline = time.monotonic() + 5
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_gone(pid)


def test_what_the_child_said_before_its_deadline_is_in_the_error() -> None:
    with pytest.raises(ChildFailed) as caught:
        process.run(
            ("sh", "-c", "echo waiting for a lock >&2; sleep 600"), within=0.5, purpose=TOOL
        )

    assert caught.value.what == "sh did not finish within 0.5 s: waiting for a lock"
    assert caught.value.stderr == "waiting for a lock"


def test_a_long_line_of_stderr_is_cut() -> None:
    with pytest.raises(ChildFailed) as caught:
        process.run(script("import sys; sys.exit('x' * 100_000)"), within=10, purpose=TOOL)

    assert caught.value.stderr == "x" * 500


def test_a_child_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()

    with pytest.raises(ChildFailed, match=r"did not finish within 0.3 s") as caught:
        process.run(("sleep", "600"), within=0.3, purpose=TOOL)

    assert caught.value.code is None
    assert time.monotonic() - began < 5


def test_the_last_lines_of_stderr_are_in_the_error_without_the_secret() -> None:
    secret = Secret("hunter2-is-the-password")
    text = (
        "import os, sys; [print(n, file=sys.stderr) for n in range(30)];"
        "print('cannot log in with', os.environ['PW'], file=sys.stderr); sys.exit(1)"
    )

    with pytest.raises(ChildFailed) as caught:
        process.run(script(text), within=10, env={"PW": secret}, purpose=TOOL)

    assert "cannot log in with ***" in caught.value.what
    assert "20 | 21" not in caught.value.what.split("ended")[0]
    assert " 12 |" not in caught.value.what
    assert "hunter2" not in parts(caught.value) + caught.value.stderr


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(ChildFailed, match="/nonexistent could not be started: No such file"):
        process.run(("/nonexistent",), within=1, purpose=TOOL)


def test_an_error_of_the_source_is_raised_and_the_child_ended() -> None:
    def source() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionResetError("the store is gone")

    with pytest.raises(ConnectionResetError, match="the store is gone"):
        list(process.pipe(("cat",), source(), purpose=TOOL))


def test_a_source_that_breaks_off_is_not_taken_for_its_end() -> None:
    def source() -> Iterator[bytes]:
        yield b"part"
        raise BrokenPipeError("the store hung up")

    with pytest.raises(BrokenPipeError, match="the store hung up"):
        list(process.pipe(("cat",), source(), purpose=TOOL))


def test_a_child_that_stops_reading_is_not_an_error_of_its_own() -> None:
    found = b"".join(
        process.pipe(("head", "-c", "5"), (b"x" * MEBIBYTE for _ in range(20)), purpose=TOOL)
    )

    assert found == b"xxxxx"


def test_children_speak_english() -> None:
    found = process.run(script("import os; print(os.environ['LC_ALL'])"), within=10, purpose=TOOL)

    assert found.stdout.strip() == "C"


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movement, "LOOK_EVERY", 0.05)


def still_for(seconds: float) -> movement.Judge:
    return lambda still: f"{still.total} bytes" if still.seconds > seconds else ""


@pytest.mark.parametrize("how", ["run", "stream", "pipe"])
def test_a_child_with_which_nothing_moves_is_ended_by_its_judge(how: str, looked: None) -> None:
    argv = script("import time; print('four', end='', flush=True); time.sleep(600)")
    judge = still_for(0.3)
    with pytest.raises(Stalled, match=r"was ended: \d bytes") as caught:
        if how == "run":
            process.run(argv, purpose=TOOL, within=60, judge=judge)
        elif how == "stream":
            list(process.stream(argv, purpose=TOOL, judge=judge))
        else:
            list(process.pipe(argv, [], purpose=TOOL, judge=judge))

    assert caught.value.code is None
    assert ("4 bytes" in caught.value.what) is (how != "run")


def test_what_waits_for_us_or_computes_does_not_stand_still(looked: None) -> None:
    busy = script(
        "import time; print('a', end='', flush=True)\n"
        "while time.process_time() < 0.8: pass\n"
        "print('b', end='')"
    )
    chunks = []
    for chunk in process.stream(busy, purpose=TOOL, judge=still_for(0.4)):
        chunks.append(chunk)
        time.sleep(0.6)  # the reader takes its time

    def source() -> Iterator[bytes]:
        yield b"a"
        time.sleep(0.8)
        yield b"b"

    fed = b"".join(process.pipe(("cat",), source(), purpose=TOOL, judge=still_for(0.4)))

    assert (b"".join(chunks), fed) == (b"ab", b"ab")
