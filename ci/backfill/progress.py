"""How far a backfill is, as a record and in words. Pure."""

from datetime import datetime
from typing import Literal

from ..model import Direction, Document

State = Literal["waiting", "running", "paused", "cancelled", "done"]
OPEN: tuple[State, ...] = ("waiting", "running", "paused")


class BackfillState(Document, frozen=True, kw_only=True):
    """One backfill, as the database has recorded it."""

    migration: str
    direction: Direction
    statement: int  # its number in the file, from 1
    job: bool  # run by `invoke backfill.run`
    table: str  # schema.name
    key: tuple[str, ...]  # the columns
    state: State
    rows_expected: int  # of the table when it began, as the server estimates; 0: not known
    rows_visited: int
    rows_changed: int
    rows_set_aside: int
    batches: int
    batch_rows: int  # of the next batch
    seconds: float  # of the batches that committed
    began_at: datetime | None
    changed_at: datetime
    asked: str = ""  # pause or cancel, by a person
    asked_by: str = ""
    verify_checksum: str = ""  # of the verify script that proves it; empty: it has none

    @property
    def is_open(self) -> bool:
        """Whether it has still to be run to its end."""
        return self.state in OPEN

    @property
    def share(self) -> float | None:
        """The part of the table that was visited, from 0.0 to 1.0; None: not known."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.rows_visited / self.rows_expected) if self.rows_expected > 0 else None

    def __str__(self) -> str:
        """Return it on one line."""
        share = "" if self.share is None else f", {self.share:.0%}"
        aside = f", {self.rows_set_aside:,} set aside" if self.rows_set_aside else ""
        asked = f", {self.asked} asked by {self.asked_by}" if self.asked else ""
        how = "a job of its own" if self.job else "of a deployment"
        return (
            f"backfill of {self.table} by {self.migration} ({how}): {self.state}{share}, "
            f"{self.rows_visited:,} rows visited, {self.rows_changed:,} changed{aside}{asked}"
        )


def unit(table: str, *, rate: float, left: int, lag: str) -> str:
    """Return what follows the numbers on a line of progress: table, rate, time left, lag.

    Args:
        table: schema.name.
        rate: rows visited in a second, of this run, with its pauses; 0.0: not known yet.
        left: rows that are not visited yet, as the server estimates.
        lag: of the replica that is furthest behind; empty: there is none.

    """
    parts = [f"rows of {table}"]
    if rate > 0:
        parts.append(f"{rate:,.0f}/s")
        if left > 0:
            parts.append(f"about {span(left / rate)} left")
    if lag:
        parts.append(lag)
    return ", ".join(parts)


def span(seconds: float) -> str:
    """Return a length of time as people say it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
