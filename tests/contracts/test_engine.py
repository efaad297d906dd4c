"""What every migration engine must do, whichever it is; on real PostgreSQL."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig, MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import Engine, open_engine
from pgwindlass.errors import Refused, StepFailed
from pgwindlass.model import Migration, Partial
from pgwindlass.parser.file import checksum_of
from tests.fix_alembic import AlembicProject
from tests.kit import tables

TERMS = Terms(lock=LockConfig(timeout=(Duration(0.1),), wait=Duration(2)))
CREATE, DROP = "create table t (i int)", "drop table t"
HOLDS = "select count(*) = 0 from t;"


class Case(ABC):
    """An engine and its migrations on disk; `write` and `outside` write one more."""

    records = "schema_migrations"  # the table of the history
    unstamps = True  # whether a record of what is applied can be taken away by hand

    def __init__(self, engine: Engine, database: Database) -> None:
        self.engine, self.database, self.url = engine, database, database.url.reveal()
        self.written: list[str] = []

    @abstractmethod
    def write(self, up: str, down: str = "", verify: str = "", head: str = "") -> Migration:
        """Write a migration, with a directive in its head; an empty `down` leaves out the undo."""

    @abstractmethod
    def outside(self, *statements: str) -> Migration:
        """Write a migration whose statements commit one by one."""

    def last(self) -> Migration:
        """Return the migration that was written last, as the engine reads it."""
        listed = {migration.name: migration for migration in self.engine.files.list()}
        return listed[self.written[-1]]

    def rows(self) -> list[str]:
        """Return the names in the history."""
        return [row.name for row in self.database.read("test", self.engine.history.rows)]

    def partials(self) -> tuple[Partial, ...]:
        """Return what was cut off."""
        return self.database.read("test", self.engine.history.partials)

    def tables(self) -> set[str]:
        """Return the tables of the database, without the records."""
        return tables(self.url) - {self.records}

    def sql(self, text: str) -> None:
        """Run SQL by hand."""
        with psycopg.connect(self.url) as connection:
            connection.execute(text.encode())


class OfFiles(Case):
    """Migrations that are SQL files."""

    def __init__(self, home: Path, database: Database, config: MigrationsConfig) -> None:
        super().__init__(open_engine(config, home), database)
        self.directory = home / config.directory
        self.directory.mkdir(parents=True)

    def path(self, name: str, extra: str) -> Path:
        return self.directory / f"{name}{extra}.sql"

    def write(self, up: str, down: str = "", verify: str = "", head: str = "") -> Migration:
        name = f"20260801_00000{len(self.written)}_m{len(self.written)}"
        directive = f"-- windlass: {head}\n" if head else ""
        for extra, text in (("", f"{directive}{up};\n"), ("_rollback", down), ("_verify", verify)):
            if text:
                self.path(name, extra).parent.mkdir(exist_ok=True)
                self.path(name, extra).write_text(text)
        self.written.append(name)
        return self.last()

    def outside(self, *statements: str) -> Migration:
        return self.write(";\n".join(statements), head="transaction=off")


class OfPrisma(OfFiles):
    records = "_prisma_migrations"
    unstamps = False  # P3012: only a failed one is marked as rolled back

    def path(self, name: str, extra: str) -> Path:
        return self.directory / name / f"{extra.removeprefix('_') or 'migration'}.sql"


class OfAlembic(Case):
    records = "alembic_version"

    def __init__(self, found: AlembicProject, database: Database) -> None:
        for path in found.versions.glob("*.py"):
            path.unlink()
        config = found.project.settings("uat").shared.migrations
        super().__init__(open_engine(config, found.project.home), database)
        self.found = found

    def _revision(self, up: str, down: str, verify: str, head: str) -> Migration:
        name = f"m{len(self.written)}"
        before = self.written[-1] if self.written else None
        self.found.revision(name, before, up, down)
        file = self.found.versions / f"{name}_test.py"
        if head:
            file.write_text(f"# windlass: {head}\n{file.read_text()}")
        if verify:
            file.with_name(f"{name}_test_verify.sql").write_text(verify)
        self.written.append(name)
        return self.last()

    def write(self, up: str, down: str = "", verify: str = "", head: str = "") -> Migration:
        undo = f"op.execute({down!r})" if down else "pass"
        return self._revision(f"op.execute({up!r})", undo, verify, head)

    def outside(self, *statements: str) -> Migration:
        lines = [f"    op.execute({statement!r})" for statement in statements]
        block = "\n".join(["with op.get_context().autocommit_block():", *lines])
        return self._revision(block, "pass", "", "")


@pytest.fixture(params=["sql", "prisma", "alembic"])
def case(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database16: Database,
    alembic: Callable[..., AlembicProject],
) -> Case:
    match request.param:
        case "alembic":
            return OfAlembic(alembic("error_events"), database16)
        case "prisma":
            return OfPrisma(tmp_path, database16, MigrationsConfig(engine="prisma"))
        case _:
            return OfFiles(tmp_path, database16, MigrationsConfig())


def test_a_migration_runs_once_and_back_and_again(case: Case) -> None:
    migration, runner = case.write(CREATE, DROP), case.engine.runner

    assert case.rows() == [] and tables(case.url) == set()  # reading the history writes nothing
    for _ in range(2):
        runner.apply(migration, case.database, TERMS)
        assert (case.rows(), case.tables()) == ([migration.name], {"t"})
        assert runner.apply(migration, case.database, TERMS) == 0  # else t would be there twice
        runner.undo(migration, case.database, TERMS)
        assert (case.rows(), case.tables()) == ([], set())


def test_migrations_are_listed_in_the_order_they_run(case: Case) -> None:
    first, second = case.write(CREATE, DROP, HOLDS), case.write("select 1")

    assert [one.name for one in case.engine.files.list()] == [first.name, second.name]
    assert (first.verify, second.rollback, second.verify) == (HOLDS, None, None)
    assert first.rollback is not None and DROP in first.rollback
    assert CREATE in first.sql and first.checksum != second.checksum
    assert first.transactional and first.phase == "before"


def test_what_fails_leaves_neither_change_nor_record(case: Case) -> None:
    migration = case.write(f"{CREATE}; select 1 / 0", DROP)

    with pytest.raises(StepFailed, match="division by zero") as caught:
        case.engine.runner.apply(migration, case.database, TERMS)

    assert migration.name in caught.value.what
    assert "rolled back: nothing of this" in caught.value.state
    assert (case.rows(), case.partials(), case.tables()) == ([], (), set())


def test_a_verify_script_runs_with_its_migration_and_alone(case: Case) -> None:
    migration = case.write(CREATE, DROP, HOLDS)
    case.engine.runner.apply(migration, case.database, TERMS)

    def verify(connection: psycopg.Connection) -> int:
        return case.engine.runner.verify(migration, connection)

    assert case.database.read("test", verify) == 1
    case.sql("insert into t values (1)")
    with pytest.raises(StepFailed, match=r"verify.sql:1: row 1 is \(False,\); expected true"):
        case.database.read("test", verify)


def test_a_verify_script_that_does_not_hold_leaves_nothing(case: Case) -> None:
    migration = case.write(CREATE, DROP, "select count(*) > 0 from t;")

    with pytest.raises(StepFailed, match=r"verify.sql:1: row 1 is \(False,\); expected true"):
        case.engine.runner.apply(migration, case.database, TERMS)

    assert (case.rows(), case.tables()) == ([], set())


def test_without_a_rollback_script_nothing_is_undone(case: Case) -> None:
    migration = case.write(CREATE)
    case.engine.runner.apply(migration, case.database, TERMS)

    with pytest.raises(StepFailed, match=migration.name):
        case.engine.runner.undo(migration, case.database, TERMS)

    assert (case.rows(), case.tables()) == ([migration.name], {"t"})


def test_records_are_corrected_without_a_statement_of_the_migration(case: Case) -> None:
    migration, change = case.write(CREATE, DROP), case.engine.corrections
    case.engine.history.prepare(case.database)
    edited = replace_text(migration, f"{migration.sql}\n")

    with case.database.connect("test") as connection:
        change.stamp(connection, migration)
        (row,) = case.engine.history.rows(connection)
        assert (row.name, row.checksum) == (migration.name, migration.checksum)
        change.accept(connection, edited)
        (row,) = case.engine.history.rows(connection)
        assert row.checksum == edited.checksum
        if case.unstamps:
            change.unstamp(connection, migration.name)
        else:
            with pytest.raises(Refused, match=migration.name):
                change.unstamp(connection, migration.name)

    assert case.rows() == ([] if case.unstamps else [migration.name])
    assert case.tables() == set()


def replace_text(migration: Migration, text: str) -> Migration:
    """Return a migration as it would be with another text."""
    return msgspec.structs.replace(migration, sql=text, checksum=checksum_of(text))


def test_what_was_cut_off_outside_a_transaction_is_told_and_gone_on_with(case: Case) -> None:
    migration = case.outside(f"{CREATE.replace('t (', 'if not exists t (')}", "table missing")
    with pytest.raises(StepFailed, match="missing"):
        case.engine.runner.apply(migration, case.database, TERMS)

    (half,) = case.partials()
    assert (half.name, half.direction) == (migration.name, "up")
    assert (case.rows(), case.tables()) == ([], {"t"})

    case.sql("create table missing (i int)")
    case.engine.runner.apply(migration, case.database, TERMS)

    assert (case.rows(), case.partials()) == ([migration.name], ())


def test_what_would_be_sent_is_shown_and_not_sent(case: Case) -> None:
    migration = case.write(CREATE, DROP)

    up, down = (case.engine.files.render(migration, way, TERMS) for way in ("up", "down"))

    assert CREATE in up and DROP not in up and DROP in down and CREATE not in down
    assert up.startswith("BEGIN;") and up.endswith("COMMIT;")
    assert case.tables() == set()


def test_a_text_says_what_it_touches_sets_aside_and_risks(case: Case) -> None:
    case.sql("create table t (i int, old int)")
    files = case.engine.files
    risky = case.write("alter table t drop column old")
    allowed = case.write("alter table t drop column i", head="allow ban-drop-column unread")

    assert files.tables(risky) == {"t"}
    assert not files.allowed(risky)
    assert files.allowed(allowed) == {"ban-drop-column"}
    found = case.database.read("test", lambda c: files.lint((risky, allowed), c))
    assert {risky.name in one.file for one in found if one.rule == "ban-drop-column"} == {True}
    assert [one.rule for one in files.lint((risky,), None)]


def test_what_exists_already_is_found_by_name(case: Case) -> None:
    migration = case.write(CREATE, DROP)

    def unrecorded(connection: psycopg.Connection) -> list[str]:
        found = case.engine.untracked.unrecorded((migration,), connection)
        return [one.migration for one in found if one.fails]

    assert case.database.read("test", unrecorded) == []
    case.sql(CREATE)
    assert case.database.read("test", unrecorded) == [migration.name]


def test_names_are_resolved_and_worded(case: Case) -> None:
    migration, names = case.write(CREATE, DROP), case.engine.names

    assert names.resolve(migration.name) == migration.name
    assert names.resolve("nobody") == "nobody"
    for words in (names.unknown, names.never_ran, names.no_file, names.failed):
        assert "nobody" in words("nobody")
    assert migration.name in names.rollback_script(migration.name)


def test_what_is_created_is_listed(case: Case) -> None:
    made = case.engine.create("add_user_preferences")

    (migration,) = case.engine.files.list()
    assert "add_user_preferences" in f"{made[0]} {migration.title}"
    assert case.engine.runner.version() and case.engine.name in ("sql", "prisma", "alembic")


def test_the_history_says_whether_a_deployment_could_begin(case: Case) -> None:
    migration = case.write(CREATE, DROP)
    case.engine.history.prepare(case.database)
    case.engine.history.prepare(case.database)  # what is there already stays
    case.engine.runner.apply(migration, case.database, TERMS)

    assert case.database.read("test", case.engine.history.ready).startswith("1 applied")
    assert case.database.read("test", case.engine.history.failed) == ()
