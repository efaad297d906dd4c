"""Runs of `windlass` from one warm interpreter: each a process of its own, forked, not started.

Half of what a short task takes is Python's own start and its imports; thousands of them begin in
one run of the tests. A run has its own directory, environment and standard streams, none of them
a terminal, and no state of another one: the interpreter it is forked from never runs a task.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent


def run(argv: tuple[str, ...], *, cwd: Path, env: dict[str, str], within: float) -> Any:
    """Run the program to its end; return {code, out, err}.

    Raises:
        subprocess.TimeoutExpired: it took longer than `within` seconds, and was killed.

    """
    order = {"argv": argv, "cwd": str(cwd), "env": env, "within": within}
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(_server())
        with line.makefile("rw") as words:
            words.write(json.dumps(order) + "\n")
            words.flush()
            answer = json.loads(words.readline())
    if answer["code"] == -signal.SIGKILL and answer["late"]:
        raise subprocess.TimeoutExpired(["windlass", *argv], within, answer["out"], answer["err"])
    return answer


@cache
def _server() -> str:
    """Return the socket of this process's interpreter, started when it is first needed."""
    place = tempfile.TemporaryDirectory(prefix="wl-warm-")
    path = str(Path(place.name) / "socket")
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert child.stdout is not None
    child.stdout.readline()  # it listens

    def end() -> None:
        child.terminate()
        child.wait()
        place.cleanup()

    atexit.register(end)
    child.stdout.close()
    return path


def _serve(path: str) -> None:
    import boto3  # noqa: F401  # what the forks would import
    import requests  # noqa: F401
    import rich.progress  # noqa: F401

    for file in sorted((ROOT / "ci").rglob("*.py")):
        parts = ("pgwindlass", *file.relative_to(ROOT / "ci").with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if name != "pgwindlass.engines.alembic.child":  # at home in another Python
            __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(64)
        os.write(1, b"ready\n")
        while True:
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _answer(line)
            line.close()


def _answer(line: socket.socket) -> NoReturn:
    """Run one order in a process of its own, and say how that ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with line.makefile("rw") as words, tempfile.TemporaryFile() as out:
        with tempfile.TemporaryFile() as err:
            order = json.loads(words.readline())
            pid = os.fork()
            if pid == 0:
                line.close()
                become(order, out, err)
            code, late = _end_of(pid, order["within"])
            said = [_text(file) for file in (out, err)]
        words.write(json.dumps({"code": code, "late": late, "out": said[0], "err": said[1]}) + "\n")
    os._exit(0)


def _end_of(pid: int, within: float) -> tuple[int, bool]:
    deadline, late = time.monotonic() + within, False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), late
        if time.monotonic() > deadline:
            late = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def become(
    order: dict[str, Any], out: IO[Any], err: IO[Any], first: Callable[[], None] = lambda: None
) -> NoReturn:
    """Make this fork a run of the program, with `first` done before it; it ends with that."""
    os.setsid()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["windlass", *order["argv"]]
    first()
    from pgwindlass.tasks import main

    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
