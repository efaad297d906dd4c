"""A service manager of forty lines for the demonstration: start, restart, stop, identity.

A real deployment restarts through systemd, docker, compose or kubectl; a machine that has only
Python has none of them, so the demonstration uses the driver `command` with this program.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run `python -m sample.service ACTION DIRECTORY`.

    The API's settings are in DIRECTORY/environment, a NAME=value line each.
    """
    action, directory = sys.argv[1], Path(sys.argv[2])
    pidfile = directory / "api.pid"
    if action in ("stop", "restart"):
        _stop(pidfile)
    if action in ("start", "restart"):
        _start(directory, pidfile)
    if action == "identity":
        pid = _pid(pidfile)
        print(f"{pid} since {Path(f'/proc/{pid}').stat().st_ctime_ns}" if pid else "down")


def _start(directory: Path, pidfile: Path) -> None:
    lines = (directory / "environment").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    with (directory / "api.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "sample.api"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
            start_new_session=True,
        )
    pidfile.write_text(str(child.pid))


def _stop(pidfile: Path) -> None:
    pid = _pid(pidfile)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while _pid(pidfile) and time.monotonic() < deadline:
        time.sleep(0.02)


def _pid(pidfile: Path) -> int | None:
    """Return the pid of the running API; None where it is down."""
    try:
        pid = int(pidfile.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else pid


if __name__ == "__main__":
    main()
