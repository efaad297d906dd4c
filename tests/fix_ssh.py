"""A real sshd on a port of the loopback, and an `ssh` that knows it by two names."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fix_restarting import free_port

SSHD = Path("/usr/sbin/sshd")  # it refuses a relative path
WITHIN = 20.0  # seconds to answer
SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host
PidFile {home}/pid
AuthorizedKeysFile {home}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv XDG_RUNTIME_DIR={runtime}
"""
CLIENT = """\
Host {names}
  HostName 127.0.0.1
  Port {port}
  IdentityFile {home}/key
  IdentitiesOnly yes
  UserKnownHostsFile {home}/known
  StrictHostKeyChecking no
  LogLevel ERROR
"""
NAMES = ("wl-host-1", "wl-host-2")


@pytest.fixture
def ssh_hosts(
    tmp_path: Path, systemd_manager: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, ...]]:
    """Return names by which ssh reaches an sshd whose sessions have the tests' user manager."""
    assert SSHD.exists(), "no sshd here: apt-get install openssh-server"
    home, port = tmp_path / "ssh", free_port()
    (home / "bin").mkdir(parents=True)
    for name in ("host", "key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
        subprocess.run(make, check=True)
    server = SERVER.format(port=port, home=home, runtime=systemd_manager["XDG_RUNTIME_DIR"])
    (home / "sshd_config").write_text(server)
    (home / "config").write_text(CLIENT.format(names=" ".join(NAMES), port=port, home=home))
    (home / "bin" / "ssh").write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/config "$@"\n'
    )
    (home / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    separation = Path("/run/sshd")  # sshd does not start without it
    separation.mkdir(exist_ok=True)
    argv = [str(SSHD), "-D", "-f", str(home / "sshd_config"), "-E", str(home / "log")]
    with subprocess.Popen(argv) as child:
        try:
            _wait(port, home / "log")
            yield NAMES
        finally:
            child.terminate()


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "no log"
        time.sleep(0.05)
