"""One statement that runs in batches: what it is, and what is sent for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg

from ..errors import Place, StepFailed
from ..model import Direction
from ..parser.backfill import Backfill, Split, require_splittable
from ..parser.file import checksum_of
from ..parser.ranges import KeyColumn, ranged
from ..parser.split import Statement
from .keys import Unsuitable, choose
from .look import table
from .ranges import next_range
from .record import Identity


@dataclass(frozen=True, kw_only=True)
class BackfillTask:
    """A statement of a migration's file, or of its rollback script.

    verify: the script that proves it, as it is now; None: there is none.
    search_path: the statement that sets the migration's own, for one transaction.
    start: runs in the transaction that records the beginning: from then on it may be half done.
    finish: runs in the transaction that records the end.
    """

    migration: str
    direction: Direction
    number: int  # of the statement in the file, from 1
    path: Path
    statement: Statement
    verify: str | None
    search_path: str
    start: Callable[[psycopg.Connection], None]
    finish: Callable[[psycopg.Connection], None]

    @property
    def identity(self) -> Identity:
        """What its record is called by."""
        return (self.migration, self.direction, self.number)

    @property
    def place(self) -> Place:
        """File and line."""
        return Place(str(self.path), self.statement.line)

    @property
    def asked(self) -> Backfill:
        """The directive above the statement."""
        asked = self.statement.backfill
        if asked is None:
            raise AssertionError("a statement without the directive is no backfill")
        return asked

    @cached_property
    def split(self) -> Split:
        """Where the ranges go."""
        statement = self.statement
        return require_splittable(
            self.path, statement.line, statement.kind, statement.node, self.asked
        )

    @property
    def checksum(self) -> str:
        """The hash of the statement and of the key it is split by."""
        return checksum_of(f"{self.asked.table} {self.asked.key}\n{self.statement.sql}")

    @property
    def verify_checksum(self) -> str:
        """The hash of the verify script; empty: there is none."""
        return verify_checksum_of(self.verify)


def verify_checksum_of(verify: str | None) -> str:
    """Return the hash of a verify script; empty: there is none."""
    return checksum_of(verify) if verify is not None else ""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The same with the table's key, as the catalog has it: what each batch sends."""

    task: BackfillTask
    table: str  # schema.name, in quotes where needed
    key: tuple[KeyColumn, ...]
    rows_expected: int

    @cached_property
    def _texts(self) -> dict[bool, tuple[str, str]]:
        task = self.task
        return {
            lower: (
                next_range(self.table, task.split, self.key, lower=lower),
                ranged(task.path, task.statement, task.split, self.key, lower=lower),
            )
            for lower in (False, True)
        }

    def find(self, last: tuple[str, ...] | None) -> str:
        """Return the query for the end of the next range."""
        return self._texts[last is not None][0]

    def change(self, last: tuple[str, ...] | None) -> str:
        """Return the statement for a range."""
        return self._texts[last is not None][1]


def read_batches(connection: psycopg.Connection, task: BackfillTask) -> Batches:
    """Return what is sent for a task; in a transaction with the migration's search_path.

    Raises:
        StepFailed: the table cannot be split by the key that was asked for; says why.

    """
    try:
        facts, rows = table(connection, task.split)
        key = choose(facts, task.asked, task.split)
    except Unsuitable as error:
        raise StepFailed(
            f"this statement cannot be split into batches: {error}",
            place=task.place,
            state="none of its batches ran",
            next_step=f"mend the directive of line {task.asked.line} or the statement, and start "
            "again",
        ) from None
    return Batches(task=task, table=facts.name, key=key, rows_expected=rows)
