"""From what is on disk and what is in the database to a plan."""

import pytest

from pgwindlass.model import Partial, StepName
from pgwindlass.plan.make import make_plan
from tests.unit.examples import NOW, TARGET, A, B, applied, facts, migration, settings

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
    assert made.target == TARGET
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
