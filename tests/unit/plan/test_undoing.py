"""What a rollback of a set would lose of what stood before it."""

from dataclasses import replace
from pathlib import Path

import pytest

from pgwindlass.model import Loss, Rehearsed
from pgwindlass.parser.effects import effects_of
from pgwindlass.parser.file import parse
from pgwindlass.plan.undoing import SHOWN, Part, Undoing, Undone, loss_words, undoing, words
from tests.unit.examples import A, B, migration

pytestmark = pytest.mark.unit

ROWS = {"public.users": 1500, "app.users": 7, "public.empty": 0}
FILE = Path("a.sql")


def undone(
    up: str, down: str = "", name: str = A, rehearsed: Rehearsed | None = None, **more: str
) -> Undone:
    return Undone(
        migration=migration(name, up, **more),
        up=effects_of(parse(FILE, up).statements),
        down=effects_of(parse(FILE, down).statements),
        rehearsed=rehearsed,
        rows=ROWS,
        backup="b1",
    )


GREW = ("public.users: 1 rows more",)


def seen(name: str = A, **more: object) -> Rehearsed:
    given = {
        "name": name,
        "transactional": True,
        "seconds": 1.0,
        "statements": (),
        "growth": 0,
        "rolled_back": True,
    }
    return Rehearsed(**(given | more))  # type: ignore[arg-type]  # a test's words


def lost(*items: Undone) -> list[tuple[str, bool]]:
    return [(loss.what, loss.known) for loss in undoing(items).losses]


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        ("create table t (i int)", "drop table t", []),
        ("alter table public.users add a int", "alter table users drop a", []),
        ("drop table empty", "create table empty (i int)", []),
        ("drop table if exists nobody", "select 1", []),
        ("insert into users values (1)", "select 1", []),
        (
            "alter table public.users drop name",
            "alter table users add name text",
            [("column public.users.name, of 1,500 rows", True)],
        ),
        (
            "drop table users",
            "create table users (i int)",
            [("table public.users with 1,500 rows", True), ("table app.users with 7 rows", True)],
        ),
        ("truncate app.users", "select 1", [("rows of app.users (7 before)", False)]),
        ("update app.users set a = 1", "select 1", [("values of app.users.a (7 rows)", False)]),
        ("do $$ begin end $$", "select 1", [("what its text does not show", False)]),
        ("select 1", "call p()", [("what its text does not show", False)]),
        ("select 1", "drop table app.users", [("table app.users with 7 rows", True)]),
        # What is added and filled is the set's own; a column of the same name was not.
        ("alter table users add a int; update users set a = 1", "alter table users drop a", []),
        (
            "alter table app.users drop a; alter table app.users add a int",
            "alter table app.users drop a; alter table app.users add a text",
            [("column app.users.a, of 7 rows", True)],
        ),
        # IF NOT EXISTS may have found one.
        (
            "alter table app.users add column if not exists a int",
            "alter table app.users drop a",
            [("column app.users.a, of 7 rows", True)],
        ),
        (
            "create table if not exists app.users (i int)",
            "drop table app.users",
            [("table app.users with 7 rows", True)],
        ),
        ("create table if not exists new (i int)", "drop table new", []),
        # Types that keep every value, and others.
        ("alter table users alter a type text", "alter table users alter a type int4", []),
        (
            "alter table users alter a type text using a::text",
            "alter table users alter a type mood using a::mood",
            [],
        ),
        ("alter table users alter a type int8", "alter table users alter a type int4", []),
        (
            "alter table app.users alter a type int4",
            "alter table app.users alter a type int8",
            [("values of app.users.a (7 rows)", False)],
        ),
        (
            "alter table app.users alter a type text using left(a, 2)",
            "alter table app.users alter a type text",
            [("values of app.users.a (7 rows)", False)],
        ),
        (
            "alter table app.users alter a type text",
            "alter table app.users alter a type varchar(2) using left(a, 2)",
            [("values of app.users.a (7 rows)", False)],
        ),
    ],
)
def test_without_a_rehearsal_the_texts_and_the_rows_of_before_decide(
    up: str, down: str, expected: list[tuple[str, bool]]
) -> None:
    assert lost(undone(f"{up};", f"{down};")) == expected


def test_without_a_backup_nothing_is_known_to_be_empty() -> None:
    item = undone("drop table empty; delete from empty; update empty set a = 1;")
    unknown = Undone(migration=item.migration, up=item.up)

    assert lost(unknown) == [
        ("table empty", True),
        ("rows of empty", False),
        ("values of empty.a", False),
    ]


def test_what_one_of_a_set_adds_another_may_take_away() -> None:
    first = undone("alter table users add a int;", "alter table users drop a;")
    second = undone("update users set a = 1; drop table t;", "create table t (i int);", B)

    found = undoing([first, second])

    assert found.losses == ()
    assert found.goes == (Part(table="users", column="a"),)


@pytest.mark.parametrize(
    ("up", "rehearsed", "expected"),
    [
        ("drop table users", seen(), []),
        ("drop table users", seen(lost=("x",)), [("x", True)]),
        ("insert into users values (1)", seen(lost=GREW, more=GREW), []),
        (
            "update users set a = 1",
            seen(lost=GREW, more=GREW),
            [("public.users: 1 rows more", False)],
        ),
        (
            "delete from app.users",
            seen(rolled_back=False),
            [("rows of app.users (7 before)", False)],
        ),
    ],
)
def test_a_rehearsal_shows_what_a_text_cannot(
    up: str, rehearsed: Rehearsed, expected: list[tuple[str, bool]]
) -> None:
    assert lost(undone(f"{up};", rehearsed=rehearsed)) == expected


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        (1500, []),
        (1200, [("column public.users.name, of 1,500 rows (1,200 on the copy)", False)]),
    ],
)
def test_what_was_empty_on_the_copy_counts_while_the_table_is_the_same(
    then: int, expected: list[tuple[str, bool]]
) -> None:
    item = undone("alter table public.users drop name;", rehearsed=seen())

    assert lost(replace(item, rows_rehearsed={"public.users": then})) == expected
    assert lost(item) == []


def test_a_loss_that_a_rehearsal_saw_names_its_table() -> None:
    item = undone("drop table users;", rehearsed=seen(lost=("public.users.name with 3 values",)))

    (loss,) = undoing([item]).losses

    assert (loss.table, loss.backup) == ("public.users", "b1")
    assert undoing([replace(item, rows=None)]).losses[0].table == ""


def test_what_was_proven_together_is_not_known_apart() -> None:
    first = undone("create table a (i int);", rehearsed=seen(A, proven_with=(B,)))
    second = undone("create table b (i int);", "drop table b;", B, seen(B, proven_with=(A,)))

    assert lost(first, second) == []
    ((what, known),) = lost(first)
    assert f"the rollback of {A} was proven together with {B}" in what
    assert not known


def test_what_is_declared_irreversible_stops_whatever_the_policy_is() -> None:
    found = undoing([undone("select 1;", irreversible="an enum", rollback=None)])  # type: ignore[arg-type]  # no text

    assert found.irreversible == ((A, "an enum"),)
    assert found.stops("rollback") and found.stops("rollback-even-if-lossy")
    assert words(found) == f"{A} is irreversible: an enum"


def test_losses_stop_unless_the_environment_takes_them() -> None:
    found = Undoing(losses=(Loss(migration=A, what="x", known=False),))

    assert found.stops("rollback") and not found.stops("rollback-even-if-lossy")
    assert not Undoing().stops("rollback")
    assert found.known == ()


def test_a_loss_says_where_its_values_are() -> None:
    given = Loss(migration=A, what="table t with 5 rows", backup="b1")

    assert loss_words(given) == (
        f"undoing {A} does not bring back table t with 5 rows; backup b1 has them"
    )
    assert loss_words(Loss(migration=A, what="table t")).endswith("no backup is known to have it")
    assert loss_words(Loss(migration=A, what="x", known=False)) == (
        f"whether undoing {A} loses x is not known"
    )
    assert words(Undoing(losses=(given,) * 5)).endswith("; and 2 more")


def test_the_losses_of_each_migration_are_told_with_its_name_and_backup() -> None:
    first = undone("drop table app.users;", name=A)
    second = undone("truncate public.users;", name=B)

    assert undoing([first, second]).losses == (
        Loss(migration=A, what="table app.users with 7 rows", table="app.users", backup="b1"),
        Loss(
            migration=B,
            what="rows of public.users (1,500 before)",
            table="public.users",
            backup="b1",
            known=False,
        ),
    )


def test_a_column_that_is_added_is_no_whole_table() -> None:
    """What is added is the column alone: a later DROP of the table takes what stood before."""
    item = undone("alter table app.users add a int;", "drop table app.users;")

    assert lost(item) == [("table app.users with 7 rows", True)]
    assert undoing([item]).goes == ()


def test_two_columns_that_are_added_in_one_text_are_both_its_own() -> None:
    up = "alter table users add a int; alter table users add b int; update users set a = 1, b = 2;"

    assert lost(undone(up, "alter table users drop a, drop b;")) == []


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("create table if not exists app.users (i int)", [("table app.users with 7 rows", True)]),
        ("create table if not exists new (i int)", []),
    ],
)
def test_a_table_that_may_have_stood_before_is_not_the_sets_own(
    up: str, expected: list[tuple[str, bool]]
) -> None:
    table = "app.users" if "users" in up else "new"
    item = undone(f"{up}; update {table} set i = 1;", f"drop table {table};")

    assert [loss for loss in lost(item) if "values" not in loss[0]] == expected


def test_without_a_backup_a_table_that_is_only_perhaps_added_stood_before() -> None:
    item = undone("create table if not exists new (i int);", "drop table new;")

    assert lost(replace(item, rows=None)) == [("table new", True)]


def test_without_a_backup_a_column_is_told_without_a_number() -> None:
    item = undone("alter table app.users drop a;")

    assert lost(replace(item, rows=None)) == [("column app.users.a", True)]
    assert undoing([replace(item, rows=None)]).losses[0].table == "app.users"


def test_a_name_without_a_schema_means_a_table_of_any_schema() -> None:
    rows = {"app.users": 7, "app.more.users": 1, "users.other": 5}

    assert lost(replace(undone("drop table users;"), rows=rows))[0] == (
        "table app.users with 7 rows",
        True,
    )
    assert len(lost(replace(undone("drop table other;"), rows=rows))) == 1


@pytest.mark.parametrize("up", ["delete from app.users", "call p()", "update app.users set a = 1"])
def test_rows_more_after_a_rehearsal_may_be_changed_ones(up: str) -> None:
    item = undone(
        f"{up};", rehearsed=seen(lost=("app.users: 1 rows more",), more=("app.users: 1 rows more",))
    )

    assert lost(item) == [("app.users: 1 rows more", False)]


def test_what_was_proven_together_says_what_is_missing() -> None:
    item = undone("create table a (i int);", rehearsed=seen(A, proven_with=(B,)))

    assert undoing([item]).losses == (
        Loss(
            migration=A,
            what=f"anything: the rollback of {A} was proven together with {B}, which is not undone "
            "with it",
            backup="b1",
            known=False,
        ),
    )


def test_a_table_that_the_copy_did_not_have_had_no_rows_there() -> None:
    item = replace(undone("drop table app.users;", rehearsed=seen()), rows_rehearsed={})

    assert undoing([item]).losses == (
        Loss(
            migration=A,
            what="table app.users with 7 rows (0 on the copy)",
            table="app.users",
            backup="b1",
            known=False,
        ),
    )


@pytest.mark.parametrize(
    ("what", "table"),
    [
        ("public.users: 3 rows", "public.users"),
        ("public.users.name with 3 values", "public.users"),
        ("public.users", "public.users"),
        ("public.nobody: 3 rows", ""),
        ("the table public.users", ""),
    ],
)
def test_the_table_of_a_loss_is_the_first_word_of_a_rehearsal(what: str, table: str) -> None:
    (loss,) = undoing([undone("drop table users;", rehearsed=seen(lost=(what,)))]).losses

    assert loss.table == table


def test_a_change_of_another_column_keeps_nothing() -> None:
    """Only the change of the same column tells what its type was."""
    item = undone(
        "alter table app.users alter a type int4; alter table app.users alter b type text;",
        "alter table app.users alter b type int4 using b::int4;"
        "alter table app.users alter a type int8;",
    )

    assert lost(item) == [("values of app.users.a (7 rows)", False)]


def test_a_type_that_was_changed_alone_is_kept_where_it_is_a_text() -> None:
    assert lost(undone("alter table app.users alter a type text;")) == []
    assert lost(undone("select 1;", "alter table app.users alter a type text;")) == [
        ("values of app.users.a (7 rows)", False)
    ]


@pytest.mark.parametrize(("losses", "more"), [(SHOWN, ""), (SHOWN + 2, "; and 2 more")])
def test_the_first_reasons_are_told_and_the_others_counted(losses: int, more: str) -> None:
    given = Undoing(losses=tuple(Loss(migration=A, what=f"t{n}") for n in range(losses)))

    told = [loss_words(loss) for loss in given.losses[:SHOWN]]

    assert words(given) == "; ".join(told) + more
