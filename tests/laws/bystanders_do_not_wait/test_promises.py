"""Law 5, measured: nobody waits longer than a rung, and than the rehearsal promised.

A sample of `benchmarks/promises.py`; `make faults` plays all files.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_postgres import Server
from tests.promises import FILES, RUNG, measure, prepare

SLACK = 0.3  # seconds, what a busy machine of two cores adds


@pytest.fixture(scope="module")
def template(servers: Callable[[int], Server]) -> Iterator[tuple[Server, str]]:
    """Make the database that every run begins from."""
    server = servers(16)
    name = prepare(server.url(), rows=20_000)
    yield server, name
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"drop database {name}".encode())


@pytest.mark.sampled(15)
@pytest.mark.parametrize("text", FILES)
def test_nobody_waits_longer_than_a_rung_and_what_was_promised(
    tmp_path: Path, template: tuple[Server, str], text: str
) -> None:
    server, name = template

    promise = measure(server.url(), name, text, tmp_path)

    assert promise.waited <= RUNG + 1.5 * promise.promised + SLACK, promise
