"""A service without a network, and the one door to it: the program that runs beside it inside.

The door is a socket that listens on this machine and is the program's standard input: whoever
makes a namespace keeps the sockets that are open. It takes each connection there, and passes it on
to the service's port in the sandbox. The service itself gets no such socket.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """\
import socket, subprocess, sys, threading
door, port = socket.socket(fileno=0), int(sys.argv[1])
def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for line in (source, target):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
def serve():
    while True:
        client, _ = door.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            continue
        for pair in ((client, inside), (inside, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
code = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL).wait()
sys.exit(code if code >= 0 else 128 - code)
"""


def command(argv: tuple[str, ...], port: int) -> tuple[str, ...]:
    """Return the command that runs a service inside, and passes connections on to its port."""
    return (sys.executable, "-IS", "-c", PROGRAM, str(port), *argv)


@contextmanager
def door(port: int) -> Iterator[int]:
    """Listen on a port of this machine for a block; yields the descriptor for the program."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        yield listening.fileno()
