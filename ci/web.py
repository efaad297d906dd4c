"""One HTTP request whose answer is bounded: in time, in bytes on the wire, and once unpacked.

The library's timeout is one for each wait: a server that sends a byte now and then, or a name
that is slow to resolve, would hold us for ever. It also keeps whatever comes. So a thread asks, and
at the deadline its connection is ended, and it with that; only a name it still waits for.
"""

import json
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import requests

    from .connections import Session

AT_MOST = 8 * 1024**2  # bytes of an answer, and of the same once unpacked
LATE = "not answered, or not to the end, when the deadline was over"
CHUNK = 64 * 1024
REDIRECTS = 5  # followed, where asked to
THREAD = "asks by HTTP"
PACKED = {"gzip": 47, "deflate": 47, "x-gzip": 47}  # zlib's window: it finds out which
MOVED = (301, 302, 303, 307, 308)


class BadAnswer(ValueError):
    """An answer that is too large, is packed in a way we did not ask for, or is no JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `headers` may be asked in any case."""

    code: int
    headers: Mapping[str, str]
    body: bytes
    links: Mapping[str, Mapping[str, str]]

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 shows as such."""
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:  # noqa: ANN401  # JSON
        """Return the body's JSON; BadAnswer where it is none, or has no end of brackets."""
        try:
            return json.loads(self.body.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError too
            raise BadAnswer("the body is no JSON") from error


def fetch(
    session: "Session",
    method: str,
    url: str,
    *,
    within: float,
    at_most: int = AT_MOST,
    redirects: bool = False,
    **request: Any,  # noqa: ANN401  # as requests takes it
) -> Answer:
    """Send one request and return its whole answer.

    Args:
        session: keeps connections.
        method: of HTTP.
        url: whom to ask.
        within: seconds for everything.
        at_most: bytes of the body.
        redirects: whether to follow them, to the same server only: what we send is for it alone.
        request: `headers`, `json`, `auth`; without `auth` ~/.netrc is not read.

    Raises:
        BadAnswer: see there.
        requests.RequestException: no answer, or not to its end in time.

    """
    import requests

    from .connections import Exchange

    outcomes: list[Answer | Exception] = []
    exchange = Exchange()
    until = time.monotonic() + within

    def follow() -> Answer:
        address = url
        for _ in range(REDIRECTS if redirects else 1):
            answer = _ask(session, method, address, until, at_most, request)
            if not redirects or answer.code not in MOVED or "Location" not in answer.headers:
                return answer
            address = _moved(address, answer.headers["Location"])
        raise BadAnswer(f"it redirects more than {REDIRECTS} times")

    def send() -> None:
        exchange.begin()
        try:
            outcomes.append(follow())
        except Exception as error:  # noqa: BLE001  # raised again below
            outcomes.append(error)

    sender = threading.Thread(target=send, daemon=True, name=THREAD)
    sender.start()
    sender.join(within)
    if not outcomes:
        exchange.end()
        raise requests.Timeout(LATE)
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


def _moved(url: str, location: str) -> str:
    """Return where a redirect leads; BadAnswer where that is another server."""
    target = urljoin(url, location)
    if urlsplit(target)[:2] != urlsplit(url)[:2]:
        raise BadAnswer(f"it redirects to another server: {target[:200]}")
    return target


def _ask(
    session: "Session",
    method: str,
    url: str,
    until: float,
    at_most: int,
    request: dict[str, Any],
) -> Answer:
    headers = {"Accept-Encoding": "identity", **request.get("headers", {})}
    parameters = {"auth": _as_it_is, **request, "headers": headers}
    answer = session.request(
        method,
        url,
        allow_redirects=False,
        stream=True,
        timeout=max(0.001, until - time.monotonic()),
        **parameters,
    )
    try:
        raw = _body(answer, until, at_most)
    finally:
        answer.close()
    packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
    body = raw if packed == "identity" else _unpacked(raw, packed, at_most)
    return Answer(answer.status_code, answer.headers, body, answer.links)


def _body(answer: "requests.Response", until: float, at_most: int) -> bytes:
    import requests
    import urllib3

    parts: list[bytes] = []
    size = 0
    try:
        while part := answer.raw.read1(CHUNK, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > at_most:
                raise BadAnswer(f"its body is larger than {at_most} bytes")
            if time.monotonic() > until:  # nobody waits any more
                raise requests.Timeout(LATE)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error
    return b"".join(parts)


def _unpacked(raw: bytes, packed: str, at_most: int) -> bytes:
    """Return a body that came packed although nobody asked for it; a bomb is not unpacked."""
    if packed not in PACKED:
        raise BadAnswer(f'its body is packed as "{packed[:40]}"')
    unpacker = zlib.decompressobj(PACKED[packed])
    try:
        body = unpacker.decompress(raw, at_most + 1)
    except zlib.error as error:
        raise BadAnswer(f"its body is no {packed}") from error
    if len(body) > at_most:
        raise BadAnswer(f"its body is larger than {at_most} bytes once unpacked")
    return body


def _as_it_is(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    """Leave the request alone: without any `auth`, requests puts ~/.netrc over our own header."""
    return request
