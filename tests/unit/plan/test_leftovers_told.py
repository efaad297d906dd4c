"""What is told of something that a killed run left, and by which marker it is known."""

from datetime import UTC, datetime

import pytest

from pgwindlass.database.markers import Marker
from pgwindlass.plan import leftovers, rolling
from pgwindlass.plan.leftovers import Act, Databases, Leftover
from pgwindlass.plan.rolling import Mark

pytestmark = pytest.mark.unit

KEY = "00ff00ff00ff00ff"
DETAIL = {"database": "shop_new", "live": "5", "backup": "B", "given": "", "again": "invoke again"}
HALF = "the database shop_new, half restored from B by d"


def seen(comment: str | None) -> Databases:
    return Databases(live=5, comments={} if comment is None else {"shop_new": comment})


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        (
            leftovers.filling_comment(KEY),
            Leftover(
                act=Act.DROP,
                what=HALF,
                subject="shop_new",
                marker=KEY,
                command='drop database "shop_new"',
            ),
        ),
        (
            "of the shop",
            Leftover(
                act=Act.TELL,
                what="the database shop_new, which d may have made before it was killed",
                subject="shop_new",
                marker=KEY,
                command='look at it; where nobody needs it: drop database "shop_new"',
            ),
        ),
        (None, Leftover(act=Act.FORGET, what=HALF, subject="shop_new", marker=KEY)),
    ],
)
def test_a_half_restored_database_is_told_with_its_backup(
    comment: str | None, left: Leftover
) -> None:
    assert leftovers.of_filling(KEY, "d", DETAIL, seen(comment)) == left


def test_a_marker_that_says_nothing_is_forgotten() -> None:
    """One that an older release wrote, or somebody else."""
    filling = leftovers.of_filling(KEY, "d", {}, Databases(live=5, comments={"XXXX": ""}))
    loaded = leftovers.of_loaded(KEY, {}, seen(""), restoring=True)

    assert filling == Leftover(
        act=Act.FORGET, what="the database , half restored from  by d", marker=KEY
    )
    assert loaded == Leftover(
        act=Act.FORGET,
        what="the database , whose swap failed: it holds ",
        marker=KEY,
        command=', or drop database "-"',
    )


@pytest.mark.parametrize(("restoring", "act"), [(False, Act.TELL), (True, Act.DROP)])
def test_a_whole_database_is_told_with_what_may_be_done_with_it(restoring: bool, act: Act) -> None:
    assert leftovers.of_loaded(KEY, DETAIL, seen(""), restoring=restoring) == Leftover(
        act=act,
        what="the database shop_new, whose swap failed: it holds B",
        subject="shop_new",
        marker=KEY,
        command='invoke again, or drop database "shop_new"',
    )


def test_a_whole_database_of_another_live_one_is_forgotten() -> None:
    other = Databases(live=6, comments={"shop_new": ""})

    assert leftovers.of_loaded(KEY, DETAIL, other, restoring=True).act is Act.FORGET


def test_a_swap_is_told_by_its_marker_also_where_it_says_nothing() -> None:
    assert leftovers.of_swap(KEY, "d", {}) == Leftover(
        act=Act.SAY,
        what="deployment d put  in place of the live database before it was killed; the one "
        "before is ",
        marker=KEY,
    )


@pytest.mark.parametrize(
    ("names", "act", "command"),
    [
        (
            ("dump.pgc",),
            Act.REMOVE,
            "where this account may not delete, remove them with one that may",
        ),
        ((), Act.FORGET, ""),
    ],
)
def test_archives_are_told_with_their_place(names: tuple[str, ...], act: Act, command: str) -> None:
    assert leftovers.of_archive(KEY, "d", "uat/shop/x/", names) == Leftover(
        act=act,
        what="archives of a backup of d that has no manifest: uat/shop/x/",
        subject="uat/shop/x/",
        marker=KEY,
        command=command,
    )


def test_what_is_found_without_a_marker_is_named() -> None:
    archives = leftovers.unowned("uat/shop/x/", ("dump.pgc",))
    closed = leftovers.shut_out("shop", 0)

    assert archives is not None and (archives.subject, archives.marker) == ("uat/shop/x/", "")
    assert closed is not None and (closed.subject, closed.marker) == ("shop", "")


MEMBERS = (Mark("a", ("1", "2"), "i7"), Mark("b", ("3",)))


def test_members_of_a_unit_that_is_open_wait_for_the_run_that_goes_on() -> None:
    assert leftovers.of_members("d", MEMBERS, goes_on="uat") == Leftover(
        act=Act.WAIT,
        what="deployment d, which is not finished, began to restart a (restarted and proven), b "
        "(not proven)",
        members=("1", "2", "3"),
        command="invoke resume --env uat goes on with the members that are left",
    )


def test_members_that_nobody_goes_on_with_are_told_once() -> None:
    def marker(number: int, run: str, member: str, instance: str = "") -> Marker:
        detail = rolling.detail(member, "digest", instance)
        at = datetime(2026, 8, 1, tzinfo=UTC)
        return Marker(id=str(number), kind=rolling.KIND, deployment=run, at=at, detail=detail)

    recorded = [marker(1, "d", "a"), marker(2, "d", "a", "i7"), marker(3, "d", "b")]
    recorded.append(marker(4, "e", "c"))

    told = leftovers.of_ended_members("d", recorded)

    assert told == Leftover(
        act=Act.SAY,
        what="d began to restart a (restarted and proven), b (not proven), and no run goes on "
        "with that",
        members=("1", "2", "3"),
    )
    assert "such as invoke deploy --env uat" in leftovers.text(told, "uat")
