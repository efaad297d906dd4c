"""How far a backfill is, in words."""

from datetime import UTC, datetime

import msgspec
import pytest

from pgwindlass.backfill.progress import BackfillState, span, unit

pytestmark = pytest.mark.unit

STATE = BackfillState(
    migration="m",
    direction="up",
    statement=1,
    job=True,
    table="public.t",
    key=("id",),
    state="running",
    rows_expected=2000,
    rows_visited=500,
    rows_changed=400,
    rows_set_aside=0,
    batches=3,
    batch_rows=100,
    seconds=2.0,
    began_at=None,
    changed_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_a_backfill_is_open_until_it_is_done_or_cancelled() -> None:
    states = ("waiting", "running", "paused", "cancelled", "done")
    is_open = [msgspec.structs.replace(STATE, state=state).is_open for state in states]
    assert is_open == [True, True, True, False, False]


def test_a_share_is_of_what_the_server_estimated() -> None:
    assert STATE.share == 0.25
    assert msgspec.structs.replace(STATE, rows_expected=100).share == 1.0
    assert msgspec.structs.replace(STATE, rows_expected=0).share is None
    assert msgspec.structs.replace(STATE, rows_expected=0, state="done").share == 1.0


def test_it_is_one_line() -> None:
    assert str(STATE) == (
        "backfill of public.t by m (a job of its own): running, 25%, 500 rows visited, 400 changed"
    )
    other = msgspec.structs.replace(
        STATE, job=False, rows_expected=0, rows_set_aside=2, asked="pause", asked_by="ann"
    )
    assert str(other) == (
        "backfill of public.t by m (of a deployment): running, 500 rows visited, 400 changed, "
        "2 set aside, pause asked by ann"
    )


def test_a_line_of_progress_has_rate_time_left_and_lag() -> None:
    assert unit("public.t", rate=0.0, left=5, lag="") == "rows of public.t"
    assert unit("public.t", rate=1500.4, left=0, lag="") == "rows of public.t, 1,500/s"
    assert unit("public.t", rate=10.0, left=1200, lag="b 0.2 s behind") == (
        "rows of public.t, 10/s, about 2 min left, b 0.2 s behind"
    )


def test_a_length_of_time_is_said_as_people_do() -> None:
    assert [span(1.4), span(59.0), span(60.0), span(3599.0), span(7800.0)] == [
        "1 s",
        "59 s",
        "1 min",
        "1 h 0 min",
        "2 h 10 min",
    ]
