"""The files of Prisma Migrate 5 to 7: a directory for each migration."""

import re
from datetime import UTC, datetime
from pathlib import Path

from ...errors import ConfigError, Place
from ...model import Migration
from ..sql.files import SqlFiles

LOCK_FILE = "migration_lock.toml"
PROVIDERS = ("postgresql", "postgres")
LONGEST_NAME = 200  # bytes of a directory's name; above it Prisma says P3010
NAME = re.compile(r"[a-z][a-z0-9_]*")
SCRIPTS = {"": "migration.sql", "_rollback": "rollback.sql", "_verify": "verify.sql"}
# What a Prisma 8 project has where 7 had migrations/<name>/migration.sql.
PRISMA_8 = ("*/ops.json", "app/*/ops.json", "app/*/migration.ts", "app/refs")


class PrismaFiles(SqlFiles):
    """prisma/migrations/*/migration.sql, with its rollback.sql and verify.sql."""

    failure = "P3018"

    def path_of(self, name: str, extra: str = "") -> Path:
        """Return where a script of a migration is, below the directory."""
        return Path(name) / SCRIPTS[extra]

    def list(self) -> tuple[Migration, ...]:
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
            if not (self.directory / self.path_of(name)).exists():
                raise ConfigError(
                    "P3015: no such file",
                    place=Place(str(self.shown / self.path_of(name))),
                    next_step="bring it back (git log), or remove its directory",
                )
        return tuple(self.migration(name) for name in names)

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
        provider = _provider(lock.read_text(encoding="utf-8")) if lock.exists() else PROVIDERS[0]
        if provider not in PROVIDERS:
            raise ConfigError(
                f'P3019: the provider is "{provider}", not PostgreSQL',
                place=Place(str(self.shown / LOCK_FILE)),
                next_step="name the migrations of the PostgreSQL project",
            )

    def create(self, name: str) -> tuple[Path, ...]:
        """Write an empty migration with its rollback script; never over a file."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f'"{name}" is no name for a migration; expected lower-case letters, digits and _',
                next_step="invoke create --name add_user_preferences",
            )
        place = self.directory / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}"
        place.mkdir(parents=True)
        paths = []
        for extra in ("", "_rollback"):
            path = place / SCRIPTS[extra]
            path.write_text(f"-- {name}{' undone' if extra else ''}\n", encoding="utf-8")
            paths.append(path)
        return tuple(paths)


def _provider(text: str) -> str:
    """Return the provider that the first line which begins with the word names."""
    line = next((row for row in text.splitlines() if row.startswith("provider")), "")
    return line.partition("=")[2].strip().strip('"')
