"""The `prisma` engine: Prisma Migrate's files and table, with the SQL engine's own safety.

Needs no Node. It does what `prisma migrate deploy` does, and what that leaves out: checksums are
compared, the row commits with the script, locks are waited for in rungs. Prisma 5 to 7.
"""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from ...config.sections import MigrationsConfig
from ...database.connection import Database
from ...errors import ConfigError, Place, Refused
from ...model import Applied, Migration
from ..sql.engine import SqlEngine
from .history import PREFIX, PrismaMigrations, never_applied

# SELECT pg_advisory_lock(72707369) in schema-engine's postgres flavour.
ADVISORY_LOCK = 72707369
LOCK_FILE = "migration_lock.toml"
PROVIDERS = ("postgresql", "postgres")
LONGEST_NAME = 200  # bytes of a directory's name; above it Prisma says P3010
NAME = re.compile(r"[a-z][a-z0-9_]*")
SCRIPTS = {"": "migration.sql", "_rollback": "rollback.sql", "_verify": "verify.sql"}
# What a Prisma 8 project has where 7 had migrations/<name>/migration.sql.
PRISMA_8 = ("*/ops.json", "app/*/ops.json", "app/*/migration.ts", "app/refs")
TABLES = """
    select c.relname::text from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %s and c.relkind in ('r', 'p') order by 1 limit 1
"""


class PrismaEngine(SqlEngine):
    """Runs prisma/migrations/*/migration.sql, and writes _prisma_migrations as its CLI reads it."""

    name = "prisma"
    lock_keys: tuple[int, ...] = (ADVISORY_LOCK,)
    failure = "P3018"

    def __init__(self, config: MigrationsConfig, root: Path) -> None:
        super().__init__(config, root)
        self.schema = (self.search_path or ("public",))[0]
        self.history_table = PrismaMigrations(self.schema)

    def file_of(self, name: str, extra: str = "") -> Path:
        """Return where a script of a migration stands, below the directory."""
        return Path(name) / SCRIPTS[extra]

    def on_disk(self) -> tuple[Migration, ...]:
        """Return every migration by its directory's name.

        Raises:
            ConfigError: a file is missing or wrong, the provider is not PostgreSQL, or the layout
                is Prisma 8's.

        """
        self._require_layout()
        names = sorted(path.name for path in self.directory.iterdir() if path.is_dir())
        for name in names:
            if len(name.encode()) > LONGEST_NAME:
                raise ConfigError(
                    f"{self.shown / name}: P3010: the name has more than {LONGEST_NAME} bytes",
                    next_step="give it a shorter one",
                )
            if not (self.directory / self.file_of(name)).exists():
                raise ConfigError(
                    "P3015: no such file",
                    place=Place(str(self.shown / self.file_of(name))),
                    next_step="bring it back (git log), or remove its directory",
                )
        return tuple(self._migration(name) for name in names)

    def _require_layout(self) -> None:
        if not self.directory.is_dir():
            raise ConfigError(
                f"{self.shown}: no such directory; migrations.directory in deploy.yml names it",
                next_step="name the directory with migration_lock.toml in it",
            )
        if any(next(self.directory.glob(pattern), None) for pattern in PRISMA_8):
            raise ConfigError(
                f"{self.shown}: this is a project of Prisma 8, which keeps its history elsewhere; "
                "the engine is for Prisma 5 to 7",
                next_step="deploy it with Prisma's own `db migrate`",
            )
        lock = self.directory / LOCK_FILE
        said = _provider(lock.read_text(encoding="utf-8")) if lock.exists() else PROVIDERS[0]
        if said not in PROVIDERS:
            raise ConfigError(
                f'P3019: the provider is "{said}", not PostgreSQL',
                place=Place(str(self.shown / LOCK_FILE)),
                next_step="name the migrations of the PostgreSQL project",
            )

    def create(
        self, name: str, *, compared: Database | None = None, merge: bool = False
    ) -> tuple[Path, ...]:
        """Write an empty migration with its rollback script; never over a file."""
        self.refuse_what_alembic_does(compared=compared, merge=merge)
        if not NAME.fullmatch(name):
            raise ConfigError(
                f'"{name}" is no name for a migration; expected lower-case letters, digits and _',
                next_step="invoke create --name add_user_preferences",
            )
        place = self.directory / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}"
        place.mkdir(parents=True)
        made = []
        for extra in ("", "_rollback"):
            path = place / SCRIPTS[extra]
            path.write_text(f"-- {name}{' undone' if extra else ''}\n", encoding="utf-8")
            made.append(path)
        return tuple(made)

    def ready(self, connection: psycopg.Connection) -> str:
        """Return how many migrations are applied.

        Raises:
            Refused: there is no history, and tables stand (P3005).

        """
        row = connection.execute(TABLES, (self.schema,)).fetchone()
        if not self.history_table.exists(connection) and row is not None:
            raise Refused(
                f"P3005: the schema {self.schema} has tables ({row[0]} is one), and no history",
                next_step="record what stands already: invoke baseline --name MIGRATION",
            )
        return super().ready(connection)

    def missing(self, name: str) -> str:
        """Say with Prisma's code which file there is not."""
        return (
            f"P3017: {super().missing(name)} (a name is that of the whole directory, such as "
            "20250804020810_add_last_error)"
        )

    def never_ran(self, name: str) -> str:
        """Say with Prisma's code that it was never applied."""
        return never_applied(name)

    def history(self, connection: psycopg.Connection) -> tuple[Applied, ...]:
        """Return what is applied.

        A checksum is equal for the text as it is and with either line end, as Prisma compares it.
        """
        return tuple(self._compared(row) for row in super().history(connection))

    def _compared(self, row: Applied) -> Applied:
        path = self.directory / self.file_of(row.name)
        if not path.exists():
            return row
        raw = path.read_bytes()
        unix = raw.replace(b"\r\n", b"\n")
        texts = (raw, unix, unix.replace(b"\n", b"\r\n"))
        if row.checksum not in {PREFIX + hashlib.sha256(text).hexdigest() for text in texts}:
            return row
        now = self._parse(row.name, "", self._read(row.name, "") or "").checksum
        return Applied(name=row.name, checksum=now, applied_at=row.applied_at)


def _provider(text: str) -> str:
    """Return the provider that the first line which begins with the word names."""
    line = next((one for one in text.splitlines() if one.startswith("provider")), "")
    return line.partition("=")[2].strip().strip('"')
