"""Which steps an environment runs, and what each tier insists on: the whole table, written anew."""

from datetime import timedelta
from typing import Any

import pytest

from pgwindlass import policy
from pgwindlass.errors import ConfigError, Laxer
from pgwindlass.model import StepName
from pgwindlass.policy import (
    BREAK_GLASS,
    LINT_STOPS,
    ROLLBACK_ASKED_FOR,
    SERVICE,
    UNKNOWN_STOPS,
    drill_age,
    on_failure,
    proof,
    rehearses,
    steps_for,
    steps_for_correction,
)
from tests.unit.examples import settings

pytestmark = pytest.mark.unit

STEPS = {
    # "!": required
    "dev": "preflight! lint! lock! migrate! restart smoke migrate-after! verify!",
    "uat": ("preflight! lint! lock! backup! proof! migrate! restart smoke migrate-after! verify!"),
    "production": (
        "preflight! lint! rehearsal approval! lock! backup! proof! migrate! restart! smoke! "
        "migrate-after! verify!"
    ),
}
REQUIRED = [
    (name, step.removesuffix("!"))
    for name, steps in STEPS.items()
    for step in steps.split()
    if step.endswith("!")
]
EVERY_STEP = frozenset(StepName)


def words(name: str, direction: Any = "up", **more: Any) -> str:
    """Return the steps of an environment in words; `more` is what is left out."""
    planned = steps_for(settings(name), direction, **more)
    return " ".join(f"{step.name}{'!' if step.required else ''}" for step in planned)


@pytest.mark.parametrize("name", STEPS)
def test_each_tier_runs_its_steps_in_order(name: str) -> None:
    assert words(name) == STEPS[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dev", "preflight! lock! migrate! restart smoke verify!"),
        ("uat", "preflight! lock! backup! proof! migrate! restart smoke verify!"),
        (
            "production",
            "preflight! approval! lock! backup! proof! migrate! restart! smoke! verify!",
        ),
    ],
)
def test_a_rollback_runs_what_goes_downwards(name: str, expected: str) -> None:
    assert words(name, "down") == expected


def test_without_the_sections_an_optional_step_needs_it_is_not_run() -> None:
    planned = steps_for(settings("dev", restart=None, smoke=None))

    assert [step.name for step in planned] == [
        "preflight",
        "lint",
        "lock",
        "migrate",
        "migrate-after",
        "verify",
    ]


@pytest.mark.parametrize("left_out", [BREAK_GLASS, SERVICE])
def test_what_may_be_left_out_is_left_out(left_out: frozenset[StepName]) -> None:
    planned = steps_for(settings("production"), without=left_out)

    assert {step.name for step in planned} == set(StepName) - left_out


def test_the_lock_the_backup_and_its_proof_cannot_be_left_out() -> None:
    assert words("production", without=EVERY_STEP) == (
        "preflight! lint! lock! backup! proof! migrate! migrate-after! verify!"
    )


def test_break_glass_leaves_out_approval_and_rehearsal_and_migrate_the_service() -> None:
    assert {"approval", "rehearsal"} == BREAK_GLASS
    assert {"restart", "smoke"} == SERVICE


@pytest.mark.parametrize("setting", ["off", "optional"])
@pytest.mark.parametrize(("name", "step"), REQUIRED)
def test_a_step_that_a_tier_requires_cannot_be_made_laxer(
    name: str, step: str, setting: str
) -> None:
    given = settings(name, steps={step: setting}, lines={("steps", step): 7})

    with pytest.raises(Laxer) as caught:
        steps_for(given)

    assert caught.value.what == (
        f"/srv/shop/deploy.yml:7: environments.{name}.steps.{step}: "
        f'"{setting}" is laxer than the {given.tier} tier, which requires it'
    )
    assert caught.value.next_step == (
        "remove the key; an environment may be stricter than its tier, never laxer"
    )


@pytest.mark.parametrize(("name", "step"), REQUIRED)
def test_a_required_step_may_be_required_once_more(name: str, step: str) -> None:
    assert steps_for(settings(name, steps={step: "required"})) == steps_for(settings(name))


@pytest.mark.parametrize(
    ("name", "step", "setting", "shown"),
    [
        ("dev", "backup", "required", "backup!"),
        ("dev", "backup", "optional", "backup"),
        ("dev", "backup", "off", ""),
        ("dev", "restart", "required", "restart!"),
        ("dev", "restart", "off", ""),
        ("uat", "rehearsal", "optional", "rehearsal"),
        ("production", "rehearsal", "off", ""),
        ("production", "rehearsal", "required", "rehearsal!"),
    ],
)
def test_an_environment_may_change_what_its_tier_does_not_insist_on(
    name: str, step: str, setting: str, shown: str
) -> None:
    planned = steps_for(settings(name, steps={step: setting}))

    assert [s for s in planned if s.name == step and s.required] == (
        [s for s in planned if s.name == step] if shown.endswith("!") else []
    )
    assert (step in [s.name for s in planned]) is bool(shown)


@pytest.mark.parametrize(
    ("step", "section", "key"),
    [
        ("approval", "approval", "environments.production.approval"),
        ("restart", "restart", "environments.production.restart"),
        ("smoke", "smoke", "environments.production.smoke"),
    ],
)
def test_a_required_step_without_its_section_is_refused(step: str, section: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        steps_for(settings("production", lines={(): 7}, **{section: None}))

    assert caught.value.what == (
        f"/srv/shop/deploy.yml:7: {key}: missing; the step {step} is required in the production "
        "tier"
    )
    assert caught.value.next_step == (
        f"write a {section} section; docs/configuration.md shows one of each kind"
    )


def test_backups_are_missing_at_the_top_of_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        steps_for(settings("uat", shared={"backups": None}))

    assert caught.value.what == (
        "/srv/shop/deploy.yml:1: backups: missing; the step backup is required in the acceptance "
        "tier"
    )


def test_a_rehearsal_needs_backups_even_where_it_may_be_skipped() -> None:
    with pytest.raises(ConfigError, match="the step rehearsal is required in the production tier"):
        steps_for(settings("production", shared={"backups": None}))


def test_production_alone_rehearses_unless_another_asks_for_it() -> None:
    assert [name for name in STEPS if rehearses(settings(name))] == ["production"]
    assert rehearses(settings("uat", steps={"rehearsal": "optional"}))
    assert not rehearses(settings("production", steps={"rehearsal": "off"}))


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("dev", None, "stop"),
        ("uat", None, "stop"),
        ("production", None, "rollback"),
        ("dev", "rollback", "rollback"),
        ("uat", "stop", "stop"),
        ("production", "rollback", "rollback"),
        ("production", "rollback-even-if-lossy", "rollback-even-if-lossy"),
    ],
)
def test_production_rolls_back_and_the_others_stop(
    name: str, asked: str | None, expected: str
) -> None:
    assert on_failure(settings(name, on_failure=asked)) == expected


def test_production_may_not_stop() -> None:
    with pytest.raises(Laxer) as caught:
        on_failure(settings("production", on_failure="stop", lines={("on_failure",): 7}))

    assert caught.value.what == (
        "/srv/shop/deploy.yml:7: environments.production.on_failure: "
        '"stop" is laxer than the production tier, which rolls back'
    )
    assert caught.value.next_step == "remove the key, or write on_failure: rollback"


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("dev", None, "checksum"),
        ("uat", None, "checksum"),
        ("production", None, "rows"),
        ("uat", "rows", "rows"),
        ("uat", "checksum", "checksum"),
        ("production", "rows", "rows"),
        ("production", "restore", "restore"),
    ],
)
def test_a_backup_is_proven_as_the_tier_asks_or_more(
    name: str, asked: str | None, expected: str
) -> None:
    assert proof(settings(name, proof=asked)) == expected


def test_a_backup_of_production_may_not_be_proven_by_less() -> None:
    lax = settings("production", proof="checksum", lines={("proof",): 7})

    with pytest.raises(Laxer) as caught:
        proof(lax)

    assert caught.value.what == (
        "/srv/shop/deploy.yml:7: environments.production.proof: "
        '"checksum" is laxer than the production tier, which asks for "rows"'
    )
    assert caught.value.next_step == (
        "remove the key; an environment may be stricter than its tier, never laxer"
    )
    with pytest.raises(Laxer):
        steps_for(lax)


@pytest.mark.parametrize(
    ("name", "backups", "expected"),
    [
        ("dev", {"to": "file:///b"}, None),
        ("uat", {"to": "file:///b"}, None),
        ("production", {"to": "file:///b"}, timedelta(days=8)),
        ("production", {"to": "file:///b", "drill": "2d"}, timedelta(days=2)),
        ("dev", {"to": "file:///b", "drill": "12h"}, timedelta(hours=12)),
        ("production", None, None),
    ],
)
def test_a_drill_is_due_where_there_are_backups(
    name: str, backups: dict[str, str] | None, expected: timedelta | None
) -> None:
    assert drill_age(settings(name, shared={"backups": backups})) == expected


def test_what_stops_a_deployment_grows_with_the_tier() -> None:
    order = ("development", "acceptance", "production")

    assert [LINT_STOPS[tier] for tier in order] == [False, True, True]  # type: ignore[index]  # a Literal, by name
    assert [UNKNOWN_STOPS[tier] for tier in order] == [False, False, True]  # type: ignore[index]  # likewise
    assert [ROLLBACK_ASKED_FOR[tier] for tier in order] == [False, True, True]  # type: ignore[index]  # likewise


@pytest.mark.parametrize(
    ("name", "expected"), [("dev", "lock!"), ("uat", "lock!"), ("production", "approval! lock!")]
)
def test_a_correction_has_the_approval_of_its_environment(name: str, expected: str) -> None:
    planned = steps_for_correction(settings(name))
    assert " ".join(f"{s.name}{'!' if s.required else ''}" for s in planned) == expected


SSH = {"from": "ssh", "signers": "approvers"}


@pytest.mark.parametrize(
    ("approval", "variables"),
    [
        ({"from": "terminal"}, {}),
        ({"from": "${A:-terminal}"}, {}),
        ({"from": "${A:-terminal}"}, {"A": "github"}),
        ({"from": "${A:-github}"}, {}),
        ({"from": "${A}"}, {"A": "github"}),
        (SSH | {"from": "${A:-ssh}"}, {}),
    ],
)
def test_a_variable_may_choose_an_approval_that_is_not_weaker(
    approval: dict[str, str], variables: dict[str, str]
) -> None:
    policy.require_written(settings("production", approval=approval, variables=variables))


@pytest.mark.parametrize(
    ("approval", "variables", "said"),
    [
        (
            {"from": "${A:-github}"},
            {"A": "terminal"},
            'approval.from: "terminal", by a variable, is laxer than "github", which',
        ),
        ({"from": "${A}"}, {"A": "terminal"}, 'is laxer than "github or ssh", which'),
        (SSH | {"signers": "${A:-a}"}, {}, "approval.signers: a variable may not set it"),
        (SSH | {"directory": "${A:-a}"}, {}, "approval.directory: a variable may not set it"),
    ],
)
def test_a_variable_that_weakens_an_approval_is_refused_with_its_line(
    approval: dict[str, str], variables: dict[str, str], said: str
) -> None:
    key = "from" if len(approval) == 1 else next(k for k in approval if "$" in approval[k])
    lines: dict[tuple[str | int, ...], int] = {("approval", key): 9}
    given = settings("production", approval=approval, variables=variables, lines=lines)

    with pytest.raises(Laxer) as caught:
        policy.require_written(given)
    assert said in caught.value.what
    assert str(caught.value.place).endswith("deploy.yml:9")
    policy.require_written(settings("dev", approval=approval, variables=variables))


def test_no_variable_chooses_a_tier_not_even_its_own() -> None:
    given = settings("dev", tier="${T:-development}", lines={("tier",): 3})

    with pytest.raises(Laxer, match=r"environments.dev.tier: a variable may not set it: the tier"):
        policy.require_written(given)


def test_production_takes_signed_backups_alone() -> None:
    given = settings("production", signing=None)

    with pytest.raises(ConfigError) as caught:
        steps_for(given)

    assert caught.value.what == (
        "/srv/shop/deploy.yml:1: environments.production.signing: missing; the production tier "
        "takes signed backups alone, because whoever can write the store could replace one"
    )
    assert caught.value.next_step == (
        "ssh-keygen -t ed25519 -N '' -C production -f backup-key; write "
        '"signing: {signers: .github/backup-signers, key: ${BACKUP_SIGNING_KEY:-}}" there, the '
        'line "production ssh-ed25519 AAAA…" (of backup-key.pub) into that file, and export '
        "the text of backup-key as BACKUP_SIGNING_KEY"
    )
    steps_for(settings("uat", signing=None))
    steps_for(settings("dev", signing=None))


def test_what_a_variable_may_not_decide_says_why_and_what_to_do() -> None:
    given = settings("production", approval=SSH | {"signers": "${A:-a}"})

    with pytest.raises(Laxer) as caught:
        policy.require_written(given)

    assert caught.value.what.endswith(
        "environments.production.approval.signers: a variable may not set it: it decides whose "
        "yes counts"
    )
    assert caught.value.next_step == "write the value itself, so that a commit changes it"


def test_an_approval_that_a_variable_weakened_says_which_one() -> None:
    given = settings("production", approval={"from": "${A:-github}"}, variables={"A": "terminal"})

    with pytest.raises(Laxer) as caught:
        policy.require_written(given)

    assert caught.value.next_step == (
        "unset the variable in ${A:-github}; or have a commit write from: terminal"
    )
    assert caught.value.what.endswith("which deploy.yml asks for without it")


def test_without_an_approval_no_variable_decides_it() -> None:
    policy.require_written(settings("uat", approval=None))
