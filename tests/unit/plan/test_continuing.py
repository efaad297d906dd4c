"""What a run does with what another one left unfinished."""

from typing import Any

import msgspec
import pytest

from pgwindlass.errors import Refused
from pgwindlass.model import Intent, Loss, Outcome, Partial, Status, StepName, StepResult
from pgwindlass.plan.continuing import (
    CUT_OFF,
    UNFINISHED,
    Going,
    OpenUnit,
    as_approved,
    attempts,
    going,
    history_problem,
    left,
    remaining,
    to_undo_names,
    unfinished,
)
from tests.unit.examples import NOW, A, B, C, migration, plan

pytestmark = pytest.mark.unit

INTENT = Intent(
    verb="deploy",
    direction="up",
    migrations=(A, B),
    steps=(StepName.MIGRATE,),
    before=(),
    schema_fingerprint="f",
    plan_digest="p",
)
DOWN = msgspec.structs.replace(
    INTENT, verb="rollback", arguments=(("steps", "2"),), direction="down", before=(A, B)
)
BACK = msgspec.structs.replace(INTENT, back="smoke: GET /health: 500")
DEPLOY: tuple[str, tuple[tuple[str, str], ...]] = ("deploy", ())
MIGRATE = ("migrate", (("steps", "2"),))
ROLLBACK = ("rollback", (("steps", "2"),))
OTHER = ("rollback", (("name", A),))


def unit(intent: Intent, status: Status = Status.RUNNING) -> OpenUnit:
    return OpenUnit(id="01D", status=status, intent=intent, chain=("01D",), environment="uat")


@pytest.mark.parametrize(
    ("intent", "status", "command", "applied", "way"),
    [
        (INTENT, Status.RUNNING, DEPLOY, {A}, Going.ON),
        (INTENT, Status.FAILED, DEPLOY, {A}, Going.ON),
        (INTENT, Status.RUNNING, MIGRATE, {A}, Going.JOINED),
        (INTENT, Status.RUNNING, ROLLBACK, {A}, Going.FRESH),
        (DOWN, Status.RUNNING, ROLLBACK, {A}, Going.ON),
        (DOWN, Status.RUNNING, ROLLBACK, set(), Going.ON),
        (DOWN, Status.FAILED, ROLLBACK, {A}, Going.ON),
        (DOWN, Status.FAILED, DEPLOY, {A}, Going.FRESH),
        (DOWN, Status.FAILED, OTHER, {A}, Going.FRESH),
        (DOWN, Status.RUNNING, DEPLOY, {A, B}, Going.FRESH),  # nothing of it was undone
        (BACK, Status.RUNNING, DEPLOY, {A}, Going.BACK),
        (BACK, Status.INTERRUPTED, DEPLOY, {A}, Going.BACK),
        (BACK, Status.ROLLBACK_FAILED, DEPLOY, {A}, Going.JOINED),
        (BACK, Status.ROLLBACK_FAILED, MIGRATE, {A}, Going.JOINED),
        (BACK, Status.ROLLBACK_FAILED, ROLLBACK, {A}, Going.FRESH),
    ],
)
def test_a_command_goes_on_or_begins(
    intent: Intent, status: Status, command: Any, applied: Any, way: Going
) -> None:
    assert going(unit(intent, status), command[0], command[1], applied) is way


def test_where_nothing_is_unfinished_a_command_begins() -> None:
    assert going(None, DEPLOY[0], DEPLOY[1], ()) is Going.FRESH


@pytest.mark.parametrize(
    ("intent", "command", "applied", "what"),
    [
        (
            DOWN,
            DEPLOY,
            {A},
            f"deployment 01D (invoke rollback --env uat --steps 2) is not finished: it has still "
            f"to undo {A}",
        ),
        (
            DOWN,
            DEPLOY,
            (),
            "deployment 01D (invoke rollback --env uat --steps 2) is not finished: all its "
            "migrations are undone, and its later steps are left",
        ),
        (
            BACK,
            OTHER,
            {A, B},
            f"the rollback of deployment 01D (invoke deploy --env uat) is not finished: it has "
            f"still to undo {A}, {B}",
        ),
    ],
)
@pytest.mark.parametrize("status", sorted(CUT_OFF))
def test_the_other_direction_is_refused_while_one_is_half_done(
    intent: Intent, command: Any, applied: Any, what: str, status: Status
) -> None:
    with pytest.raises(Refused) as caught:
        going(unit(intent, status), command[0], command[1], applied)

    asked = msgspec.structs.replace(INTENT, verb=command[0], arguments=command[1])
    assert caught.value.what == what
    assert caught.value.state == "this command changed nothing"
    assert caught.value.next_step == (
        f"invoke resume --env uat finishes it; then {asked.command('uat')}"
    )


def test_what_is_left_depends_on_the_direction() -> None:
    assert left(INTENT, {A}) == (B,)
    assert left(DOWN, {A}) == (A,)
    assert to_undo_names(BACK, {B, C}) == (B,)


def test_what_is_half_done_is_left_in_both_directions() -> None:
    assert left(INTENT, {A, B}, {B}) == (B,)
    assert left(INTENT, {A, B}, {A}) == (A,)
    assert left(DOWN, {A}, {A}) == (A,)


def test_what_remains_of_a_unit_that_is_taken_back_is_what_is_to_undo() -> None:
    assert remaining(INTENT, {A}) == (B,)
    assert remaining(INTENT, {A, B}, {B}) == (B,)
    assert remaining(DOWN, {A}) == (A,)
    assert remaining(BACK, {B, C}) == (B,)
    assert remaining(BACK, {C}) == ()


@pytest.mark.parametrize("status", sorted(UNFINISHED))
def test_what_is_unfinished_names_the_command_that_goes_on(status: Status) -> None:
    text = unfinished(unit(INTENT, status), {A})

    how = {
        "running": "was killed",
        "interrupted": "was interrupted",
        "failed": "failed",
        "rollback failed": "failed, and so did its rollback",
    }[status]
    assert text == (
        f"deployment 01D {how}; the same command continues: invoke deploy --env uat, and so does "
        f"invoke resume --env uat; 1 of 2 migrations stand: {A}; not applied: {B}"
    )


def test_what_is_taken_back_names_no_command_that_goes_forward() -> None:
    assert unfinished(unit(BACK), ()) == (
        "deployment 01D was killed; it is taken back because of: smoke: GET /health: 500; "
        "invoke resume --env uat goes on with that; none of its 2 migrations stands"
    )


APPROVED = plan(
    history=((A, "sha256:a"),), schema_fingerprint="f", migrations=(migration(B), migration(C))
)
UNIT = APPROVED.migrations


def now(**more: Any) -> Any:
    return msgspec.structs.replace(APPROVED, **more)


def row(name: str) -> tuple[str, str | None]:
    return name, next((m.checksum for m in UNIT if m.name == name), None)


def test_what_the_unit_changed_itself_gives_the_approved_plan_again() -> None:
    current = now(history=((A, "sha256:a"), row(B)), schema_fingerprint="g", migrations=UNIT[1:])

    assert current.digest != APPROVED.digest
    assert as_approved(APPROVED, current, UNIT).digest == APPROVED.digest
    assert history_problem(APPROVED, current, UNIT) == ""


def test_an_edited_file_does_not_give_the_approved_plan() -> None:
    edited = (msgspec.structs.replace(UNIT[0], rollback="drop table other;"), UNIT[1])

    assert as_approved(APPROVED, now(), edited).digest != APPROVED.digest


SOMEBODY = "was applied, undone or corrected by somebody else since"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"schema_fingerprint": "g"}, "the schema was changed by somebody else since"),
        ({"history": ()}, f"{A} {SOMEBODY}"),
        ({"history": ((A, "sha256:z"),)}, f"{A} {SOMEBODY}"),
        ({"history": ((A, "sha256:a"), ("x", None))}, f"x {SOMEBODY}"),
        (
            {"partials": (Partial(name="x", direction="up", statements_done=1, statements=2),)},
            f"x {SOMEBODY}",
        ),
        (
            {
                "partials": (Partial(name=B, direction="up", statements_done=1, statements=2),),
                "schema_fingerprint": "g",
            },
            "",
        ),
    ],
)
def test_what_others_changed_is_told(changes: Any, text: str) -> None:
    assert history_problem(APPROVED, now(**changes), UNIT) == text


def test_a_rollback_that_was_approved_takes_rows_away() -> None:
    down = now(direction="down", history=(row(B), row(C)))
    half = msgspec.structs.replace(down, history=(row(B),), schema_fingerprint="g")

    assert history_problem(down, half, UNIT) == ""
    assert history_problem(half, down, UNIT) == f"{C} {SOMEBODY}"


def result(step: StepName, *, undo: bool = False, **evidence: str) -> StepResult:
    return StepResult(
        step=step,
        outcome=Outcome.OK,
        detail="",
        started_at=NOW,
        seconds=0.0,
        undo=undo,
        evidence=tuple(evidence.items()),
    )


def test_each_step_is_taken_back_once_the_last_one_first_to_what_served_at_first() -> None:
    killed = result(StepName.RESTART)
    first = result(StepName.RESTART, version_before="1")
    later = result(StepName.RESTART, version_before="2")
    migrate, undone = result(StepName.MIGRATE), result(StepName.SMOKE, undo=True)

    assert attempts((migrate, killed, first, migrate, later, undone)) == (first, migrate)


def test_what_is_half_done_is_told_of_an_unfinished_unit() -> None:
    half = (Partial(name=B, direction="up", statements_done=1, statements=3),)

    assert f"{B}: statement 1 of 3 done" in unfinished(unit(INTENT), {A}, half)


def test_what_the_unit_itself_changed_is_as_it_was_approved() -> None:
    half = (Partial(name=C, direction="up", statements_done=1, statements=3),)
    lost = (Loss(migration=C, what="a column"),)
    approved = plan(partials=half, leftovers=("an index",), losses=lost)

    again = as_approved(approved, plan(), approved.migrations)

    assert (again.partials, again.leftovers, again.losses) == (half, ("an index",), lost)
