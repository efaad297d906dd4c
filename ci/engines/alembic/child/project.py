"""An Alembic project: its revisions, its env.py, and what a request wants of them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import alembic
import sqlalchemy
from alembic import autogenerate, command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory

from .connection import DRIVERS, IDENTITY, WHERE, driver_of, fetch_rows, schema_of
from .differences import describe
from .errors import PREFIX, ProjectError, ReadsDataError, describe_error, shown
from .isolation import set_variables
from .nowhere import Nowhere, Unread
from .pipe import Pipe

NOTHING = {"host": "localhost", "port": "1", "dbname": "nothing"}  # answers nobody
UNREACHED = ("KeyError", "OperationalError", "InterfaceError", "ConnectionRefusedError", "OSError")
LISTED: list[ScriptDirectory] = []  # as it was read last


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
        driver = self.request.get("driver") or driver_of(written)
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
        identifier, name, pid = fetch_rows(connection, IDENTITY)[0]
        if [str(identifier), name] != self.request["identity"]:
            raise ProjectError(
                f"env.py connects to another database: {name}, of system {identifier}"
            )
        for statement in self.request["settings"]:
            fetch_rows(connection, statement)
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
            lambda sql: fetch_rows(dbapi, sql),
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
            self.pipe.ask(lambda sql: fetch_rows(dbapi, sql), at="done")

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
            self.pipe.ask(lambda sql: fetch_rows(dbapi, sql), at="applied")

        def begins(context: Any) -> bool:
            schema = context.version_table_schema or schema_of(context)
            dbapi = context.connection.connection.dbapi_connection
            self.pipe.ask(
                lambda sql: fetch_rows(dbapi, sql),
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
        return {"differences": describe(operations)}

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


def _nothing_to_do(_heads: Any, _context: Any) -> list[Any]:
    return []


def _many(value: Any) -> tuple[Any, ...]:
    """Return one, several or none as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
