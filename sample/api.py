"""The to-do backend's HTTP API: `python -m sample.api`, on the standard library and psycopg.

It works with the schema before and after every migration in `migrations/`, since during a
deployment the old and the new schema both meet it. Read from the environment:

    DATABASE_URL         the database, as libpq reads it; required
    PORT                 where to listen; 8000 by default, 0 for any free port
    HOST                 the address to listen on; 127.0.0.1 by default
    SMOKE_TOKEN          the bearer token of everything under /api; without it all are refused
    SAMPLE_API_VERSION   what /version says; "dev" by default
    SAMPLE_API_BREAK     health: /health answers 500
                         role: messages.role is bound as VARCHAR, which the ENUM refuses
    SAMPLE_API_BREAK_FILE  while a file of this name exists, /health answers 500

SIGTERM and SIGINT stop it: what is being answered is answered, then it exits with 0.
"""

import hmac
import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import parse_qs

import psycopg

LARGEST_BODY = 1_000_000  # bytes
LONGEST_LIST = 100  # rows in an answer
SLOWEST_CLIENT = 5  # seconds between two of its bytes; also how long one can hold up the exit
CONNECT_WITHIN = 3  # seconds
STOPS = (signal.SIGTERM, signal.SIGINT)

NEWEST_MIGRATION = "select max(migration_name) from schema_migrations"
COLUMN_EXISTS = """
    select exists (
        select from pg_catalog.pg_attribute
        where attrelid = to_regclass(%s) and attname = %s and not attisdropped
    )
"""
BEGIN_CONVERSATION = "insert into conversations (id) values (%s) on conflict (id) do nothing"
# An untyped parameter takes the column's own type, ENUM or VARCHAR.
INSERT_MESSAGE = """
    insert into messages (conversation_id, role, content) values (%s, %s, %s) returning id
"""
# What production's ORM sends: column "role" is of type message_role but expression is of type
# character varying.
INSERT_MESSAGE_AS_VARCHAR = """
    insert into messages (conversation_id, role, content) values (%s, %s::varchar, %s) returning id
"""
TASKS = """
    select id, content from messages
    where conversation_id = %s and id <> %s and role::text = 'user'
    order by id desc limit %s
"""
INSERT_ENVIRONMENT = """
    insert into environments (id, name, template_id, updated_at)
    values (%s, %s, %s, current_timestamp at time zone 'UTC')
    returning id, name, template_id, status
"""
INSERT_ENVIRONMENT_WITH_ERROR = """
    insert into environments (id, name, template_id, updated_at, last_error)
    values (%s, %s, %s, current_timestamp at time zone 'UTC', null)
    returning id, name, template_id, status
"""
ERRORS = """
    select count(*) over (),
           id, status_code::text, payload->>'message', payload->>'path', created_at
    from error_events
    where %(code)s::integer is null or status_code = %(code)s::integer
    order by id desc limit %(limit)s
"""
ERRORS_IN_PAYLOAD = """
    select count(*) over (),
           id, payload->>'status_code', payload->>'message', payload->>'path', created_at
    from error_events
    where %(code)s::text is null or payload->>'status_code' = %(code)s::text
    order by id desc limit %(limit)s
"""

# What the backfill takes from a payload, so that the answers before and after it are the same.
PLAIN_CODE = re.compile(r"-?[0-9]{1,9}")

Answer = tuple[HTTPStatus, Mapping[str, object]]


class BadRequest(Exception):
    """The client asked for what cannot be; `str()` says why, and is the answer."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment variables say. The URL and the token are in no repr."""

    database_url: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    version: str = "dev"
    broken: str = ""
    break_file: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """Return the settings; SystemExit names the variable that is missing or wrong."""
        if not variables.get("DATABASE_URL"):
            raise SystemExit("DATABASE_URL is not set; expected postgresql://USER@HOST/DATABASE")
        port = variables.get("PORT") or "8000"
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise SystemExit(f'PORT is "{port}"; expected a number from 0 to 65535')
        return cls(
            database_url=variables["DATABASE_URL"],
            host=variables.get("HOST") or "127.0.0.1",
            port=int(port),
            token=variables.get("SMOKE_TOKEN", ""),
            version=variables.get("SAMPLE_API_VERSION") or "dev",
            broken=variables.get("SAMPLE_API_BREAK", ""),
            break_file=variables.get("SAMPLE_API_BREAK_FILE", ""),
        )

    def connect(self) -> psycopg.Connection:
        """Open a connection in autocommit mode; one per request outlives a database restart."""
        return psycopg.connect(
            self.database_url,
            autocommit=True,
            connect_timeout=CONNECT_WITHIN,
            application_name="todo-backend",
        )

    def is_broken(self) -> bool:
        """Tell whether /health is to fail; the file is looked for each time, so no restart."""
        if self.broken == "health":
            return True
        return bool(self.break_file) and Path(self.break_file).exists()

    def lets_in(self, authorization: str) -> bool:
        """Tell whether the header carries our token; the time it takes does not tell which."""
        scheme, _, token = authorization.partition(" ")
        return (
            bool(self.token)
            and scheme.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode(), self.token.encode())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, read and decoded."""

    settings: Settings
    query: Mapping[str, str]
    body: Mapping[str, object]

    def text(self, key: str) -> str:
        """Return a text of the body; BadRequest where it is missing, empty or none."""
        value = self.body.get(key)
        if not isinstance(value, str) or not value.strip():
            raise BadRequest(f"{key} is missing; expected a text")
        # JSON can write these two, PostgreSQL has no place for them.
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequest(f"{key} holds a NUL or half a surrogate pair; expected Unicode text")
        return value


def health(request: Request) -> Answer:
    """Ask the database, and say which migration is the newest applied."""
    if request.settings.is_broken():
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"status": "broken"}
    with request.settings.connect() as connection:
        known = _one(connection, COLUMN_EXISTS, "schema_migrations", "migration_name")
        newest = _one(connection, NEWEST_MIGRATION) if known else None
    return HTTPStatus.OK, {"status": "ok", "schema": newest}


def version(request: Request) -> Answer:
    """Say which build answers, and which process."""
    return HTTPStatus.OK, {"version": request.settings.version, "pid": os.getpid()}


def chat(request: Request) -> Answer:
    """Store the user's message; answer with what the user asked for earlier, newest first."""
    conversation, message = request.text("conversation_id"), request.text("message")
    broken = request.settings.broken == "role"
    insert = INSERT_MESSAGE_AS_VARCHAR if broken else INSERT_MESSAGE
    with request.settings.connect() as connection, connection.transaction():
        connection.execute(BEGIN_CONVERSATION, (conversation,))
        stored = _one(connection, insert, conversation, "user", message)
        rows = connection.execute(TASKS, (conversation, stored, LONGEST_LIST)).fetchall()
    return HTTPStatus.OK, {
        "conversation_id": conversation,
        "message_id": stored,
        "reply": f"noted: {message}",
        "tasks": [{"id": row[0], "title": row[1]} for row in rows],
    }


def create_environment(request: Request) -> Answer:
    """Store an environment; its last error, where there is a column for it, is none yet."""
    values = (str(uuid.uuid4()), request.text("name"), request.text("templateId"))
    with request.settings.connect() as connection, connection.transaction():
        known = _one(connection, COLUMN_EXISTS, "environments", "last_error")
        insert = INSERT_ENVIRONMENT_WITH_ERROR if known else INSERT_ENVIRONMENT
        row = connection.execute(insert, values).fetchone()
    names = ("id", "name", "templateId", "status")
    return HTTPStatus.CREATED, dict(zip(names, row or (), strict=True))


def errors(request: Request) -> Answer:
    """Count the errors and list the newest, of one status code where the query names it."""
    code = request.query.get("status_code")
    if code is not None and not (code.isascii() and code.isdigit() and len(code) == 3):
        raise BadRequest("status_code is none we know; expected three digits such as 500")
    with request.settings.connect() as connection:
        known = _one(connection, COLUMN_EXISTS, "error_events", "status_code")
        select = ERRORS if known else ERRORS_IN_PAYLOAD
        rows = connection.execute(select, {"code": code, "limit": LONGEST_LIST}).fetchall()
    count = rows[0][0] if rows else 0
    return HTTPStatus.OK, {"count": count, "errors": [_error(*row[1:]) for row in rows]}


def _error(number: int, code: str | None, message: str, path: str, at: object) -> dict[str, object]:
    return {
        "id": number,
        "status_code": int(code) if code and PLAIN_CODE.fullmatch(code) else None,
        "message": message,
        "path": path,
        "created_at": str(at),
    }


def _one(connection: psycopg.Connection, query: str, *values: object) -> object:
    row = connection.execute(query.encode(), values or None).fetchone()
    return row[0] if row else None


ROUTES: Mapping[tuple[str, str], Callable[[Request], Answer]] = {
    ("GET", "/health"): health,
    ("GET", "/version"): version,
    ("POST", "/api/chat"): chat,
    ("POST", "/api/v1/environments"): create_environment,
    ("GET", "/api/errors"): errors,
}


def _decoded(raw: bytes) -> dict[str, object]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is no JSON object")
    return document


class Handler(BaseHTTPRequestHandler):
    """Reads a request, finds its route, writes the answer as JSON and one line to stderr."""

    server: "Server"
    timeout = SLOWEST_CLIENT
    server_version = "todo-backend"
    sys_version = ""
    began = 0.0

    def do_GET(self) -> None:
        """Answer a GET."""
        self._serve()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._serve()

    def _serve(self) -> None:
        self.began = time.monotonic()
        try:
            status, content = self._answer()
        except BadRequest as error:
            status, content = error.status, {"error": str(error)}
        except psycopg.Error as error:
            # The server's message goes to the log, never to a client.
            message = error.diag.message_primary or type(error).__name__
            log(f"database: {error.sqlstate or 'no SQLSTATE'} {message}")
            unreachable = isinstance(error, psycopg.OperationalError)
            status = (
                HTTPStatus.SERVICE_UNAVAILABLE if unreachable else HTTPStatus.INTERNAL_SERVER_ERROR
            )
            content = {"error": "the database is unavailable" if unreachable else "internal error"}
        self._write(status, content)

    def _answer(self) -> Answer:
        path, _, query = self.path.partition("?")
        settings = self.server.settings
        # Read before anything is refused: closing on unread bytes resets the connection, and the
        # client would see that in place of the answer.
        raw = self._read_body() if self.command == "POST" else b"{}"
        authorization = self.headers.get("Authorization", "")
        if path.startswith("/api/") and not settings.lets_in(authorization):
            raise BadRequest("expected a bearer token", HTTPStatus.UNAUTHORIZED)
        route = ROUTES.get((self.command, path))
        if route is None:
            raise BadRequest("no such thing here", HTTPStatus.NOT_FOUND)
        parameters = {key: values[-1] for key, values in parse_qs(query).items()}
        return route(Request(settings=settings, query=parameters, body=_decoded(raw)))

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise BadRequest("expected a Content-Length", HTTPStatus.LENGTH_REQUIRED)
        if int(length) > LARGEST_BODY:
            raise BadRequest("the body is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(int(length))

    def _write(self, status: HTTPStatus, content: Mapping[str, object]) -> None:
        raw = json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(raw)

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        """Write the request's one line: without its query and headers, which may hold a token."""
        path = getattr(self, "path", "").partition("?")[0]
        shown = ascii(path)[1:-1] if path.startswith("/") else "-"  # http://user:password@… is one
        took = (time.monotonic() - self.began) * 1000 if self.began else 0.0
        number = code.value if isinstance(code, HTTPStatus) else code
        log(f"{self.command or '-'} {shown} {number} {took:.0f} ms")

    def log_error(self, format: str, *args: object) -> None:
        """Write nothing: the answer to a bad request has its line, and quoting it is not safe."""


class Server(ThreadingHTTPServer):
    """The listening socket, and a thread per request that the exit waits for."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__((settings.host, settings.port), Handler)

    def server_bind(self) -> None:
        """Bind, and do not ask DNS for our own name as HTTPServer does: it can take seconds."""
        TCPServer.server_bind(self)

    def handle_error(self, _request: object, _address: object) -> None:
        """Write one line: a client that hangs up early is not worth a traceback."""
        log(f"request failed: {type(sys.exception()).__name__}")


def log(line: str) -> None:
    """Write one line to stderr in one piece, so that threads do not mix theirs."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings.read(os.environ)
    try:
        server = Server(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SystemExit(f"cannot listen on {where}: {error.strerror}") from None
    # Blocked before any thread starts, and waited for. With a handler, another thread may take the
    # signal while this one sleeps on; and the handler, which only this one runs, would not run.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    with server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        host, port = server.server_address[:2]
        log(f"listening on http://{host!s}:{port}")
        asked = False
        while serving.is_alive() and not asked:
            asked = signal.sigtimedwait(STOPS, 1) is not None
        server.shutdown()
    if not asked:
        raise SystemExit("the server ended by itself")
    log("stopped")


if __name__ == "__main__":
    main()
