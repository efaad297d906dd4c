"""A real service on a port: a program that a restart ends and starts anew."""

import socket
import sys
from pathlib import Path

# {down} seconds pass between the old one's end and the new one's listening.
RESTART = """\
import os, pathlib, signal, subprocess, sys, time
home = pathlib.Path({home!r})
pid = home / "pid"
if pid.exists():
    os.kill(int(pid.read_text()), signal.SIGKILL)
time.sleep({down})
child = subprocess.Popen([sys.executable, "-S", home / "serve.py"], start_new_session=True,
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
pid.write_text(str(child.pid))
"""
SERVE = """\
import http.server, pathlib, socketserver
home = pathlib.Path({home!r})
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): ...
    def do_GET(self):
        if self.headers.get("X-Probe-Token"):
            with (home / "tokens").open("a") as file:
                file.write(self.headers["X-Probe-Token"] + "\\n")
        self.send_response(200)
        self.send_header("Content-Length", "16")
        self.end_headers()
        self.wfile.write(b'{{"status": "ok"}}')
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
Server(("127.0.0.1", {port}), Handler).serve_forever(0.02)
"""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def write_service(home: Path, *, down: float) -> tuple[tuple[str, ...], str]:
    """Write a service into a directory; return the command that restarts it, and its address."""
    port = free_port()
    (home / "serve.py").write_text(SERVE.format(home=str(home), port=port))
    (home / "restart.py").write_text(RESTART.format(home=str(home), down=down))
    return (sys.executable, "-S", str(home / "restart.py")), f"http://127.0.0.1:{port}"
