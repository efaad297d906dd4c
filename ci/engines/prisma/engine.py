"""The `prisma` engine: Prisma Migrate's files and table, with the SQL engine's own safety.

Needs no Node. It does what `prisma migrate deploy` does, and what that leaves out: checksums are
compared, the row commits with the script, locks are waited for in rungs. Prisma 5 to 7.
"""

import hashlib
from pathlib import Path

import psycopg

from ... import files
from ...config.sections import MigrationsConfig
from ...database.history_table import HistoryTable
from ...errors import Refused
from ...model import Applied
from ...parser.file import LARGEST, checksum_of
from .. import Engine
from ..sql.engine import SqlCorrections, SqlHistory, SqlNames, SqlRunner
from ..sql.jobs import SqlBackfills
from .files import PrismaFiles
from .history import PREFIX, PrismaMigrations, never_applied

# SELECT pg_advisory_lock(72707369) in schema-engine's postgres flavour.
ADVISORY_LOCK = 72707369
HISTORY = HistoryTable(PrismaMigrations.table)
TABLES = """
    select c.relname::text from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %s and c.relkind in ('r', 'p') order by 1 limit 1
"""


def open_prisma(config: MigrationsConfig, root: Path) -> Engine:
    """Return the engine of the project below `root`; it writes what Prisma's CLI reads."""
    table = PrismaMigrations((config.search_path or ("public",))[0])
    files = PrismaFiles(config, root, table)
    return Engine(
        name="prisma",
        files=files,
        names=PrismaNames(files),
        history=PrismaHistory(table, files),
        corrections=SqlCorrections(table, files),
        runner=SqlRunner(files),
        untracked=files,
        backfills=SqlBackfills(files),
        lock_keys=(ADVISORY_LOCK,),
    )


class PrismaNames(SqlNames):
    """What Prisma says, with its codes."""

    def unknown(self, name: str) -> str:
        """Say with Prisma's code which file there is not."""
        return (
            f"P3017: {super().unknown(name)} (a name is that of the whole directory, such as "
            "20250804020810_add_last_error)"
        )

    def never_ran(self, name: str) -> str:
        """Say with Prisma's code that it was never applied."""
        return never_applied(name)

    def failed(self, name: str) -> str:
        """Say with Prisma's code that a migration failed."""
        return f"P3009: {super().failed(name)}"


class PrismaHistory(SqlHistory):
    """_prisma_migrations, as Prisma's CLI reads and writes it."""

    def __init__(self, table: PrismaMigrations, files: PrismaFiles) -> None:
        super().__init__(table, HISTORY)
        self.schema, self.files = table.schema, files

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many migrations are applied.

        Raises:
            Refused: there is no history, and the schema has tables (P3005).

        """
        row = connection.execute(TABLES, (self.schema,)).fetchone()
        if not self.table.exists(connection) and row is not None:
            raise Refused(
                f"P3005: the schema {self.schema} has tables ({row[0]} is one), and no history",
                next_step="record what already exists: invoke baseline --name MIGRATION",
            )
        return super().ready(connection)

    def rows(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied.

        A checksum is equal for the text as it is and with either line end, as Prisma compares it.
        """
        return tuple(self._compared(row) for row in super().rows(connection))

    def _compared(self, row: Applied) -> Applied:
        path = self.files.directory / self.files.path_of(row.name)
        try:
            raw = files.read(path, at_most=LARGEST)
        except OSError:  # gone, or no file: listing the files says so
            return row
        unix = raw.replace(b"\r\n", b"\n")
        texts = (raw, unix, unix.replace(b"\n", b"\r\n"))
        if row.checksum not in {PREFIX + hashlib.sha256(text).hexdigest() for text in texts}:
            return row
        now = checksum_of(self.files.read(row.name) or "")
        return Applied(name=row.name, checksum=now, applied_at=row.applied_at)
