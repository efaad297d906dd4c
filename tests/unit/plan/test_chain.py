"""A chain of events: every way to change one is seen, and where."""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pgwindlass.model import Event
from pgwindlass.plan import chain

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 20, 12, 30, 15, 42, tzinfo=UTC)
Events = tuple[Event, ...]


def grown(*parts: tuple[str, str, dict[str, Any]]) -> Events:
    events: list[Event] = []
    for minute, (kind, deployment, record) in enumerate(parts):
        head = (events[-1].number, events[-1].hash) if events else (0, "")
        at = AT + timedelta(minutes=minute)
        events.append(chain.follow(head, at=at, kind=kind, deployment=deployment, record=record))
    return tuple(events)


def begun(status: str = "running") -> dict[str, Any]:
    return {"deployment": {"id": "d1", "status": status}}


NOTHING = chain.Rows(deployments={}, steps={}, corrections=())
WHOLE = grown(
    (chain.BEGUN, "", chain.snapshot(NOTHING)),
    (chain.DEPLOYMENT_BEGUN, "d1", begun()),
    (chain.STEP_BEGUN, "d1", {"ordinal": 1, "evidence": [["a", "b"]]}),
    (chain.STEP_ENDED, "d1", {"ordinal": 1, "result": {"step": "lint", "seconds": 0.25}}),
    (chain.DEPLOYMENT_ENDED, "d1", begun("deployed")),
    (chain.CORRECTION, "", {"correction": {"verb": "stamp"}}),
)
ROWS = chain.Rows(
    deployments={"d1": ('{"id":"d1","status":"deployed"}', "deployed")},
    steps={("d1", 1): ('[["a","b"]]', '{"seconds":0.25,"step":"lint"}')},
    corrections=('{"verb":"stamp"}',),
)


def rehashed(events: Events) -> Events:
    """Write a chain anew, as somebody who knows how it is made."""
    return grown(*((e.kind, e.deployment, e.record) for e in events))


def edited(events: Events, place: int, **changes: Any) -> Events:
    other = msgspec.structs.replace(events[place], **changes)
    return (*events[:place], other, *events[place + 1 :])


def test_a_chain_that_nobody_touched_is_whole() -> None:
    assert chain.first_break(WHOLE) is None
    assert chain.mirror_break(WHOLE, WHOLE[:4]) is None
    assert chain.journal_break(WHOLE, ROWS) is None
    assert [event.number for event in WHOLE] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("attack", "number", "says"),
    [
        (lambda e: edited(e, 2, record={"ordinal": 2}), 3, "edited"),
        (lambda e: edited(e, 2, at=AT), 3, "edited"),
        (lambda e: edited(e, 2, kind="noted"), 3, "edited"),
        (lambda e: edited(e, 2, deployment="d2"), 3, "edited"),
        (lambda e: edited(e, 2, previous="0" * 64), 3, "edited"),
        (lambda e: (*e[:2], *e[3:]), 3, "event 3 removed"),
        (lambda e: (*e[:1], *e[3:]), 2, "events 2 to 3 removed"),
        (lambda e: e[1:], 1, "event 1 removed"),
        (lambda e: (*e[:3], *rehashed(e)[3:4], *e[3:]), 4, "behind"),
        (
            lambda e: (*e[:2], *grown(*[("x", "", {})] * 3)[2:], *e[3:]),
            3,
            "does not follow",
        ),
        (
            lambda e: edited(edited(e, 1, number=3), 2, number=2),
            3,
            "removed|edited|behind",
        ),
    ],
)
def test_each_change_of_one_event_breaks_the_chain_there(
    attack: Callable[[Events], Events], number: int, says: str
) -> None:
    broken = chain.first_break(attack(WHOLE))

    assert broken is not None
    assert any(part in broken.what for part in says.split("|"))
    assert broken.number == number or "|" in says


def test_an_exchange_of_two_events_is_seen_also_with_their_numbers_exchanged() -> None:
    second, third = WHOLE[1], WHOLE[2]
    swapped = (
        WHOLE[0],
        msgspec.structs.replace(third, number=2),
        msgspec.structs.replace(second, number=3),
        *WHOLE[3:],
    )

    broken = chain.first_break(swapped)

    assert broken is not None and broken.number == 2


def test_a_chain_that_is_written_anew_is_whole_and_not_the_mirrors() -> None:
    anew = rehashed(edited(WHOLE, 2, record={"ordinal": 1, "evidence": [["a", "c"]]}))
    assert chain.first_break(anew) is None

    broken = chain.mirror_break(anew, WHOLE)

    assert broken is not None and broken.number == 3
    assert "in the store" in broken.what


def test_an_end_that_was_cut_off_is_seen_in_the_mirror_alone() -> None:
    assert chain.first_break(WHOLE[:4]) is None

    broken = chain.mirror_break(WHOLE[:4], WHOLE)

    assert broken is not None and broken.number == 5
    assert "the database ends with event 4" in broken.what


def test_a_middle_that_was_removed_is_seen_in_the_mirror_too() -> None:
    broken = chain.mirror_break((*WHOLE[:2], *WHOLE[3:]), WHOLE)

    assert broken is not None and (broken.number, broken.what) == (
        3,
        "event 3 removed: the store has it",
    )


def rows(**changes: Any) -> chain.Rows:
    fields = {n: getattr(ROWS, n) for n in ("deployments", "steps", "corrections")}
    return chain.Rows(**(fields | changes))


@pytest.mark.parametrize(
    ("changed", "number", "says"),
    [
        (rows(deployments={}), 5, "the row of deployment d1 was removed"),
        (rows(deployments={"d1": (ROWS.deployments["d1"][0], "failed")}), 5, "it was edited"),
        (rows(deployments={"d1": ("{}", "deployed")}), 5, "it was edited"),
        (rows(steps={}), 4, "the row of step 1 of deployment d1 was removed"),
        (rows(steps={("d1", 1): ("[]", ROWS.steps["d1", 1][1])}), 4, "it was edited"),
        (rows(steps={("d1", 1): (ROWS.steps["d1", 1][0], "{}")}), 4, "it was edited"),
        (rows(corrections=()), 6, "the correction of event 6 was edited or removed"),
        (rows(corrections=(*ROWS.corrections, "{}")), 0, "1 corrections have no event"),
        (rows(deployments={**ROWS.deployments, "d0": ("{}", "x")}), 0, "1 deployments have no"),
        (rows(steps={**ROWS.steps, ("d1", 2): ("[]", "")}), 0, "step 2 of deployment d1 has no"),
        (rows(steps={**ROWS.steps, ("d9", 7): ("[]", "")}), 0, "of deployment d9 has no event"),
    ],
)
def test_a_row_of_the_journal_that_is_not_the_events_is_named(
    changed: chain.Rows, number: int, says: str
) -> None:
    broken = chain.journal_break(WHOLE, changed)

    assert broken is not None
    assert broken.number == number
    assert says in broken.what


def test_a_killed_deployment_is_as_its_event_says() -> None:
    events = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        (chain.DEPLOYMENT_BEGUN, "d1", begun()),
        (chain.STEP_BEGUN, "d1", {"ordinal": 1, "evidence": []}),
        (chain.DEPLOYMENT_INTERRUPTED, "d1", {"by": "d2"}),
        (chain.DEPLOYMENT_INTERRUPTED, "d0", {"by": "d2"}),
    )
    journal = chain.Rows(
        deployments={"d1": ('{"id":"d1","status":"running"}', "interrupted")},
        steps={("d1", 1): ("[]", "")},
        corrections=(),
    )

    assert chain.journal_break(events, journal) is None


def test_what_the_journal_had_before_the_chain_began_is_counted_and_compared() -> None:
    old = chain.Rows(
        deployments={"d0": ("{}", "deployed")}, steps={("d0", 1): ("[]", "")}, corrections=("{}",)
    )
    events = grown((chain.BEGUN, "", chain.snapshot(old)))

    assert chain.journal_break(events, old) is None
    for other in (
        chain.Rows(deployments={}, steps={}, corrections=("{}",)),
        chain.Rows(deployments={"d0": ('{"a":1}', "")}, steps={}, corrections=("{}",)),
        chain.Rows(deployments=old.deployments, steps=old.steps, corrections=()),
    ):
        assert chain.journal_break(events, other) is not None


def test_rows_of_events_that_a_restore_carried_over_may_be_absent() -> None:
    first = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        (chain.DEPLOYMENT_BEGUN, "d1", begun()),
        (chain.DEPLOYMENT_ENDED, "d1", begun("deployed")),
        (chain.RESTORED, "", {"after": 1, "backup": "b"}),
        (chain.DEPLOYMENT_BEGUN, "d2", begun()),
    )

    assert chain.journal_break(first[:4], NOTHING) is None
    later = chain.journal_break(first, NOTHING)
    assert later is not None and later.number == 5


def test_without_an_event_there_is_nothing_to_compare() -> None:
    assert chain.first_break(()) is None
    assert chain.journal_break((), ROWS) is None
    assert chain.mirror_break((), ()) is None


def test_the_hash_is_of_the_content_whatever_form_its_json_has() -> None:
    event = WHOLE[3]
    again = json.loads(json.dumps(event.record, indent=3))
    text = '{"result": {"seconds": 0.250, "step": "lint"}, "ordinal": 1}'

    assert chain.hash_of(msgspec.structs.replace(event, record=again)) == event.hash
    assert chain.hash_of(msgspec.structs.replace(event, record=json.loads(text))) == event.hash
    elsewhere = event.at.astimezone(tz=None)
    assert chain.hash_of(msgspec.structs.replace(event, at=elsewhere)) == event.hash


def test_the_name_of_a_mirrored_object_says_which_events_it_has() -> None:
    key = chain.key_of("uat", WHOLE[1:4])
    other = chain.key_of("uat", WHOLE[:1])

    assert key == f"journal/uat/events-0000000002x0000000004x{WHOLE[3].hash[:16]}.json"
    ranges = chain.ranges_of([key, other, "journal/uat/note.txt"])
    assert [(r.first, r.last, r.key) for r in ranges] == [(1, 1, other), (2, 4, key)]


def test_what_the_mirror_lacks_begins_behind_its_newest_event_that_is_ours() -> None:
    ranges = chain.ranges_of([chain.key_of("uat", WHOLE[:2]), chain.key_of("uat", WHOLE[2:4])])
    forged = chain.ranges_of(["journal/uat/events-0000000009x0000000099x0123456789abcdef.json"])

    assert chain.missing(WHOLE, ()) == WHOLE
    assert chain.missing(WHOLE, ranges) == WHOLE[4:]
    assert chain.missing(WHOLE, (*ranges, *forged)) == WHOLE[4:]
    assert chain.missing(WHOLE[:4], ranges) == ()


def test_mirrored_objects_may_overlap_and_may_not_disagree() -> None:
    assert chain.joined([WHOLE[:3], WHOLE[2:]]) == (WHOLE, None)

    anew = rehashed(edited(WHOLE, 2, record={}))
    _, fork = chain.joined([WHOLE[:3], WHOLE[3:], anew[2:]])

    assert fork is not None and fork.number == 3
    assert "two events 3" in fork.what


def test_the_hash_does_not_depend_on_the_zone_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert chain.hash_of(WHOLE[3]) == WHOLE[3].hash
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_does_not_follow_says_what_was_done() -> None:
    broken = chain.first_break((*WHOLE[:2], *grown(*[("x", "", {})] * 3)[2:], *WHOLE[3:]))

    assert broken is not None
    assert broken.what == (
        "event 3 (x) does not follow the one before it: one of the two was inserted, exchanged or "
        "written anew"
    )


def test_a_database_without_events_was_cut_off_before_the_first() -> None:
    broken = chain.mirror_break((), WHOLE[:1])

    assert broken == chain.Break(
        1,
        "the end was cut off: the database ends with event 0, and the store has event 1 "
        "(chain-begun)",
    )


def test_a_difference_to_the_mirror_shows_twelve_digits_of_each_hash() -> None:
    anew = rehashed(edited(WHOLE, 2, record={"ordinal": 1, "evidence": []}))

    broken = chain.mirror_break(anew, WHOLE)

    assert broken is not None
    assert broken.what == (
        f"event 3 is step-begun {anew[2].hash[:12]} here, and step-begun {WHOLE[2].hash[:12]} in "
        "the store"
    )


def test_of_several_different_rows_the_first_event_is_named() -> None:
    broken = chain.journal_break(WHOLE, NOTHING)

    assert broken is not None and broken.number == 4  # 5 is the deployment's, 6 the correction's


def test_an_event_without_a_row_hides_none_behind_it() -> None:
    events = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        ("noted", "", {}),
        (chain.CORRECTION, "", {"correction": {"verb": "stamp"}}),
    )

    broken = chain.journal_break(events, NOTHING)

    assert broken is not None and broken.number == 3


def test_a_step_whose_beginning_has_no_event_had_no_evidence() -> None:
    events = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        (chain.STEP_ENDED, "d1", {"ordinal": 1, "result": {}}),
    )
    journal = chain.Rows(deployments={}, steps={("d1", 1): ("[]", "{}")}, corrections=())

    assert chain.journal_break(events, journal) is None
    assert chain.journal_break(events, NOTHING) == chain.Break(
        2, "the row of step 1 of deployment d1 was removed: event 2 has it"
    )


def test_a_restore_carries_over_what_is_behind_its_backups_last_event() -> None:
    events = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        (chain.DEPLOYMENT_BEGUN, "d1", begun()),
        (chain.DEPLOYMENT_BEGUN, "d2", begun()),
        (chain.RESTORED, "", {"after": 2, "backup": "b"}),
    )
    first = {"d1": (chain.text_of(begun()["deployment"]), "running")}

    assert chain.journal_break(events, rows(deployments=first, steps={}, corrections=())) is None
    broken = chain.journal_break(events, NOTHING)
    assert broken is not None and broken.number == 2


@pytest.mark.parametrize(("after", "compared"), [(0, False), (1, True)])
def test_rows_of_before_the_chain_are_compared_where_its_beginning_is_the_databases_own(
    after: int, compared: bool
) -> None:
    events = grown(
        (chain.BEGUN, "", chain.snapshot(NOTHING)),
        ("noted", "", {}),
        (chain.RESTORED, "", {"after": after, "backup": "b"}),
    )
    journal = rows(deployments={"d0": ("{}", "deployed")}, steps={}, corrections=())

    assert (chain.journal_break(events, journal) is not None) is compared


def test_rows_without_an_event_are_counted_and_the_newest_is_named() -> None:
    first = grown((chain.BEGUN, "", chain.snapshot(NOTHING)))
    deployments = dict.fromkeys(("d1", "d3", "d2"), ("{}", "deployed"))

    assert chain.journal_break(
        first, rows(deployments=deployments, steps={}, corrections=())
    ) == chain.Break(
        0,
        "3 deployments have no event, and 0 had none when the chain began: one was edited, "
        "inserted or removed (the newest is d3)",
    )
    assert chain.journal_break(
        first, rows(deployments={}, steps={}, corrections=("{}",))
    ) == chain.Break(
        0,
        "1 corrections have no event, and 0 had none when the chain began: one was edited, "
        "inserted or removed",
    )


def test_a_step_of_no_deployment_is_told_as_one_that_was_inserted() -> None:
    first = grown((chain.BEGUN, "", chain.snapshot(NOTHING)))
    journal = rows(deployments={}, steps={("d9", 7): ("[]", "")}, corrections=())

    assert chain.journal_break(first, journal) == chain.Break(
        0, "step 7 of deployment d9 has no event: it was inserted"
    )


def test_of_several_forks_the_first_event_is_named() -> None:
    first, second = (
        rehashed(edited(WHOLE, 2, record={"ordinal": ordinal, "evidence": []}))
        for ordinal in (2, 3)
    )

    _, fork = chain.joined([WHOLE, tuple(reversed(first[2:])), second[2:]])

    assert fork == chain.Break(3, "the store has two events 3: step-begun and step-begun")


def test_the_first_event_counts_what_was_there_by_one_form_for_all_releases() -> None:
    old = rows(
        deployments={"d2": ("{}", "failed"), "d1": ('{"a":1}', "deployed")},
        steps={},
        corrections=("b", "a"),
    )

    assert chain.snapshot(old) == {
        "deployments": 2,
        "deployments_sha256": hashlib.sha256(b'd1 {"a":1}\nd2 {}').hexdigest(),
        "corrections": 2,
        "corrections_sha256": hashlib.sha256(b"a\nb").hexdigest(),
    }
