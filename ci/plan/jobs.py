"""What backfills that are jobs of their own mean for the next deployment. Pure."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol, TypeVar

from ..errors import Refused


class Job(Protocol):
    """A backfill, as it is recorded."""

    @property
    def migration(self) -> str:
        """Of which migration it is."""
        ...

    @property
    def job(self) -> bool:
        """Whether it is a job of its own."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it has still to be run to its end."""
        ...


AJob = TypeVar("AJob", bound=Job)


def unfinished(backfills: Iterable[AJob]) -> tuple[AJob, ...]:
    """Return those that are jobs of their own, and open."""
    return tuple(each for each in backfills if each.job and each.is_open)


def require_finished(backfills: Iterable[Job], own: frozenset[str], *, environment: str) -> None:
    """Do nothing where no job of an earlier deployment is open.

    Args:
        backfills: that are recorded.
        own: migrations of the unit of work that asks: its own jobs are not in its way.
        environment: for the commands.

    Raises:
        Refused: one is; a migration behind it could not count on what it fills.

    """
    others = [each for each in unfinished(backfills) if each.migration not in own]
    if others:
        name = others[0].migration
        raise Refused(
            f"{others[0]}; a migration behind it cannot count on what it fills",
            next_step=f"invoke backfill.run --env {environment} finishes it; invoke "
            f"backfill.cancel --env {environment} --name {name} --reason WHY gives it up",
        )


def require_last(names: tuple[str, ...], leaving: frozenset[str], *, environment: str) -> None:
    """Do nothing where no migration of a plan comes behind one that leaves a job.

    Args:
        names: of the plan's migrations, in running order.
        leaving: those of them that leave a backfill to a job.
        environment: for the commands.

    Raises:
        Refused: it would run before the job, which the copy of a rehearsal would not show.

    """
    for first, behind in pairwise(names):
        if first in leaving:
            raise Refused(
                f"{first} leaves its backfill to a job of its own, and {behind} would run before "
                "that job",
                next_step=f"deploy up to it: invoke migrate --env {environment} --to {first}; then "
                f"invoke backfill.run --env {environment}, then the rest",
            )
