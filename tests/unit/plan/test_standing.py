"""What stands of a unit of work, in words: of what was read, and of nothing else."""

from typing import Any

import msgspec
import pytest

from pgwindlass.model import Facts, Intent, Partial, StepName, Target
from pgwindlass.plan.standing import SHOWN, standing, taken_back, unchanged

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


TARGET = Target(system_identifier="1", database="shop", server_version=160000)
LIVE = Facts(target=TARGET, history=(), schema_fingerprint="f")


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (
            LIVE,
            "the live database shop is unchanged: it has the history and the schema of before",
        ),
        (None, "whether the live database shop is as before is not known: it does not answer"),
        (
            msgspec.structs.replace(
                LIVE, target=msgspec.structs.replace(TARGET, system_identifier="2")
            ),
            "the name shop is another database's now",
        ),
        (
            msgspec.structs.replace(LIVE, schema_fingerprint="g"),
            "the live database shop has another schema now",
        ),
        (
            msgspec.structs.replace(LIVE, schema_fingerprint="g", partials=half("b")),
            "the live database shop has another history and another schema now",
        ),
    ],
)
def test_the_live_database_is_compared_with_what_was_read(now: Facts | None, text: str) -> None:
    assert unchanged(LIVE, now, "shop") == text


def test_what_was_not_read_before_is_not_spoken_of() -> None:
    assert unchanged(None, LIVE, "shop") == ""
