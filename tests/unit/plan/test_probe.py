"""How the requests of a probe are counted, told and judged."""

import pytest

from pgwindlass.plan.probe import Request, Tally, evidence, exceeds, how_lost, tally

pytestmark = pytest.mark.unit


def requests(*lost: str) -> list[Request]:
    """Return one request for each word, a tenth of a second apart; an empty word is answered."""
    return [Request(number / 10, 0.01 * (number + 1), how) for number, how in enumerate(lost)]


def test_nothing_lost_tells_of_the_slowest_answer() -> None:
    counted = tally(requests("", "", ""), until=0.3)

    assert (counted.asked, counted.lost, counted.longest_gap) == (3, 0, 0.0)
    assert str(counted) == "lost 0 of 3 requests, the slowest answer 0.03 s"


def test_each_way_of_losing_is_counted_and_the_longest_gap_told() -> None:
    words = ("", "late", "", "not answered", "not answered", "status 502", "")

    counted = tally(requests(*words), until=0.7)

    assert (counted.asked, counted.lost) == (7, 4)
    assert counted.longest_gap == pytest.approx(0.3)
    assert str(counted) == (
        "lost 4 of 7 requests (2 not answered, 1 late, 1 status 502), the longest gap 0.30 s"
    )


def test_the_order_is_that_of_sending() -> None:
    counted = tally(reversed(requests("", "late", "late", "")), until=0.4)

    assert counted.longest_gap == pytest.approx(0.2)


def test_a_gap_without_an_end_lasts_until_it_is_counted() -> None:
    assert tally(requests("", "late"), until=5.1).longest_gap == pytest.approx(5.0)


def test_a_slow_request_that_was_lost_is_no_slow_answer() -> None:
    assert tally([Request(0, 2.0, "late"), Request(0.1, 0.2)], until=1).slowest == 0.2


def test_nothing_asked_is_told_as_that() -> None:
    assert str(tally((), until=1.0)) == "lost 0 of 0 requests"


@pytest.mark.parametrize(
    ("code", "before", "how"),
    [
        (200, 200, ""),
        (404, 200, ""),
        (499, 200, ""),
        (500, 200, "status 500"),
        (503, 0, "status 503"),
        (503, 503, ""),  # the service gave it before
        (502, 503, "status 502"),
    ],
)
def test_a_servers_own_fault_is_a_loss_unless_it_was_so_before(
    code: int, before: int, how: str
) -> None:
    assert how_lost(code, before) == how


def test_a_service_that_was_down_is_told_as_that() -> None:
    counted = tally(requests("late"), until=0.1, served_before=False)

    assert str(counted).endswith("; it did not answer before either")


def test_the_evidence_has_the_numbers_and_nothing_else() -> None:
    counted = tally(requests("", "late", ""), until=0.3)

    assert evidence(counted) == (
        ("requests_asked", "3"),
        ("requests_lost", "1"),
        ("longest_gap", "0.10"),
        ("slowest_answer", "0.03"),
    )
    assert evidence(None) == ()


@pytest.mark.parametrize(
    ("lost", "at_most", "served", "over"),
    [(3, 2, True, True), (2, 2, True, False), (9, None, True, False), (9, 0, False, False)],
)
def test_only_a_limit_that_is_set_is_exceeded_and_by_a_service_that_served(
    lost: int, at_most: int | None, served: bool, over: bool
) -> None:
    counted = Tally(asked=9, how=(("late", lost),), served_before=served)

    assert exceeds(counted, at_most) is over
    assert not exceeds(None, at_most)
