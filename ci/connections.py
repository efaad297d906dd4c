"""HTTP connections that a request's deadline ends, whatever is being read from them.

The library's timeout is for each wait, and it reads `100 Continue` after `100 Continue`, or a line
without an end, for as long as a server sends them. A socket that is shut down ends every wait.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool


class Over(Exception):  # no OSError: the library would try again
    """Nobody waits for this request any more."""


class Exchange:
    """The connections of one request, with its tries and redirects. It is sent by one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = False
        self._connections: set[HTTPConnection] = set()
        self._sockets: set[socket.socket] = set()  # a connection forgets its own before the body

    def begin(self) -> None:
        """Say that what this thread sends from now on belongs here."""
        _CURRENT.set(self)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Say that what this thread sends inside the block belongs here."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    @property
    def over(self) -> bool:
        """Whether it was ended."""
        return self._over

    def end(self) -> None:
        """End the request: what is being read ends now, and nothing more is sent."""
        with self._lock:
            self._over = True
            for connection in self._connections:
                self._keep(connection)
            for opened in self._sockets:
                with suppress(OSError):  # of the other side, or closed already
                    # An SSLSocket's own would read on without TLS.
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def use(self, connection: HTTPConnection) -> None:
        """Remember a connection that is about to wait; Over where the request was ended."""
        with self._lock:
            if self._over:
                raise Over
            self._connections.add(connection)
            self._keep(connection)

    def _keep(self, connection: HTTPConnection) -> None:
        # TLS within the TLS of a proxy is no socket, but has one.
        opened = getattr(connection.sock, "socket", connection.sock)
        if opened is not None:
            self._sockets.add(opened)


_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def use(connection: HTTPConnection) -> None:
    """Say that a connection is about to wait; Over where nobody waits for its request any more."""
    if exchange := _CURRENT.get():
        exchange.use(connection)


class _Http(HTTPConnection):
    def connect(self) -> None:
        use(self)  # a proxy may talk without an end, too
        super().connect()
        use(self)

    def request(self, *args: Any, **more: Any) -> None:  # noqa: ANN401  # as the library's
        use(self)  # it may be open from the request before
        super().request(*args, **more)


class _Https(_Http, HTTPSConnection):
    pass


_OURS: dict[type, type[HTTPConnection]] = {HTTPConnection: _Http, HTTPSConnection: _Https}


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> ConnectionPool:  # noqa: ANN401  # as the library's
        pool = super().get_connection_with_tls_context(*args, **more)
        if isinstance(pool, HTTPConnectionPool):
            pool.ConnectionCls = _OURS.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class Session(requests.Session):
    """Keeps connections, each of which an `Exchange` can end."""

    def __init__(self, retries: Retry | None = None) -> None:
        """Try a request again as `retries` says; without it, not."""
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(max_retries=0 if retries is None else retries))
