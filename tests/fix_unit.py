"""What the mark `unit` means: our own code alone. Such a test starts no child, opens no connection.

`make check` runs these tests. One that needs a part fails, wherever it runs, and names the part.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
import pytest

# As Python's audit events have them.
PARTS = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "socket.__new__",
    "socket.getaddrinfo",
    "subprocess.Popen",
)


class Watch:
    """Looks whether a part is used, while a unit test runs."""

    def __init__(self) -> None:
        self.used: list[str] = []
        self._on = False
        self._others: set[int | None] = set()  # threads of parts that other tests have started

    def hear(self, event: str, _arguments: Any) -> None:
        """Fail where a part is used."""
        if self._on and event in PARTS and threading.get_ident() not in self._others:
            self.used.append(event)
            pytest.fail(f"a unit test needs no part; this one used {event}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look for as long as the block runs; at its end, tell what other threads used."""
        here = threading.get_ident()
        self._others = {one.ident for one in threading.enumerate()} - {here}
        self.used, self._on = [], True
        try:
            yield
        finally:
            self._on = False
        assert not self.used, f"a unit test needs no part; a thread of this one used {self.used}"


WATCH = Watch()


def pytest_configure() -> None:
    _listen()


@cache  # once in a process: no hook goes away again
def _listen() -> None:
    sys.addaudithook(WATCH.hear)
    # libpq opens its sockets by itself, and Python hears of none.
    bound: Any = psycopg.Connection._connect_gen
    connect = bound.__func__

    def heard(cls: type[psycopg.Connection], *arguments: Any, **more: Any) -> Any:
        WATCH.hear("socket.__new__", arguments)
        return connect(cls, *arguments, **more)  # of the class that connects: ours stays ours

    psycopg.Connection._connect_gen = classmethod(heard)  # type: ignore[assignment,method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _watched(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _watched(item))


def _watched(item: pytest.Item) -> Iterator[None]:
    if item.get_closest_marker("unit") is None:
        return (yield)
    with WATCH.watching():
        return (yield)
