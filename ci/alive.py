"""Processes that may outlive us: which machine they are on, whether they live, how they end."""

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GRACE = 5.0  # seconds between SIGTERM and SIGKILL, and for the kernel to take it away
POLL = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a process id means what it means here: a machine since its start, and one view of it.

    `boot` is of both: a container has a view of its own. Empty where neither can be known.
    """

    host: str
    boot: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A child that shall outlive us. Its number may be used again; with its start time it is one.

    `pid` is its group's too; `started` is as the kernel counts, and empty where it does not say.
    """

    pid: int
    started: str


@cache
def machine() -> Machine:
    """Return which machine this is."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        view = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        return Machine(socket.gethostname(), "")
    return Machine(socket.gethostname(), f"{boot} {view}")


def started_at(pid: int) -> str:
    """Return when a process began, as the kernel counts; empty where it has ended."""
    try:
        # Its name may hold spaces and brackets: what follows counts from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def lives(child: Alive) -> bool:
    """Tell whether it is still the same process, and has not ended."""
    return bool(child.started) and started_at(child.pid) == child.started


def wait(child: Alive, within: float) -> bool:
    """Wait for the end of one that is not ours to wait for; False where it is not over in time."""
    deadline = time.monotonic() + within
    while lives(child):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


def end(child: Alive) -> bool:
    """End it with its group, politely first; False where it lives on."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not lives(child):
            return True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        wait(child, GRACE)
    return not lives(child)
