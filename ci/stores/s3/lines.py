"""The store's connections, each request with a limit in all: a store may trickle for ever.

boto3's own timeouts are for each wait. A server that sends a byte a minute keeps within them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from ...connections import Exchange, Over, use

ANSWERED_WITHIN = 120.0  # seconds for a request with all its tries, besides what its bytes take
SLOWEST = 16 << 10  # bytes per second, of each connection
COMPLETED_WITHIN = 900.0  # seconds; AWS says that large objects take "several minutes"


class Ended(BaseException):  # no Exception: boto3 would try again
    """Nobody waits for this request any more."""


def _use(connection: "_Http") -> None:
    try:
        use(connection)
    except Over:
        raise Ended from None


class _Http(AWSHTTPConnection):
    def connect(self) -> None:
        _use(self)
        super().connect()
        _use(self)

    def request(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401  # as the library's
        _use(self)  # it may be open from the request before
        return super().request(*args, **more)


class _Https(_Http, AWSHTTPSConnection):  # type: ignore[misc]  # as botocore has it
    pass


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _Https


def limit(client: Any) -> None:  # noqa: ANN401  # what it is made of has no types
    """Let the connections of a client of boto3's be ended by `within`."""
    pools = client._endpoint.http_session._pool_classes_by_scheme  # the one way in
    pools.update(http=_HttpPool, https=_HttpsPool)


def seconds_for(size: int) -> float:
    """Return how many seconds a request may take that carries so many bytes."""
    return ANSWERED_WITHIN + size / SLOWEST


@contextmanager
def within(seconds: float, exchange: Exchange) -> Iterator[None]:
    """End what belongs to an exchange, where the block is not left in time.

    What is asked in the block, by this thread, belongs to it.
    """
    timer = threading.Timer(seconds, exchange.end)
    timer.daemon = True
    timer.start()
    try:
        with exchange.current():
            yield
    finally:
        timer.cancel()
