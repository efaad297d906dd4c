"""What lint proposes runs, is undone by what stands beside it, verifies, and is clean to lint."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.engines import HISTORIES
from pgwindlass.lint import squawk
from pgwindlass.lint.catalog import Catalog
from pgwindlass.lint.fix import Trio, fixed
from pgwindlass.lint.live import read_catalog
from pgwindlass.lint.severity import graded
from pgwindlass.lint.statements import behind, judged, lint_files, worth_mending
from pgwindlass.parser.file import SqlFile, parse
from pgwindlass.parser.split import split
from tests import forms
from tests.fix_postgres import Server
from tests.kit import Project
from tests.test_lint_catalog import sent, standing, table_shape

__all__ = ["standing"]

NAME = "20260801_000000_x"
# Nobody can write these but their author, or the server has no other way.
BY_HAND = frozenset(
    {
        "changing-column-type",
        "adding-required-field",
        "add-exclude",
        "add-column-domain",
        "domain-scan",
        "opaque",
        "truncate",
        "cluster",
        "vacuum-full",
        "lock-table",
        "set-unlogged",
        "set-tablespace",
        "set-access-method",
        "extension-missing",
        "not-valid-constraint",
        "disabled-trigger",
        "alter-system",
        "drop-owned",
        "privilege",
        "password-literal",
    }
)
# What VALIDATE found out stays known.
EXPECTED = [("adding-not-nullable-field", ["not undone"])]
# Of one text each, and nothing else in it; a part of these is refused, or has no rewrite here.
WITH_ONE = [
    form
    for form in forms.read("dangerous.sql")
    if form.name not in BY_HAND and not form.name.startswith(("ban-", "renaming-"))
]


def large(catalog: Catalog) -> Catalog:
    tables = {
        key: replace(table, size=0 if table.kind == "p" else forms.LARGE)
        for key, table in catalog.tables.items()
    }
    return replace(catalog, tables=tables)


def mended(files: tuple[SqlFile, ...], catalog: Catalog) -> tuple[Trio, ...]:
    """What is written in the place of the last file; those before it run as they are."""
    final = behind(files, catalog)
    last = tuple(
        worth_mending(each)
        for each in judged(files, catalog, final, HISTORIES)
        if each.step.file is files[-1]
    )
    return fixed(NAME, last, final, rollback=None, verify=None, taken=frozenset())


def run(connection: psycopg.Connection, text: str) -> list[object]:
    """Run a script in the transaction that is taken back, and return the rows of its queries."""
    rows: list[object] = []
    for statement in split(Path("part.sql"), text):
        if statement.kind == "transaction_stmt":
            continue
        cursor = connection.execute(sent(statement).encode())
        rows += [row[0] for row in cursor.fetchall()] if cursor.description else []
    return rows


def shapes(catalog: Catalog) -> dict[object, object]:
    return {key: table_shape(table) for key, table in catalog.tables.items()}


@pytest.fixture
def silent_squawk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """squawk says nothing here: what it says of each form is asked elsewhere."""
    monkeypatch.setattr(squawk, "squawk_says", lambda files, _: {file.path: [] for file in files})
    yield


def executed(
    connection: psycopg.Connection, form: forms.Form, trios: tuple[Trio, ...]
) -> list[str]:
    """What is wrong with files that stand in the place of a form: run, verified and undone."""
    for file in form.files[:-1]:
        run(connection, file.text)
    before = shapes(read_catalog(connection, form.files, ("public",)))
    wrong = []
    for trio in trios:
        run(connection, trio.sql)
        if trio.verify and set(run(connection, trio.verify)) != {True}:
            wrong.append(trio.verify)
    undo = [trio.rollback for trio in reversed(trios)]
    if None in undo:
        return wrong
    for text in undo:
        run(connection, text or "")
    after = shapes(read_catalog(connection, form.files, ("public",)))
    return [*wrong, *(["not undone"] if after != before else [])]


def still_found(form: forms.Form, trios: tuple[Trio, ...], catalog: Catalog) -> list[str]:
    """What lint still says by the form's rule."""
    parts = tuple(parse(Path(f"{trio.name}.sql"), trio.sql) for trio in trios)
    found = graded(lint_files((*form.files[:-1], *parts), catalog, HISTORIES), None)
    grave = [one for one in found if not one.counted and one.level != "note"]
    return [str(one) for one in grave if one.rule == form.name]


@pytest.mark.usefixtures("silent_squawk")
def test_each_rewrite_runs_verifies_is_undone_and_is_clean(
    standing: psycopg.Connection, server: Server
) -> None:
    standing.autocommit = False
    wrong: dict[tuple[int, str], object] = {}
    written = 0
    for form in WITH_ONE:
        if not form.is_of(server.major) or form.outside:
            continue
        standing.execute("set local search_path = public; set local timezone = 'UTC'")
        catalog = large(read_catalog(standing, form.files, ("public",)))
        trios = mended(form.files, catalog)
        written += bool(trios)
        # The parts of this one commit, one after the other.
        ran = () if form.name == "enum-used-at-once" else trios
        try:
            left = [*still_found(form, trios, catalog), *executed(standing, form, ran)]
        except psycopg.Error as error:
            left = [str(error)]
        if trios and left and (form.name, left) not in EXPECTED:
            wrong[form.line, form.name] = left
        standing.rollback()

    assert not wrong, "\n".join(map(str, wrong.items()))
    assert written > 70


@pytest.fixture
def shop(tmp_path: Path, database16: Database) -> Project:
    """A project whose table t has 300,000 rows, 10 MB: neither small nor large."""
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_base", "create table t (a int, b int);", "drop table t;")
    assert project.run("deploy", "--env", "dev").code == 0
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("insert into t select g, g from generate_series(1, 300000) g")
        connection.execute("analyze t")
    return project


def test_lint_fix_writes_files_that_deploy_and_says_the_next_command(shop: Project) -> None:
    text = "create index t_a on t (a);\nalter table t alter a set not null;"
    shop.migration("20260802_000000_next", text)

    ran = shop.run("lint", "--fix", "--env", "dev")

    names = [path.name for path in sorted(shop.migrations.glob("20260802_*.sql"))]
    assert [name for name in names if "_rollback" not in name and "_verify" not in name] == [
        "20260802_000000_next.sql",
        "20260802_000001_next_add_t_a_not_null.sql",
        "20260802_000002_next_validate_t_a_not_null.sql",
        "20260802_000003_next_set_a_not_null.sql",
    ]
    assert ran.code == 0 and ran.out.endswith("next: invoke lint --env dev\n")
    assert shop.json("lint", "--env", "dev") == []
    assert shop.run("deploy", "--env", "dev").code == 0
    assert shop.run("lint", "--fix", "--env", "dev").out.startswith("nothing to write")


def test_lint_fix_refuses_what_it_cannot_take_apart_and_writes_nothing(shop: Project) -> None:
    text = "insert into t values (1, 1);\ncreate index t_a on t (a);"
    shop.migration("20260802_000000_next", text, "select 1;")
    before = sorted(path.name for path in shop.migrations.iterdir())

    ran = shop.run("lint", "--fix", "--env", "dev")

    assert ran.code == 2
    assert "has a rollback script, and what undoes “insert into t values (1, 1)”" in ran.err
    assert sorted(path.name for path in shop.migrations.iterdir()) == before
    assert shop.run("lint", "--fix").code == 2
