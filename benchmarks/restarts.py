"""Requests that a restart loses, by driver: the same service, asked twenty times a second.

Run: .venv/bin/python -m benchmarks.restarts [ROUNDS]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    ComposeRestart,
    DockerRestart,
    RestartConfig,
    SmokeCheck,
    SmokeConfig,
    SupervisorRestart,
    SystemdRestart,
)
from pgwindlass.deployment.probing import Watch
from pgwindlass.plan.probe import Tally
from pgwindlass.restarters import open_restarter
from pgwindlass.smoke import run_checks
from tests.fix_docker import IMAGE, docker, dockerd
from tests.fix_restarting import free_port
from tests.fix_supervisor import CONFIG
from tests.fix_systemd import user_manager

SETTLE, WITHIN = Duration(1.0), Duration(60)
PYTHON = "/usr/bin/python3"  # the system's, which a container can be lent
# It listens on the port of its argument, or on the socket that systemd hands to it, and ends at
# once when it is asked to. Several may listen on one port.
SERVE = """\
import http.server, os, signal, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): ...
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
if os.environ.get("LISTEN_FDS"):
    server.socket = socket.socket(fileno=3)
else:
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.socket.bind(("127.0.0.1", int(sys.argv[1])))
    server.server_activate()
server.serve_forever(0.02)
"""
LENT = ("/usr", "/lib", "/lib64", "/etc")


class Bench:
    """What the services need while they run; each is the configuration that restarts it."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self.stack = home, stack
        (home / "serve.py").write_text(SERVE)
        self.units: Path | None = None
        self.docker_host = ""

    def command(self, port: int) -> str:
        """Return the command line of the service on a port."""
        return f"{PYTHON} -S -E {self.home}/serve.py {port}"

    def manager(self) -> Path:
        """Return the directory of the units of a user manager that runs."""
        if self.units is None:
            env = self.stack.enter_context(user_manager())
            os.environ.update(env)
            os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
            self.units = Path(env["XDG_CONFIG_HOME"]) / "systemd" / "user"
        return self.units

    def unit(self, name: str, command: str, more: str = "") -> None:
        """Write a unit and start it."""
        directory = self.manager()
        (directory / f"{name}.service").write_text(f"[Service]\nExecStart={command}\n{more}\n")
        systemctl("daemon-reload")
        systemctl("start", f"{name}.service")

    def systemd(self, port: int) -> RestartConfig:
        """Return one unit."""
        self.unit("one", self.command(port))
        return SystemdRestart(unit="one.service", user=True, settle=SETTLE, within=WITHIN)

    def activated(self, port: int) -> RestartConfig:
        """Return a unit whose socket systemd keeps open."""
        (self.manager() / "held.socket").write_text(f"[Socket]\nListenStream=127.0.0.1:{port}\n")
        (self.manager() / "held.service").write_text(f"[Service]\nExecStart={self.command(0)}\n")
        systemctl("daemon-reload")
        systemctl("start", "held.socket", "held.service")
        return SystemdRestart(unit="held.service", user=True, settle=SETTLE, within=WITHIN)

    def members(self, port: int) -> RestartConfig:
        """Return two units that listen on one port, restarted one after the other."""
        for name in ("first", "second"):
            self.unit(name, self.command(port))
        units = ("first.service", "second.service")
        return SystemdRestart(units=units, user=True, settle=SETTLE, within=WITHIN)

    def supervisor(self, port: int) -> RestartConfig:
        """Return a program under a supervisord of its own."""
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-sv-")))
        (directory / "run").write_text(f"exec {self.command(port)}\n")
        file, name = directory / "supervisord.conf", "%(program_name)s"
        text = CONFIG.format(home=directory, name=name, processes=1, startsecs=0, more="")
        file.write_text(text)
        child = subprocess.Popen(
            ["supervisord", "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.stack.callback(child.wait)
        self.stack.callback(child.terminate)
        return SupervisorRestart(program="api", config=str(file), settle=SETTLE, within=WITHIN)

    def daemon(self) -> str:
        """Return the DOCKER_HOST of a daemon that runs."""
        self.docker_host = self.docker_host or self.stack.enter_context(dockerd())
        return self.docker_host

    def docker(self, port: int) -> RestartConfig:
        """Return a container."""
        mounts = [f"--volume={path}:{path}:ro" for path in (*LENT, str(self.home))]
        options = ("--network=host", "--name", "one", *mounts)
        host = self.daemon()
        docker(host, "run", "-d", *options, IMAGE, f"exec {self.command(port)}")
        return DockerRestart(container="one", host=host, settle=SETTLE, within=WITHIN)

    def compose(self, port: int) -> RestartConfig:
        """Return a service of a compose file."""
        host, file = self.daemon(), self.home / "compose.yml"
        service = {
            "image": IMAGE,
            "network_mode": "host",
            "command": [f"exec {self.command(port)}"],
            "volumes": [f"{path}:{path}:ro" for path in (*LENT, str(self.home))],
        }
        file.write_text(json.dumps({"version": "2.4", "services": {"api": service}}))
        command = ["docker-compose", "-f", str(file), "-p", "bench", "up", "-d"]
        env = {**os.environ, "DOCKER_HOST": host}
        subprocess.run(command, env=env, check=True, capture_output=True)
        return ComposeRestart(
            service="api",
            file=str(file),
            project_name="bench",
            host=host,
            settle=SETTLE,
            within=WITHIN,
        )


def systemctl(*arguments: str) -> None:
    """Run systemctl on the user manager."""
    subprocess.run(["systemctl", "--user", *arguments], check=True)


def once(config: RestartConfig, port: int) -> tuple[Tally, float]:
    """Restart once; return what the probe's requests came to, and the seconds of the restart."""
    smoke = SmokeConfig(
        base_url=f"http://127.0.0.1:{port}", checks=(SmokeCheck(get="/"),), pause=Duration(0.05)
    )
    run_checks(smoke, progress=lambda _done, _total: None)
    watch, began = Watch(), time.monotonic()
    watch.start(smoke)
    open_restarter(config).restart()
    run_checks(smoke, progress=lambda _done, _total: None)
    counted = watch.stop()
    if counted is None:
        raise AssertionError(watch.absent)
    return counted, time.monotonic() - began


@contextmanager
def bench() -> Iterator[Bench]:
    """Yield what the services need; all of it is ended after the block."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-bench-")))
        home.chmod(0o755)
        yield Bench(home, stack)


def main() -> None:
    """Print a row of a Markdown table for each driver; in each round every driver has a turn."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with bench() as made:
        drivers = {
            "docker": made.docker,
            "docker compose": made.compose,
            "systemd": made.systemd,
            "systemd, socket activation": made.activated,
            "systemd, two units on one port": made.members,
            "supervisor": made.supervisor,
        }
        ports = {name: free_port() for name in drivers}
        configs = {name: drive(ports[name]) for name, drive in drivers.items()}
        results: dict[str, list[tuple[Tally, float]]] = {name: [] for name in drivers}
        for _ in range(rounds):
            for name, config in configs.items():
                results[name].append(once(config, ports[name]))
    print("| driver | asked | lost | longest gap | slowest answer | restart |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in results.items():
        asked = ", ".join(str(counted.asked) for counted, _ in each)
        lost = ", ".join(str(counted.lost) for counted, _ in each)
        gap = max(counted.longest_gap for counted, _ in each)
        slowest = max(counted.slowest for counted, _ in each)
        took = max(seconds for _, seconds in each)
        print(f"| {name} | {asked} | {lost} | {gap:.2f} s | {slowest:.2f} s | {took:.1f} s |")


if __name__ == "__main__":
    main()
