"""The revisions of a project as migrations, and the SQL that offline mode makes of them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg

from ...database.retry import Terms, limits
from ...errors import ConfigError
from ...model import Direction, Finding, Migration, Unrecorded
from ...parser.effects import Effect, effects_of
from ...parser.file import SqlFile
from ...parser.split import split
from ..sql import creates
from ..sql.run import set_search_path, terms_of
from .environment import AlembicEnvironment
from .imports import INSTALLED, closure
from .lint import Rendered, lint_revisions
from .project import BOTH, AlembicProject
from .revision import words_in_strings

BEHIND = "-- left to invoke backfill.run, in batches that commit"


def _data_of(directory: Path) -> Iterator[Path]:
    """Yield the files that a revision may read there by a name that is put together."""
    for place, names, files in os.walk(directory):
        names[:] = [name for name in names if name not in INSTALLED]
        yield from (Path(os.path.normpath(Path(place, name))) for name in files)


class AlembicFiles:
    """The revisions, and what their texts say. `search_path` is that of lookups by name."""

    def __init__(
        self, project: AlembicProject, environment: AlembicEnvironment, search_path: tuple[str, ...]
    ) -> None:
        self.project, self.environment, self.search_path = project, environment, search_path

    def list(self) -> tuple[Migration, ...]:
        """Return every revision, each behind all that it builds on; ConfigError where not so."""
        return self.project.migrations()

    def besides(self) -> tuple[Path, ...]:
        """Return env.py, alembic.ini, what they and the revisions import, and the data there."""
        home, listed = self.project.home, self.project.graph.revisions
        env = self.project.environment_file()
        revisions = [home / revision.path for revision in listed.values()]
        roots = [home, home / "src", env.parent, *env.parent.parents]
        inside = [root for root in dict.fromkeys(roots) if root.is_relative_to(home)]
        files = closure([env, *revisions], inside)
        data = {path for folder in self.directories() for path in _data_of(folder)}
        own = {Path(os.path.normpath(path)) for path in revisions}
        beside = ("_verify.sql", "_backfill.sql")  # their texts are the migration's, as the plan is
        own |= {path.with_name(f"{path.stem}{end}") for path in own for end in beside}
        return (home / self.project.ini.name, *sorted((data | set(files)) - own))

    def directories(self) -> tuple[Path, ...]:
        """Return where the revisions are, and env.py."""
        listed = self.project.graph.revisions.values()
        places = {(self.project.home / revision.path).parent for revision in listed}
        return tuple(sorted({self.project.environment_file().parent, *places}))

    def create(self, name: str) -> tuple[Path, ...]:
        """Let Alembic write an empty revision; ConfigError where there is no message."""
        return self.environment.write_revision(name)

    def render(self, migration: Migration, direction: Direction, terms: Terms) -> str:
        """Return the SQL that offline mode writes, or why it writes none."""
        rendered = self._render([migration.name], direction)[migration.name]
        batches = migration.backfill if direction == "up" else None
        behind = [] if batches is None else [f"{BEHIND}\n{batches.rstrip()}"]
        if rendered.unread:
            reason = f"-- not renderable: revision {migration.name}: {rendered.unread}"
            return "\n\n".join([reason, *behind])
        lock = terms_of(self.project.head(migration), terms).lock
        lines = [f"-- {where}\n{text}" for text, where in rendered.statements]
        record = f"-- and Alembic's record of {migration.name} in its version table"
        begin = f"BEGIN;\n{limits(lock.timeout[0], lock).replace('set local', 'set')}"
        return "\n\n".join([begin, *lines, f"{record}\nCOMMIT;", *behind])

    def _render(self, names: Iterable[str], direction: Direction) -> dict[str, Rendered]:
        return self.project.render(names, direction)

    def allowed(self, migration: Migration) -> frozenset[str]:
        """Return the rules that the file sets aside."""
        return frozenset(allowance.rule for allowance in self.project.head(migration).allowed)

    def reasons(self, migration: Migration, rule: str) -> tuple[str, ...]:
        """Return the reasons with which the file sets a rule aside."""
        return tuple(a.reason for a in self.project.head(migration).allowed if a.rule == rule)

    def effects(self, migration: Migration, direction: Direction) -> tuple[Effect, ...]:
        """Return what its SQL does to tables and values; of one that cannot be rendered: hides."""
        rendered = self._render([migration.name], direction)[migration.name]
        text = "".join(f"{statement}\n" for statement, _ in rendered.statements)
        hides = (Effect(does="hides"),)
        try:  # a COMMIT of an autocommit_block() is no matter here
            return hides if rendered.why else effects_of(split(Path(migration.name), text))
        except ConfigError:
            return hides

    def tables(self, migration: Migration) -> frozenset[str]:
        """Return the tables that a revision names; of one that cannot be rendered, every word."""
        head = self.project.head(migration)
        rendered = [self._render([migration.name], way)[migration.name] for way in BOTH]
        tables = [script.tables(head, self.project.parser) for script in rendered]
        known = [names for names in tables if names is not None]
        if len(known) < len(tables):
            known.append(words_in_strings(migration.sql))
        return frozenset[str]().union(*known)

    def unrecorded(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection
    ) -> tuple[Unrecorded, ...]:
        """Return those of whose objects some already exist by name, of what can be rendered."""
        rendered = self._render([migration.name for migration in migrations], "up")
        files: dict[str, SqlFile] = {}
        for migration in migrations:
            with suppress(ConfigError):
                if not rendered[migration.name].why:
                    files[migration.name], _ = rendered[migration.name].parsed(
                        self.project.head(migration), self.project.parser
                    )
        connection.execute(set_search_path(self.search_path).encode())
        return creates.find_untracked(files, (self.search_path or ("",))[0], connection)

    def lint(
        self, migrations: tuple[Migration, ...], connection: psycopg.Connection | None
    ) -> tuple[Finding, ...]:
        """Return what is dangerous in the SQL of revisions."""
        rendered = self._render([migration.name for migration in migrations], "up")
        heads = [
            (self.project.head(migration), migration.sql, rendered[migration.name])
            for migration in migrations
        ]
        return lint_revisions(heads, self.project.parser, connection)
