"""A TCP proxy on loopback with faults: refuse, cut, stall, corrupt. For S3 and for PostgreSQL."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

Direction = Literal["up", "down"]  # to the server; to the client
Upstream = tuple[str, int] | Path  # address, or Unix socket
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, as a broken line does


@dataclass(frozen=True)
class Fault:
    """What to do, and when: after `after` bytes in one direction, or once `pattern` passes by."""

    kind: Literal["cut", "stall", "corrupt", "trickle"]
    direction: Direction
    after: int = 0  # bytes since the fault was set, over all connections
    pattern: bytes = b""  # instead of `after`; only the connection that carries it is hit
    once: bool = False  # of a pattern: the first hit is the last


class Proxy:
    """Listens on 127.0.0.1:`port` and passes bytes on; one fault at a time."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.fault: Fault | None = None
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._ended = set[tuple[socket.socket, ...]]()  # pairs of which one direction has ended
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._serve()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(
        self, direction: Direction, after: int = 0, *, pattern: bytes = b"", once: bool = False
    ) -> None:
        """Reset connections once so many bytes have passed, and every one after that."""
        self._set(Fault("cut", direction, after, pattern, once))

    def stall(self, direction: Direction, after: int = 0, *, pattern: bytes = b"") -> None:
        """Pass nothing more in this direction, and keep the connections open."""
        self._set(Fault("stall", direction, after, pattern))

    def trickle(self, direction: Direction, after: int = 0) -> None:
        """Pass what comes then byte by byte, five in a second."""
        self._set(Fault("trickle", direction, after))

    def corrupt(self, direction: Direction, after: int) -> None:
        """Flip one bit of the byte at this offset."""
        self._set(Fault("corrupt", direction, after))

    def refuse(self) -> None:
        """Reset what is open and refuse what comes, until `heal`."""
        self._server.close()
        self._thread.join()
        self._close_all()

    def heal(self) -> None:
        """Serve again, on the same port, without a fault."""
        self.fault = None
        if self._server.fileno() < 0:
            self._server = socket.create_server(("127.0.0.1", self.port))
            self._serve()

    def stop(self) -> None:
        self.refuse()

    def _set(self, fault: Fault) -> None:
        with self._lock:
            self.passed = {"up": 0, "down": 0}
            self.fault = fault

    def _serve(self) -> None:
        self._server.settimeout(0.05)
        self._thread = threading.Thread(target=self._accept, args=(self._server,), daemon=True)
        self._thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            except OSError:  # closed by refuse
                return
            client.settimeout(None)
            try:
                upstream = self._connect()
            except OSError:
                client.close()
                continue
            pair = (client, upstream)
            with self._lock:
                self._sockets.update(pair)
            for source, sink, way in ((client, upstream, "up"), (upstream, client, "down")):
                threading.Thread(
                    target=self._pass, args=(source, sink, way, pair), daemon=True
                ).start()

    def _connect(self) -> socket.socket:
        if isinstance(self.upstream, Path):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self.upstream))
            return connection
        return socket.create_connection(self.upstream)

    def _pass(
        self,
        source: socket.socket,
        sink: socket.socket,
        way: Direction,
        pair: tuple[socket.socket, ...],
    ) -> None:
        before = b""
        whole = False
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                allowed, hit = self._judge(data, way, before)
                if allowed:
                    sink.sendall(allowed)
                before = data[-64:]  # a pattern may be cut in two
                if hit == "cut":
                    break
                if hit == "stall":
                    threading.Event().wait(600)
                if hit == "trickle":
                    _trickle(sink, data[len(allowed) :])
            else:
                sink.shutdown(socket.SHUT_WR)
                whole = True
        if not (whole and self._first_end(pair)):  # else the other direction may have more to pass
            self._close(pair, reset=not whole)

    def _first_end(self, pair: tuple[socket.socket, ...]) -> bool:
        """Tell whether this is the first of the two directions that ends."""
        with self._lock:
            first = pair not in self._ended
            (self._ended.add if first else self._ended.discard)(pair)
        return first

    def _judge(self, data: bytes, way: Direction, before: bytes) -> tuple[bytes, str]:
        """Return what may pass, and what happens then."""
        with self._lock:
            start = self.passed[way]
            self.passed[way] += len(data)
            fault = self.fault
        if fault is None or fault.direction != way:
            return data, ""
        if fault.pattern:
            if fault.pattern not in before + data:
                return data, ""
            if fault.once:
                self.fault = None
            return b"", fault.kind
        left = fault.after - start
        if left >= len(data):
            return data, ""
        if fault.kind == "corrupt":
            if left < 0:
                return data, ""
            return data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :], ""
        return data[: max(0, left)], fault.kind

    def _close(self, pair: tuple[socket.socket, ...], *, reset: bool = True) -> None:
        with self._lock:
            self._sockets.difference_update(pair)
            self._ended.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                if reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _close_all(self) -> None:
        with self._lock:
            open_now = tuple(self._sockets)
            self._ended.clear()
        self._close(open_now)


def _trickle(sink: socket.socket, data: bytes) -> None:
    for byte in data:
        sink.sendall(bytes([byte]))
        time.sleep(0.2)


@pytest.fixture
def proxy() -> Iterator[Callable[[Upstream], Proxy]]:
    """Return a function that starts a proxy before a server; stopped after the test."""
    started: list[Proxy] = []

    def start(upstream: Upstream) -> Proxy:
        started.append(Proxy(upstream))
        return started[-1]

    yield start
    for one in started:
        one.stop()
