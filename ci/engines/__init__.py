"""What a migration engine must do, and which ones there are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg

from ci.config import LockConfig, MigrationsConfig
from ci.database import Database
from ci.model import Applied, Direction, Migration


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a migration's text that a person should know before it runs."""

    level: str  # "error" or "warning"
    rule: str
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.level}: {self.message} [{self.rule}]"


class Engine(Protocol):
    """Knows the files and the history table of one tool. Decides nothing."""

    name: str

    def version(self) -> str:
        """Return the version of what reads and runs the files, as it goes into the plan."""
        ...

    def on_disk(self) -> tuple[Migration, ...]:
        """Return every migration, in the order they must run."""
        ...

    def create(self, name: str) -> tuple[Path, ...]:
        """Write an empty migration with its rollback and verify scripts; never over a file."""
        ...

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return the rows of the history table; an absent table is an empty history."""
        ...

    def apply(
        self,
        migration: Migration,
        database: Database,
        lock: LockConfig,
        on_retry: Callable[[str], None],
    ) -> int:
        """Run one migration and record it, both or neither; return how often it was tried again.

        Where a statement cannot run in a transaction, each finished one is recorded, and a rerun
        goes on behind the last. `on_retry` is told who blocks.
        """
        ...

    def undo(
        self,
        migration: Migration,
        database: Database,
        lock: LockConfig,
        on_retry: Callable[[str], None],
    ) -> int:
        """Run its rollback script and remove the record, both or neither; return the retries."""
        ...

    def verify(self, migration: Migration, connection: psycopg.Connection) -> int:
        """Run its verify script and return how many statements it has; 0 where there is none."""
        ...

    def render(self, migration: Migration, direction: Direction) -> str:
        """Return the SQL as it would be sent, bookkeeping included."""
        ...

    def lint(self, migration: Migration) -> tuple[Finding, ...]:
        """Return what is dangerous in the migration's text."""
        ...


def open_engine(config: MigrationsConfig, root: Path) -> Engine:
    """Return the engine `deploy.yml` asks for; its libraries are imported here, not before."""
    from ci.engines.sql import SqlEngine

    return SqlEngine(config, root)
