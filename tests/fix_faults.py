"""Between boto3 and an S3 server: answers as a failing store does, or changes what passes.

And moto, the simulator, for what rclone's server does not do: conditions, tags, object lock.
"""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from tests.fix_s3 import READY_WITHIN, free_port

ERROR = "<Error><Code>{code}</Code><Message>{code} on purpose</Message></Error>"


@dataclass
class Rule:
    """Which requests are hit: method and path with query match, from one to another."""

    pattern: str
    answer: "tuple[int, str] | Callable[[bytes], bytes]"  # status and code; or the body, changed
    first: int = 1
    last: int = 1_000_000
    seen: int = 0


@dataclass
class Faults:
    """The address to give to boto3, and what goes wrong there."""

    port: int
    upstream: int
    rules: list[Rule] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(
        self, pattern: str, status: int, code: str, *, first: int = 1, last: int = 1_000_000
    ) -> None:
        """Answer matching requests, counted from `first` to `last`, with an error of S3's."""
        self.rules.append(Rule(pattern, (status, code), first, last))

    def change(
        self, pattern: str, how: Callable[[bytes], bytes], *, first: int = 1, last: int = 1_000_000
    ) -> None:
        """Pass matching requests on with another body, as a broken proxy or disk would."""
        self.rules.append(Rule(pattern, how, first, last))

    def hit(self, request: str) -> Rule | None:
        with self.lock:
            for rule in self.rules:
                if re.search(rule.pattern, request):
                    rule.seen += 1
                    if rule.first <= rule.seen <= rule.last:
                        return rule
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {self.path}"
        self.faults.requests.append((request, dict(self.headers.items())))
        rule = self.faults.hit(request)
        if rule is not None and isinstance(rule.answer, tuple):
            status, code = rule.answer
            said = ERROR.format(code=code).encode()
            self._reply(status, {"Content-Type": "application/xml"}, said)
            return
        if rule is not None and not isinstance(rule.answer, tuple):
            body = rule.answer(body)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect",)}
        headers["Content-Length"] = str(len(body))
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.faults.upstream)
        ) as upstream:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            self._reply(answer.status, dict(answer.getheaders()), answer.read())

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        # The length of a HEAD's answer is the object's.
        known = {name.lower(): value for name, value in headers.items()}
        length = known.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


@pytest.fixture
def faults() -> Iterator[Callable[[int], Faults]]:
    """Return a function that stands between boto3 and the server on a port."""
    started: list[Server] = []

    def start(upstream: int) -> Faults:
        found = Faults(port=0, upstream=upstream)
        handler = type("Bound", (Handler,), {"faults": found})
        server = Server(("127.0.0.1", 0), handler)
        started.append(server)
        found.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return found

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """The port of the session's moto."""
    port = free_port()
    log = Path(tempfile.mkdtemp(prefix="wl-moto-")) / "log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)],
            stdout=out,
            stderr=out,
            env={**os.environ, "S3_UPLOAD_PART_MIN_SIZE": "1024"},
        )
    deadline = time.monotonic() + READY_WITHIN
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        assert child.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield port
    child.terminate()
    child.wait(10)


@pytest.fixture
def moto_bucket(moto_port: int, s3_credentials: None) -> str:
    """The name of an empty bucket of moto's, with versions and object lock."""
    name = f"m-{os.urandom(6).hex()}"
    with contextlib.closing(
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}")
    ) as client:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; needs root, and a kernel that lets root mount."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)
