"""May this plan run now? Every refusal with its whole message and its next step."""

from datetime import timedelta
from typing import Any

import pytest

from pgwindlass.errors import ConfigError, NotApproved, PlanChanged, Refused
from pgwindlass.model import Approval, CorrectionOrder, Loss, Plan, Sources
from pgwindlass.plan.gate import (
    require_approval,
    require_clean,
    require_confirmation,
    require_digest,
    require_environment,
    require_kind,
    require_lossless,
    require_no_secret,
    require_typed,
    require_unchanged,
)
from pgwindlass.secret import Secret
from tests.unit.examples import NOW, A, approval, correction, migration, plan, steps

pytestmark = pytest.mark.unit

PLAN = plan()
SHORT = PLAN.digest[:12]
HOW = "invoke approve --env uat --plan FILE"


def required(*approvals: Approval, **more: Any) -> tuple[Approval, ...]:
    given: dict[str, Any] = {"now": NOW, "how": HOW}
    return require_approval(PLAN, approvals, **(given | more))


def refusal(*approvals: Approval, **more: Any) -> str:
    """Return why no approval counts; its next step is always how to approve."""
    with pytest.raises(NotApproved) as caught:
        required(*approvals, **more)
    assert caught.value.next_step == HOW
    return caught.value.what


def test_an_approval_of_this_plan_that_has_not_expired_counts() -> None:
    given = approval(PLAN)

    assert required(given) == (given,)


def test_without_an_approval_the_plan_and_its_environment_are_named() -> None:
    assert refusal() == f"plan {SHORT} of uat has no approval"


def test_the_approval_of_another_plan_does_not_count() -> None:
    given = approval(PLAN, plan_digest="0123456789abcdef")

    assert refusal(given) == f"ann approved plan 0123456789ab, not {SHORT}"


def test_an_approval_that_a_deployment_used_up_does_not_count() -> None:
    said = refusal(approval(PLAN), used={"n1": "01FIRST"})

    assert said == "the approval of ann was used by deployment 01FIRST"


def test_an_approval_without_a_nonce_was_asked_for_here_and_is_never_used_up() -> None:
    given = approval(PLAN, nonce="", asked_here=True)

    assert required(given, used={"": "01FIRST"}) == (given,)
    assert refusal(approval(PLAN, nonce="", source="terminal")) == (
        "the approval of ann has no nonce, so that it could be used again"
    )


def test_what_was_found_wrong_where_an_approval_was_read_is_said() -> None:
    assert refusal(approval(PLAN, problem="a.approval: it is forged")) == "a.approval: it is forged"


@pytest.mark.parametrize(("minutes", "counts"), [(5, True), (6, False)])
def test_an_approval_may_be_dated_a_little_later_than_a_clock(minutes: int, counts: bool) -> None:
    given = approval(PLAN, granted_at=NOW + timedelta(minutes=minutes))

    if counts:
        assert required(given) == (given,)
    else:
        assert refusal(given) == (
            "the approval of ann is dated 2026-11-20 12:36 UTC, and it is 2026-11-20 12:30 UTC"
        )


def test_the_stricter_of_two_clocks_decides() -> None:
    given = approval(PLAN)
    late, early = given.expires_at, NOW - timedelta(minutes=6)

    assert required(given, server=NOW) == (given,)
    assert refusal(given, server=late) == "the approval of ann expired at 2026-11-20 13:30 UTC"
    assert "is dated 2026-11-20 12:30 UTC" in refusal(given, server=early)
    assert "is dated 2026-11-20 12:30 UTC" in refusal(given, now=early, server=NOW)


def test_production_runs_what_a_commit_has_and_no_other_tier_is_asked() -> None:
    dirty = Sources(commit="c0ffee" * 6 + "0000", changed=tuple("abcdef"))
    for tier in ("development", "acceptance"):
        require_clean(plan(tier=tier, sources=dirty))
    require_clean(plan(tier="production", sources=Sources(commit="c0ffee")))

    with pytest.raises(Refused) as caught:
        require_clean(plan(tier="production", sources=dirty))
    assert caught.value.what == (
        "the files here are not those of commit c0ffeec0ffee: a, b, c, d, e and 1 more"
    )
    assert caught.value.next_step.endswith("plan again: invoke plan --env uat")
    with pytest.raises(Refused, match=r"not those of any commit: a$"):
        require_clean(plan(tier="production", sources=Sources(changed=("a",))))


@pytest.mark.parametrize(("late", "counts"), [(-1, True), (0, False), (1, False)])
def test_an_approval_counts_until_the_moment_it_expires(late: int, counts: bool) -> None:
    given = approval(PLAN)
    now = given.expires_at + timedelta(microseconds=late)

    if counts:
        assert required(given, now=now) == (given,)
    else:
        assert refusal(given, now=now) == "the approval of ann expired at 2026-11-20 13:30 UTC"


def test_everything_that_is_wrong_is_said_the_oldest_approval_first() -> None:
    old = approval(PLAN, approver="eve", granted_at=NOW - timedelta(1), plan_digest="e" * 64)
    new = approval(PLAN)

    assert refusal(new, old, used={"n1": "01FIRST"}) == (
        f"eve approved plan eeeeeeeeeeee, not {SHORT}; "
        "the approval of ann was used by deployment 01FIRST"
    )


def test_one_approval_is_asked_for_by_default() -> None:
    first, second = approval(PLAN), approval(PLAN, approver="bob", nonce="n2")

    assert required(first, second) == (first,)


def test_of_more_approvals_than_are_asked_for_the_oldest_count() -> None:
    first = approval(PLAN, granted_at=NOW - timedelta(2))
    second = approval(PLAN, approver="bob", granted_at=NOW - timedelta(1))
    third = approval(PLAN, approver="cid")

    assert required(third, second, first, required=2) == (first, second)


def test_two_approvals_of_one_person_count_as_one() -> None:
    later = NOW + timedelta(seconds=1)
    first, again = approval(PLAN), approval(PLAN, granted_at=later, nonce="n2", approver="ANN")

    assert refusal(first, again, required=2) == f"plan {SHORT} has 1 of 2 approvals, by ann"
    assert required(again, first) == (first,)


def test_too_few_approvals_are_counted_and_named_with_what_is_wrong_with_the_others() -> None:
    bob = approval(PLAN, approver="bob", nonce="n2")
    late = approval(PLAN, approver="cid", nonce="n3", expires_at=NOW)

    assert refusal(approval(PLAN), bob, late, required=3) == (
        f"plan {SHORT} has 2 of 3 approvals, by ann, bob; "
        "the approval of cid expired at 2026-11-20 12:30 UTC"
    )


def test_the_same_plan_is_unchanged() -> None:
    require_unchanged(PLAN, plan())


def test_a_changed_plan_is_refused_with_what_differs() -> None:
    now = plan(engine_version="2", schema_fingerprint="f2", schema=("table t",))

    with pytest.raises(PlanChanged) as caught:
        require_unchanged(PLAN, now)

    assert caught.value.what == (
        f"plan {SHORT} is not what would run now ({now.digest[:12]}): "
        "another engine version: 1 then, 2 now; the schema gained table t"
    )
    assert caught.value.next_step == "look at it again: invoke plan --env uat"


@pytest.mark.parametrize(
    ("count", "tail"), [(5, "; the schema gained 5"), (6, "; and 1 more"), (8, "; and 3 more")]
)
def test_at_most_five_differences_are_told(count: int, tail: str) -> None:
    lines = tuple(str(number) for number in range(1, count + 1))

    with pytest.raises(PlanChanged) as caught:
        require_unchanged(PLAN, plan(schema_fingerprint="f2", schema=lines))

    assert caught.value.what.endswith(tail)
    assert caught.value.what.count("the schema gained") == 5


@pytest.mark.parametrize("script", ["sql", "rollback", "verify"])
def test_a_plan_that_holds_a_secret_is_not_written_down(script: str) -> None:
    Secret("gate-secret-4711")
    holding = plan(migrations=(migration("b"), migration(A, **{script: "x gate-secret-4711 x"})))

    with pytest.raises(Refused) as caught:
        require_no_secret(holding)

    assert caught.value.what == (
        f"the text of {A} contains a secret of this environment; the plan's file would contain "
        "it too"
    )
    assert caught.value.next_step == (
        "take it out of the migration, set it outside of migrations, and change it, because it is "
        "in the repository's history"
    )


def test_a_plan_without_a_secret_may_be_written_down() -> None:
    require_no_secret(plan(migrations=(migration(rollback=None, verify=None),)))


def test_a_plan_is_for_its_own_environment() -> None:
    require_environment(PLAN, "uat")
    with pytest.raises(ConfigError) as caught:
        require_environment(PLAN, "production")

    assert caught.value.what == "the plan is for uat, not for production"
    assert caught.value.next_step == "invoke deploy --env uat --plan …, or plan production"


@pytest.mark.parametrize("digest", [None, PLAN.digest])
def test_a_plan_with_the_digest_that_was_handed_on_may_run(digest: str | None) -> None:
    require_digest(PLAN, digest)


@pytest.mark.parametrize(
    ("digest", "handed"),
    [
        ("0123456789abcdef", "0123456789ab was handed on with it"),
        ("", "none was handed on with it"),
    ],
)
def test_a_plan_with_another_digest_is_refused(digest: str, handed: str) -> None:
    with pytest.raises(PlanChanged) as caught:
        require_digest(PLAN, digest)

    assert caught.value.what == f"the plan's file has the digest {SHORT}, and {handed}"
    assert caught.value.next_step == (
        "plan again, and deploy that: invoke plan --env uat --out FILE"
    )


CONFIRMED = [
    # tier, typed, variable
    ("development", None, ""),
    ("development", "no", "no"),
    ("acceptance", "uat", ""),
    ("production", "uat", ""),
    ("production", None, "yes"),
]
NOT_CONFIRMED = [
    ("acceptance", None, ""),
    ("acceptance", None, "no"),
    ("production", "production", ""),
    ("production", "", "yes"),  # what a person types counts for more than a variable
    ("production", "no", "yes"),
]


@pytest.mark.parametrize(("tier", "typed", "variable"), CONFIRMED)
def test_what_cannot_be_taken_back_is_confirmed(tier: Any, typed: Any, variable: str) -> None:
    require_typed("uat", tier, what="the removal", typed=typed, variable=variable)
    require_confirmation(plan(tier=tier), typed=typed, variable=variable)


@pytest.mark.parametrize(("tier", "typed", "variable"), NOT_CONFIRMED)
def test_what_cannot_be_taken_back_is_refused_unless_confirmed(
    tier: Any, typed: Any, variable: str
) -> None:
    with pytest.raises(Refused) as caught:
        require_typed("uat", tier, what="the removal", typed=typed, variable=variable)

    assert caught.value.what == "the removal in uat is not confirmed"
    assert caught.value.next_step == (
        'type "uat" when asked; without a terminal: CONFIRM_HISTORY=yes'
    )


@pytest.mark.parametrize(("tier", "typed", "variable"), NOT_CONFIRMED)
def test_a_rollback_above_development_is_refused_unless_confirmed(
    tier: Any, typed: Any, variable: str
) -> None:
    with pytest.raises(Refused) as caught:
        require_confirmation(plan(tier=tier), typed=typed, variable=variable)

    assert caught.value.what == "the rollback of 1 migrations in uat is not confirmed"
    assert caught.value.next_step == (
        'type "uat" when asked; without a terminal: CONFIRM_ROLLBACK=yes'
    )


def test_another_variable_may_confirm() -> None:
    with pytest.raises(Refused, match="is not confirmed") as caught:
        require_typed(
            "uat", "production", what="the swap", typed=None, variable="", named="CONFIRM_SWAP"
        )

    assert caught.value.next_step.endswith("without a terminal: CONFIRM_SWAP=yes")


def test_an_approval_is_the_confirmation_of_a_rollback() -> None:
    asking = plan(tier="production", steps=steps("approval", "migrate"))

    require_confirmation(asking, typed=None, variable="")


STAMP = plan(migrations=(), correction=correction())


@pytest.mark.parametrize(
    ("given", "verb", "what", "next_step"),
    [
        (
            STAMP,
            "",
            "the plan is of stamp, not of a deployment",
            "invoke stamp --env uat --plan FILE runs it",
        ),
        (
            STAMP,
            "repair",
            "the plan is of stamp, not of repair",
            "invoke stamp --env uat --plan FILE runs it",
        ),
        (
            PLAN,
            "stamp",
            "the plan is of a deployment, not of stamp",
            "invoke deploy --env uat --plan FILE runs it",
        ),
    ],
)
def test_a_plan_is_run_by_its_own_task(given: Plan, verb: str, what: str, next_step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_kind(given, verb)

    assert (caught.value.what, caught.value.next_step) == (what, next_step)


def test_a_plan_of_the_task_itself_may_run() -> None:
    require_kind(STAMP, "stamp")
    require_kind(PLAN)


def test_a_correction_with_another_digest_is_made_again_as_it_was_typed() -> None:
    with pytest.raises(PlanChanged) as caught:
        require_digest(STAMP, "")

    assert caught.value.next_step == (
        "plan again, and run that: invoke stamp --env uat --name=a '--reason=by hand' --out FILE"
    )


def test_a_rollback_with_another_digest_is_shown_again() -> None:
    with pytest.raises(PlanChanged) as caught:
        require_digest(plan(direction="down"), "")

    assert caught.value.next_step == "show it again: invoke rollback --env uat … --out FILE"


def test_a_changed_correction_is_refused_with_what_differs() -> None:
    now = plan(migrations=(), correction=correction("record a: pending → sha256:2"))

    with pytest.raises(PlanChanged) as caught:
        require_unchanged(STAMP, now)

    assert caught.value.what.endswith(
        "planned, and not done now: record a: pending → sha256:1; "
        "not planned, would be done now: record a: pending → sha256:2"
    )
    assert caught.value.next_step == (
        "look at it again: invoke stamp --env uat --name=a '--reason=by hand' --dry-run"
    )


@pytest.mark.parametrize(
    "order",
    [correction(arguments=(("reason", "x gate-secret-4712 x"),)), correction("gate-secret-4712")],
)
def test_a_correction_that_holds_a_secret_is_not_written_down(order: CorrectionOrder) -> None:
    Secret("gate-secret-4712")

    with pytest.raises(Refused) as caught:
        require_no_secret(plan(migrations=(), correction=order))

    assert caught.value.what.startswith("what stamp was given contains a secret")
    assert "gate-secret" not in caught.value.next_step


def test_a_correction_without_a_secret_may_be_written_down() -> None:
    require_no_secret(STAMP)


@pytest.mark.parametrize(("count", "tail"), [(5, ""), (6, " and 1 more")])
def test_at_most_five_files_that_no_commit_has_are_named(count: int, tail: str) -> None:
    names = tuple(f"f{n}" for n in range(count))
    given = plan(tier="production", sources=Sources(commit="c0ffee" * 7, changed=names))

    with pytest.raises(Refused) as caught:
        require_clean(given)

    assert caught.value.what == (
        "the files here are not those of commit c0ffeec0ffee: f0, f1, f2, f3, f4" + tail
    )


def test_a_password_in_a_migrations_text_is_refused_by_its_place() -> None:
    given = plan(migrations=(migration(sql="alter role shop password 'literal';"),))

    with pytest.raises(Refused) as caught:
        require_no_secret(given)

    assert caught.value.what.startswith(f"the text of {A} has ")
    assert caught.value.what.endswith(" in it; the plan's file would too")
    assert caught.value.next_step == (
        "take it out of the migration, set it outside of migrations, and change it, because it is "
        "in the repository's history"
    )


def test_a_correction_with_a_secret_says_where_it_came_from() -> None:
    Secret("reason-with-a-secret-7")
    given = plan(
        correction=correction(
            arguments=(("name", "a"), ("reason", "reason-with-a-secret-7")), changes=("record a",)
        )
    )

    with pytest.raises(Refused) as caught:
        require_no_secret(given)

    assert caught.value.what == (
        "what stamp was given contains a secret of this environment; the plan's file would "
        "contain it too"
    )
    assert caught.value.next_step == "leave it out of the arguments, such as the reason"


LOST = (
    Loss(migration=A, what="table t with 5 rows", backup="b1"),
    Loss(migration=A, what="table u with 7 rows", backup="b1"),
)
UNSURE = (Loss(migration=A, what="rows of v", known=False),)


@pytest.mark.parametrize(
    ("tier", "losses", "lossy"),
    [
        ("production", (), False),
        ("production", UNSURE, False),
        ("production", LOST, True),
        ("development", LOST, False),
    ],
)
def test_a_rollback_that_loses_nothing_known_or_was_asked_to_may_run(
    tier: str, losses: tuple[Loss, ...], lossy: bool
) -> None:
    require_lossless(plan(tier=tier, losses=losses), lossy=lossy)


@pytest.mark.parametrize("tier", ["acceptance", "production"])
@pytest.mark.parametrize(("losses", "more"), [(LOST[:1], ""), (LOST, " (and 1 more)")])
def test_a_rollback_that_loses_values_is_refused_with_what_it_loses(
    tier: str, losses: tuple[Loss, ...], more: str
) -> None:
    with pytest.raises(Refused) as caught:
        require_lossless(plan(tier=tier, losses=(*UNSURE, *losses)), lossy=False)

    assert caught.value.what == (
        f"undoing {A} does not bring back table t with 5 rows; backup b1 has them{more}"
    )
    assert caught.value.next_step == (
        "the same command with --lossy undoes it all the same; what is lost is then in its plan"
    )


@pytest.mark.parametrize(
    ("named", "how"),
    [("CONFIRM_X", "; without a terminal: CONFIRM_X=yes"), ("", ", at a terminal")],
)
def test_what_confirms_is_named(named: str, how: str) -> None:
    with pytest.raises(Refused) as caught:
        require_typed("uat", "acceptance", what="a drop", typed=None, variable="", named=named)

    assert caught.value.what == "a drop in uat is not confirmed"
    assert caught.value.next_step == f'type "uat" when asked{how}'
