"""The ladder of lock timeouts: a longer wait only where it would have got the lock."""

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import LockConfig
from pgwindlass.database.blockers import CONFLICTING, Blocker
from pgwindlass.database.ladder import can_give_way, next_rung, to_evict

pytestmark = pytest.mark.unit

LOCK = LockConfig()  # 0.2, 0.5, 1, 2 s


def blocker(**more: object) -> Blocker:
    found: dict[str, object] = {
        "pid": 7,
        "transaction": "3/14",
        "application": "api",
        "state": "active",
        "seconds": 12.3,
        "mode": "AccessShareLock",
        "autovacuum": False,
        "query": "select 1",
        "relation": "t",
        "wanted": "AccessExclusiveLock",
    }
    return Blocker(**(found | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rung", "seconds", "expected"),
    [
        (0, 0.25, 1),  # gone before the next rung was over: half a second would have got it
        (0, 0.5, 1),
        (0, 0.6, 0),  # half a second would not
        (1, 0.9, 2),
        (1, 30.0, 0),
        (3, 1.9, 3),  # there is no higher one
        (3, 2.1, 0),
        (2, None, 2),  # nobody was seen, which is no reason to climb
        (0, None, 0),
    ],
)
def test_the_next_rung_is_the_one_that_would_have_got_the_lock(
    rung: int, seconds: float | None, expected: int
) -> None:
    assert next_rung(rung, LOCK, seconds=seconds) == expected


def test_one_rung_is_a_ladder_too() -> None:
    assert next_rung(0, LockConfig(timeout=(Duration(0.2),)), seconds=0.1) == 0


def test_an_autovacuum_needs_a_rung_above_deadlock_timeout() -> None:
    assert to_evict(LOCK, deadlock_timeout=1.0) == 3
    assert to_evict(LOCK, deadlock_timeout=0.4) == 1
    assert to_evict(LockConfig(timeout=(Duration(0.2),)), deadlock_timeout=1.0) is None


def test_only_autovacuums_alone_can_be_made_to_give_way() -> None:
    gentle = blocker(autovacuum=True, query="autovacuum: VACUUM public.t")
    stubborn = blocker(autovacuum=True, query="autovacuum: VACUUM t (to prevent wraparound)")

    assert can_give_way((gentle,)) == (gentle,)
    assert can_give_way((stubborn,)) == ()
    assert can_give_way((gentle, blocker())) == ()


def test_a_blocker_is_told_without_its_query_unless_asked_for() -> None:
    one = blocker(query="select  *\n from users where email = 'a@b.c'")

    assert one.text(show_queries=False) == (
        "pid 7 (api, active, transaction 12 s old, AccessShareLock on t)"
    )
    assert "query: select * from users where email = 'a@b.c'" in one.text(show_queries=True)


def test_an_orphan_is_another_deployments_migration() -> None:
    assert blocker(application="windlass/01OLD/migrate/x").orphan_of("01NEW") == "01OLD"
    assert blocker(application="windlass/01NEW/migrate/x").orphan_of("01NEW") == ""
    assert blocker(application="windlass/01OLD/backup").orphan_of("01NEW") == ""


def test_the_table_of_conflicts_is_symmetric() -> None:
    for mode, others in CONFLICTING.items():
        assert all(mode in CONFLICTING[other] for other in others)
