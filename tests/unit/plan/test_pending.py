"""Which migrations run, and why none may."""

from typing import Any

import pytest

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.errors import Refused
from pgwindlass.model import Failed, Migration, Partial
from pgwindlass.plan.pending import in_running_order, order_problems, pending
from tests.unit.examples import NOW, A, B, C, Words, applied, facts, migration, settings

pytestmark = pytest.mark.unit

ALEMBIC = {"migrations": {"engine": "alembic"}}
THREE = (migration(A), migration(B), migration(C))
# a1 ─ b2 (head)
#    └ c3 (head)
FORK = (
    migration("a1", after=()),
    migration("b2", after=("a1",)),
    migration("c3", after=("a1",)),
)


def names(migrations: tuple[Migration, ...]) -> list[str]:
    return [migration.name for migration in migrations]


def run(*arguments: Any, **more: Any) -> tuple[Migration, ...]:
    return pending(*arguments, names=Words(), **more)


def refusal(*arguments: Any, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        run(*arguments, **more)
    return caught.value


def partial(name: str, direction: str) -> Partial:
    return Partial(name=name, direction=direction, statements_done=1, statements=3)  # type: ignore[arg-type]  # a test's word


def test_what_is_not_applied_runs_in_order() -> None:
    found = run(settings(), THREE, facts(history=(applied(A),)))

    assert names(found) == [B, C]


def test_what_was_cut_off_goes_on() -> None:
    state = facts(history=(applied(A),), partials=(partial(B, "up"),))

    assert names(run(settings(), THREE, state)) == [B, C]


@pytest.mark.parametrize(
    ("to", "steps", "expected"),
    [
        (B, None, [A, B]),
        ("heads", None, [A, B, C]),
        (None, 1, [A]),
        (None, 2, [A, B]),
        (B, 1, [A]),
        (A, 2, [A]),
    ],
)
def test_a_run_ends_where_it_is_told_to(
    to: str | None, steps: int | None, expected: list[str]
) -> None:
    assert names(run(settings(), THREE, facts(), to=to, steps=steps)) == expected


def test_a_name_that_is_already_applied_leaves_nothing_to_run() -> None:
    assert run(settings(), THREE, facts(history=(applied(A),)), to=A) == ()


def test_an_unknown_name_is_refused() -> None:
    error = refusal(settings(), THREE, facts(), to="20260899")

    assert error.what == 'there is no migration "20260899"'
    assert error.next_step == "invoke status --env uat lists them"


def test_an_edited_migration_is_refused() -> None:
    state = facts(history=(applied(A, "before"), applied(B)))

    error = refusal(settings(), THREE, state)

    assert error.what == f"{A} is applied and was edited after it was applied"
    assert error.next_step == (
        "bring the file back as it was (git log), and write a new migration for the new change; "
        f"where the edit changes nothing: invoke repair --env uat --name {A}"
    )


def test_several_edited_migrations_are_counted() -> None:
    state = facts(history=(applied(A, "x"), applied(B, "x"), applied(C, "x")))

    assert refusal(settings(), THREE, state).what == (
        f"{A} is applied and was edited after it was applied (and 2 more)"
    )


def test_two_edited_migrations_are_the_first_and_one_more() -> None:
    state = facts(history=(applied(A, "x"), applied(B, "x")))

    assert refusal(settings(), THREE, state).what.endswith("(and 1 more)")


def test_an_applied_migration_without_a_file_is_refused() -> None:
    error = refusal(settings(), (), facts(history=(applied(A),)))

    assert error.what == f"no file of {A}"
    assert error.next_step == (
        "bring the file back as it was (git log): this database was migrated from a commit that "
        "has it"
    )


def test_several_applied_migrations_without_a_file_are_counted() -> None:
    error = refusal(settings(), (), facts(history=(applied(A), applied(B))))

    assert error.what == f"no file of {A} (and 1 more)"


def test_what_only_a_person_can_resolve_is_refused() -> None:
    failed = Failed(name=B, started_at=NOW, said="ERROR")

    error = refusal(settings(), THREE, facts(failed=(failed,)))

    assert error.what == f"failed: {B}"
    assert f"invoke unstamp --env uat --name {B}" in error.next_step
    assert f"invoke stamp --env uat --name {B}" in error.next_step


def test_a_half_undone_migration_is_refused() -> None:
    state = facts(history=(applied(A),), partials=(partial(B, "up"), partial(A, "down")))

    error = refusal(settings(), THREE, state)

    assert error.what == f"{A} is half undone: statement 1 of 3 done"
    assert error.next_step == f"finish it: invoke rollback --env uat --name {A}"


def test_names_that_differ_in_case_alone_are_refused() -> None:
    error = refusal(settings(), (migration("AbC"),), facts(history=(applied("aBc"),)))

    assert error.what == ("aBc and AbC differ in case alone: one is on disk, the other applied")
    assert error.next_step == "name the file as the history has it"


def test_names_that_differ_in_a_letter_are_two() -> None:
    two = (migration("strasse"), migration("straße"))

    assert run(settings(), two, facts()) == two


@pytest.mark.parametrize(
    ("environment", "out_of_order", "refused"),
    [
        ("dev", "refuse", False),
        ("uat", "refuse", True),
        ("uat", "allow", False),
        ("production", "refuse", True),
        ("production", "allow", False),
    ],
)
def test_a_migration_older_than_the_newest_applied_one_is_refused_above_development(
    environment: str, out_of_order: str, refused: bool
) -> None:
    given = settings(environment, shared={"migrations": {"out_of_order": out_of_order}})
    state = facts(history=(applied(B),))

    if not refused:
        assert names(run(given, THREE, state)) == [A, C]
        return
    error = refusal(given, THREE, state)
    assert error.what == f"{A} is older than the newest applied migration"
    assert error.next_step == "give it a new timestamp, or set migrations.out_of_order: allow"


@pytest.mark.parametrize("environment", ["uat", "production"])
def test_a_migration_without_a_rollback_script_is_refused_above_development(
    environment: str,
) -> None:
    given = settings(environment)

    error = refusal(given, (migration(A), migration(B, rollback=None)), facts())

    assert error.what == (f"{B} has no rollback script, which the {given.tier} tier asks for")
    assert error.next_step == (
        f"write the rollback of {B}; where nothing can undo it, say so in a comment at the head of "
        "its file: windlass: irreversible REASON"
    )


def test_what_is_declared_irreversible_needs_no_rollback_script() -> None:
    declared = migration(B, rollback=None, irreversible="an enum loses no value")

    assert names(run(settings("production"), (migration(A), declared), facts())) == [A, B]


def test_a_migration_without_a_rollback_script_runs_in_development() -> None:
    assert names(run(settings("dev"), (migration(A, rollback=None),), facts())) == [A]


def test_only_what_runs_needs_a_rollback_script() -> None:
    bare = (migration(A, rollback=None), migration(B))

    assert names(run(settings(), bare, facts(history=(applied(A),)))) == [B]


def test_several_heads_are_refused_where_none_is_named() -> None:
    error = refusal(settings(shared=ALEMBIC), FORK, facts())

    assert error.what == "Multiple head revisions are present: b2, c3"
    assert error.next_step == (
        "merge them: invoke create --merge --name merge_heads; or go to one of them: invoke "
        "migrate --env uat --to b2, or to all: --to heads; where they are meant to stay apart: "
        "migrations: {several_heads: allow}"
    )


def test_one_head_needs_no_name() -> None:
    assert run(settings(shared=ALEMBIC), FORK[:2], facts()) == FORK[:2]


@pytest.mark.parametrize(
    ("to", "expected"), [("b2", ["a1", "b2"]), ("c3", ["a1", "c3"]), ("heads", ["a1", "b2", "c3"])]
)
def test_one_head_or_all_may_be_named(to: str, expected: list[str]) -> None:
    assert names(run(settings(shared=ALEMBIC), FORK, facts(), to=to)) == expected


def test_several_heads_may_be_meant() -> None:
    given = settings(shared={"migrations": {"engine": "alembic", "several_heads": "allow"}})

    assert names(run(given, FORK, facts())) == ["a1", "b2", "c3"]


def test_what_is_of_after_the_restart_runs_last_and_the_others_stay_in_order() -> None:
    late = (migration(A, phase="after"), migration(B), migration(C))

    assert in_running_order(late) == (late[1], late[2], late[0])
    assert in_running_order(THREE) == THREE


def test_migrations_that_fit_their_base_have_no_problem() -> None:
    config = MigrationsConfig()

    assert order_problems(THREE[:2], THREE, config) == ()
    assert order_problems((), THREE[:1], config) == ()
    assert order_problems((), (), config) == ()


def test_what_the_base_has_and_the_change_has_not_is_a_problem() -> None:
    assert order_problems(THREE[:2], THREE[1:], MigrationsConfig()) == (
        f"{A} is in the base and missing here: bring it back, or merge the base first",
    )


def test_an_edited_file_of_the_base_is_a_problem() -> None:
    here = (migration(A, sql="edited"), migration(B))

    assert order_problems(THREE[:2], here, MigrationsConfig()) == (
        f"{A} was edited: it may have run already; write a new migration instead",
    )


def test_a_new_migration_older_than_the_newest_of_the_base_is_a_problem() -> None:
    base = (THREE[0], THREE[2])

    assert order_problems(base, THREE, MigrationsConfig()) == (
        f"{B} is older than {C}, the base's newest: give it a later timestamp",
    )
    assert order_problems(base, THREE, MigrationsConfig(out_of_order="allow")) == ()


def test_several_heads_after_a_merge_are_a_problem() -> None:
    config = MigrationsConfig(engine="alembic")

    assert order_problems(FORK[:2], FORK, config) == (
        "several heads: b2, c3: merge them (invoke create --merge --name NAME)",
    )
    allowed = MigrationsConfig(engine="alembic", several_heads="allow")
    assert order_problems(FORK[:2], FORK, allowed) == ()


def test_a_graph_has_no_order_by_name() -> None:
    base = (migration("f1", after=()),)
    here = (*base, migration("a2", after=("f1",)))

    assert order_problems(base, here, MigrationsConfig(engine="alembic")) == ()


def test_an_older_checkout_is_told_that_it_is_older() -> None:
    error = refusal(
        settings(), (migration(A),), facts(history=(applied(A), applied(B), applied(C)))
    )

    assert error.what == (
        "the database is ahead: it has 2 migrations that these files do not know "
        f"(the newest: {C}); this checkout is older than what is deployed"
    )
    assert error.state == "nothing was changed; every file here is applied"
    assert f"invoke rollback --env uat --to {A}" in error.next_step
