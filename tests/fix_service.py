"""A service on the database, and a person at a terminal."""

import json
import os
import pty
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

from pgwindlass.database.connection import Database
from tests import warm
from tests.kit import Project, Ran


class _Api(BaseHTTPRequestHandler):
    """Healthy while `orders` has no column `broken`, as a real service would be."""

    url = ""

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        with psycopg.connect(self.url) as connection:
            broken = connection.execute(
                "select exists (select from pg_attribute where attname = 'broken')"
            ).fetchone()
        body = json.dumps({"status": "broken" if broken and broken[0] else "ok"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def api_of(database: Database) -> Iterator[str]:
    """Serve the API of a database, and yield its base URL."""
    handler = type("Api", (_Api,), {"url": database.url.reveal()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def at_a_terminal(
    project: Project, *arguments: str, typed: str, asked: str = "approve exactly this: "
) -> Ran:
    """Run it at a pseudo terminal and type an answer to its question, which is asked once."""
    primary, secondary = pty.openpty()
    env = {**project.variables(), "TERM": "dumb"}
    seen: list[str] = []
    with tempfile.TemporaryFile() as out:
        streams = (secondary, out.fileno(), secondary)
        child = warm.Child(arguments, cwd=project.home, env=env, streams=streams)
        os.close(secondary)
        reader = threading.Thread(target=_watch, args=(primary, seen, typed, asked), daemon=True)
        reader.start()
        code = child.wait(60)
        reader.join()
        os.close(primary)
        out.seek(0)
        return Ran(code, out.read().decode(), "".join(seen).replace("\r\n", "\n"))


def _watch(primary: int, seen: list[str], typed: str, asked: str) -> None:
    answered = False
    while True:
        try:
            chunk = os.read(primary, 4096)
        except OSError:  # Linux says EIO when the child has closed its end
            return
        seen.append(chunk.decode(errors="replace"))
        if asked in "".join(seen) and not answered:
            answered = True
            os.write(primary, f"{typed}\n".encode())
