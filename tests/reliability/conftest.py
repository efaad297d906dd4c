"""The parts that the cells and the schedules of a worker share."""

from collections.abc import Iterator

import pytest

from tests.reliability.world import World, world


@pytest.fixture(scope="session")
def parts() -> Iterator[World]:
    """A server, a store, a service and a proxy, started once."""
    with world() as started:
        yield started
