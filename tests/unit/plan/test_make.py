"""From what is on disk and what is in the database to a plan."""

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.model import Partial, Sources, StepName
from pgwindlass.plan.make import make_plan, marks_of
from pgwindlass.policy import steps_for_correction
from tests.unit.examples import (
    NOW,
    TARGET,
    A,
    B,
    applied,
    changed,
    correction,
    facts,
    migration,
    settings,
)

pytestmark = pytest.mark.unit

PARTIAL = Partial(name=B, direction="up", statements_done=1, statements=3)
ENGINE = ("prisma", "6.19")


def test_a_plan_holds_the_settings_the_facts_and_the_migrations() -> None:
    found = facts(
        history=(applied(B), applied(A)),
        partials=(PARTIAL,),
        leftovers=("invalid index i",),
        schema=("table t",),
    )

    made = make_plan(settings("uat"), found, (migration(B),), engine=ENGINE)

    assert (made.project, made.environment, made.tier) == ("shop", "uat", "acceptance")
    assert (made.engine, made.engine_version, made.direction) == ("prisma", "6.19", "up")
    assert made.target == changed(TARGET, address="embedded")
    assert made.history == ((A, "sha256:select 1;"), (B, "sha256:select 1;"))
    assert (made.schema_fingerprint, made.schema) == ("f1", ("table t",))
    assert made.partials == (PARTIAL,)
    assert made.leftovers == ("invalid index i",)
    assert made.migrations == (migration(B),)
    assert made.about is None


def test_its_steps_are_those_of_the_policy_for_its_direction() -> None:
    names = [step.name for step in make_plan(settings(), facts(), (), engine=ENGINE).steps]
    down = make_plan(settings(), facts(), (), engine=ENGINE, direction="down")
    bare = make_plan(settings(), facts(), (), engine=ENGINE, without=frozenset({StepName.RESTART}))

    assert StepName.LINT in names
    assert StepName.LINT not in [step.name for step in down.steps]
    assert down.direction == "down"
    assert [step.name for step in bare.steps] == [n for n in names if n is not StepName.RESTART]


def test_its_policy_is_every_deciding_setting_as_written() -> None:
    given = settings(
        "dev",
        shared={"backups": None, "migrations": {"search_path": ["b", "a"], "engine": "sql"}},
        restart=None,
        smoke=None,
        approval=None,
        signing=None,
        database="${DATABASE_URL:-postgresql://u@h/d}",
    )

    made = make_plan(given, facts(), (), engine=ENGINE)

    assert made.policy == (
        ("migrations", '{"engine": "sql", "search_path": ["b", "a"]}'),
        ("on_failure", '"stop"'),
        ("project", '"shop"'),
        ("tier", '"development"'),
    )


def test_where_a_database_is_reached_decides_nothing() -> None:
    one = make_plan(settings(database="postgresql://a@h/d"), facts(), (), engine=ENGINE)
    other = make_plan(settings(database="postgresql://b@h/d"), facts(), (), engine=ENGINE)

    assert one.digest == other.digest


def test_what_an_environment_says_of_a_failure_is_kept() -> None:
    made = make_plan(settings(on_failure="rollback"), facts(), (), engine=ENGINE)

    assert dict(made.policy)["on_failure"] == '"rollback"'


def test_the_time_of_an_applied_migration_is_not_in_the_plan() -> None:
    one = make_plan(settings(), facts(history=(applied(at=NOW),)), (), engine=ENGINE)
    other = make_plan(settings(), facts(history=(applied(at=None),)), (), engine=ENGINE)

    assert one.digest == other.digest


def test_a_variable_s_mark_changes_with_its_value_and_a_secret_s_does_not() -> None:
    def marks(**variables: str) -> dict[str, str]:
        given = settings(
            restart={"with": "docker", "container": "${BOX:-api}", "host": "${API_TOKEN}"},
            shared={"backups": {"to": "file:///b", "endpoint": "${ENDPOINT:-}"}},
            database="${WHERE:-embedded}",
            variables={"API_TOKEN": "t0ken-t0ken", **variables},
        )
        return dict(make_plan(given, facts(), (), engine=ENGINE).variables)

    assert marks()["API_TOKEN"] == "secret"
    assert set(marks()) == {"API_TOKEN", "BOX"}
    assert marks() == marks(BOX="api") == marks(API_TOKEN="another", ENDPOINT="x", WHERE="embedded")
    assert marks()["BOX"] != marks(BOX="other")["BOX"]
    assert marks()["BOX"].startswith("scrypt:")


def test_the_commit_and_the_files_decide() -> None:
    none = make_plan(settings(), facts(), (), engine=ENGINE)
    some = make_plan(settings(), facts(), (), engine=ENGINE, sources=Sources(commit="c0ffee"))

    assert some.sources.commit == "c0ffee"
    assert none.digest != some.digest


def test_a_server_of_several_names_is_one_target() -> None:
    def address(at: str) -> str:
        found = facts(target=changed(TARGET, address=at))
        given = settings(
            database="postgresql://h/d", addresses=["DB.internal/d", "10.0.0.1:6432/d"]
        )
        return make_plan(given, found, (), engine=ENGINE).target.address

    assert address("db.internal:5432/d") == address("10.0.0.1:6432/d") == "db.internal:5432/d"
    with pytest.raises(ConfigError) as caught:
        address("copy.internal:5432/d")
    assert caught.value.next_step == (
        "check the database's URL; or add the address, if it is the same server"
    )
    assert address("") == ""  # not reached at all
    assert "the database is reached at copy.internal:5432/d, which is none of them" in str(
        caught.value
    )


def test_the_embedded_database_has_no_address_of_its_own() -> None:
    found = facts(target=changed(TARGET, address="/tmp/x:5432/postgres"))

    assert make_plan(settings(), found, (), engine=ENGINE).target.address == "embedded"


def test_a_server_without_names_keeps_the_address_it_is_reached_at() -> None:
    target = changed(TARGET, address="db:5432/d")
    given = settings(database="postgresql://h/d")

    assert make_plan(given, facts(target=target), (), engine=ENGINE).target == target


def test_another_address_is_refused_with_the_line_of_the_addresses() -> None:
    given = settings(database="postgresql://h/d", addresses=["db/d"], lines={("addresses",): 9})

    with pytest.raises(ConfigError) as caught:
        make_plan(given, facts(target=changed(TARGET, address="x:1/d")), (), engine=ENGINE)

    assert caught.value.place is not None and caught.value.place.line == 9


def test_a_plan_of_a_correction_has_its_steps_and_says_what_it_is() -> None:
    order = correction()

    corrected = make_plan(settings("production"), facts(), (), engine=ENGINE, correction=order)

    assert corrected.correction == order
    assert corrected.steps == steps_for_correction(settings("production"))
    assert corrected.steps != make_plan(settings("production"), facts(), (), engine=ENGINE).steps


def test_a_mark_is_of_the_project_and_the_environment_too() -> None:
    """The same value in two environments has two marks: nothing shows that they share it."""

    smoke = {"base_url": "http://${A}", "checks": [{"get": "/"}]}

    def mark(name: str, **shared: str) -> str:
        given = settings(name, variables={"A": "x"}, smoke=smoke, shared=shared or None)
        return dict(marks_of(given))["A"]

    assert len({mark("uat"), mark("dev"), mark("uat", project="blog")}) == 3


def test_what_decides_of_backups_is_marked_and_where_they_are_reached_is_not() -> None:
    shared = {"backups": {"to": "s3://${BUCKET}", "endpoint": "https://${HOST}"}}
    given = settings(variables={"BUCKET": "b", "HOST": "h"}, shared=shared)

    assert [name for name, _ in marks_of(given)] == ["BUCKET"]
