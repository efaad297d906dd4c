"""What a killed run left, and what is done about it."""

from datetime import UTC, datetime

import pytest

from pgwindlass.plan import leftovers
from pgwindlass.plan.leftovers import Act, Databases

pytestmark = pytest.mark.unit

KEY = "00ff00ff00ff00ff"
OURS = leftovers.filling_comment(KEY)


@pytest.mark.parametrize(
    ("comment", "given", "act"),
    [
        (OURS, "", Act.DROP),
        (OURS, "yes", Act.DROP),
        ("", "", Act.DROP),  # killed between its creation and its comment
        ("", "yes", Act.TELL),  # a person's name: it may be a person's database
        ("of the shop", "", Act.TELL),
        (leftovers.filling_comment("another"), "", Act.TELL),
        (None, "", Act.FORGET),
    ],
)
def test_a_half_restored_database_goes_only_where_it_is_surely_ours(
    comment: str | None, given: str, act: Act
) -> None:
    comments = {"shop": ""} if comment is None else {"shop": "", "shop_new": comment}
    detail = {"database": "shop_new", "live": "5", "backup": "20260801T000000Z-d", "given": given}

    left = leftovers.of_filling(KEY, "d", detail, Databases(live=5, comments=comments))

    assert (left.act, left.subject, left.marker) == (act, "shop_new", KEY)


@pytest.mark.parametrize(
    ("comments", "act", "subject"),
    [
        ({"made": ""}, Act.DROP, "made"),  # killed between its creation and its comment
        ({"made": OURS}, Act.DROP, "made"),
        ({"made": OURS, "theirs": ""}, Act.DROP, "made"),  # a person took the name meanwhile
        ({"made": "of the shop", "theirs": ""}, Act.TELL, "theirs"),
        ({"theirs": OURS}, Act.DROP, "theirs"),
        ({"theirs": ""}, Act.TELL, "theirs"),
        ({}, Act.FORGET, "theirs"),
    ],
)
def test_one_that_has_not_got_its_name_yet_is_ours(
    comments: dict[str, str], act: Act, subject: str
) -> None:
    detail = {"database": "theirs", "made": "made", "live": "5", "backup": "b", "given": "yes"}

    left = leftovers.of_filling(KEY, "d", detail, Databases(live=5, comments=comments))

    assert (left.act, left.subject) == (act, subject)


def test_a_marker_that_came_with_a_backup_is_forgotten() -> None:
    detail = {"database": "shop_new", "live": "5", "given": ""}
    seen = Databases(live=6, comments={"shop_new": OURS})

    assert leftovers.of_filling(KEY, "d", detail, seen).act is Act.FORGET


def test_a_swap_whose_marker_is_in_the_live_database_was_done() -> None:
    left = leftovers.of_swap(KEY, "d", {"restored": "shop_new", "kept": "shop_old"})

    assert left.act is Act.SAY
    assert left.what == (
        "deployment d put shop_new in place of the live database before it was killed; "
        "the one before is shop_old"
    )


@pytest.mark.parametrize(
    ("names", "act"),
    [
        (("dump.pgc",), Act.REMOVE),
        (("schema.pgc", "data-1.pgc"), Act.REMOVE),
        ((), Act.FORGET),
        (("dump.pgc", "manifest.json"), Act.FORGET),
        (("dump.pgc", "pruned.json"), Act.FORGET),
    ],
)
def test_archives_are_removed_where_no_manifest_names_them(
    names: tuple[str, ...], act: Act
) -> None:
    left = leftovers.of_archive(KEY, "d", "uat/shop/20260801T000000Z-d/", names)

    assert (left.act, left.subject) == (act, "uat/shop/20260801T000000Z-d/")


def test_archives_that_nobody_announced_are_told_and_stay() -> None:
    place = "uat/shop/20260801T000000Z-d/"
    left = leftovers.unowned(place, ("dump.pgc",))

    assert left is not None and left.act is Act.TELL
    assert leftovers.text(left, "uat").startswith(
        f"archives without a manifest: {place}; no backup"
    )
    assert leftovers.unowned(place, ("dump.pgc", "manifest.json")) is None


def test_a_limit_that_shuts_the_application_out_is_told_with_the_command() -> None:
    left = leftovers.shut_out("my shop", 0)

    assert left is not None
    assert leftovers.text(left, "uat") == (
        "the database my shop has a connection limit of 0: no role but a superuser is let in; "
        'alter database "my shop" connection limit -1'
    )
    assert leftovers.shut_out("shop", -1) is None
    assert leftovers.shut_out("shop", 42) is None


def test_what_the_next_task_settles_is_told_so() -> None:
    left = leftovers.of_archive(KEY, "d", "uat/shop/x/", ("dump.pgc",))

    assert leftovers.text(left, "uat").endswith(
        "; the next task that changes something here settles it, such as invoke deploy --env uat"
    )


def test_what_is_dropped_is_told_with_the_statement_that_does_it_by_hand() -> None:
    assert leftovers.text(leftovers.of_role("windlass_load_x"), "uat") == (
        "the role windlass_load_x, which a killed restore left; the next task that changes "
        'something here settles it, such as invoke deploy --env uat, or drop role "windlass_load_x"'
    )


def test_a_restart_that_may_still_run_is_told_with_its_machine() -> None:
    left = leftovers.of_restart(
        "systemctl restart api", "one", datetime(2026, 8, 1, 12, tzinfo=UTC)
    )

    assert left.act is Act.SAY
    assert left.what == (
        "the restart (systemctl restart api) that a killed run began on one at 12:00:00"
    )


def test_a_task_that_was_begun_ends_with_another_and_is_told_with_both_commands() -> None:
    detail = {"command": "invoke restore --env uat --from=B", "environment": "uat"}

    left = leftovers.of_order(KEY, "d", detail)

    assert (left.act, left.subject, left.marker) == (Act.END, KEY, KEY)
    assert leftovers.text(left, "uat") == (
        "d began this, and it is not done: invoke restore --env uat --from=B; the same command "
        "goes on with it, and so does invoke resume --env uat"
    )


def test_a_database_whose_swap_failed_waits_for_its_swap_or_goes_with_the_next_restore() -> None:
    again = "invoke restore --env uat --swap shop_new"
    detail = {"database": "shop_new", "live": "5", "backup": "B", "again": again}
    seen = Databases(live=5, comments={"shop_new": ""})

    left = leftovers.of_loaded(KEY, detail, seen, restoring=False)
    assert left.act is Act.TELL
    assert leftovers.text(left, "uat") == (
        "the database shop_new, whose swap failed: it holds B; "
        f'{again}, or drop database "shop_new"'
    )
    assert leftovers.of_loaded(KEY, detail, seen, restoring=True).act is Act.DROP
    gone = Databases(live=5, comments={})
    assert leftovers.of_loaded(KEY, detail, gone, restoring=True).act is Act.FORGET
