"""Ends a wait for an answer that cannot arrive: the server is asked on another line meanwhile."""

import select
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.pq.abc import PGconn

from . import silence
from .silence import Silence

T = TypeVar("T")
Waiting = Generator[Any, Any, T]  # what psycopg waits with: it is told what the socket is ready for
Ask = Callable[[], silence.Sight]


def asking(waiting: Waiting[T], pgconn: PGconn, ask: Ask) -> Waiting[T]:
    """Do what `waiting` does; from time to time ask whether its answer can still arrive.

    Raises:
        psycopg.OperationalError: it cannot; the connection is closed then.

    """
    began = time.monotonic()
    seen, next_question = Silence(), silence.ASK_AFTER
    try:
        state = next(waiting)
        while True:
            ready = yield state
            seconds = time.monotonic() - began
            if not ready and seconds >= next_question:
                seen = seen.after(ask(), seconds=seconds, arrived=_arrived(pgconn))
                next_question = time.monotonic() - began + silence.ASK_EVERY
                _end_where(pgconn, seen.reason(seconds=time.monotonic() - began))
            state = waiting.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def within(waiting: Waiting[T], pgconn: PGconn, seconds: float) -> Waiting[T]:
    """Do what `waiting` does, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    try:
        state = next(waiting)
        while True:
            ready = yield state
            if not ready and time.monotonic() >= deadline:
                _end_where(pgconn, f"nothing arrived for {seconds:g} s")
            state = waiting.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def _arrived(pgconn: PGconn) -> bool:
    line = select.poll()
    line.register(pgconn.socket, select.POLLIN)
    return bool(line.poll(0))


def _end_where(pgconn: PGconn, reason: str) -> None:
    if reason:
        pgconn.finish()
        raise psycopg.OperationalError(f"the connection is given up: {reason}")
