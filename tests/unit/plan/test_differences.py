"""How two plans differ, in words."""

from typing import Any

import pytest

from pgwindlass.model import Loss, Partial, PlannedStep, Sources, StepName, Target
from pgwindlass.plan.differences import differences
from tests.unit.examples import A, B, correction, migration, plan, steps

pytestmark = pytest.mark.unit


def test_equal_plans_differ_in_nothing() -> None:
    assert differences(plan(), plan()) == ()


@pytest.mark.parametrize(
    ("field", "before", "now", "words"),
    [
        ("environment", "uat", "dev", "another environment: uat then, dev now"),
        ("direction", "up", "down", "another direction: up then, down now"),
        ("engine", "sql", "prisma", "another engine: sql then, prisma now"),
        ("engine_version", "1", "2", "another engine version: 1 then, 2 now"),
        (
            "steps",
            steps("lock"),
            (*steps("lock"), PlannedStep(name=StepName.SMOKE, required=False)),
            "other steps: lock then, lock, smoke? now",
        ),
        ("history", (), ((A, "x"),), f"{A} appeared in the history"),
        ("history", ((A, "x"),), (), f"{A} disappeared from the history"),
        ("history", ((A, "x"),), ((A, "y"),), f"{A}: checksum changed in the history"),
        ("migrations", (), (migration(),), f"{A} is new among the migrations"),
        ("migrations", (migration(),), (), f"{A} is no longer among the migrations"),
        ("migrations", (migration(),), (migration(sql="select 2"),), f"{A} was edited"),
        (
            "migrations",
            (migration(),),
            (migration(rollback=None),),
            f"{A} has another rollback script",
        ),
        (
            "migrations",
            (migration(),),
            (migration(verify="select true"),),
            f"{A} has another verify script",
        ),
        ("migrations", (migration(),), (migration(phase="after"),), f"{A} runs in another phase"),
        (
            "losses",
            (),
            (Loss(migration=A, what="table t with 5 rows"),),
            "what it would not bring back is something else now",
        ),
        ("policy", (), (("lock", "{}"),), "deploy.yml: lock changed"),
        ("variables", (("A", "1"),), (("A", "2"),), "the variable A has another value"),
        ("variables", (), (("A", "2"),), "the variable A has another value"),
        (
            "sources",
            Sources(commit="c0ffee" * 3),
            Sources(),
            "another commit: c0ffeec0ffee then, no checkout now",
        ),
        ("sources", Sources(), Sources(changed=("a",)), "a is not as in the commit"),
        ("sources", Sources(changed=("a",)), Sources(), "a is as in the commit now"),
        ("sources", Sources(), Sources(files=(("r.sh", "1"),)), "the file r.sh is new"),
        ("sources", Sources(files=(("r.sh", "1"),)), Sources(), "the file r.sh is gone"),
        (
            "sources",
            Sources(files=(("r.sh", "1"),)),
            Sources(files=(("r.sh", "2"),)),
            "the file r.sh was edited",
        ),
        ("policy", (("lock", "{}"),), (), "deploy.yml: lock changed"),
        ("policy", (("lock", "{}"),), (("lock", "1"),), "deploy.yml: lock changed"),
        (
            "partials",
            (),
            (Partial(name=A, direction="up", statements_done=1, statements=2),),
            "a migration was run, or undone, in part since",
        ),
        (
            "schema_fingerprint",
            "f1",
            "f2",
            "the schema of the database was changed by somebody else",
        ),
        ("tier", "acceptance", "production", "the plan was written in another form"),
    ],
)
def test_a_difference_is_said_in_words(field: str, before: Any, now: Any, words: str) -> None:
    assert differences(plan(**{field: before}), plan(**{field: now})) == (words,)


def test_another_database_is_told_whole_with_its_address() -> None:
    near = Target(system_identifier="7", database="d", server_version=1, address="a:5432/d")
    far = Target(system_identifier="7", database="d", server_version=1)

    (words,) = differences(plan(target=near), plan(target=far))

    assert words == (
        "another database: d at a:5432/d, system 7, PostgreSQL 1 then, "
        "d at an address not known, system 7, PostgreSQL 1 now"
    )


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 57 + "…")])
def test_a_text_of_sixty_characters_is_shown_whole(length: int, shown: str) -> None:
    (words,) = differences(plan(engine="sql"), plan(engine="x" * length))

    assert words == f"another engine: sql then, {shown} now"


def test_what_the_schema_gained_and_lost_is_told_in_order() -> None:
    before = plan(schema=("table a", "table b", "table e"))
    now = plan(schema_fingerprint="f2", schema=("table d", "table b", "table c"))

    assert differences(before, now) == (
        "the schema gained table c",
        "the schema gained table d",
        "the schema lost table a",
        "the schema lost table e",
    )


def test_lines_of_the_schema_alone_are_no_difference() -> None:
    assert differences(plan(schema=("table a",)), plan(schema=("table b",))) == ()


def test_history_and_migrations_stay_apart_by_name() -> None:
    before = plan(history=((A, "x"), (B, "y")), migrations=(migration(A), migration(B)))
    now = plan(
        history=((A, "x"), (B, "z")),
        migrations=(migration(A, sql="edited", rollback="edited"), migration(B)),
    )

    assert differences(before, now) == (
        f"{B}: checksum changed in the history",
        f"{A} was edited",
        f"{A} has another rollback script",
    )


def test_settings_are_told_by_name() -> None:
    before = plan(policy=(("a", "1"), ("b", "1"), ("c", "1")))
    now = plan(policy=(("b", "2"), ("c", "1"), ("d", "1")))

    assert differences(before, now) == (
        "deploy.yml: a changed",
        "deploy.yml: b changed",
        "deploy.yml: d changed",
    )


def test_what_a_correction_would_do_otherwise_is_told() -> None:
    before = plan(correction=correction("one", "two"))

    assert differences(before, plan(correction=correction("two", "three"))) == (
        "planned, and not done now: one",
        "not planned, would be done now: three",
    )
    assert differences(before, plan()) == ("a deployment is no correction",)
    assert differences(plan(), before) == ("a deployment is no correction",)
    other = plan(correction=correction("one", "two", verb="repair", arguments=(("release", ""),)))
    assert differences(before, other) == (
        "invoke stamp --env '' --name=a '--reason=by hand' then, "
        "invoke repair --env '' --release now",
    )
