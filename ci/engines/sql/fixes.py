"""Writes what lint proposes in the place of migrations that are files of SQL."""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from ...errors import ConfigError
from ...lint import fix
from ...lint.fix import Judged, Trio
from ...lint.live import read_catalog
from ...lint.statements import behind, judged, worth_mending
from ...model import Migration
from .. import HISTORIES
from .files import EXTRAS, SqlFiles


@dataclass(frozen=True, slots=True)
class SqlFixes:
    """The migrations of one directory."""

    files: SqlFiles

    def fix(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Path, ...]:
        """Write the files, all or none of them: what cannot be taken apart is refused before.

        Raises:
            ConfigError: as `lint.fix.fixed`.

        """
        parsed = [self.files.main(migration) for migration in migrations]
        catalog = read_catalog(connection, parsed, self.files.search_path)
        final = behind(parsed, catalog)
        by_path: dict[Path, list[Judged]] = {file.path: [] for file in parsed}
        for each in judged(parsed, catalog, final, HISTORIES):
            by_path[each.step.file.path].append(worth_mending(each))
        taken = {migration.name for migration in self.files.list()}
        written: dict[str, tuple[Trio, ...]] = {}
        for migration, file in zip(migrations, parsed, strict=True):
            trios = fix.fixed(
                migration.name,
                tuple(by_path[file.path]),
                final,
                rollback=migration.rollback,
                verify=migration.verify,
                taken=frozenset(taken - {migration.name}),
            )
            taken |= {trio.name for trio in trios}
            written[migration.name] = trios
        return tuple(path for trios in written.values() for path in self._write(trios))

    def add(self, trios: tuple[Trio, ...]) -> tuple[Path, ...]:
        """Write new migrations, all of them or none; never over a file.

        Raises:
            ConfigError: a file of that name is there.

        """
        texts = {
            self.files.directory / self.files.path_of(trio.name, extra): text
            for trio in trios
            for extra, text in zip(
                ("", *EXTRAS), (trio.sql, trio.rollback, trio.verify), strict=True
            )
            if text is not None
        }
        there = [path for path in texts if path.exists()]
        if there:
            raise ConfigError(f"{there[0]}: exists already", next_step="start again")
        self.files.directory.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        try:
            for path, text in texts.items():
                with path.open("x", encoding="utf-8") as file:
                    written.append(path)
                    file.write(text)
        except OSError:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        return tuple(texts)

    def _write(self, trios: tuple[Trio, ...]) -> list[Path]:
        """Write the later parts first: a run that is cut off leaves the migration as it was."""
        paths: list[Path] = []
        for trio in reversed(trios):
            for extra, text in zip(
                ("", *EXTRAS), (trio.sql, trio.rollback, trio.verify), strict=True
            ):
                path = self.files.directory / self.files.path_of(trio.name, extra)
                if text is None:
                    path.unlink(missing_ok=True)  # its verify script went to the last part
                    continue
                beside = path.with_name(f".{path.name}.new")
                beside.write_text(text, encoding="utf-8")
                beside.replace(path)
                paths.insert(0, path)
        return paths
