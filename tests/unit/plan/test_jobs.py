"""Jobs of earlier deployments, and those that a plan would leave."""

from dataclasses import dataclass

import pytest

from pgwindlass.errors import Refused
from pgwindlass.plan.jobs import require_finished, require_last, unfinished

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class AJob:
    migration: str
    job: bool = True
    is_open: bool = True


OPEN, DONE, INSIDE = AJob("a"), AJob("b", is_open=False), AJob("c", job=False)


def test_an_open_job_is_unfinished_and_a_deployments_own_backfill_is_not() -> None:
    assert unfinished((OPEN, DONE, INSIDE)) == (OPEN,)


def test_an_open_job_is_in_the_way_of_others() -> None:
    with pytest.raises(Refused) as caught:
        require_finished((DONE, OPEN), frozenset({"d"}), environment="uat")

    assert caught.value.what == f"{OPEN}; a migration behind it cannot count on what it fills"
    assert caught.value.next_step == (
        "invoke backfill.run --env uat finishes it; invoke backfill.cancel --env uat --name a "
        "--reason WHY gives it up"
    )


def test_it_is_not_in_the_way_of_its_own_unit() -> None:
    require_finished((OPEN, DONE, INSIDE), frozenset({"a"}), environment="uat")


def test_a_migration_behind_one_that_leaves_a_job_is_refused() -> None:
    require_last(("a", "b"), frozenset({"b"}), environment="uat")
    require_last((), frozenset(), environment="uat")
    with pytest.raises(Refused) as caught:
        require_last(("a", "b", "c"), frozenset({"b"}), environment="uat")

    assert caught.value.what == (
        "b leaves its backfill to a job of its own, and c would run before that job"
    )
    assert caught.value.next_step == (
        "deploy up to it: invoke migrate --env uat --to b; then invoke backfill.run --env uat, "
        "then the rest"
    )
