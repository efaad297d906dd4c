"""A plugin of pytest that runs the tests of each mutant, each in a fork of the process that
collected them all: to collect takes far longer than to run what one mutant needs.

It is given a copy of the package as mutmut has changed it, with what mutmut has learnt: which tests
call which function. What it finds out is kept where mutmut keeps it, as exit codes by mutant.
"""

import contextlib
import fnmatch
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol  # as pytest-forked and pytest-rerunfailures use it
from mutmut.mutation.trampoline import set_mutant_under_test

NOT_REACHED = 33  # as mutmut has it
CPU, WALL = 2, 300  # seconds at most, beside what the tests took: a mutant may never end


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--children", type=int, help="processes at once")
    parser.addoption("--mutants", action="append", default=[], help="patterns of their names")
    parser.addoption("--near", help="JSON: the file of tests to begin with, by module")


def pytest_runtestloop(session: pytest.Session) -> bool:
    learnt = json.loads(Path("mutmut-stats.json").read_text())
    tests = Tests(
        items={item.nodeid: item for item in session.items},
        calls=learnt["tests_by_mangled_function_name"],
        seconds=learnt["duration_by_test"],
        near=json.loads(session.config.getoption("near")),
    )
    gc.freeze()  # else the first collection of each fork copies all memory
    patterns = session.config.getoption("mutants") or ["*"]
    for record in sorted(Path("pgwindlass").rglob("*.meta")):
        content = json.loads(record.read_text())
        codes: dict[str, int | None] = content["exit_code_by_key"]
        wanted = [
            name
            for name, code in codes.items()
            if code is None and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        ]
        codes |= results(tests, wanted, session.config.getoption("children"))
        record.write_text(json.dumps(content))
        sys.stdout.write(f"{record.with_suffix('')}: {len(wanted)} mutants\n")
        sys.stdout.flush()
    return True


@dataclass(frozen=True)
class Tests:
    """All tests, by their names; and what is known of them."""

    items: dict[str, pytest.Item]
    calls: dict[str, list[str]]  # function -> tests
    seconds: dict[str, float]
    near: dict[str, str]

    def of(self, mutant: str) -> tuple[str, ...]:
        """Return the tests that call its function: those of its module first, and the fast."""
        function = mutant.partition("__mutmut_")[0]
        first = self.near[function.rpartition(".")[0]]
        called = (name for name in self.calls.get(function, ()) if name in self.items)
        return tuple(
            sorted(called, key=lambda name: (not name.startswith(first), self.seconds[name]))
        )


def results(tests: Tests, mutants: Sequence[str], children: int) -> dict[str, int]:
    """Return the exit code of each: 0 where no test failed, below 0 the signal that ended it."""
    codes: dict[str, int] = {}
    running: dict[int, str] = {}
    waiting = [*mutants]
    while waiting or running:
        if waiting and len(running) < children:
            mutant = waiting.pop()
            names = tests.of(mutant)
            if names:
                running[start(tests, mutant, names)] = mutant
            else:
                codes[mutant] = NOT_REACHED
        else:
            process, status = os.wait()
            codes[running.pop(process)] = os.waitstatus_to_exitcode(status)
    return codes


def start(tests: Tests, mutant: str, names: Sequence[str]) -> int:
    """Start a process that runs the tests of a mutant up to the first that fails."""
    process = os.fork()
    if process:
        return process
    code = 1
    with contextlib.suppress(BaseException):  # whatever it is, the mutant was noticed
        limit = CPU + int(time.process_time() + sum(tests.seconds[name] for name in names))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        signal.alarm(WALL)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        set_mutant_under_test(mutant)
        code = int(any(fails(tests.items[name]) for name in names))
    os._exit(code)


def fails(item: Any) -> bool:
    """Run one test; tell whether it fails."""
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))
