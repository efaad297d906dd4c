"""Servers that take a connection and say nothing, or a byte now and then, without an end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

BYTE_EVERY = 0.3  # seconds


@dataclass
class Silent:
    """A door on the loopback; `asked` is set when somebody has come."""

    host: str
    port: int
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def silent_server(*, drips: bool, host: str = "127.0.0.1", port: int = 0) -> Iterator[Silent]:
    """Run one for a block. `drips`: it sends a letter now and then, and never a line's end."""
    over, taken = threading.Event(), list[socket.socket]()
    with socket.create_server((host, port)) as door:
        server = Silent(host, door.getsockname()[1])

        def drip(client: socket.socket) -> None:
            with suppress(OSError):
                while not over.wait(BYTE_EVERY):
                    client.sendall(b"S")

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    taken.append(client)
                    server.asked.set()
                    if drips:
                        threading.Thread(target=drip, args=(client,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server
        finally:
            over.set()
            door.shutdown(socket.SHUT_RDWR)
            for client in taken:
                client.close()
