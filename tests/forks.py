"""Many starts of `windlass` from one warm interpreter: forty a second instead of three.

Run as a program it reads one JSON order per line and answers with one: how the children ended.
A child is a fork that runs the real `main` in its own directory and environment.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from tests.warm import become, import_all, windlass

NUMBERS = count()  # of orders
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Forks:
    """The warm interpreter."""

    process: "subprocess.Popen[str]"

    def run(self, *argv: str, cwd: Path, env: dict[str, str], **more: Any) -> list[dict[str, Any]]:
        """Start `count` children at once and return the code and the words of each.

        `kill_after` (seconds) kills them; `seen` names a file with the boundaries that a child has
        passed: it kills itself at the `each`-th one that is not in it. `at` names one boundary of a
        step (see `_end_at`), and `by` the signal that is sent there. `statement` is the number
        of a boundary of our own statements, two for each: there it is killed, or with `how` "cut"
        loses the line; `counted` names a file that gets the number of the last one.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        number = next(NUMBERS)
        order = {"number": number, "argv": argv, "cwd": str(cwd), "env": env, **more}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        while True:  # what a test did not wait for, because its time was over, is another's answer
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
            if answer["number"] == number:
                ends: list[dict[str, Any]] = answer["ends"]
                return ends


@contextmanager
def _warm() -> Iterator[Forks]:
    """Start the interpreter; it ends with the block."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Forks(child)
    finally:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.close()
        child.wait(20)
        child.stdout.close()


@pytest.fixture(scope="session")
def warm() -> Iterator[Forks]:
    """Return the warm interpreter, one for the session."""
    with _warm() as found:
        yield found


def _serve() -> None:
    import_all()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        children = [_fork(order) for _ in range(order.get("count", 1))]
        ends = [_end(pid, words, order.get("kill_after")) for pid, words in children]
        answer = {"number": order["number"], "ends": ends}
        print(json.dumps(answer), flush=True)  # noqa: T201  # the answer


def _fork(order: dict[str, Any]) -> tuple[int, IO[str]]:
    words = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by _end
    pid = os.fork()
    if pid == 0:
        _child(order, words)
    return pid, words


def _child(order: dict[str, Any], words: IO[str]) -> NoReturn:
    def program() -> int:
        if order.get("statement"):
            counted = Path(order["counted"]) if "counted" in order else None
            end_at_a_statement(order["statement"], order.get("how", "kill"), counted)
        if order.get("seen"):
            _kill_at_a_new_boundary(Path(order["seen"]), order.get("each", 1))
        if order.get("at"):
            _end_at(order["at"], order.get("by", signal.SIGKILL))
        return windlass()

    with Path(os.devnull).open() as nothing:
        become(order, [nothing.fileno(), words.fileno(), words.fileno()], program)


def _end(pid: int, words: IO[str], kill_after: float | None) -> dict[str, Any]:
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with words:
        words.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "words": words.read()}


def _kill_at_a_new_boundary(seen: Path, each: int) -> None:
    """Make this process kill itself before or after a statement or record, at each `each`-th.

    `seen` has those that were passed, or killed at.
    """
    from pgwindlass.engines.sql import bookkeeping, concurrently, partial
    from pgwindlass.engines.sql import run as sqlrun

    known = set(seen.read_text().splitlines()) if seen.exists() else set()

    def at(boundary: str) -> None:
        if boundary in known:
            return
        known.add(boundary)
        with seen.open("a") as file:
            file.write(boundary + "\n")
        if len(known) % each == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(module: Any, name: str, key: Any) -> None:
        function = getattr(module, name)

        def run(*arguments: Any, **more: Any) -> Any:
            at(f"before {name} {key(*arguments)}")
            found = function(*arguments, **more)
            at(f"after {name} {key(*arguments)}")
            return found

        setattr(module, name, run)

    around(sqlrun, "_sent", lambda job, _c, statement, _t: job.place(statement))
    around(concurrently, "run_watched", lambda _c, _d, sql, *_: sql)
    around(partial, "note_begun", lambda _c, name, _d, _f, number: f"{name} {number}")
    around(partial, "note_finished", lambda _c, name, _d, _f, number: f"{name} {number}")
    around(bookkeeping, "record", lambda _h, _c, migration, _d: migration.name)


def _end_at(boundary: str, by: int) -> None:
    """Send this process a signal at a boundary, the first time it comes there.

    "before" and "after": "begin STEP" and "finish STEP", records of the journal; "undo STEP" for a
    step that is taken back; "file NAME", a migration or its rollback of SQL;
    "item NAME", what is told of a migration of any engine; of a task beside the deployments
    "use", its approval, "load", a backup, "swap", and "record", a correction.
    """
    from pgwindlass.deployment import journal, nonces, restores, swaps
    from pgwindlass.engines.sql import run as sqlrun
    from pgwindlass.report.console import Console

    sent = False

    def at(here: str) -> None:
        nonlocal sent
        if here == boundary and not sent:
            sent = True
            os.kill(os.getpid(), by)

    def around(home: Any, name: str, key: Any) -> None:
        function = getattr(home, name)

        def run(*arguments: Any, **more: Any) -> Any:
            here = key(*arguments, **more)
            at(f"before {here}")
            value = function(*arguments, **more)
            at(f"after {here}")
            return value

        setattr(home, name, run)

    def begun(_journal: Any, step: Any, _at: Any, *, undo: bool = False, **_: Any) -> str:
        return f"{'undo' if undo else 'begin'} {step}"

    def finished(_journal: Any, _ordinal: int, result: Any) -> str:
        return f"{'undone' if result.undo else 'finish'} {result.step}"

    around(journal.Journal, "begin", begun)
    around(journal.Journal, "finish", finished)
    around(journal.Journal, "close", lambda _journal, record: f"close {record.status}")
    around(sqlrun, "run_file", lambda job, *_: f"file {job.migration.name}")
    around(nonces, "use", lambda *_: "use")
    around(restores, "restore_backup", lambda *_, **__: "load")
    around(swaps, "swap_databases", lambda *_: "swap")
    around(journal, "record_correction", lambda *_: "record")
    around(Console, "item", lambda _console, _step, what, *_: f"item {what}")


def end_at_a_statement(number: int, how: str, counted: Path | None = None) -> None:
    """Make this process kill itself, or lose its line, before or after one of its statements.

    `counted` is a file that gets the number of each boundary that was passed.
    """
    import psycopg

    execute, passed = psycopg.Connection.execute, count(1)

    def at(connection: Any) -> None:
        here = next(passed)
        if counted is not None:
            counted.write_text(str(here))
        if here != number:
            return
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def watched(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        at(self)
        cursor = execute(self, query, *arguments, **more)
        at(self)
        return cursor

    psycopg.Connection.execute = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    _serve()
