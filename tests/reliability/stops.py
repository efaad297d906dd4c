"""Runs of `windlass` that stop where they are told, and wait until somebody says how it goes on.

A run says what it passes: statements, children, objects of the store, steps. Where that is what a
gate waits for, the run tells the gate and waits. So a fault meets a run exactly there.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from threading import Lock
from typing import Any

from tests.warm import import_all, serve, windlass

VARIABLE = "WINDLASS_TEST_STOP"
GO, STEP = b"go", b"step"  # to the end; to the next thing that matches
LONGEST = 300  # characters of a statement that are told


@dataclass(frozen=True)
class Halt:
    """Where a run shall stop, and how wrong its clock is."""

    pattern: str = ""  # nowhere
    number: int = 1
    clock: float = 0.0


NOWHERE = Halt()


@dataclass
class Stop:
    """Where a run stops: at the `number`-th thing it passes that matches."""

    pattern: str
    gate: str  # a Unix socket; empty: nowhere
    number: int = 1
    clock: float = 0.0  # seconds that this run's clock is ahead
    passed: int = 0
    lock: Lock = field(default_factory=Lock)

    def at(self, text: str) -> None:
        """Wait at the gate, where this is the place."""
        if not self.gate or not re.search(self.pattern, text):
            return
        with self.lock:
            self.passed += 1
            if self.passed != self.number:
                return
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.gate)
            line.sendall(text.encode()[:2000] + b"\n")
            if line.recv(16) == STEP:
                self.number += 1


def _around(kind: type, name: str, stop: Stop, text: Callable[..., str]) -> None:
    """Tell before and after each call of a method; a text that is empty is not told."""
    method = getattr(kind, name)

    def call(*arguments: Any, **more: Any) -> Any:
        told = text(*arguments, **more)
        if told:
            stop.at(f"before {told}")
        result = method(*arguments, **more)
        if told:
            stop.at(f"after {told}")
        return result

    setattr(kind, name, call)


def _statement(cursor: Any, query: Any, parameters: Any = None, **_: Any) -> str:
    text = query if isinstance(query, str) else ""
    if isinstance(query, bytes):
        text = query.decode(errors="replace")
    elif not text:
        text = query.as_string(None)
    return f"sql {' '.join(text.split())[:LONGEST]} {parameters or ''}"


def _child(self: subprocess.Popen[Any], argv: Any, *_: Any, **__: Any) -> str:
    pid = f"{self.pid} " if hasattr(self, "pid") else ""
    words = [argv] if isinstance(argv, str) else [str(word) for word in argv]
    return f"child {pid}{Path(words[0]).name} {' '.join(words[1:])}"


def _popen(stop: Stop) -> None:
    begin = subprocess.Popen.__init__

    def start(self: Any, argv: Any, *arguments: Any, **more: Any) -> None:
        begin(self, argv, *arguments, **more)
        stop.at(_child(self, argv))

    setattr(subprocess.Popen, "__init__", start)  # noqa: B010  # in a fork, for one run


def _alembic(stop: Stop) -> None:
    """Tell what the child of Alembic tells: that a revision begins, a statement, its end."""
    from pgwindlass.engines.alembic import pipe

    begin = pipe._Conversation.__init__

    def start(self: Any, talk: Any, messages: Any, listen: Any, listening: Any) -> None:
        def told(event: Any, session: Any) -> Any:
            pid, text = talk._child.pid, " ".join(str(event.get("sql", "")).split())
            stop.at(f"child {pid} alembic {event['at']} {text[:LONGEST]}")
            return listen(event, session)

        begin(self, talk, messages, told, listening)

    setattr(pipe._Conversation, "__init__", start)  # noqa: B010  # in a fork, for one run


def install(stop: Stop) -> None:
    """Make this process tell what it passes."""
    import psycopg

    from pgwindlass.report.console import Console
    from pgwindlass.stores.directory import DirectoryStore
    from pgwindlass.stores.s3 import S3Store

    _around(psycopg.Cursor, "execute", stop, _statement)
    for store in (DirectoryStore, S3Store):
        for verb in ("write", "delete"):
            _around(store, verb, stop, lambda _, key, *__, verb=verb, **___: f"store {verb} {key}")
    _around(
        Console,
        "started",
        stop,
        lambda _, step, *, undo=False: f"step {'undo ' * undo}{step}",
    )
    _around(
        Console, "finished", stop, lambda _, result: f"end {'undo ' * result.undo}{result.step}"
    )
    _popen(stop)
    _alembic(stop)


class _Shifted(datetime):
    """A clock that is wrong by some seconds."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never naive
        return datetime.now(tz or UTC) + cls.ahead


def shift(seconds: float) -> None:
    """Make the clock of our own modules wrong, as that of a runner is."""
    _Shifted.ahead = timedelta(seconds=seconds)
    for name, module in list(sys.modules.items()):
        if name.startswith("pgwindlass") and getattr(module, "datetime", None) is datetime:
            module.datetime = _Shifted  # type: ignore[attr-defined]  # it is there
    right = time.time
    time.time = lambda: right() + seconds


def program() -> int:
    """Run `windlass`; what its environment says of stops is not for it."""
    order = os.environ.pop(VARIABLE, "")
    if order:
        stop = Stop(**json.loads(order))
        install(stop)
        if stop.clock:
            shift(stop.clock)
    try:
        return windlass()
    finally:
        # A fork ends without what an interpreter does at its end.
        getattr(weakref.finalize, "_exitfunc")()  # noqa: B009  # typeshed does not have it


def _be_where_orphans_go() -> None:
    """Become the parent of what killed runs leave, so that it can be looked for there."""
    import ctypes

    PR_SET_CHILD_SUBREAPER = 36  # noqa: N806  # its name in Linux
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl")


if __name__ == "__main__":
    import_all()
    _be_where_orphans_go()
    serve(sys.argv[1], program)
