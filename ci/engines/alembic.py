"""The `alembic` engine: the project's own Alembic, under the policy that every engine has.

Each revision is a run of its own, in one transaction with its record, whatever env.py does with
several: a lock is held no longer than its revision, and what failed is tried again alone.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from ci.config import MigrationsConfig
from ci.database import Database, is_pooled, read_target
from ci.engines import alembicbooks, alembicfile, alembicrun, sqlfile, sqlmade, sqlpartial, sqlrun
from ci.engines.alembicgraph import Graph, Listing, Revision
from ci.engines.alembiclint import Rendered, findings
from ci.engines.alembicpipe import Child, Place, Said, find_python
from ci.engines.sqlfile import SqlFile
from ci.errors import ConfigError, Refused, StepFailed
from ci.locktimeout import Terms, limits
from ci.model import Applied, Direction, Failed, Finding, Migration, Partial, Unrecorded

NOT_AT_HEAD = "Target database is not up to date"
NO_MODELS = "does not provide a MetaData object"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """What env.py says about how it runs revisions."""

    heads: alembicbooks.Heads
    transaction_per_migration: bool
    models: bool


class AlembicEngine:
    """Runs revisions in their own Python, and keeps a checksum of each beside Alembic's heads."""

    name = "alembic"
    lock_keys: tuple[int, ...] = ()

    def __init__(self, config: MigrationsConfig, root: Path) -> None:
        ini = root / config.ini
        if not ini.is_file():
            raise ConfigError(
                f"migrations.ini: {config.ini}: no such file",
                next_step="name the project's alembic.ini: migrations: {ini: backend/alembic.ini}",
            )
        self.search_path = config.search_path  # of lookups by name; env.py has its own
        self.shown = Path(config.ini)  # in messages: relative, the same everywhere
        self.home = ini.absolute().parent
        python = find_python(config.python, ini=ini.absolute(), root=root.absolute())
        self.child = Child(
            Place(
                ini=ini.absolute(),
                shown=self.shown.parent,
                python=python,
                url_variable=config.url_variable,
            )
        )
        self._listed: Listing | None = None
        self._books: _Books | None = None
        self._applied: frozenset[str] = frozenset()
        self._rendered: dict[tuple[str, Direction], Rendered] = {}

    def version(self) -> str:
        """Return the versions of what runs revisions, and a hash of env.py and alembic.ini."""
        listed = self._list()
        files = (self.home / listed.env, self.child.place.ini)
        digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        words = ", ".join(f"{name} {version}" for name, version in listed.versions.items())
        return f"{words}, env.py {digest[:12]}"

    def _list(self) -> Listing:
        if self._listed is None:
            try:
                found = self.child.ask({"do": "graph"})
            except Said as error:
                raise ConfigError(
                    f"{self.shown}: {error}",
                    next_step="mend the revision or alembic.ini; alembic history shows the same",
                ) from error
            self._listed = msgspec.convert(found, Listing)
        return self._listed

    def _graph(self) -> Graph:
        return Graph.of(self._list().revisions)

    def on_disk(self) -> tuple[Migration, ...]:
        """Return every revision, each behind all that it builds on.

        Raises:
            ConfigError: Alembic cannot read them, or a file is wrong.

        """
        return tuple(self._migration(one) for one in self._graph().revisions.values())

    def _migration(self, revision: Revision) -> Migration:
        source = self._source(revision)
        head = self._head(revision)
        verify = self._verify_text(revision)
        return Migration(
            name=revision.revision,
            checksum=sqlfile.checksum_of(source),
            sql=source,
            phase=head.phase,
            transactional=head.transactional,
            rollback=alembicfile.downgrade(self._shown(revision), source),
            verify=verify,
            title=revision.message,
            after=revision.after,
        )

    def _shown(self, revision: Revision) -> Path:
        return self.shown.parent / revision.path

    def _source(self, revision: Revision) -> str:
        path = self.home / revision.path
        return sqlfile.normalise(path.read_bytes(), self._shown(revision))

    def _head(self, revision: Revision) -> SqlFile:
        return alembicfile.head(self._shown(revision), self._source(revision))

    def _verify_path(self, revision: Revision) -> Path:
        """Return where its verify script stands: its file's name, and _verify.sql."""
        return Path(f"{Path(revision.path).with_suffix('')}_verify.sql")

    def _verify_text(self, revision: Revision) -> str | None:
        file = self._verify_path(revision)
        path, shown = self.home / file, self.shown.parent / file
        if not path.exists():
            return None
        text = sqlfile.normalise(path.read_bytes(), shown)
        sqlrun.require_reading(sqlfile.parse(shown, text))
        return text

    def _verify(self, migration: Migration) -> SqlFile | None:
        if migration.verify is None:
            return None
        shown = self.shown.parent / self._verify_path(self._revision(migration))
        return sqlfile.parse(shown, migration.verify)

    def _revision(self, migration: Migration) -> Revision:
        return self._graph().revisions[migration.name]

    def named(self, text: str) -> str:
        """Return the revision that a person means: its beginning, head, branch@head."""
        return self._graph().named(text)

    def create(
        self, name: str, *, compared: Database | None = None, merge: bool = False
    ) -> tuple[Path, ...]:
        """Let Alembic write a revision: empty, autogenerated, or a merge of all heads.

        Raises:
            ConfigError: there is no message, or nothing to merge.
            Refused: the database to compare with is not at head.

        """
        if not name.strip():
            raise ConfigError(
                "a revision needs a message", next_step='invoke create --name "add user full name"'
            )
        heads = self._graph().heads()
        if merge and len(heads) < 2:
            raise ConfigError("there is one head: nothing to merge", next_step="leave out --merge")
        asked = {"message": name, "autogenerate": compared is not None, "merge": merge}
        try:
            found = self._ask_of(compared, "create", {"create": asked})
        except Said as error:
            raise self._not_created(error, heads) from error
        self._listed = None
        return tuple(self.shown.parent / path for path in found["paths"])

    def _not_created(self, error: Said, heads: tuple[str, ...]) -> Refused | StepFailed:
        if NOT_AT_HEAD in error.words:
            return Refused(
                "Target database is not up to date: models are compared with a database at head",
                next_step="invoke migrate --env ENV first, then create again",
            )
        if len(heads) > 1:
            return Refused(
                f"Multiple head revisions are present: {', '.join(heads)}",
                next_step="merge them first: invoke create --merge --name merge_heads",
            )
        return error.failed(next_step="mend env.py or the models, and create again")

    def _ask_of(
        self, database: Database | None, do: str, request: dict[str, object]
    ) -> dict[str, Any]:
        """Ask something of the child, with a connection to a database where there is one."""
        if database is None:
            return self.child.ask({"do": do, **request})
        with database.connect(do) as connection:
            return self.child.ask({"do": do, **self._where(connection), **request})

    def _where(self, connection: psycopg.Connection) -> dict[str, object]:
        """Return where a connection goes, for a request that only reads."""
        terms, target = Terms(), read_target(connection)
        database, rung = alembicrun.database_of(connection), terms.lock.timeout[-1]
        return alembicrun.place_of(database, target, "windlass/-/alembic", terms, rung)

    def _read_books(self, connection: psycopg.Connection) -> _Books:
        """Return where the heads are kept; env.py alone knows, and it needs a connection."""
        if self._books is not None:
            return self._books
        try:
            found = self.child.ask({"do": "books", **self._where(connection)})
        except Said as error:
            raise error.failed(next_step="mend env.py; alembic current shows the same") from error
        self._books = _Books(
            heads=alembicbooks.Heads(table=str(found["table"]), schema=str(found["schema"])),
            transaction_per_migration=bool(found["transaction_per_migration"]),
            models=bool(found["models"]),
        )
        return self._books

    def prepare(self, database: Database) -> None:
        """Let Alembic create its version table, wherever env.py wants it; and create ours."""
        try:
            self._ask_of(database, "prepare", {})
        except Said as error:
            raise error.failed(next_step="mend env.py, and do it again") from error
        with database.connect("migrate") as connection:
            alembicbooks.ensure(connection)

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many revisions are applied, and by what.

        Raises:
            Refused: a pooler stands between: a setting would stay in a session of others.

        """
        if is_pooled(connection):
            raise Refused(
                "the address is a pooler's: what Alembic sets would stay in sessions of others",
                next_step="write the address of the server itself into database:",
            )
        applied, books = len(self.history(connection)), self._read_books(connection)
        heads = self._graph().heads()
        several = f", {len(heads)} heads: {', '.join(heads)}" if len(heads) > 1 else ""
        alone = (
            ""
            if books.transaction_per_migration
            else "; alembic upgrade by hand holds every lock to the end of the last revision: set "
            "transaction_per_migration=True in env.py (here each has its own transaction)"
        )
        return f"{applied} applied{several}, {self.version()}{alone}"

    def missing(self, name: str) -> str:
        """Say it in Alembic's words."""
        return f"{self.shown.parent}: Can't locate revision identified by '{name}'"

    def never_ran(self, name: str) -> str:
        """Say that it is not in the history."""
        return f"{name} is not in the history"

    def failed(self, _connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return nothing: Alembic records no beginnings."""
        return ()

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the heads of the database and all that they build on.

        Of what was run by Alembic alone neither checksum nor time is known.
        """
        heads = self._read_books(connection).heads.read(connection)
        graph, known = self._graph(), alembicbooks.recorded(connection)
        reached = graph.reached(heads)
        self._applied = reached
        ordered = [name for name in graph.revisions if name in reached]
        found = []
        for name in (*sorted(reached - set(ordered)), *ordered):
            checksum, at = known.get(name, (None, None))
            found.append(Applied(name=name, checksum=checksum, applied_at=at))
        return tuple(found)

    def models(self, database: Database) -> str:
        """Say how the models differ from the database, as `alembic check` would."""
        history = database.read("models", self.history)
        books = database.read("models", self._read_books)
        if not books.models:
            return "models: env.py names none (target_metadata)"
        pending = len(self._graph().revisions.keys() - {row.name for row in history})
        if pending or len(self._graph().heads()) > 1:
            return "models: compared when the database is at its one head"
        try:
            differences = self._ask_of(database, "check", {})["differences"]
        except Said as error:
            return f"models: could not be compared: {error}"
        if not differences:
            return "models: equal to the database"
        return f"models: the database lacks {len(differences)} changes: {', '.join(differences)}"

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the revision as applied without running it."""
        self._record(connection, migration, "up")

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record of a revision away, which makes what it builds on the head."""
        applied = {row.name for row in self.history(connection)}
        if name in applied:
            self._record(connection, self._one(name), "down")
        if sqlpartial.exists(connection):
            sqlpartial.forget(connection, name)

    def _one(self, name: str) -> Migration:
        revision = self._graph().revisions.get(name)
        if revision is None:
            raise Refused(
                f"Can't locate revision identified by '{name}': it has no file",
                next_step="bring the file back (git log), and do it again",
            )
        return self._migration(revision)

    def _record(
        self, connection: psycopg.Connection, migration: Migration, direction: Direction
    ) -> None:
        database = alembicrun.database_of(connection)
        alembicrun.run(self._job(migration, direction, really=False), database, Terms())

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the revision's text as it is now as the one that ran."""
        alembicbooks.ensure(connection)
        for statement in alembicbooks.note(migration, "up"):
            connection.execute(statement)

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return the revisions whose autocommit_block was cut off."""
        return sqlpartial.partials(connection)

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one revision and its verify script, and record it."""
        return self._run(migration, "up", database, terms)

    def undo(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run its downgrade() and take the record away."""
        if migration.rollback is None:
            raise StepFailed(
                f"{migration.name}: its downgrade() does nothing",
                state="the revision stays applied",
                next_step="write it, or restore a backup",
            )
        return self._run(migration, "down", database, terms)

    def _run(
        self, migration: Migration, direction: Direction, database: Database, terms: Terms
    ) -> int:
        """Run a revision unless the heads say already what it would make them say."""
        there = {row.name for row in database.read("migrate", self.history)}
        half = {p.name for p in database.read("migrate", sqlpartial.partials)}
        if (migration.name in there) == (direction == "up"):
            return 0
        if direction == "down" and migration.name in half:
            raise StepFailed(
                f"{migration.name} was cut off in the middle, outside a transaction",
                state="what it had committed stands; downgrade() takes back a whole revision",
                next_step=f"finish it: invoke deploy; or take back by hand what stands, then "
                f"invoke unstamp --name {migration.name}",
            )
        retries = alembicrun.run(self._job(migration, direction), database, terms)
        now = {row.name for row in database.read("migrate", self.history)}
        if (migration.name in now) != (direction == "up"):
            raise StepFailed(
                f"{migration.name} ran, and the heads of the database do not say so",
                state="env.py rolled it back, or keeps its heads elsewhere",
                next_step="let env.py call context.run_migrations() in context.begin_transaction()",
            )
        return retries

    def _job(
        self, migration: Migration, direction: Direction, *, really: bool = True
    ) -> alembicrun.Job:
        revision = self._revision(migration)
        return alembicrun.Job(
            child=self.child, migration=migration, direction=direction, really=really,
            head=self._head(revision), verify=self._verify(migration),
        )  # fmt: skip

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run the verify script; StepFailed with file and line where it does not hold."""
        file = self._verify(migration)
        return sqlrun.check(file, connection) if file else 0

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL that offline mode makes of it, or why it makes none."""
        found = self._render([migration.name], direction)[migration.name]
        if found.unread:
            return f"-- not renderable: revision {migration.name}: {found.unread}"
        lock = sqlrun.terms_of(self._head(self._revision(migration)), terms).lock
        lines = [f"-- {where}\n{text}" for text, where in found.statements]
        record = f"-- and Alembic's record of {migration.name} in its version table"
        begin = f"BEGIN;\n{limits(lock.timeout[0], lock).replace('set local', 'set')}"
        return "\n\n".join([begin, *lines, f"{record}\nCOMMIT;"])

    def _render(self, names: Iterable[str], direction: Direction) -> dict[str, Rendered]:
        """Return revisions as SQL; those that are pending too are asked for at once, and kept."""
        wanted = [name for name in names if (name, direction) not in self._rendered]
        if wanted:
            ahead = [n for n in self._graph().revisions if n not in self._applied]
            both: tuple[Direction, ...] = ("up", "down")
            asked = [(name, way) for name in ahead for way in both]
            asked += [(name, direction) for name in wanted if (name, direction) not in asked]
            request = [{"revision": name, "direction": way} for name, way in asked]
            try:
                found = self.child.ask({"do": "render", "render": request})
            except Said as error:
                raise error.failed(next_step="mend env.py, and plan again") from error
            texts = msgspec.convert(found["rendered"], list[Rendered])
            self._rendered |= dict(zip(asked, texts, strict=True))
        return {name: self._rendered[name, direction] for name in names}

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the file sets aside."""
        return frozenset(one.rule for one in self._head(self._revision(migration)).allowed)

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that a revision names; of one that cannot be rendered, every word."""
        both: tuple[Direction, ...] = ("up", "down")
        rendered = [self._render([migration.name], way)[migration.name] for way in both]
        found = [one.tables(self._shown(self._revision(migration))) for one in rendered]
        known = [names for names in found if names is not None]
        if len(known) < len(found):
            known.append(alembicfile.words(migration.sql))
        return frozenset[str]().union(*known)

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those of whose objects some stand by name already, of what can be rendered."""
        rendered = self._render([one.name for one in migrations], "up")
        files: dict[str, SqlFile] = {}
        for one in migrations:
            with suppress(ConfigError):
                if not rendered[one.name].why:
                    files[one.name], _ = rendered[one.name].parsed(self._head(self._revision(one)))
        connection.execute(sqlrun.searching(self.search_path).encode())
        return sqlmade.unrecorded(files, (self.search_path or ("",))[0], connection)

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in the SQL that revisions make."""
        rendered = self._render([one.name for one in migrations], "up")
        heads = [
            (self._head(self._revision(one)), one.sql, rendered[one.name]) for one in migrations
        ]
        return findings(heads, connection)
