"""`deploy.yml` is read strictly: every mistake is refused with file, line, path and repair."""

import json
from pathlib import Path
from typing import Any

import pytest

from pgwindlass.config import Config, json_schema, load
from pgwindlass.config.sections import MigrationsConfig, TerminalApproval
from pgwindlass.config.yamlfile import YamlFile
from pgwindlass.errors import ConfigError, Laxer, Place
from pgwindlass.model import StepName
from pgwindlass.policy import on_failure, steps_for

pytestmark = pytest.mark.unit

SHIPPED = Path(__file__).parents[3] / "deploy.yml"
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
        f"{path}:83: environments.production.steps.{step}: "
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


def test_the_json_schema_knows_every_section() -> None:
    found = json.dumps(json_schema())

    sections = ("environments", "approval", "systemd", "kubectl", "supervisor")
    for key in (*sections, "on_failure", "out_of_order"):
        assert key in found


LINES = {
    ("environments",): 2,
    ("environments", "uat"): 3,
    ("environments", "uat", "approval"): 5,
    ("environments", "uat", "approval", "expires"): 6,
    ("migrations",): 8,
    ("backups",): 9,
}


def config(environments: object = None, **top: object) -> Config:
    """Return a configuration of an environment uat, and what else a test gives."""
    uat = {"tier": "acceptance", "database": "${UAT_URL}", "approval": {"from": "terminal"}}
    given = {"project": "shop", "environments": environments or {"uat": uat}} | top
    return Config(YamlFile(Path("/srv/shop/deploy.yml"), given, LINES))  # type: ignore[arg-type]  # as a test gives it


def test_an_environment_is_what_is_written_and_what_all_share() -> None:
    given = config(backups={"to": "file:///b/${NAME}"})

    settings = given.environment("uat", {"UAT_URL": "postgresql://u@h/d", "NAME": "n"})

    assert settings.name == "uat"
    assert settings.root == Path("/srv/shop")
    assert settings.tier == "acceptance"
    assert settings.environment.database.reveal() == "postgresql://u@h/d"
    assert settings.shared.backups is not None
    assert settings.shared.backups.to == "file:///b/n"
    assert settings.where("approval", "expires") == Place("/srv/shop/deploy.yml", 6)
    assert settings.where("smoke", 0) == Place("/srv/shop/deploy.yml", 3)
    assert settings.written == {
        "shared": {"project": "shop", "backups": {"to": "file:///b/${NAME}"}},
        "environment": given.written("uat"),
    }


def test_what_is_written_of_an_environment_has_its_variables_unexpanded() -> None:
    assert config().written("uat")["database"] == "${UAT_URL}"
    assert config().written("other") == {}
    assert config({"uat": "no mapping"}).written("uat") == {}


@pytest.mark.parametrize("name", ["Uat", "1uat", "-uat", "u_at", "u" * 41, "u.at", "ü"])
def test_a_name_that_is_no_part_of_a_key_is_refused(name: str) -> None:
    given = config({name: {"tier": "development", "database": "embedded"}})

    with pytest.raises(ConfigError) as caught:
        given.environment(name, {})

    assert caught.value.what == (
        f"/srv/shop/deploy.yml:2: environments.{name}: an environment name has lower-case "
        "letters, digits and dashes, and starts with a letter"
    )
    assert caught.value.next_step == (
        "rename it; it becomes part of backup keys and GitHub's environment"
    )


@pytest.mark.parametrize("name", ["u", "u-1", "u" * 40])
def test_a_name_has_forty_characters_at_most(name: str) -> None:
    given = config({name: {"tier": "development", "database": "embedded"}})

    assert given.environment(name, {}).name == name


@pytest.mark.parametrize("data", [{}, {"environments": {}}, {"environments": []}, [], "text"])
def test_a_file_without_environments_is_refused(data: object) -> None:
    given = Config(YamlFile(Path("d.yml"), data, {}))  # type: ignore[arg-type]  # as a test gives it

    with pytest.raises(ConfigError) as caught:
        _ = given.names

    assert caught.value.what == (
        "d.yml:1: environments: missing or empty; expected a mapping of environments"
    )
    assert caught.value.next_step == (
        "write at least one environment; docs/configuration.md shows every key"
    )


def test_the_line_of_environments_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^/srv/shop/deploy\.yml:2: environments: missing"):
        config(["uat"]).require("uat")


def test_an_environment_that_is_not_there_is_refused_with_the_nearest() -> None:
    given = config({"uat": {}, "production": {}})

    given.require("uat")
    for ask in (given.require, given.approval, given.environment):
        with pytest.raises(ConfigError) as caught:
            ask("prodution")

        assert caught.value.what == (
            '"prodution" is not an environment of /srv/shop/deploy.yml; did you mean "production"?'
        )
        assert caught.value.next_step == "use one of: uat, production"


def test_the_migrations_alone_need_no_variable_of_another_section() -> None:
    given = config(migrations={"directory": "${DIR}"}, backups={"to": "${BUCKET}"})

    assert given.migrations({"DIR": "db"}) == MigrationsConfig(directory="db")
    assert config().migrations({}) == MigrationsConfig()


def test_a_mistake_in_the_migrations_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        config(migrations={"engin": "sql"}).migrations({})

    assert caught.value.what == (
        '/srv/shop/deploy.yml:8: migrations.engin: unknown key; did you mean "engine"?'
    )


@pytest.mark.parametrize(
    ("backups", "url"),
    [
        ({"to": "${BUCKET}", "throwaway": "postgresql://${HOST}/d"}, "postgresql://h/d"),
        ({"throwaway": "${MISSING}"}, None),
        ({"throwaway": ""}, None),
        ({"throwaway": ["a list"]}, None),
        ({"to": "file:///b"}, None),
        (None, None),
        ("no mapping", None),
    ],
)
def test_the_throwaway_server_alone_is_read_where_it_is_named(
    backups: object, url: str | None
) -> None:
    server = config(backups=backups).throwaway({"HOST": "h"})

    assert (server.reveal() if server else None) == url


def test_the_variables_that_an_environment_needs_are_those_without_a_default() -> None:
    environment = {"database": "${URL}", "smoke": ["${TOKEN}", "${URL}", "${A:-b}"]}
    given = config({"uat": environment}, backups={"to": "${BUCKET}"})

    assert given.variables("uat") == ("URL", "TOKEN")
    assert given.variables() == ("BUCKET",)


def test_the_approval_alone_needs_no_secret_of_its_environment() -> None:
    assert config().approval("uat", {}) == TerminalApproval()
    bare = config({"uat": {"tier": "acceptance", "smoke": "wrong"}})
    assert bare.approval("uat", {}) is None


def test_the_variables_of_an_approval_are_expanded() -> None:
    given = config(
        {"uat": {"tier": "acceptance", "approval": {"from": "terminal", "expires": "${TTL}"}}}
    )

    found = given.approval("uat", {"TTL": "5m"})

    assert found is not None
    assert str(found.expires) == "5m"
    with pytest.raises(ConfigError) as caught:
        given.approval("uat", {"TTL": "soon"})
    assert caught.value.what == (
        '/srv/shop/deploy.yml:6: environments.uat.approval.expires: "soon" is not a duration; '
        "expected one such as 500ms, 5s, 5m or 24h"
    )


@pytest.mark.parametrize("value", ["", 7])
def test_a_secret_is_a_text(value: object) -> None:
    given = config({"uat": {"tier": "acceptance", "database": value}})

    with pytest.raises(ConfigError) as caught:
        given.environment("uat", {})

    assert caught.value.what == (
        f"/srv/shop/deploy.yml:3: environments.uat.database: "
        f"expected text, got {type(value).__name__}"
    )


def test_what_is_wrong_with_what_all_share_is_told() -> None:
    given = config({"uat": {"tier": "acceptance", "database": "embedded"}}, backups={"too": "x"})

    for ask in (lambda: given.shared({}), lambda: given.environment("uat", {})):
        with pytest.raises(ConfigError, match=r"^/srv/shop/deploy.yml:9: backups.too: unknown key"):
            ask()


def test_the_schema_says_what_an_editor_needs() -> None:
    found = json_schema()

    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["title"] == "deploy.yml"
    assert found["$ref"] == "#/$defs/DeployFile"
    kinds = found["$defs"]
    duration = kinds["LockConfig"]["properties"]["wait"]
    assert duration["type"] == "string"
    assert duration["pattern"] == (
        r"^((\d+(?:\.\d+)?)(ms|s|m|h|d)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})$"
    )
    assert kinds["Environment"]["properties"]["database"] == {"type": "string"}


def test_a_file_that_is_no_mapping_shares_nothing() -> None:
    given = Config(YamlFile(Path("d.yml"), [], {}))

    with pytest.raises(ConfigError, match='the key "project" is missing'):
        given.shared({})


@pytest.mark.parametrize(
    ("backups", "setting"),
    [
        ({"sandbox": "off"}, "off"),
        ({"sandbox": "required"}, "required"),
        ({"sandbox": "auto"}, "auto"),
        ({"sandbox": "on"}, "auto"),
        ({"sandbox": ["off"]}, "auto"),
        ({}, "auto"),
        ("off", "auto"),
        (None, "auto"),
    ],
)
def test_the_sandbox_is_read_alone(backups: Any, setting: str) -> None:
    """A command that needs no other value of the section asks for none of its variables."""
    data: Any = {"project": "shop", "backups": backups, "environments": {}}

    assert Config(YamlFile(Path("deploy.yml"), data, {})).sandbox() == setting
