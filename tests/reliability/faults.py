"""What hits a run that stands at its place, and what makes it good again."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg

from tests.reliability import cells
from tests.reliability.bucket import Remote
from tests.reliability.cells import Fault
from tests.reliability.run import Run
from tests.reliability.world import World

MOMENT = 0.7  # seconds that a short fault lasts
TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'windlass%' and pid <> pg_backend_pid()
"""
# Hits a run; what the stack holds makes it good again when the run has ended.
Hit = Callable[[World, Run, ExitStack], None]


def hit(fault: Fault, world: World, run: Run, healing: ExitStack) -> None:
    """Let a fault happen to a run that stands at its place, and let the run go on."""
    HITS[fault](world, run, healing)
    run.go_on()


def _kill(_world: World, run: Run, _healing: ExitStack) -> None:
    run.signal(signal.SIGKILL)


def _term(_world: World, run: Run, _healing: ExitStack) -> None:
    run.signal(signal.SIGTERM)


def _twice(_world: World, run: Run, _healing: ExitStack) -> None:
    run.signal(signal.SIGTERM)
    run.go_on()
    time.sleep(0.03)  # the second one meets what the first one began
    run.signal(signal.SIGTERM)


def _child(_world: World, run: Run, _healing: ExitStack) -> None:
    pid = re.match(r"child (\d+) ", run.passed)
    assert pid is not None, run.passed
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        os.killpg(int(pid[1]), signal.SIGKILL)


def _restart(mode: str) -> Hit:
    def hit(world: World, _run: Run, _healing: ExitStack) -> None:
        world.current.restart(mode)

    return hit


def _terminate(world: World, _run: Run, _healing: ExitStack) -> None:
    world.current.execute(TERMINATE)


def _cut(world: World, _run: Run, _healing: ExitStack) -> None:
    world.proxy.refuse()
    world.proxy.heal()


def _hole(world: World, _run: Run, healing: ExitStack) -> None:
    """Let no packet through in either direction, for longer than any deadline of the run."""
    rules = [
        ["-p", "tcp", way, str(world.current.port), "-i", "lo", "-j", "DROP"]
        for way in ("--dport", "--sport")
    ]
    for rule in rules:
        subprocess.run(["iptables", "-w", "-I", "INPUT", *rule], check=True)
        healing.callback(subprocess.run, ["iptables", "-w", "-D", "INPUT", *rule], check=True)


def _too_many(world: World, _run: Run, healing: ExitStack) -> None:
    """Take every connection that the server has left, for a moment."""
    taken = ExitStack()
    with contextlib.suppress(psycopg.OperationalError):  # that was the last one
        while True:
            taken.enter_context(contextlib.closing(psycopg.connect(world.current.url())))
    over = threading.Timer(MOMENT, taken.close)
    over.start()
    healing.callback(over.join)


def _read_only(world: World, _run: Run, healing: ExitStack) -> None:
    world.current.execute(
        "alter system set default_transaction_read_only = on", "select pg_reload_conf()"
    )
    healing.callback(
        world.current.execute,
        "alter system reset default_transaction_read_only",
        "select pg_reload_conf()",
    )
    time.sleep(0.1)  # each session reads it when it is idle next


def _fill(place: Path) -> Path:
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def _disk(world: World, _run: Run, healing: ExitStack) -> None:
    healing.callback(_fill(world.base / "disk").unlink)


def _store_full(world: World, _run: Run, healing: ExitStack) -> None:
    healing.callback(_fill(world.base / "store").unlink)


def _store_gone(world: World, _run: Run, healing: ExitStack) -> None:
    """Take the directory away; whoever writes there meets a file."""
    aside = world.store.with_name("aside")
    there = world.store.exists()
    if there:
        world.store.rename(aside)
    world.store.write_text("")

    def bring_back() -> None:
        world.store.unlink()
        if there:
            aside.rename(world.store)

    healing.callback(bring_back)


def _failover(world: World, _run: Run, _healing: ExitStack) -> None:
    world.fail_over()


def _service(mode: str) -> Hit:
    def hit(world: World, _run: Run, healing: ExitStack) -> None:
        world.service.become(mode)
        healing.callback(world.service.become, "ok")

    return hit


def _nothing(_world: World, _run: Run, _healing: ExitStack) -> None:
    """A clock is wrong all the time."""


def _remote(wrong: Callable[[Remote], None]) -> Hit:
    def hit(world: World, _run: Run, healing: ExitStack) -> None:
        assert world.remote is not None
        wrong(world.remote)
        healing.callback(world.remote.heal)

    return hit


HITS: dict[Fault, Hit] = {
    cells.KILL: _kill,
    cells.TERM: _term,
    cells.TWICE: _twice,
    cells.CHILD: _child,
    cells.FAST: _restart("fast"),
    cells.IMMEDIATE: _restart("immediate"),
    cells.TERMINATE: _terminate,
    cells.CUT: _cut,
    cells.HOLE: _hole,
    cells.FULL_HOUSE: _too_many,
    cells.READ_ONLY: _read_only,
    cells.DISK: _disk,
    cells.FAILOVER: _failover,
    cells.VANISHED: _store_gone,
    cells.STORE_FULL: _store_full,
    cells.STORE_REFUSES: _remote(Remote.refuse),
    cells.STORE_SLOW: _remote(Remote.be_slow),
    cells.STORE_CUT: _remote(Remote.cut),
    cells.STORE_CORRUPTS: _remote(Remote.corrupt),
    cells.HANGING: _service("hanging"),
    cells.FLAPPING: _service("flapping"),
    cells.DEAD: _service("sick"),
    cells.AHEAD: _nothing,
    cells.BEHIND: _nothing,
}
CLOCKS = {cells.AHEAD: 3600.0, cells.BEHIND: -3600.0}
