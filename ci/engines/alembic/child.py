"""The end of the pipe in the project: its own Python, its own Alembic, its env.py.

Started as a file, so that nothing of Windlass is installed there. Reads requests, each a line of
JSON, from standard input, and answers with lines of JSON on standard output; what the project
prints becomes one of them. Before and after each statement of a revision it asks, and waits to be
told to go on: meanwhile the parent may run statements in the same transaction.

A request without an address has no database: env.py gets a connection that takes statements and
has nothing to read. What nobody approved runs here: neither an address nor a secret comes in.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import io
import json
import os
import queue
import re
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.pop(0)  # the directory of this file: a project's own modules may have the same names

import alembic
import sqlalchemy
from alembic import autogenerate, command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import Pool

READ = 1 << 16  # bytes
SET_DUMPABLE = 4  # of prctl(2)
SEARCH_PATH = re.compile(
    r"\s*set\s+(?:session\s+|local\s+)?search_path\s*(?:=|\bto\b)\s*([^;]+)", re.IGNORECASE
)
IDENTITY = (
    "select (select system_identifier from pg_catalog.pg_control_system()),"
    " pg_catalog.current_database(), pg_catalog.pg_backend_pid()"
)
SCHEMA_OF = (
    "select coalesce((select relnamespace::pg_catalog.regnamespace::text from pg_catalog.pg_class"
    " where oid operator(pg_catalog.=) pg_catalog.to_regclass(pg_catalog.quote_ident('{}'))),"
    " pg_catalog.current_schema()::text, 'public')"
)
NOTHING = {"host": "localhost", "port": "1", "dbname": "nothing"}  # answers nobody
SERVER = (16, 0)  # what a dialect believes where there is no server
DRIVERS = ("psycopg", "psycopg2", "asyncpg")  # in the order of preference
UNREACHED = ("KeyError", "OperationalError", "InterfaceError", "ConnectionRefusedError", "OSError")
# What a URL or its connect_args say about where to go and as whom; the rest is the project's.
WHERE = frozenset(
    {
        "host",
        "hostaddr",
        "port",
        "user",
        "password",
        "passfile",
        "dbname",
        "database",
        "service",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "ssl",
        "application_name",
        "dsn",
    }
)


PREFIX = ["."]  # from there to here, as the requests say
LISTED: list[ScriptDirectory] = []  # as it was read last
BEFORE: dict[str, str | None] = {}  # variables that a request has set, as they were


class StopRequested(BaseException):
    """The parent asked to stop; not to be caught by a revision."""


class ReadsDataError(Exception):
    """A revision looks at the database, and there is none in offline mode."""


class ProjectError(Exception):  # becomes a message, never seen as an exception
    """The project is not as the request needs it; the text is for people."""


class Pipe:
    """Lines of JSON in both directions. Standard output is taken out of the project's hands."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        sys.stdout = Printed(self)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(0, READ):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._answers.put(json.loads(line))
        os._exit(0)  # the parent is gone; the server rolls back what is open

    def read(self) -> dict[str, Any]:
        """Wait for the next line."""
        return self._answers.get()

    def tell(self, **message: Any) -> None:
        """Write a line."""
        with self._lock:
            self._out.write(json.dumps(message, default=str) + "\n")
            self._out.flush()

    def ask(self, run: Callable[[str], list[Any]], **message: Any) -> str:
        """Write a line and wait to be told to go on; run what is asked for meanwhile.

        Return what to run instead; mostly nothing.
        """
        self.tell(**message)
        while True:
            answer = self.read()
            if "sql" in answer:
                try:
                    self.tell(rows=run(answer["sql"]))
                except Exception as error:  # noqa: BLE001  # told, and judged at the other end
                    self.tell(failed=describe_error(error))
            elif answer.get("go"):
                return str(answer.get("instead", ""))
            else:
                raise StopRequested


class Printed(io.TextIOBase):
    """What the project prints, line by line."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._rest = pipe, ""

    def write(self, text: str) -> int:
        """Send every whole line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._pipe.tell(printed=line.rstrip())
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True


def close_to_others() -> None:
    """Let no other process of the same user read our memory and variables. Linux alone knows how.

    Something that unapproved code left running may wait for the run that has the address.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)


def ignore_written_bytecode() -> None:
    """Let the project's modules be compiled from their texts: what was approved are the texts.

    A `.pyc` beside them with a fitting time and size would run instead, and git ignores it.
    """
    places = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    installed = tuple(os.path.realpath(place) + os.sep for place in places)
    usual = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: Any, fullname: str) -> Any:
        path = os.path.realpath(loader.get_filename(fullname))
        if path.startswith(installed):
            return usual(loader, fullname)
        return loader.source_to_code(loader.get_data(path), path)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]


def set_variables(wanted: dict[str, str]) -> None:
    """Set environment variables for one request, those of the one before put back."""
    for name, value in BEFORE.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    BEFORE.clear()
    BEFORE.update({name: os.environ.get(name) for name in wanted})
    os.environ.update(wanted)


def shown(path: str) -> str:
    """Return a path as people see it from the directory of deploy.yml."""
    return os.path.normpath(Path(PREFIX[0]) / os.path.relpath(path))


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return what is known of an error: kind, words, SQLSTATE, the project's last line in it."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename != __file__ and not _installed(f.filename)]
    at = f"{shown(ours[-1].filename)}:{ours[-1].lineno}" if ours else ""
    if isinstance(error, SyntaxError) and error.filename:
        at = f"{shown(error.filename)}:{error.lineno}"
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    words = primary or " ".join(str(cause).split()) or type(cause).__name__
    return {"kind": type(error).__name__, "words": words, "sqlstate": state, "at": at}


def _installed(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((sys.base_prefix, "<"))


class Project:
    """An Alembic project, for one request."""

    def __init__(self, request: dict[str, Any], pipe: Pipe) -> None:
        self.request, self.pipe = request, pipe
        PREFIX[0] = request["shown"]
        set_variables(request.get("env", {}))
        self.rendered = io.StringIO()
        self.config = Config(request["ini"], output_buffer=self.rendered, stdout=sys.stdout)
        self._say_where()
        self.nowhere = Nowhere()
        self.script = self._read()
        self.file = ""  # of the revision that runs now

    def _read(self) -> ScriptDirectory:
        """Return the revisions; those of the last listing, because reading hundreds is slow."""
        if self.request["do"] in ("graph", "create") or not LISTED:
            LISTED[:] = [ScriptDirectory.from_config(self.config)]
        return LISTED[0]

    def _say_where(self) -> None:
        """Put an address without a password where env.py may look for one.

        Wherever it looks, `_connect` has the last word.
        """
        written = self.config.get_main_option("sqlalchemy.url") or ""
        driver = self.request.get("driver") or _driver(written)
        parameters = self.request.get("connect", NOTHING)
        user, host = parameters.get("user", ""), parameters.get("host", "localhost")
        place = f"{user}@" if user else ""
        place += "" if host.startswith("/") else f"{host}:{parameters.get('port', 5432)}"
        url = f"{driver}://{place}/{parameters.get('dbname', 'postgres')}"
        self.config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        scheme, name = self.request["scheme"], self.request["url_variable"]
        os.environ[name] = f"{scheme}://{url.partition('://')[2]}" if scheme else url

    def connect(self, dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        """Connect to where the request says, whatever env.py says."""
        if "connect" not in self.request:
            raise ProjectError("there is no database here: nothing of this is approved yet")
        target = dict(self.request["connect"])
        if dialect.driver.startswith("asyncpg"):
            translated = {k: target[k] for k in ("host", "port", "user", "password") if k in target}
            translated["database"] = target.get("dbname")
            if target.get("sslmode"):
                translated["ssl"] = target["sslmode"]
            target = translated
        elif not dialect.driver.startswith("psycopg"):
            raise ProjectError(
                f"env.py connects with {dialect.driver}; known are {', '.join(DRIVERS)}"
            )
        options = {key: value for key, value in parameters.items() if key not in WHERE}
        return dialect.connect(**(options | target))

    def connected(self, connection: Any, record: Any) -> None:
        """See where we are, and set what holds for this session."""
        identifier, name, pid = _fetch_rows(connection, IDENTITY)[0]
        if [str(identifier), name] != self.request["identity"]:
            raise ProjectError(
                f"env.py connects to another database: {name}, of system {identifier}"
            )
        for statement in self.request["settings"]:
            _fetch_rows(connection, statement)
        connection.commit()
        record.info["windlass"] = pid

    def before(
        self,
        conn: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        *_: Any,
    ) -> tuple[str, Any]:
        """Ask before a statement of a revision runs."""
        if not self.file:
            return statement, parameters
        dbapi = conn.connection.dbapi_connection
        instead = self.pipe.ask(
            lambda sql: _fetch_rows(dbapi, sql),
            at="statement",
            sql=statement,
            where=self._line(),
            pid=conn.info["windlass"],
            alone=bool(getattr(dbapi, "autocommit", False)),
        )
        return instead or statement, parameters

    def after(self, conn: Any, *_: Any) -> None:
        """Say that it has run."""
        if self.file:
            dbapi = conn.connection.dbapi_connection
            self.pipe.ask(lambda sql: _fetch_rows(dbapi, sql), at="done")

    def _line(self) -> str:
        """Return file and line of the revision that the running statement comes from."""
        frame: FrameType | None = sys._getframe()  # no other way up the stack
        while frame is not None:
            if frame.f_code.co_filename == self.file:
                return f"{shown(self.file)}:{frame.f_lineno}"
            frame = frame.f_back
        return shown(self.file)

    def graph(self) -> dict[str, Any]:
        """Return every revision, and what reads them. Needs no database."""
        revisions = [
            {
                "revision": script.revision,
                "down": list(_many(script.down_revision)),
                "depends": [
                    dependency.revision
                    for name in _many(script.dependencies)
                    for dependency in self.script.get_revisions(name)
                ],
                "labels": sorted(script.branch_labels),
                "message": (script.doc or "").split("\n")[0],
                "path": os.path.relpath(script.path),
            }
            for script in self.script.walk_revisions()
        ]
        return {
            "revisions": revisions,
            "env": os.path.relpath(Path(self.script.dir) / "env.py"),
            "directory": os.path.relpath(self.script.versions),
            "versions": {"alembic": alembic.__version__, "SQLAlchemy": sqlalchemy.__version__},
        }

    def bookkeeping(self) -> dict[str, Any]:
        """Return which table holds the heads, and how env.py runs the revisions.

        Without a database; where env.py wants to know something of it, ReadsDataError says so.
        """
        settings: dict[str, Any] = {}

        def look(context: Any) -> bool:
            settings.update(
                table=context.version_table,
                schema=context.version_table_schema or "",
                search_path=self.nowhere.search_path,
                transaction_per_migration=bool(context.opts.get("transaction_per_migration")),
                models=context.opts.get("target_metadata") is not None,
            )
            return False

        try:
            self._run_env(_nothing_to_do, look=look)
        except Exception as error:
            if settings:  # it looked at what its migrations did; they were not run
                return settings
            if self.nowhere.used or type(error).__name__ in UNREACHED:
                raise ReadsDataError(describe_error(error)["words"]) from error
            raise
        if not settings:
            raise ProjectError("env.py runs no migrations: context.run_migrations() was not called")
        return settings

    def prepare(self) -> dict[str, Any]:
        """Let Alembic create its table, as it does before the first revision."""

        def steps(_heads: Any, context: Any) -> list[Any]:
            if context.opts.get("transaction_per_migration"):  # and there is none to commit it
                context.connection.commit()
            return []

        self._run_env(steps)
        return {}

    def run(self) -> dict[str, Any]:
        """Run one revision up or down."""
        order = self.request["run"]
        revision = self.script.get_revision(order["revision"])
        up = order["direction"] == "up"
        calls: list[tuple[str, ...]] = []

        def steps(heads: tuple[str, ...], context: Any) -> Iterator[Any]:
            if calls:
                raise ProjectError(
                    "env.py runs the migrations more than once, as for several databases; an "
                    "environment has one"
                )
            calls.append(heads)
            make = MigrationStep.upgrade_from_script if up else MigrationStep.downgrade_from_script
            step = make(self.script.revision_map, revision)
            step.migration_fn = self._watched(step.migration_fn, revision.path)
            context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, applied)
            yield step

        def applied(*, ctx: Any, **_: Any) -> None:
            dbapi = ctx.connection.connection.dbapi_connection
            self.pipe.ask(lambda sql: _fetch_rows(dbapi, sql), at="applied")

        def begins(context: Any) -> bool:
            schema = context.version_table_schema or _schema_of(context)
            dbapi = context.connection.connection.dbapi_connection
            self.pipe.ask(
                lambda sql: _fetch_rows(dbapi, sql),
                at="begins",
                table=context.version_table,
                schema=schema,
            )
            return True

        self._run_env(steps, look=begins)
        if not calls:
            raise ProjectError("env.py runs no migrations: context.run_migrations() was not called")
        return {}

    def _watched(self, function: Callable[..., None], path: str) -> Callable[..., None]:
        def migrate(**arguments: Any) -> None:
            self.file = path
            try:
                function(**arguments)
            finally:
                self.file = ""

        return migrate

    def check(self) -> dict[str, Any]:
        """Return how the models differ from the database, which must be at head."""
        arguments = {
            "message": None,
            "autogenerate": True,
            "sql": False,
            "head": "head",
            "splice": False,
            "branch_label": None,
            "version_path": None,
            "rev_id": None,
            "depends_on": None,
        }
        revision = autogenerate.RevisionContext(self.config, self.script, arguments)

        def compare(heads: Any, context: Any) -> list[Any]:
            revision.run_autogenerate(heads, context)
            return []

        self._run_env(compare, template_args=revision.template_args, revision_context=revision)
        operations = revision.generated_revisions[-1].upgrade_ops_list
        differences = [
            difference for operation in operations for difference in _flat(operation.as_diffs())
        ]
        return {"differences": [text for text in map(_describe_difference, differences) if text]}

    def create(self) -> dict[str, Any]:
        """Write a new revision, an autogenerated one, or a merge of all heads."""
        order = self.request["create"]
        if order["merge"]:
            scripts = command.merge(self.config, revisions="heads", message=order["message"])
        else:
            scripts = command.revision(
                self.config, message=order["message"], autogenerate=order["autogenerate"]
            )
        return {"paths": [os.path.relpath(script.path) for script in _many(scripts)]}

    def render(self) -> dict[str, Any]:
        """Return the SQL of revisions as offline mode writes it, or why it cannot."""
        orders = self.request["render"]
        return {
            "rendered": [self._rendered(item["revision"], item["direction"]) for item in orders]
        }

    def _rendered(self, name: str, direction: str) -> dict[str, Any]:
        revision, up = self.script.get_revision(name), direction == "up"
        statements: list[dict[str, str]] = []

        def steps(_heads: Any, context: Any) -> Iterator[Any]:
            make = MigrationStep.upgrade_from_script if up else MigrationStep.downgrade_from_script
            step = make(self.script.revision_map, revision)
            step.migration_fn = self._watched(step.migration_fn, revision.path)
            write = context.impl.static_output

            def note(text: str) -> None:
                if self.file and not text.startswith("--"):
                    statements.append({"sql": text, "where": self._line()})
                write(text)

            context.impl.static_output = note
            context.impl.literal_binds = True
            context.impl.connection = Unread(context.connection)
            yield step

        start = _many(revision.down_revision) if up else (revision.revision,)
        try:
            self._run_env(steps, as_sql=True, starting_rev=list(start) or None)
        except Exception as error:  # noqa: BLE001  # any of them means that it has no text
            reason = describe_error(error)
            return {"unread": reason["words"], "at": reason["at"]}
        return {"statements": statements}

    def _run_env(
        self, steps: Callable[..., Any], look: Callable[[Any], bool] | None = None, **options: Any
    ) -> None:
        """Run env.py; `look` sees its context first, and says whether the migrations shall run."""
        with EnvironmentContext(self.config, self.script, fn=steps, **options) as environment:
            run = environment.run_migrations

            def run_migrations(**arguments: Any) -> None:
                if look is None or look(environment.get_context()):
                    run(**arguments)

            environment.run_migrations = run_migrations
            self.script.run_env()


class Nowhere:
    """The driver's connection where there is no database: takes statements, has nothing to read.

    What it does not know does nothing: drivers have many calls that set something.
    """

    def __init__(self) -> None:
        self.info: dict[str, Any] = {"windlass": 0}
        self.used = False
        self.search_path: list[str] = []
        self.description, self.rowcount, self.is_valid = None, -1, True
        self.autocommit = False

    @property
    def dbapi_connection(self) -> Nowhere:
        """Itself: there is no pool."""
        return self

    driver_connection = dbapi_connection

    def cursor(self, *_: Any, **__: Any) -> Nowhere:
        """Return itself: nothing is kept."""
        return self

    def execute(self, statement: Any, *_: Any, **__: Any) -> None:
        """Take a statement, and keep a search_path: the heads may be looked for by it."""
        self.used = True
        if match := SEARCH_PATH.match(str(statement)):
            self.search_path = [name.strip().strip("\"'") for name in match[1].split(",")]

    executemany = execute

    def fetchone(self) -> Any:
        """Say that there is nothing."""
        raise ReadsDataError("it reads data")

    fetchall = fetchmany = fetchone

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class Unread:
    """The connection in offline mode: takes statements, and has nothing to read."""

    def __init__(self, connection: Any) -> None:
        self._connection, self.dialect = connection, connection.dialect

    def execute(self, statement: Any, parameters: Any = None, **_: Any) -> Any:
        """Render a statement."""
        if parameters:
            statement = statement.bindparams(**parameters)
        self._connection.execute(statement)
        return Nothing()

    def __getattr__(self, name: str) -> Any:
        if name == "_run_ddl_visitor":  # of types and tables that SQLAlchemy creates
            return self._connection._run_ddl_visitor
        raise ReadsDataError("it reads data")


class Nothing:
    """The result of a statement that was not run."""

    def __getattr__(self, name: str) -> Any:
        raise ReadsDataError("it reads data")

    def __iter__(self) -> Iterator[Any]:
        raise ReadsDataError("it reads data")

    def __bool__(self) -> bool:
        raise ReadsDataError("it reads data")


def _driver(written: str) -> str:
    """Return the scheme of the URL in the ini file, or of a driver that is installed here."""
    with contextlib.suppress(sqlalchemy.exc.ArgumentError):
        url = make_url(written)
        if url.get_backend_name() == "postgresql" and "+" in url.drivername:
            return str(url.drivername)
    installed = [name for name in DRIVERS if importlib.util.find_spec(name)]
    if not installed:
        raise ProjectError(f"none of {', '.join(DRIVERS)} is installed with Alembic")
    default = make_url("postgresql://").get_dialect().driver
    return "postgresql" if default in installed else f"postgresql+{installed[0]}"


def _fetch_rows(connection: Any, sql: str) -> list[Any]:
    """Run a statement on the driver's own connection, in whatever transaction it has."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return [list(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


def _schema_of(context: Any) -> str:
    """Return the schema in which this session finds the table of the heads, or would create it."""
    name = context.version_table.replace("'", "''")
    dbapi = context.connection.connection.dbapi_connection
    rows = _fetch_rows(dbapi, SCHEMA_OF.format(name))
    return str(rows[0][0])


def _nothing_to_do(_heads: Any, _context: Any) -> list[Any]:
    return []


def _many(value: Any) -> tuple[Any, ...]:
    """Return one, several or none as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)


def _flat(differences: Any) -> Iterator[tuple[Any, ...]]:
    for difference in differences:
        if isinstance(difference, list):
            yield from _flat(difference)
        else:
            yield difference


def _describe_difference(difference: tuple[Any, ...]) -> str:
    """Return a difference in words: what would have to be done to the database."""
    kind, rest = str(difference[0]), difference[1:]
    if kind.startswith("modify_") or kind in ("add_column", "remove_column"):
        schema, table = rest[0], rest[1]
        column = getattr(rest[2], "name", rest[2])
        more = f" from {rest[4]} to {rest[5]}" if kind.startswith("modify_") else ""
        name = f"{table}.{column}{more}"
    else:
        item = rest[0]
        of = getattr(item, "table", None)
        schema = getattr(of if of is not None else item, "schema", None)
        name = str(getattr(item, "name", None) or item)
        name += f" of {of.name}" if of is not None else ""
    return "" if schema == "windlass" else f"{kind.replace('_', ' ')} {name}"


DOES: dict[str, Callable[[Project], dict[str, Any]]] = {
    "graph": Project.graph,
    "bookkeeping": Project.bookkeeping,
    "prepare": Project.prepare,
    "run": Project.run,
    "check": Project.check,
    "create": Project.create,
    "render": Project.render,
}


def hook(current: dict[str, Project]) -> None:
    """Listen to every engine and connection of the request that is answered."""
    connected = Engine.raw_connection

    def raw_connection(engine: Engine) -> Any:
        project = current["now"]
        if "connect" in project.request:
            return connected(engine)
        engine.dialect.default_schema_name = "public"
        engine.dialect.server_version_info = SERVER
        return project.nowhere

    Engine.raw_connection = raw_connection
    event.listen(Engine, "do_connect", lambda *arguments: current["now"].connect(*arguments))
    event.listen(Pool, "connect", lambda *arguments: current["now"].connected(*arguments))
    event.listen(
        Engine,
        "before_cursor_execute",
        lambda *arguments: current["now"].before(*arguments),
        retval=True,
    )
    event.listen(
        Engine, "after_cursor_execute", lambda *arguments: current["now"].after(*arguments)
    )


def main() -> int:
    """Answer requests until one fails or the parent is gone."""
    close_to_others()
    ignore_written_bytecode()
    sys.dont_write_bytecode = True  # a file that is written from here on is not ours
    pipe = Pipe()
    pipe.tell(ready=True)
    current: dict[str, Project] = {}
    hook(current)
    while True:
        request = pipe.read()
        try:
            current["now"] = Project(request, pipe)
            pipe.tell(result=DOES[request["do"]](current["now"]))
        except StopRequested:
            return 0
        except (Exception, SystemExit) as error:  # noqa: BLE001  # judged at the other end
            pipe.tell(error=describe_error(error))
            return 0


if __name__ == "__main__":
    sys.exit(main())
