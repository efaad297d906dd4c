"""What stands of a unit of work, in words: of what was read, and of nothing else."""

from typing import Any

import msgspec
import pytest

from pgwindlass.model import Intent, Partial, StepName
from pgwindlass.plan.standing import SHOWN, standing, taken_back

pytestmark = pytest.mark.unit

UP = Intent(
    verb="deploy",
    direction="up",
    migrations=("b", "c", "d"),
    steps=(StepName.MIGRATE,),
    before=("a",),
    schema_fingerprint="f",
    plan_digest="p",
)
DOWN = msgspec.structs.replace(UP, verb="rollback", direction="down", before=("a", "b", "c", "d"))


def half(name: str) -> tuple[Partial, ...]:
    return (Partial(name=name, direction="up", statements_done=1, statements=3),)


def of(intent: Intent, *names: str) -> Intent:
    return msgspec.structs.replace(intent, migrations=names)


@pytest.mark.parametrize(
    ("intent", "applied", "partials", "text"),
    [
        (of(UP), {"a"}, (), "no migration was to run"),
        (of(UP, "b"), {"a"}, (), "b does not stand"),
        (UP, {"a"}, (), "none of its 3 migrations stands"),
        (UP, {"a", "b"}, (), "1 of 3 migrations stand: b; not applied: c, d"),
        (
            UP,
            {"a", "b"},
            half("c"),
            "1 of 3 migrations stand: b; c: statement 1 of 3 done; not applied: d",
        ),
        (UP, {"a"}, half("b"), "none stands whole; b: statement 1 of 3 done; not applied: c, d"),
        (of(UP, "b"), {"a"}, half("b"), "none stands whole; b: statement 1 of 3 done"),
        (UP, {"a", "b", "c", "d"}, (), "all its migrations stand: b, c, d"),
        (UP, {"a", "b", "c", "d"}, half("z"), "all its migrations stand: b, c, d"),
        (UP, {"a", "b", "c"}, half("d"), "2 of 3 migrations stand: b, c; d: statement 1 of 3 done"),
        (DOWN, {"a", "b", "c", "d"}, (), "none of 3 migrations is undone; still applied: b, c, d"),
        (DOWN, {"a", "b"}, (), "undone: c, d; still applied: b"),
        (DOWN, {"a"}, (), "undone: b, c, d"),
        (DOWN, {"a"}, half("b"), "undone: c, d; b: statement 1 of 3 done"),
    ],
)
def test_what_stands_is_told(intent: Intent, applied: Any, partials: Any, text: str) -> None:
    assert standing(intent, applied, partials) == text


def test_of_many_names_the_first_are_told() -> None:
    names = tuple(f"m{n:02}" for n in range(SHOWN + 2))

    text = standing(of(UP, *names), set(names))

    assert text == f"all its migrations stand: {', '.join(names[:SHOWN])} and 2 more"


@pytest.mark.parametrize(
    ("applied", "partials", "fingerprint", "text"),
    [
        ({"a"}, (), "f", "rolled back: the schema is as it was before"),
        ({"a"}, (), "", "rolled back: the schema is as it was before"),
        (
            {"a"},
            (),
            "g",
            "rolled back: the history is as it was before, and the schema is not: the rollback "
            "scripts leave something else",
        ),
        ({"a", "b"}, (), "f", "rolled back in part; still applied: b"),
        ({"a"}, half("c"), "f", "rolled back in part; c: statement 1 of 3 done"),
        (
            {"a", "b"},
            half("c"),
            "f",
            "rolled back in part; still applied: b; c: statement 1 of 3 done",
        ),
        ({"b"}, (), "f", "rolled back in part; still applied: b"),
        (set(), half("z"), "f", "rolled back; applied before, and not now: a"),
    ],
)
def test_whether_all_is_as_it_was_is_told(
    applied: Any, partials: Any, fingerprint: str, text: str
) -> None:
    assert taken_back(UP, applied, partials, fingerprint) == text


def test_a_rollback_that_lost_values_does_not_say_that_all_is_as_before() -> None:
    assert taken_back(UP, {"a"}, (), "f", lossy=True) == (
        "rolled back: the definitions are those of before, and not every value is"
    )
