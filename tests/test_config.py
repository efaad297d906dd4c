"""`deploy.yml` is read strictly: every mistake is refused with file, line, path and repair."""

import json
from pathlib import Path

import pytest

from pgwindlass.config import json_schema, load
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import SystemdRestart
from pgwindlass.errors import ConfigError, Laxer
from pgwindlass.model import StepName
from pgwindlass.policy import on_failure, steps_for

SHIPPED = Path(__file__).parent.parent / "deploy.yml"
VARIABLES = {
    "UAT_DATABASE_URL": "postgresql://u:pw-of-uat@db/uat",
    "PRODUCTION_DATABASE_URL": "postgresql://u:pw-of-prod@db/prod",
    "SMOKE_TOKEN": "smoke-token",
}


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "deploy.yml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_shipped_file_loads_with_every_environment() -> None:
    config = load(SHIPPED)

    assert config.names == ("dev", "uat", "production")
    for name in config.names:
        assert steps_for(config.environment(name, VARIABLES))


def test_a_merged_section_keeps_what_it_overrides() -> None:
    smoke = load(SHIPPED).environment("production", VARIABLES).environment.smoke

    assert smoke is not None
    assert smoke.base_url == "https://api.example.com"
    assert [check.method for check in smoke.checks] == ["GET", "POST"]


def test_secrets_do_not_show_in_the_loaded_structs() -> None:
    settings = load(SHIPPED).environment("production", VARIABLES)

    assert "pw-of-prod" not in repr(settings)
    assert "smoke-token" not in repr(settings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "settle: 5s",
            "setle: 5s",
            'environments.production.restart.setle: unknown key; did you mean "settle"?',
        ),
        (
            "wait: 5m",
            "wait: fast",
            'environments.production.lock.wait: "fast" is not a duration; expected one such as '
            "500ms, 5s, 5m or 24h",
        ),
        (
            "with: systemd ",
            "with: systmd ",
            "environments.production.restart.with: Invalid value 'systmd'; "
            'did you mean "systemd"?',
        ),
        (
            "tier: production",
            "tier: prod",
            "environments.production.tier: Invalid enum value 'prod'; did you mean \"production\"?",
        ),
        (
            "    on_failure: rollback",
            "    on_failur: rollback",
            'environments.production.on_failur: unknown key; did you mean "on_failure"?',
        ),
        ("unit: todo", "unitt: todo", "environments.production.restart.unitt: unknown key; did"),
        ("project: todo-backend", "project: [todo]", "project: Expected str, got array"),
    ],
)
def test_a_mistake_names_line_path_and_the_nearest_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, old, new)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if new.strip() in text)

    with pytest.raises(ConfigError) as caught:
        load(path).environment("production", VARIABLES)

    assert caught.value.what.startswith(f"{path}:{line}: {message}")
    assert caught.value.exit_code == 2


def test_a_missing_variable_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load(SHIPPED).environment("uat", {})

    assert caught.value.what == (
        f"{SHIPPED}:39: environments.uat.database: the variable UAT_DATABASE_URL is not set"
    )
    assert caught.value.next_step == (
        "export UAT_DATABASE_URL=…, or write ${UAT_DATABASE_URL:-default}"
    )


def test_a_variable_of_another_environment_is_not_asked_for() -> None:
    settings = load(SHIPPED).environment("dev", {})

    assert settings.environment.database.reveal() == "embedded"


def test_an_unknown_environment_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        load(SHIPPED).environment("prodution", VARIABLES)

    assert 'did you mean "production"?' in caught.value.what
    assert caught.value.next_step == "use one of: dev, uat, production"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project: a\nproject: b\nenvironments: {}\n", ':2: key "project" is written twice'),
        ("project: [a\n", ":2: not valid YAML"),
        ("project: a\n", "environments: missing or empty"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "deploy.yml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(path).environment("dev", {})

    assert message in caught.value.what


def test_yaml_no_is_a_word_and_not_false(tmp_path: Path) -> None:
    path = changed(tmp_path, "# user: false   ", "user: no    #")

    with pytest.raises(ConfigError) as caught:
        load(path).environment("production", VARIABLES)

    assert "restart.user: Expected bool, got str" in caught.value.what


@pytest.mark.parametrize("step", ["backup", "proof", "approval", "lock", "restart", "smoke"])
def test_production_cannot_switch_off_what_its_tier_requires(tmp_path: Path, step: str) -> None:
    path = changed(tmp_path, "# steps: {rehearsal: required}", f"steps: {{{step}: off}}")

    with pytest.raises(Laxer) as caught:
        steps_for(load(path).environment("production", VARIABLES))

    assert caught.value.what == (
        f"{path}:79: environments.production.steps.{step}: "
        '"off" is laxer than the production tier, which requires it'
    )
    assert caught.value.exit_code == 2


def test_uat_cannot_switch_off_its_backup(tmp_path: Path) -> None:
    path = changed(
        tmp_path, "    tier: acceptance", "    tier: acceptance\n    steps: {backup: optional}"
    )

    with pytest.raises(Laxer, match="laxer than the acceptance tier"):
        steps_for(load(path).environment("uat", VARIABLES))


def test_production_cannot_stop_instead_of_rolling_back(tmp_path: Path) -> None:
    path = changed(tmp_path, "on_failure: rollback", "on_failure: stop")

    with pytest.raises(Laxer, match='"stop" is laxer than the production tier'):
        on_failure(load(path).environment("production", VARIABLES))


@pytest.mark.parametrize("section", ["approval", "restart", "smoke"])
def test_production_without_a_section_it_needs_is_refused(tmp_path: Path, section: str) -> None:
    lines = SHIPPED.read_text().splitlines()
    start = next(i for i, text in enumerate(lines) if text == "  production:")
    at = next(i for i in range(start, len(lines)) if lines[i].startswith(f"    {section}:"))
    end = next(i for i in range(at + 1, len(lines)) if not lines[i].startswith("      "))
    path = tmp_path / "deploy.yml"
    path.write_text("\n".join(lines[:at] + lines[end:]))

    with pytest.raises(ConfigError) as caught:
        steps_for(load(path).environment("production", VARIABLES))

    assert f"environments.production.{section}: missing" in caught.value.what


def test_an_environment_may_be_stricter_than_its_tier(tmp_path: Path) -> None:
    path = changed(
        tmp_path, "    tier: development", "    tier: development\n    steps: {backup: required}"
    )
    names = [planned.name for planned in steps_for(load(path).environment("dev", {}))]

    assert StepName.BACKUP in names


def test_rehearsal_is_on_by_default_in_production_and_can_be_switched_off(tmp_path: Path) -> None:
    on = steps_for(load(SHIPPED).environment("production", VARIABLES))
    path = changed(tmp_path, "# steps: {rehearsal: required}", "steps: {rehearsal: off}")
    off = steps_for(load(path).environment("production", VARIABLES))

    assert StepName.REHEARSAL in [planned.name for planned in on]
    assert StepName.REHEARSAL not in [planned.name for planned in off]


def test_smoke_without_checks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deploy.yml"
    path.write_text(
        "project: a\nenvironments:\n  dev:\n    tier: development\n    database: embedded\n"
        "    smoke: {base_url: 'http://x', checks: []}\n"
    )

    with pytest.raises(ConfigError, match="checks is empty"):
        load(path).environment("dev", {})


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("5s", 5), ("5m", 300), ("24h", 86400), ("7d", 604800)]
)
def test_durations_are_read_and_shown_as_people_write_them(text: str, seconds: float) -> None:
    duration = Duration.parse(text)

    assert duration.seconds == seconds
    assert Duration.parse(str(duration)) == duration


def test_the_json_schema_knows_every_section() -> None:
    found = json.dumps(json_schema())

    for key in ("environments", "approval", "systemd", "kubectl", "on_failure", "out_of_order"):
        assert key in found


def test_one_unit_or_several_can_be_named() -> None:
    assert SystemdRestart(unit="a.service").units == ("a.service",)
    assert SystemdRestart(unit=("a.service", "b.service")).units == ("a.service", "b.service")
