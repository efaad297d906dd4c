"""What a migration engine must do, and which ones there are."""

from pathlib import Path
from typing import Protocol

import msgspec
import psycopg

from ..config.sections import MigrationsConfig
from ..database.connection import Database
from ..database.retry import Terms
from ..model import Applied, Direction, Failed, Finding, Migration, Partial, Unrecorded


class Engine(Protocol):
    """Knows the files and the history table of one tool. Decides nothing."""

    name: str

    def version(self) -> str:
        """Return the version of what reads and runs the files, as it goes into the plan."""
        ...

    def on_disk(self) -> tuple[Migration, ...]:
        """Return every migration, in the order they must run."""
        ...

    def create(
        self, name: str, *, compared: Database | None = None, merge: bool = False
    ) -> tuple[Path, ...]:
        """Write a new migration, with its rollback and verify scripts; never over a file.

        It is empty, or holds what the tool's models have and `compared` has not, or merges heads.
        """
        ...

    def named(self, text: str) -> str:
        """Return the migration that a person means by these words; unknown ones as they are."""
        ...

    def models(self, database: Database) -> str:
        """Say how the tool's models differ from the database; empty where it has no models."""
        ...

    # Advisory locks of the tool itself, which are held beside the deployment lock.
    lock_keys: tuple[int, ...]

    def prepare(self, database: Database) -> None:
        """Create the tool's own tables where they are missing."""
        ...

    def ready(self, connection: psycopg.Connection) -> str:
        """Return what the history holds, in words; raise where a deployment could not begin."""
        ...

    def missing(self, name: str) -> str:
        """Return what to say of a name that no migration on disk has."""
        ...

    def never_ran(self, name: str) -> str:
        """Return what to say of a name that is not in the history."""
        ...

    def failed(self, connection: psycopg.Connection) -> tuple[Failed, ...]:
        """Return what the tool began, and neither ended nor resolved."""
        ...

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the rows of the history table; an absent table is an empty history."""
        ...

    def stamp(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration as applied without running it; in the caller's transaction."""
        ...

    def unstamp(self, connection: psycopg.Connection, name: str) -> None:
        """Take the record of a migration away, and of a part of one, without undoing anything."""
        ...

    def accept(self, connection: psycopg.Connection, migration: Migration) -> None:
        """Record the migration's text as it is now as the one that ran, or ran in part."""
        ...

    def partials(self, connection: psycopg.Connection) -> tuple[Partial, ...]:
        """Return what was cut off half way; writes nothing."""
        ...

    def apply(self, migration: Migration, database: Database, terms: Terms) -> int:
        """Run one migration and record it, both or neither; return how often it was tried again.

        Where a statement cannot run in a transaction, each finished one is recorded, and a rerun
        goes on behind the last.
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

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL as it would be sent, bookkeeping included; or why nobody can know it."""
        ...

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the migration's text sets aside, each with a reason there."""
        ...

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that the migration and its rollback script name, without schemas."""
        ...

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those, in running order, of whose objects some stand by name already.

        Those that say IF NOT EXISTS of them, only where all stand. In a transaction of the
        caller's, whose search_path it sets; reads the catalog alone.
        """
        ...

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in migrations, given what stands in the database.

        Without a connection, what only the catalog knows is left out.
        """
        ...


def open_engine(config: MigrationsConfig, root: Path) -> Engine:
    """Return the engine `deploy.yml` asks for; its libraries are imported here, not before."""
    if config.engine == "prisma":
        from .prisma.engine import PrismaEngine

        return PrismaEngine(config, root)
    if config.engine == "alembic":
        from .alembic.engine import AlembicEngine

        return AlembicEngine(config, root)
    from .sql.engine import SqlEngine

    return SqlEngine(config, root)


def open_checkout(config: MigrationsConfig, root: Path, *, tools: Path) -> Engine | None:
    """Return the engine of another checkout of the repository; None: it has no migrations yet.

    Args:
        config: as deploy.yml says at `tools`.
        root: where deploy.yml stands, or would stand, in the other checkout.
        tools: the same of this one; what runs the files is installed here alone.

    """
    if not (root / (config.ini or config.directory)).exists():
        return None
    if config.engine == "alembic":
        from .alembic.pipe import find_python

        ini = (tools / config.ini).absolute()
        python = find_python(config.python, ini=ini, root=tools.absolute())
        config = msgspec.structs.replace(config, python=str(python), directory="")
    return open_engine(config, root)
