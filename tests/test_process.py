"""Children: nothing deadlocks, no failure is lost, nobody is left running, no secret shows."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci import process
from ci.errors import ChildFailed
from ci.secret import Secret

PYTHON = sys.executable
MEBIBYTE = 1 << 20


def script(text: str) -> tuple[str, ...]:
    return (PYTHON, "-c", text)


NOISY = script("import sys; sys.stderr.write('x' * (1 << 20)); sys.stdout.write('y' * (1 << 20))")


def test_a_mebibyte_on_stderr_does_not_block_run() -> None:
    found = process.run(NOISY, within=20)

    assert (len(found.stdout), len(found.stderr)) == (MEBIBYTE, MEBIBYTE)


def test_a_mebibyte_on_stderr_does_not_block_a_stream() -> None:
    assert sum(len(chunk) for chunk in process.stream(NOISY)) == MEBIBYTE


def test_a_pipe_gives_back_what_it_is_fed() -> None:
    cat = script(
        "import shutil, sys; sys.stderr.write('x' * (1 << 20));"
        "shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    )

    found = b"".join(process.pipe(cat, (b"z" * 100_000 for _ in range(50))))

    assert found == b"z" * 5_000_000


def test_a_stream_whose_child_fails_raises_after_the_last_chunk() -> None:
    chunks = process.stream(script("import sys; print('part', flush=True); sys.exit(3)"))

    seen = b""
    with pytest.raises(ChildFailed) as caught:
        for chunk in chunks:
            seen += chunk
    assert seen == b"part\n"
    assert caught.value.code == 3


def test_a_stream_whose_child_is_killed_raises_and_names_the_signal() -> None:
    suicide = "import os, signal; print('part', flush=True); os.kill(os.getpid(), signal.SIGKILL)"

    with pytest.raises(ChildFailed, match="was killed by SIGKILL"):
        list(process.stream(script(suicide)))


def test_closing_a_stream_early_ends_the_whole_group(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    chunks = process.stream(
        ("sh", "-c", f"sleep 600 & echo $! > {pid}; echo started; wait"),
    )
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid.read_text().strip()}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_a_child_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()

    with pytest.raises(ChildFailed, match=r"did not finish within 0.3 s") as caught:
        process.run(("sleep", "600"), within=0.3)

    assert caught.value.code is None
    assert time.monotonic() - began < 5


def test_the_last_lines_of_stderr_are_in_the_error_without_the_secret() -> None:
    secret = Secret("hunter2-is-the-password")
    text = (
        "import os, sys; [print(n, file=sys.stderr) for n in range(30)];"
        "print('cannot log in with', os.environ['PW'], file=sys.stderr); sys.exit(1)"
    )

    with pytest.raises(ChildFailed) as caught:
        process.run(script(text), within=10, env={"PW": secret})

    assert "cannot log in with ***" in caught.value.what
    assert "20 | 21" not in caught.value.what.split("ended")[0]
    assert " 12 |" not in caught.value.what
    assert "hunter2" not in str(caught.value) + caught.value.stderr


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(ChildFailed, match="/nonexistent could not be started: No such file"):
        process.run(("/nonexistent",), within=1)


def test_an_error_of_the_source_is_raised_and_the_child_ended() -> None:
    def source() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionResetError("the store is gone")

    with pytest.raises(ConnectionResetError, match="the store is gone"):
        list(process.pipe(("cat",), source()))


def test_a_child_that_stops_reading_is_not_an_error_of_its_own() -> None:
    found = b"".join(process.pipe(("head", "-c", "5"), (b"x" * MEBIBYTE for _ in range(20))))

    assert found == b"xxxxx"


def test_children_speak_english() -> None:
    found = process.run(script("import os; print(os.environ['LC_ALL'])"), within=10)

    assert found.stdout.strip() == "C"
