"""Real systemd: a user manager of the tests' own, in a temporary folder."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WITHIN = 20.0  # seconds for the manager to answer


@pytest.fixture(scope="session")
def systemd_manager() -> Iterator[dict[str, str]]:
    """Run `systemd --user` and return the environment that reaches it."""
    with user_manager() as env:
        yield env


@contextmanager
def user_manager() -> Iterator[dict[str, str]]:
    """Run `systemd --user` inside the block, and yield the environment that reaches it."""
    manager = Path("/lib/systemd/systemd")
    assert manager.exists(), "no systemd here: apt-get install systemd"
    booted = Path("/run/systemd/system")  # the manager refuses to start without it
    made = not booted.exists()
    booted.mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="wl-sd-"))
    env = {"XDG_RUNTIME_DIR": str(base / "run"), "XDG_CONFIG_HOME": str(base / "config")}
    (base / "run").mkdir(mode=0o700)
    (base / "config" / "systemd" / "user").mkdir(parents=True)
    child = subprocess.Popen(
        [str(manager), "--user"],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(env)
        yield env
    finally:
        child.send_signal(signal.SIGRTMIN + 24)  # "exit now", for a user manager
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        shutil.rmtree(base, ignore_errors=True)
        if made:
            booted.rmdir()


def _wait(env: dict[str, str]) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        answer = subprocess.run(
            ["systemctl", "--user", "list-units", "--no-pager"],
            env={**os.environ, **env},
            capture_output=True,
            check=False,
        )
        if answer.returncode == 0:
            return
        assert time.monotonic() < deadline, answer.stderr.decode()
        time.sleep(0.1)


@pytest.fixture
def unit(
    systemd_manager: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Return a function that writes a unit and starts it; `start=False` only writes."""
    for name, value in systemd_manager.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    directory = Path(systemd_manager["XDG_CONFIG_HOME"]) / "systemd" / "user"
    made: list[str] = []

    def write(
        name: str, exec_start: str, more: str = "", *, kind: str = "simple", start: bool = True
    ) -> str:
        (directory / name).write_text(f"[Service]\nType={kind}\nExecStart={exec_start}\n{more}\n")
        subprocess.run(["systemctl", "--user", "daemon-reload"], check=True)
        if start:
            subprocess.run(["systemctl", "--user", "start", name], check=False)
        if name not in made:
            made.append(name)
        return name

    yield write
    for name in made:
        subprocess.run(["systemctl", "--user", "stop", name], check=False, capture_output=True)
        subprocess.run(
            ["systemctl", "--user", "reset-failed", name], check=False, capture_output=True
        )
        (directory / name).unlink()
