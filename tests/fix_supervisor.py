"""Real supervisor: a supervisord of the tests' own for each program, on a Unix socket."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import warm

WITHIN = 60.0  # seconds for supervisord to start its processes
STARTED = re.compile(r"entered (?:RUNNING|FATAL) state")
# A process counts as RUNNING at once (startsecs): the state in which a death is easily missed.
CONFIG = """
[unix_http_server]
file={home}/s
[supervisord]
logfile={home}/log
pidfile={home}/pid
childlogdir={home}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/s
[program:api]
command=/bin/sh {home}/run %(process_num)d
process_name={name}
numprocs={processes}
stopwaitsecs=1
startsecs={startsecs}
startretries=0
{more}
"""


@pytest.fixture(scope="session")
def warm_supervisorctl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a `supervisorctl` that starts in a tenth of the time of its own."""
    real = shutil.which("supervisorctl")
    assert real, "tests/install-parts installs supervisor"
    python = Path(real).read_text().splitlines()[0].removeprefix("#!")
    directory = tmp_path_factory.mktemp("supervisor")
    warm.write_launcher(directory / "supervisorctl", warm.start(python, "tests.warm_supervisor"))
    return directory


@pytest.fixture
def supervised(
    warm_supervisorctl: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Return a function that runs a script as the program `api`, and returns the config file.

    The script's first argument is the number of the process, where there are several.
    """
    monkeypatch.setenv("PATH", f"{warm_supervisorctl}{os.pathsep}{os.environ['PATH']}")
    with ExitStack() as stack:

        def start(script: str, *, processes: int = 1, startsecs: int = 0, more: str = "") -> str:
            # A short path: that of a socket has at most 107 characters.
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-sv-")))
            (home / "run").write_text(script + "\n")
            name = "%(program_name)s" if processes == 1 else "n%(process_num)d"
            (home / "supervisord.conf").write_text(
                CONFIG.format(
                    home=home, name=name, processes=processes, startsecs=startsecs, more=more
                )
            )
            child = subprocess.Popen(
                ["supervisord", "-c", str(home / "supervisord.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_stop, child)
            _wait(home / "log", processes)
            return str(home / "supervisord.conf")

        yield start


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()  # supervisord stops its processes first
    child.wait(30)


def _wait(log: Path, processes: int) -> None:
    """Wait until every process has come up or was given up."""
    deadline = time.monotonic() + WITHIN
    while not log.exists() or len(STARTED.findall(log.read_text())) < processes:
        assert time.monotonic() < deadline, f"supervisord did not start its processes: see {log}"
        time.sleep(0.05)
