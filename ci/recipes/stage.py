"""One migration of a recipe, and its text. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..parser.split import split

LONGEST = 80  # characters of a name behind its timestamp
_NO_PATH = Path("recipe.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One migration.

    about: the end of its name.
    why: a sentence about it, for its head.
    sql, rollback, verify: statements without their semicolons; a comment may stand above one.
    allows: rules of lint that it sets aside, each with the reason.
    """

    about: str
    why: str
    sql: tuple[str, ...]
    rollback: tuple[str, ...]
    verify: tuple[str, ...] = ()
    phase: Literal["before", "after"] = "before"
    allows: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Its name, without the timestamp."""
        return re.sub(r"[^a-z0-9]+", "_", self.about.lower()).strip("_")[:LONGEST].strip("_")

    def files(self, name: str) -> tuple[str, str, str | None]:
        """Return the texts of the migration, its rollback and its verify script."""
        head = f"-- Migration: {name}\n-- Description: {self.why}\n"
        if self.phase == "after":
            head += "-- windlass: phase=after\n"
        head += "".join(f"-- windlass: allow {rule} {reason}\n" for rule, reason in self.allows)
        verify = "".join(f"{query};\n" for query in self.verify)
        return (
            f"{head}{_body(self.sql)}",
            f"-- Rollback: {name}\n{_body(self.rollback)}",
            f"-- Verify: {name}\n\n{verify}" if verify else None,
        )


def _body(statements: tuple[str, ...]) -> str:
    """Return statements as a file: one by one where a part of it cannot run in a transaction."""
    lines = "".join(f"{sql};\n\n" for sql in statements).rstrip("\n") + "\n"
    parsed = [each for sql in statements for each in split(_NO_PATH, f"{sql};")]
    alone = not all(each.transactional for each in parsed)
    backfills = [number for number, sql in enumerate(statements) if "-- windlass: backfill" in sql]
    between = bool(backfills) and backfills[0] != len(statements) - len(backfills)
    return f"-- windlass: transaction=off\n\n{lines}" if alone or between else f"\n{lines}"
