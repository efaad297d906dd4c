"""A project of Alembic on disk: its revisions, what their texts say, and their SQL."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ...config.sections import MigrationsConfig
from ...errors import ConfigError, Place, Refused
from ...model import Direction, Migration
from ...parser.file import SqlFile, checksum_of, read_script, require_one_way
from ...parser.once import Parser
from ...secret import Secret
from ..sql.run import require_reading
from .graph import Graph, Listing, Revision
from .lint import Rendered, Renderings
from .pipe import Child, Installation, ReportedError, find_python, no_answer, read_answer
from .revision import read_downgrade, read_head
from .touched import installed_packages, written_since

BOTH: tuple[Direction, ...] = ("up", "down")


class AlembicProject:
    """Knows the files. What Alembic makes of them, its child says."""

    def __init__(self, config: MigrationsConfig, root: Path, server: Secret | None = None) -> None:
        ini = (root / config.ini).absolute()
        if not ini.is_file():
            raise ConfigError(
                f"migrations.ini: {config.ini}: no such file",
                next_step="name the project's alembic.ini: migrations: {ini: backend/alembic.ini}",
            )
        self.ini = Path(config.ini)  # in messages: relative, the same everywhere
        self.home, self.shown = ini.parent, self.ini.parent
        python = find_python(config.python, ini=ini, root=root.absolute())
        place = Installation(
            ini=ini,
            shown=self.shown,
            python=python,
            url_variable=config.url_variable,
            environment=config.environment,
            root=root.absolute(),
            network=server is not None,
        )
        self.server = server
        self._reading, self._approved = Child(place), Child(place, approved=True)
        self.root = root.resolve()
        self._read_places = (root.absolute(), self.home, *installed_packages(python))
        self._version = ""  # as it was told last
        self._listing: Listing | None = None
        self._graph = Graph({})
        self._rendered: dict[tuple[str, Direction], Rendered] = {}
        self.parser = Parser()
        self.applied = frozenset[
            str
        ]()  # as the history was read last: what is applied is not rendered

    def child(self) -> Child:
        """Return the Python that reads: what nobody approved. The other one has ended then."""
        self._approved.end()
        return self._reading

    def approved_child(self) -> Child:
        """Return the Python that runs what was approved; another one than that which read.

        It is started when the one that read has ended, and only where that one wrote nothing that
        it would read, and where it reads the same revisions.

        Raises:
            Refused: it is not so.

        """
        if self._approved.running:
            return self._approved
        listing, version = self._listed(), self._version
        self._reading.end()
        self._refuse_written()
        if version and self.version() != version:
            raise self._changed("env.py or alembic.ini was changed since the plan was made")
        try:
            answer = self._approved.ask({"do": "graph"})
        except ReportedError as error:
            raise error.failed(next_step="mend it, and plan again") from error
        if read_answer(self._approved.place, answer, Listing) != listing:
            self._approved.end()
            raise self._changed("Alembic reads other revisions than when the plan was made")
        return self._approved

    def _refuse_written(self) -> None:
        began = self._reading.began
        written = written_since(began, self._read_places) if began else None
        if written is not None:
            raise self._changed(f"{written} was written while the migrations were read")

    def _changed(self, what: str) -> Refused:
        return Refused(
            what,
            state="no revision ran",
            next_step="see who writes there (env.py, a revision, a module they import), and plan "
            "again",
        )

    def version(self) -> str:
        """Return the versions of what runs revisions, and a hash of env.py and alembic.ini."""
        listing = self._listed()
        files = (self.home / listing.env, self._reading.place.ini)
        digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        words = ", ".join(f"{name} {version}" for name, version in listing.versions.items())
        self._version = f"{words}, env.py {digest[:12]}"
        return self._version

    def environment_file(self) -> Path:
        """Return the path of env.py."""
        return self.home / self._listed().env

    def _listed(self) -> Listing:
        if self._listing is None:
            try:
                answer = self.child().ask({"do": "graph"})
            except ReportedError as error:
                raise ConfigError(
                    f"{self.ini}: {error}",
                    next_step="mend the revision or alembic.ini; alembic history shows the same"
                    f"{error.hint}",
                ) from error
            listing = read_answer(self._reading.place, answer, Listing)
            for path in (listing.env, *(revision.path for revision in listing.revisions)):
                self._require_inside(path)
            self._listing = listing
            self._graph = Graph.of(listing.revisions)
            self._rendered = {}
        return self._listing

    def _require_inside(self, path: str) -> None:
        """Refuse a file elsewhere: it is read by us, and shown; it may be /proc/self/environ."""
        file = (self.home / path).resolve()
        below = any(file.is_relative_to(place) for place in (self.root, self.home.resolve()))
        if not (below and file.suffix == ".py"):
            raise Refused(
                f"Alembic says that {file} is a revision or env.py; expected a .py file below "
                f"{self.root}, where deploy.yml is",
                next_step="see which module tells Alembic so, and what it is after; keep revisions "
                "in the repository",
            )

    @property
    def graph(self) -> Graph:
        """The revisions."""
        self._listed()
        return self._graph

    def forget(self) -> None:
        """Look anew when asked next: files may have come or changed."""
        self._listing = None

    def written(self, paths: Iterable[str]) -> tuple[Path, ...]:
        """Return what Alembic wrote, as people see its paths; it is read when asked for next."""
        self.forget()
        return tuple(self.shown / path for path in paths)

    def migrations(self) -> tuple[Migration, ...]:
        """Return every revision, each behind all that it builds on, as it is on disk now.

        Raises:
            ConfigError: Alembic cannot read them, or a file is wrong.

        """
        self.forget()
        return tuple(self.migration(revision) for revision in self.graph.revisions.values())

    def migration(self, revision: Revision) -> Migration:
        """Return a revision as it is on disk now."""
        source, shown = self.source(revision), self.path(revision)
        head = read_head(shown, source, self.parser)
        rollback = read_downgrade(shown, source)
        require_one_way(head, rollback)
        return Migration(
            name=revision.revision,
            checksum=checksum_of(source),
            sql=source,
            phase=head.phase,
            transactional=head.transactional,
            rollback=rollback,
            verify=self._verify_text(revision),
            backfill=self._backfill_text(revision),
            title=revision.message,
            after=revision.after,
            irreversible=head.irreversible,
        )

    def path(self, revision: Revision) -> Path:
        """Return the path of a revision, as people see it."""
        return self.shown / revision.path

    def source(self, revision: Revision) -> str:
        """Return its text as it is now."""
        text = read_script(self.home / revision.path, self.path(revision))
        if text is None:
            raise Refused(
                f"{self.path(revision)} is gone",
                next_step="bring the file back (git log), and do it again",
            )
        return text

    def head(self, migration: Migration) -> SqlFile:
        """Return the directives of a revision."""
        path = self.path(self.revision(migration.name))
        return read_head(path, migration.sql, self.parser)

    def revision(self, name: str) -> Revision:
        """Return the revision of a name; Refused where there is no file."""
        revision = self.graph.revisions.get(name)
        if revision is None:
            raise Refused(
                f"Can't locate revision identified by '{name}': it has no file",
                next_step="bring the file back (git log), and do it again",
            )
        return revision

    def _verify_path(self, revision: Revision) -> Path:
        """Return the path of its verify script: its file's name, and _verify.sql."""
        return Path(f"{Path(revision.path).with_suffix('')}_verify.sql")

    def _verify_text(self, revision: Revision) -> str | None:
        file = self._verify_path(revision)
        text = read_script(self.home / file, self.shown / file)
        if text is None:
            return None
        require_reading(self.parser.parse(self.shown / file, text))
        return text

    def verify(self, migration: Migration) -> SqlFile | None:
        """Return its verify script; None where it has none."""
        if migration.verify is None:
            return None
        revision = self.revision(migration.name)
        return self.parser.parse(self.shown / self._verify_path(revision), migration.verify)

    def _backfill_path(self, revision: Revision) -> Path:
        """Return the path of what runs in batches behind it: its file's name, and _backfill.sql."""
        return Path(f"{Path(revision.path).with_suffix('')}_backfill.sql")

    def _backfill_text(self, revision: Revision) -> str | None:
        file = self._backfill_path(revision)
        text = read_script(self.home / file, self.shown / file)
        if text is not None:
            self._batches(self.shown / file, text)
        return text

    def backfill(self, migration: Migration) -> SqlFile | None:
        """Return the statements that run in batches behind a revision; None where it has none.

        They are of the migration's own text, which the plan has, and not of the file of now.

        Raises:
            ConfigError: one of them has no directive above it, or cannot be split.

        """
        if migration.backfill is None:
            return None
        path = self.shown / self._backfill_path(self.revision(migration.name))
        return self._batches(path, migration.backfill)

    def _batches(self, path: Path, text: str) -> SqlFile:
        script = self.parser.parse(path, text)
        alone = next((s for s in script.statements if s.backfill is None), None)
        if alone is not None:
            raise ConfigError(
                "this statement is no backfill, and the file is for those alone",
                place=Place(str(script.path), alone.line),
                next_step="write -- windlass: backfill table=T above it, or move it into the "
                "revision",
            )
        return script

    def render(self, names: Iterable[str], direction: Direction) -> dict[str, Rendered]:
        """Return revisions as the SQL that offline mode makes of them.

        What is not applied is asked for at once, in both directions, and kept.
        """
        listed = self.graph.revisions
        wanted = [name for name in names if (name, direction) not in self._rendered]
        if wanted:
            requested = [(name, way) for name in listed if name not in self.applied for way in BOTH]
            requested += [
                (name, direction) for name in wanted if (name, direction) not in requested
            ]
            request = [{"revision": name, "direction": way} for name, way in requested]
            try:
                answer = self.child().ask({"do": "render", "render": request})
            except ReportedError as error:
                raise error.failed(next_step="mend env.py, and plan again") from error
            texts = read_answer(self._reading.place, answer, Renderings).rendered
            if len(texts) != len(requested):
                raise no_answer(self._reading.place, ValueError(f"{len(texts)} revisions"))
            self._rendered |= dict(zip(requested, texts, strict=True))
        return {name: self._rendered[name, direction] for name in names}
