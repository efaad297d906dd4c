"""Runs of `windlass` from one warm interpreter: each a process of its own, forked, not started.

Three quarters of what a short task takes is Python's own start and its imports; thousands of them
begin in one run of the tests. A run has its own directory, environment and standard streams, and
no state of another one: the interpreter it is forked from never runs a task.
"""

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
STARTED_WITHIN = 60.0  # seconds; a fork takes ten milliseconds
# A program that is forked where it is started: for what starts programs itself.
LAUNCHER = """\
#!{python} -IS
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({path!r})
name = os.path.basename(sys.argv[0])
order = {{"name": name, "argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
socket.send_fds(line, [b"!"], [0, 1, 2])
line.sendall(json.dumps(order).encode() + b"\\n")
words = line.makefile("r")
words.readline()
sys.exit(int(words.readline()) & 0xFF)
"""


class Child:
    """A run that has begun; its streams are whatever files it was given."""

    def __init__(
        self,
        argv: tuple[str, ...],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
        module: str = "tests.warm",
    ) -> None:
        self.argv = argv
        order = {"argv": argv, "cwd": str(cwd), "env": dict(env)}
        self._line = socket.socket(socket.AF_UNIX)
        self._line.settimeout(STARTED_WITHIN)
        self._line.connect(start(sys.executable, module))
        socket.send_fds(self._line, [b"!"], streams)
        self._line.sendall(json.dumps(order).encode() + b"\n")
        self._words = self._line.makefile("r")
        self.pid = int(self._words.readline())

    def fileno(self) -> int:
        """Return what can be read from when the run has ended."""
        return self._line.fileno()

    def wait(self, within: float) -> int:
        """Return the exit code, a signal's negative.

        Raises:
            TimeoutError: it took longer than `within` seconds, and was killed with its group.

        """
        self._line.settimeout(within)
        try:
            return int(self._words.readline())
        except TimeoutError:
            os.killpg(self.pid, signal.SIGKILL)
            raise
        finally:
            self._words.close()
            self._line.close()


def run(argv: tuple[str, ...], *, cwd: Path, env: Mapping[str, str], within: float) -> Any:
    """Run the program to its end; return {code, out, err}.

    Raises:
        subprocess.TimeoutExpired: it took longer than `within` seconds, and was killed.

    """
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        streams = (nothing.fileno(), out.fileno(), err.fileno())
        child = Child(argv, cwd=cwd, env=env, streams=streams)
        try:
            code = child.wait(within)
        except TimeoutError as late:
            words = _text(out), _text(err)
            raise subprocess.TimeoutExpired(["windlass", *argv], within, *words) from late
        return {"code": code, "out": _text(out), "err": _text(err)}


def run_piped(argv: tuple[str, ...], *, cwd: Path, env: Mapping[str, str], within: float) -> Any:
    """Run it as `run` does, its output pipes: a runner's are, and a file is told less.

    Raises:
        TimeoutError: it took longer than `within` seconds, and was killed.

    """
    pipes = os.pipe(), os.pipe()
    with Path(os.devnull).open() as nothing, ThreadPoolExecutor(2) as readers:
        streams = (nothing.fileno(), pipes[0][1], pipes[1][1])
        child = Child(argv, cwd=cwd, env=env, streams=streams)
        for _, written in pipes:
            os.close(written)
        out, err = (readers.submit(_drained, read) for read, _ in pipes)
        return {"code": child.wait(within), "out": out.result(), "err": err.result()}


def _drained(source: int) -> str:
    with os.fdopen(source, "rb") as file:
        return file.read().decode()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def write_launcher(file: Path, socket_: str = "") -> Path:
    """Write a program that is forked from a warm interpreter, by default `windlass` or `invoke`.

    Args:
        file: the program; its name says which one it is.
        socket_: of the interpreter.

    """
    file.write_text(LAUNCHER.format(python=sys.executable, path=socket_ or _server()))
    file.chmod(0o755)
    return file


def _server() -> str:
    """Return the socket of this process's interpreter, started when it is first needed."""
    return start(sys.executable, "tests.warm")


@cache
def start(python: str, module: str) -> str:
    """Start a module of ours that serves, once in a process; return its socket."""
    place = tempfile.TemporaryDirectory(prefix="wl-warm-")
    path = str(Path(place.name) / "socket")
    child = subprocess.Popen(
        [python, "-m", module, path],
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


def serve(path: str, program: Callable[[], int]) -> None:
    """Fork for each order that comes to this socket; the fork runs the program.

    A fork ends with its socket: who gave the order is gone then.
    """
    gc.collect()
    gc.freeze()  # a collection writes to each object, and a page that a fork writes to is copied
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as waiting:
        door.bind(path)
        door.listen(64)
        waiting.register(door, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            for key, _ in waiting.select():
                if key.fileobj is door:
                    line, _ = door.accept()
                    try:
                        pid = _fork(line, program)
                    except (OSError, ValueError):  # who asked was killed before it had said all
                        line.close()
                        continue
                    waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, line))
                    waiting.register(line, selectors.EVENT_READ, pid)
                elif isinstance(key.data, int):
                    if _forgotten(waiting, key.fileobj):
                        _kill(key.data)
                else:
                    pid, line = key.data
                    waiting.unregister(key.fileobj)
                    os.close(key.fd)
                    with suppress(KeyError):  # the line has ended already
                        waiting.unregister(line)
                    _say_the_end(pid, line)


def _forgotten(waiting: selectors.BaseSelector, line: Any) -> bool:
    """Wait for a line no more; False where its run ended in the same moment, and did that."""
    try:
        waiting.unregister(line)
    except (KeyError, ValueError):
        return False
    return True


def import_all() -> None:
    """Import what the forks would."""
    import boto3  # noqa: F401  # what the forks would import
    import invoke.main  # noqa: F401
    import requests  # noqa: F401
    import rich.progress  # noqa: F401

    for file in sorted((ROOT / "ci").rglob("*.py")):
        parts = ("pgwindlass", *file.relative_to(ROOT / "ci").with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if "alembic/child" not in str(file):  # at home in another Python
            __import__(name)
    from pgwindlass.errors import StepFailed
    from pgwindlass.postgres.clients import find_clients

    for major in (16, 18):  # what each installation here can do is asked once, not by each fork
        with suppress(StepFailed):
            find_clients(major * 10_000)


def windlass() -> int:
    """Run `windlass`, or `invoke`, as the environment and sys.argv of this process say."""
    if sys.argv[0] == "invoke":
        from invoke.main import program

        program.run()
    else:
        from pgwindlass.tasks import main

        main()
    return 0


def _fork(line: socket.socket, program: Callable[[], int]) -> int:
    """Begin one order, and say its process number."""
    _, streams, _, _ = socket.recv_fds(line, 1, 3)
    try:
        with line.makefile("r") as words:
            order = json.loads(words.readline())
    except (OSError, ValueError):
        for stream in streams:
            os.close(stream)
        raise
    pid = os.fork()
    if pid == 0:
        line.close()
        become(order, streams, program)
    for stream in streams:
        os.close(stream)
    with suppress(OSError):  # who asked was killed: the end of the line tells so
        line.sendall(f"{pid}\n".encode())
    return pid


def _kill(pid: int) -> None:
    """Kill a fork with its group, which it makes as its first act."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say_the_end(pid: int, line: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    with line:
        try:
            line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        except OSError:
            return  # who asked has given up, and killed it


def become(order: Mapping[str, Any], streams: list[int], program: Callable[[], int]) -> NoReturn:
    """Make this fork a run of the program; it ends with that."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [order.get("name", "windlass"), *order["argv"]]
    code = 1
    try:
        code = program()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import_all()
    serve(sys.argv[1], windlass)
