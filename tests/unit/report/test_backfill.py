"""Backfills as text."""

import msgspec
import pytest

from pgwindlass.report.backfill import backfills_exit, backfills_text, open_lines
from tests.unit.backfill.test_progress import STATE

pytestmark = pytest.mark.unit

DONE = msgspec.structs.replace(STATE, state="done", rows_set_aside=2)
WAITS = msgspec.structs.replace(STATE, state="waiting", seconds=0.0)


def test_an_open_job_has_its_rate_and_the_next_command() -> None:
    assert backfills_text("uat", (STATE,)) == (
        f"{STATE}\n"
        "  250 rows/s in its batches of 100, about 6 s left\n"
        "  invoke backfill.run --env uat goes on, where nobody runs it"
    )
    assert backfills_text("uat", (WAITS,)).endswith("\n  invoke backfill.run --env uat runs it")
    paused = msgspec.structs.replace(WAITS, state="paused")
    assert backfills_text("uat", (paused,)).endswith(
        "\n  invoke backfill.resume --env uat lets it go on"
    )
    cancelled = msgspec.structs.replace(WAITS, state="cancelled")
    assert backfills_text("uat", (cancelled,)).endswith(
        f"\n  invoke backfill.resume --env uat --name {WAITS.migration} takes it up again"
    )


def test_one_of_a_deployment_has_no_command_of_its_own() -> None:
    inside = msgspec.structs.replace(WAITS, job=False)
    assert backfills_text("uat", (inside,)) == str(inside)


def test_one_that_is_done_says_where_the_rows_are_that_were_set_aside() -> None:
    assert backfills_text("uat", (DONE,)) == (
        f"{DONE}\n  the rows set aside, and why: select * from windlass.backfill_row"
    )


def test_none_is_said_and_who_has_the_lock() -> None:
    assert backfills_text("uat", ()) == "uat: no backfill"
    assert backfills_text("uat", (), holder="ann") == (
        "uat: no backfill\nthe deployment lock is held by ann"
    )


def test_a_status_has_the_open_ones_alone() -> None:
    assert open_lines("uat", (DONE,)) == ""
    assert open_lines("uat", (DONE, WAITS)) == backfills_text("uat", (WAITS,))


def test_the_exit_code_says_whether_one_is_open() -> None:
    assert (backfills_exit(()), backfills_exit((DONE,)), backfills_exit((DONE, STATE))) == (0, 0, 1)
