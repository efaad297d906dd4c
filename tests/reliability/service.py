"""The service of the matrix: it answers as it is told, and counts who asks."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Service:
    """How it answers: ok, sick, hanging, flapping."""

    mode: str = "ok"
    asked: int = 0
    healed: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def become(self, mode: str) -> None:
        """Answer in another way from now on."""
        self.mode = mode
        if mode == "ok":
            self.healed.set()
        else:
            self.healed.clear()

    def status(self) -> int:
        """Return the next answer's status."""
        self.asked += 1
        if self.mode == "hanging":
            self.healed.wait(5)
        if self.mode == "flapping":
            return 200 if self.asked % 2 else 503
        return 200 if self.mode in ("ok", "hanging") else 500


def serve(service: Service) -> ThreadingHTTPServer:
    """Serve on a free port until the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            status = service.status()
            body = json.dumps({"status": "ok" if status == 200 else "broken"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some cells are about."""

    server = Server(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
