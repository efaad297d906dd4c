"""What a rewriter makes of one statement, on a catalog that is made by statements."""

from dataclasses import replace
from pathlib import Path

from pgwindlass.lint.catalog import Catalog
from pgwindlass.lint.forward import Step, advance, steps
from pgwindlass.lint.rule import Rewriter, Script, Subject
from pgwindlass.parser import tree
from pgwindlass.parser.file import parse
from pgwindlass.parser.split import split

HEAD = "create table o (id int primary key, a int, b text, c int not null, k varchar(5));"


def catalog_of(stands: str = HEAD, major: int = 16) -> Catalog:
    """The catalog that statements leave, each table in use."""
    catalog = Catalog(live=True, major=major)
    for statement in split(Path("stands.sql"), stands):
        catalog = advance(catalog, statement.kind, statement.node)
    tables = {key: replace(table, made=False) for key, table in catalog.tables.items()}
    return replace(catalog, tables=tables)


def step_of(sql: str, stands: str = HEAD, major: int = 16) -> Step:
    """The last statement of a text, on what stands."""
    return [*steps([parse(Path("x.sql"), sql)], catalog_of(stands, major))][-1]


def subject_of(sql: str, stands: str = HEAD, major: int = 16) -> Subject:
    """The last statement of a text; of an ALTER TABLE its first command."""
    step = step_of(sql, stands, major)
    alters = step.statement.kind == "alter_table_stmt"
    return Subject(step, tree.commands(step.statement.node)[0] if alters else None, step.after)


def rewritten(
    rewriter: Rewriter, sql: str, stands: str = HEAD, major: int = 16
) -> tuple[Script, ...]:
    """What a rewriter writes instead of the last statement of a text."""
    return rewriter(subject_of(sql, stands, major))


def texts(scripts: tuple[Script, ...]) -> list[str]:
    """The statements of scripts, one a line; a line before each with its name."""
    return [line for script in scripts for line in (f"-- {script.about}", *script.sql)]


def undone(scripts: tuple[Script, ...]) -> list[tuple[str, ...] | None]:
    """What undoes each script."""
    return [script.rollback for script in scripts]
