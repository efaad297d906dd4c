"""What a migration engine must do, in parts that each caller asks for, and which ones there are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

import msgspec
import psycopg

from ..config.sections import MigrationsConfig
from ..database.connection import Database
from ..database.history_table import HistoryTable
from ..database.retry import Terms
from ..errors import ConfigError
from ..lint.fix import Trio
from ..model import Applied, Direction, Failed, Finding, Migration, Partial, Unrecorded
from ..parser.effects import Effect
from ..secret import Secret

# Where engines keep what ran, unless they are told another place: no migration writes there,
# whichever engine runs it.
HISTORIES = (
    HistoryTable("schema_migrations", schema="public"),
    HistoryTable("_prisma_migrations"),
    HistoryTable("alembic_version"),
)


class Files(Protocol):
    """What is on disk, and what its text says. Each file is parsed once."""

    def list(self) -> tuple[Migration, ...]:
        """Return every migration, in the order they must run; ConfigError where a file is wrong."""
        ...

    def besides(self) -> tuple[Path, ...]:
        """Return the files that decide what migrations do, and are none: env.py, their imports."""
        ...

    def directories(self) -> tuple[Path, ...]:
        """Return the directories that are the migrations' own: each file there may decide."""
        ...

    def create(self, name: str) -> tuple[Path, ...]:
        """Write a new, empty migration and its scripts; never over a file."""
        ...

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL as it would be sent, bookkeeping included; or why it cannot be known."""
        ...

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in migrations, given what exists in the database.

        Without a connection, what only the catalog knows is left out.
        """
        ...

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that the migration and its rollback script name, without schemas."""
        ...

    def effects(self, migration: Migration, direction: Direction) -> tuple[Effect, ...]:
        """Return what its script does to tables and values; that it hides it, where unknown."""
        ...

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the migration's text sets aside, each with a reason there."""
        ...

    def reasons(self, migration: Migration, rule: str) -> tuple[str, ...]:
        """Return the reasons with which the migration's text sets a rule aside."""
        ...


class Names(Protocol):
    """What people call migrations, and the tool's own messages."""

    def resolve(self, text: str) -> str:
        """Return the migration that a person means by this text; an unknown one as it is."""
        ...

    def unknown(self, name: str) -> str:
        """Return what to say of a name that no migration on disk has."""
        ...

    def never_ran(self, name: str) -> str:
        """Return what to say of a name that is not in the history."""
        ...

    def no_file(self, name: str) -> str:
        """Return what to say of an applied migration that has no file."""
        ...

    def failed(self, name: str) -> str:
        """Return what to say of a migration that the tool itself began, and did not end."""
        ...

    def rollback_script(self, name: str) -> str:
        """Return where the rollback script of a migration is expected."""
        ...


class History(Protocol):
    """What ran, by the tool's own tables. Reads, but for `prepare`."""

    @property
    def tables(self) -> tuple[HistoryTable, ...]:
        """The tool's own tables that are no part of the schema that is compared."""
        ...

    def prepare(self, database: Database) -> None:
        """Create the tool's own tables where they are missing."""
        ...

    def ready(self, connection: psycopg.Connection) -> str:
        """Return what the history holds, in words; raise where a deployment could not begin."""
        ...

    def rows(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied; an absent table is an empty history."""
        ...

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return what was cut off half way."""
        ...

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what the tool began, and neither ended nor resolved."""
        ...


class Corrections(Protocol):
    """Changes what is recorded, and nothing else; in the caller's transaction."""

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration as applied without running it."""
        ...

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record of a migration away, and of a part of one, without undoing anything."""
        ...

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration's text as it is now as the one that ran, or ran in part."""
        ...


class Runner(Protocol):
    """How one migration runs."""

    def version(self) -> str:
        """Return the version of what reads and runs the files, as it goes into the plan."""
        ...

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one migration and record it, both or neither; return the number of retries.

        Where a statement cannot run in a transaction, each finished one is recorded, and a rerun
        goes on behind the last. One that is already applied does not run.
        """
        ...

    def undo(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run its rollback script and remove the record, both or neither; return the retries."""
        ...

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run its verify script and return how many statements it has; 0 where there is none.

        In a transaction of the caller's.
        """
        ...


class Backfills(Protocol):
    """Of an engine whose files may leave a backfill to a job of its own."""

    def has_job(self, migration: Migration) -> bool:
        """Tell whether a deployment leaves a backfill of the migration to a job."""
        ...

    def run_job(self, migration: Migration, number: int, database: Database, terms: Terms) -> int:
        """Run one, by the number of its statement, to its end; return the retries.

        `backfill.run.Stopped` where a person asked for that.
        """
        ...


class Untracked(Protocol):
    """Finds what exists already and would be created."""

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those, in running order, of whose objects some already exist by name.

        Those that say IF NOT EXISTS of them, only where all exist. In a transaction of the
        caller's, whose search_path it sets; reads the catalog alone.
        """
        ...


class Models(Protocol):
    """Of a tool that has models besides its migrations."""

    def differences(self, database: Database) -> str:
        """Say how the models differ from the database."""
        ...

    def autogenerate(self, name: str, database: Database) -> tuple[Path, ...]:
        """Write a migration with what the models have and the database has not."""
        ...


class Branches(Protocol):
    """Of a tool whose migrations are a graph, which may have several heads."""

    def merge(self, name: str) -> tuple[Path, ...]:
        """Write a migration that merges all heads."""
        ...


class Fixes(Protocol):
    """Migrations that are files of SQL, in whose place others can be written."""

    def fix(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Path, ...]:
        """Write what lint proposes in the place of migrations; ConfigError where it cannot."""
        ...

    def add(self, trios: tuple[Trio, ...]) -> tuple[Path, ...]:
        """Write new migrations, all of them or none; never over a file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One tool's files and history table, in parts. Decides nothing."""

    name: str
    files: Files
    names: Names
    history: History
    corrections: Corrections
    runner: Runner
    untracked: Untracked
    backfills: Backfills | None = None
    models: Models | None = None
    branches: Branches | None = None
    fixes: Fixes | None = None
    lock_keys: tuple[int, ...] = ()  # the tool's own advisory locks, held with ours

    def differences(self, database: Database) -> str:
        """Say how the tool's models differ from the database; empty where it has no models."""
        return self.models.differences(database) if self.models else ""

    def create(
        self, name: str, *, compared: Database | None = None, merge: bool = False
    ) -> tuple[Path, ...]:
        """Write a new migration, with its rollback and verify scripts; never over a file.

        It is empty, or holds what the models have and `compared` has not, or merges heads.

        Raises:
            ConfigError: the name is none, or the tool has no models or no heads.

        """
        if compared is not None:
            if self.models is None:
                raise self._cannot("--autogenerate", "no models")
            return self.models.autogenerate(name, compared)
        if merge:
            if self.branches is None:
                raise self._cannot("--merge", "no heads to merge")
            return self.branches.merge(name)
        return self.files.create(name)

    def fix(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Path, ...]:
        """Write what lint proposes in the place of pending migrations, and return the files.

        Raises:
            ConfigError: the tool's migrations are no files of SQL, or one cannot be taken apart.

        """
        if self.fixes is None:
            raise ConfigError(
                f"lint --fix: the migrations of {self.name} are not written as SQL",
                next_step="leave out --fix, and write what stands under the findings by hand",
            )
        return self.fixes.fix(migrations, connection)

    def add(self, trios: tuple[Trio, ...]) -> tuple[Path, ...]:
        """Write new migrations whose SQL is known, and return the files.

        Raises:
            ConfigError: the tool's migrations are no files of SQL, or a file is there already.

        """
        if self.fixes is None:
            raise self._cannot("--recipe", "no migrations that are trios of SQL files")
        return self.fixes.add(trios)

    def _cannot(self, flag: str, why: str) -> ConfigError:
        return ConfigError(
            f"create {flag}: the engine {self.name} has {why}",
            next_step=f"leave out {flag}, and write the migration by hand",
        )


def open_engine(config: MigrationsConfig, root: Path, *, server: Secret | None = None) -> Engine:
    """Return the engine `deploy.yml` asks for; its libraries are imported here, not before.

    `server` is the URL of a server for copies; None: one of our own where a copy is needed.
    """
    match config.engine:
        case "sql":
            from .sql.engine import open_sql

            return open_sql(config, root)
        case "prisma":
            from .prisma.engine import open_prisma

            return open_prisma(config, root)
        case "alembic":
            from .alembic.engine import open_alembic

            return open_alembic(config, root, server)
        case _:
            assert_never(config.engine)


def open_checkout(config: MigrationsConfig, root: Path, *, tools: Path) -> Engine | None:
    """Return the engine of another checkout of the repository; None: it has no migrations yet.

    Args:
        config: as deploy.yml says at `tools`.
        root: where deploy.yml is, or would be, in the other checkout.
        tools: the same of this one; what runs the files is installed here alone.

    """
    if not (root / (config.ini or config.directory)).exists():
        return None
    match config.engine:
        case "sql" | "prisma":
            return open_engine(config, root)
        case "alembic":
            from .alembic.pipe import find_python

            ini = (tools / config.ini).absolute()
            python = find_python(config.python, ini=ini, root=tools.absolute())
            return open_engine(
                msgspec.structs.replace(config, python=str(python), directory=""), root
            )
        case _:
            assert_never(config.engine)
