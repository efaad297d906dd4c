"""Where backfills are in a file: each above its statement, behind all that is none. Pure."""

from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError, Place
from .backfill import Backfill, require_splittable
from .split import Statement


def with_backfills(
    path: Path, parsed: tuple[Statement, ...], asked: tuple[Backfill, ...]
) -> tuple[Statement, ...]:
    """Give each directive to the next statement below it.

    Raises:
        ConfigError: there is none, or it cannot be split; with file and line.

    """
    below: dict[int, Backfill] = {}
    for each in asked:
        number = next((n for n, s in enumerate(parsed) if s.line > each.line), None)
        if number is None or number in below:
            raise ConfigError(
                "no statement of its own is below this backfill directive",
                place=Place(str(path), each.line),
                next_step="write it above an UPDATE, a DELETE or an INSERT … SELECT",
            )
        statement = parsed[number]
        require_splittable(path, statement.line, statement.kind, statement.node, each)
        below[number] = each
    return tuple(replace(s, backfill=below.get(n)) for n, s in enumerate(parsed))


def refuse_beside(path: Path, statements: tuple[Statement, ...], first: Statement) -> None:
    """Refuse what the order of a file cannot be: one transaction, and then the batches.

    Args:
        path: of the file, for messages.
        statements: of the file.
        first: the first of them that runs in batches.

    Raises:
        ConfigError: one is not where it would run.

    """
    for statement in statements:
        problem = ""
        if statement.line > first.line and statement.backfill is None:
            problem = "this statement is behind a backfill"
        elif not statement.transactional:
            problem = "this statement cannot run in a transaction, and the file has a backfill"
        elif statement.kind == "variable_set_stmt":
            problem = "a setting does not reach the batches, each of which is a transaction"
        if problem:
            raise ConfigError(
                f"{problem} (line {first.line})",
                place=Place(str(path), statement.line),
                next_step="give it a migration of its own; a backfill is the last in its file",
            )
