"""What the suite plays a sample of, and `make faults` plays whole: kills, crowds, faults.

A test whose cases each take seconds has the mark `sampled(N)`: the suite plays every N-th case. A
file of tests that are alike, each a fault of its own, has the mark as a whole: every N-th test.
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

    They are taken by name, so that each process of a run takes the same.
    """
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for item in items:
        for node, mark in item.iter_markers_with_node("sampled"):
            alike = node.nodeid.partition("[")[0]  # the cases of a function, or a file's tests
            groups[alike, mark.args[0]].append(item.nodeid)
            break  # the nearest mark is the one that counts
    left_out = {
        nodeid
        for (_, number), names in groups.items()
        for place, nodeid in enumerate(sorted(names))
        if place % number and not WHOLE
    }
    played = [item for item in items if item.nodeid not in left_out]
    return played, [item for item in items if item.nodeid in left_out]
