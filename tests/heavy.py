"""What the suite plays a sample of, and `make faults` plays whole: kills, crowds, faults."""

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
WHOLE = os.environ.get("WINDLASS_FAULTS") == "all"


def at_most(sample: int, whole: int) -> int:
    """Return how often something is tried."""
    return whole if WHOLE else sample


def some(things: Sequence[T], number: int, *, of: int) -> Sequence[T]:
    """Return every `of`-th thing, beginning with the `number`-th; all of them for `make faults`.

    Cases that are numbered have all the things together.
    """
    return things if WHOLE else things[number % of :: of]
