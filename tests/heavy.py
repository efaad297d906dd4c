"""What the suite plays a sample of, and `make faults` plays whole: kills, crowds, faults.

A test whose cases each take seconds has the mark `sampled(N)`: the suite plays every N-th case.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import pytest

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


def sample(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return what the suite plays of these tests, and what it leaves out.

    The cases of a function are taken by name, so that each process of a run takes the same.
    """
    cases: dict[str, list[str]] = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item.nodeid)
    left_out = set()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None and not WHOLE:
            function = sorted(cases[item.nodeid.partition("[")[0]])
            if function.index(item.nodeid) % mark.args[0]:
                left_out.add(item.nodeid)
    played = [item for item in items if item.nodeid not in left_out]
    return played, [item for item in items if item.nodeid in left_out]
