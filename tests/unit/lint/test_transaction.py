"""What a file's statements do together: locks kept while others work, tables locked at once."""

from pathlib import Path

import pytest

from pgwindlass.lint.catalog import NOTHING, Catalog
from pgwindlass.lint.forward import steps
from pgwindlass.lint.transaction import Held, transaction_remarks
from pgwindlass.parser.file import SqlFile, parse
from tests.unit.examples import told

pytestmark = pytest.mark.unit

TRIGGER = "create trigger tr before insert"
CALLS = "for each row execute function f()"
OFF = "-- windlass: transaction=off\n"


def file(text: str) -> SqlFile:
    return parse(Path("a.sql"), text)


def said(text: str, catalog: Catalog = NOTHING) -> list[tuple[str, ...]]:
    """Return what is found of each statement of a text, a statement on each line."""
    held, results = Held(), []
    for step in steps([file(text)], catalog):
        remarks = transaction_remarks(step, held, ())
        results += told(
            r for r in remarks if not (r.works and all(map(step.before.is_made, r.works)))
        )
        held = held.after(step)
    return results


def rules(text: str) -> list[str]:
    return [rule for _, rule, _, _ in said(text)]


WORK = "update u set a = 1 where b = 2"


@pytest.mark.parametrize(
    "locking",
    [
        "alter table t add column x int",
        "alter table t rename to v",
        "alter table t rename column a to b",
        f"{TRIGGER} on t {CALLS}",
        "drop table t",
    ],
)
@pytest.mark.parametrize(
    "working",
    [
        WORK,
        "delete from u",
        "insert into u select * from v",
        "create index i on u (a)",
        "merge into u using v on u.a = v.a when matched then delete",
    ],
)
def test_work_behind_a_lock_is_found(locking: str, working: str) -> None:
    assert said(f"select 1;\n{locking};\n{working};") == [
        (
            "warning",
            "work-under-lock",
            "works in a transaction that holds the lock of line 2 until its end: give it a "
            "migration of its own",
            "",
        )
    ]


def test_the_first_of_several_tables_is_the_one_whose_lock_is_named() -> None:
    found = said(f"select 1;\ndrop table t;\ndrop table v;\n{WORK};")

    assert [(rule, "line 2 " in message) for _, rule, message, _ in found] == [
        ("several-tables", False),
        ("work-under-lock", True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        WORK,
        f"{OFF}alter table t add column x int;\n{WORK}",
        f"alter table t validate constraint c;\n{WORK}",
        f"alter table t alter a set statistics 7;\n{WORK}",
        f"alter table t set (fillfactor = 70);\n{WORK}",
        f"alter table t reset (fillfactor);\n{WORK}",
        f"alter table t cluster on i;\n{WORK}",
        f"alter table t set without cluster;\n{WORK}",
        f"alter table t alter a set (n_distinct = 5);\n{WORK}",
        f"alter table t alter a reset (n_distinct);\n{WORK}",
        f"create table t (a int);\nalter table t add column x int;\n{WORK}",
        f"create table t (a int);\ndrop table t;\n{WORK}",
        "alter table t add column x int;\ncreate table n (a int);\ninsert into n select 1",
        "alter table t add column x int;\ninsert into u values (1), (2)",
        "alter table t add column x int;\nselect 1",
        f"alter type m rename to n;\n{WORK}",
        f"drop view v;\n{WORK}",
    ],
)
def test_work_that_holds_nobody_up_is_silent(text: str) -> None:
    assert rules(f"{text};") == []


def test_attaching_a_partition_takes_a_weak_lock() -> None:
    text = f"create table q (a int);\nalter table p attach partition q for values in (1);\n{WORK};"

    assert rules(text) == []


def test_one_strong_command_among_weak_ones_is_strong() -> None:
    text = f"alter table t validate constraint c, add column x int;\n{WORK};"

    assert rules(text) == ["work-under-lock", "work-under-lock"]  # VALIDATE is work itself


@pytest.mark.parametrize(
    ("second", "names"),
    [
        ("alter table u add column x int", "u"),
        (f"{TRIGGER} on u {CALLS}", "u"),
        ("drop table v, t, s.u", "u, v"),
        ("alter table u rename to v", "u"),
    ],
)
def test_a_second_table_that_is_locked_is_found(second: str, names: str) -> None:
    assert said(f"alter table t add column x int;\n{second};") == [
        (
            "warning",
            "several-tables",
            f"locks {names} while t stays locked: a migration for each",
            "",
        )
    ]


def test_all_tables_that_stay_locked_are_named() -> None:
    found = said("drop table t, s;\nalter table u add column x int;")

    assert [message for _, _, message, _ in found] == [
        "locks u while s, t stays locked: a migration for each"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "alter table t add column a int;\nalter table t add column b int",
        "alter table t add column a int;\ncreate table u (a int);\nalter table u add column b int",
        "alter table t add column a int;\ndrop view u",
        f"{OFF}alter table t add column a int;\nalter table u add column a int",
    ],
)
def test_one_table_that_is_locked_is_silent(text: str) -> None:
    assert rules(f"{text};") == []


def test_a_partition_of_a_table_that_stands_locks_it() -> None:
    assert said("create table q partition of p for values in (1);") == [
        (
            "warning",
            "partition-of",
            "locks p against everybody: CREATE TABLE … LIKE, then ATTACH PARTITION",
            "",
        )
    ]


def test_a_partition_of_a_new_table_is_silent() -> None:
    text = "create table p (a int) partition by list (a);\ncreate table q partition of p default;"

    assert rules(text) == []


@pytest.mark.parametrize(
    "table",
    [
        "create table n (id int references o, j int references m (k))",
        "create table n (id int, foreign key (id) references o, foreign key (id) references m)",
        "create table n (id int references o references o, foreign key (id) references m)",
    ],
)
def test_a_table_that_is_referred_to_is_locked_against_writers(table: str) -> None:
    assert said(f"{table};") == [
        (
            "note",
            "references-locks",
            f"keeps writers out of {name} until the end of the transaction",
            "",
        )
        for name in ("m", "o")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "create table n (id int primary key references n)",
        "create table if not exists n (id int primary key references n)",
        "create table o (id int primary key);\ncreate table n (id int references o)",
        "create table n (id int unique check (id > 0))",
    ],
)
def test_a_table_that_refers_to_none_that_stands_is_silent(text: str) -> None:
    assert rules(f"{text};") == []


def test_a_lock_behind_rows_that_stay_locked_is_found() -> None:
    assert said(f"select 1;\n{WORK};\nalter table t add column x int;") == [
        (
            "warning",
            "lock-after-work",
            "waits for the lock of t while the rows that line 2 changed stay locked: give it a "
            "migration of its own",
            "",
        )
    ]
    assert rules(f"create table u (a int);\n{WORK};\nalter table t add column x int;") == []


@pytest.mark.parametrize(
    "text",
    [
        "alter table t add check (a > 0) not valid;\nalter table t validate constraint t_a_check",
        "alter table t add column x int;\ncreate table n as select * from t",
        "alter table t add column x int;\nrefresh materialized view m",
        "drop trigger tr on t;\ndelete from t where a < 5",
        "create policy p on t using (true);\nupdate u set a = 1 where b = 2",
        "alter table t add column x int;\nwith w as (delete from u returning *) select 1 from w",
    ],
)
def test_work_of_every_kind_behind_a_lock_is_found(text: str) -> None:
    assert rules(f"{text};") == ["work-under-lock"]


def test_a_table_of_the_same_deployment_is_held_by_nobody() -> None:
    live = Catalog(live=True)

    assert said(f"create table u (a int);\nalter table u add column x int;\n{WORK};", live) == []


def test_other_alterations_attach_nothing() -> None:
    assert rules("alter table p add column a int, drop column b;") == []


def test_a_new_value_of_an_enum_is_not_used_in_its_transaction() -> None:
    text = "select 1;\nalter type m add value 'x';\nupdate t set a = 'x' where b = 'y';"

    assert said(text) == [
        (
            "error",
            "enum-used-at-once",
            "uses 'x' in the transaction that adds it (line 2), which the server refuses: a "
            "migration of its own",
            "",
        )
    ]


@pytest.mark.parametrize(("major", "refused"), [(16, True), (17, False), (18, False), (0, False)])
def test_a_value_of_an_enum_of_the_same_transaction_is_used_since_17(
    major: int, refused: bool
) -> None:
    text = (
        "create type size as enum ('s');\nalter type size add value 'm';\n"
        "create table shirts (id int, size size default 'm');"
    )

    found = said(text, Catalog(live=True, major=major))

    assert [rule for _, rule, *_ in found] == ["enum-used-at-once"] * refused


def test_each_new_value_that_is_used_is_said() -> None:
    text = "alter type m add value 'y';\nalter type m add value 'x';\nselect 'z', 'y', 'x';"

    found = said(text)

    assert [message[:8] for _, _, message, _ in found] == ["uses 'x'", "uses 'y'"]
    assert ["(line 2)" in found[0][2], "(line 1)" in found[1][2]] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        "select 'x';\nalter type m add value 'x'",
        "alter type m add value 'x';\nalter type m add value 'y' before 'x'",
        "alter type m rename value 'w' to 'x';\nselect 'x'",
        "alter type m add value 'x';\nselect 'y'",
        f"{OFF}alter type m add value 'x';\nselect 'x'",
    ],
)
def test_an_old_value_may_be_used(text: str) -> None:
    assert rules(f"{text};") == []
