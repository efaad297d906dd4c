"""Every verb, hit at every step by every fault: nothing is lost, doubled, left, or said falsely.

`make reliability` plays all of it and writes docs/reliability.md; the suite plays a sample.
"""

import json
import os
from pathlib import Path

import pytest

from tests.heavy import some
from tests.reliability.cells import Cell, played
from tests.reliability.play import play
from tests.reliability.world import World

RESULTS = os.environ.get("WINDLASS_RELIABILITY", "")  # a directory, for `make reliability`
CELLS = {cell.key: cell for cell in played()}
# Of each verb and each kind of fault something; one after the other, because they share the parts.
SAMPLE = (
    "deploy---plan/the-approval-is-used/kill--9",
    "deploy/the-first-migration-is-open/kill--9",
    "deploy/the-smoke-test-begins/hangs",
    "rollback---steps/the-first-undo-is-open/kill--9",
    "automatic-rollback/the-index-is-undone/kill--9",
    "migrate---steps/between-two-migrations/read-only",
    "backup/pg_dump-runs/child-killed",
    "stamp/its-record-is-open/kill--9",
    "restore---into/the-new-database-is-there/kill--9",
    "restore/the-swap-is-sent/kill--9",
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("key", CELLS if RESULTS else ())
def test_a_run_that_is_hit_can_be_gone_on_with(key: str, parts: World) -> None:
    cell = CELLS[key]
    problems = play(cell, parts)
    place = Path(RESULTS) / f"{cell.key.replace('/', '~')}.json"
    place.write_text(json.dumps(problems))
    assert not problems, _shown(cell, problems, parts)


@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(RESULTS), reason="all of it is played")
def test_a_sample_of_the_matrix(parts: World) -> None:
    wrong = []
    for key in some(SAMPLE, 0, of=2):
        problems = play(CELLS[key], parts)
        if problems:
            wrong.append(_shown(CELLS[key], problems, parts))

    assert not wrong, "\n\n".join(wrong)


def _shown(cell: Cell, problems: list[str], parts: World) -> str:
    return "\n".join([cell.key, *problems, *(ran.err for ran in parts.outputs)])
