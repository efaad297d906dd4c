"""A store that speaks S3, as remote stores do, with what goes wrong on the way to it."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fix_faults import Faults, Handler, Server
from tests.fix_proxy import Proxy
from tests.fix_s3 import ACCESS, READY_WITHIN, SECRET, find_rclone, free_port
from tests.reliability.cluster import until

NAME = "shop"
PAUSE = 0.3  # seconds that a slow store thinks about each request


@dataclass
class Remote:
    """rclone on a folder, behind a line that may be cut, behind answers that may be wrong."""

    folder: Path  # of the buckets
    line: Proxy
    faults: Faults

    @property
    def files(self) -> Path:
        """What really is in the bucket."""
        return self.folder / NAME / "backups"

    def refuse(self) -> None:
        """Let no request through."""
        self.faults.answer(".", 403, "AccessDenied")

    def be_slow(self) -> None:
        """Take a while for each request."""

        def late(body: bytes) -> bytes:
            time.sleep(PAUSE)
            return body

        self.faults.change(".", late)

    def cut(self) -> None:
        """Reset what is open, and the next ones."""
        self.line.cut("up", 0)

    def corrupt(self) -> None:
        """Change one bit on the way there, and one on the way back."""

        def changed(body: bytes) -> bytes:
            return body[:-1] + bytes([body[-1] ^ 1]) if body else body

        self.faults.change("PUT|POST", changed, last=1)
        self.line.corrupt("down", 700)

    def heal(self) -> None:
        """Be as a store has to be."""
        self.faults.rules.clear()
        self.line.heal()


def credentials() -> dict[str, str]:
    """Return the variables of a run that uses it."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def started(base: Path) -> tuple[Remote, Callable[[], None]]:
    """Start it; return it, and what ends it."""
    folder, port = base / "buckets", free_port()
    (folder / NAME).mkdir(parents=True)
    with (base / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                *(find_rclone(), "serve", "s3", "--config=", "--dir-cache-time=50ms"),
                *(f"--auth-key={ACCESS},{SECRET}", f"--addr=127.0.0.1:{port}", str(folder)),
            ],
            stdout=log,
            stderr=log,
        )
    assert until(lambda: _answers(port), READY_WITHIN), (base / "log").read_text()
    line = Proxy(("127.0.0.1", port))
    faults = Faults(port=0, upstream=line.port)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"faults": faults}))
    faults.port = int(server.server_address[1])
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        line.stop()
        child.terminate()
        child.wait(10)

    return Remote(folder, line, faults), end


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
