"""Who is told of a run from outside: the receivers of notices, and the collector of traces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from ..model import Plan
from ..plan import notice as rules
from . import notices, telemetry
from .work import Work

if TYPE_CHECKING:
    from .orders import Proposal

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def observed(work: Work, plan: Plan | None, *, task: str = "") -> Iterator[Work]:
    """Yield the environment while others are told that a plan, or a task without one, runs."""
    name = rules.task_of(plan) if plan is not None else task
    with telemetry.traced(work, plan, name) as traced, notices.around(traced, plan, name):
        yield traced


def told(run: "Callable[[Work, Proposal[T]], R]") -> "Callable[[Work, Proposal[T]], R]":
    """Let others be told of what carries out the proposal of a task beside the deployments."""

    @wraps(run)
    def carry_out(work: Work, proposal: "Proposal[T]") -> R:
        with observed(work, proposal.plan) as traced:
            return run(traced, proposal)

    return carry_out
