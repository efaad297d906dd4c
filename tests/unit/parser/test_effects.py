"""What a script does to tables, columns and values, as far as its text shows."""

from pathlib import Path

import pytest

from pgwindlass.parser.effects import Effect, effects_of
from pgwindlass.parser.file import parse

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop table app.users, b", [("drops", "app.users", ""), ("drops", "b", "")]),
        ("drop view v", []),
        ("drop type t cascade", [("hides", "", "")]),
        ("drop type t", []),
        ("drop owned by a", [("hides", "", "")]),
        ("alter table t add column a int, drop b", [("adds", "t", "a"), ("drops", "t", "b")]),
        ("alter table t rename column a to b", []),
        ("alter type mood add value 'x'", []),
        ("truncate a, s.b", [("deletes", "a", ""), ("deletes", "s.b", "")]),
        ("create table t (i int)", [("adds", "t", "")]),
        ("create table t as select 1", [("adds", "t", "")]),
        ("select 1 into t", [("adds", "t", "")]),
        ("select pg_sleep(0), now()", []),
        ("select f(1)", [("hides", "", "")]),
        ("do $$ begin end $$", [("hides", "", "")]),
        ("call p()", [("hides", "", "")]),
        ("insert into t values (1)", [("inserts", "t", "")]),
        ("copy t from '/x'", [("inserts", "t", "")]),
        (
            "insert into t values (1) on conflict (a) do update set b = 1",
            [("inserts", "t", ""), ("changes", "t", "b")],
        ),
        ("update t set b = 1, a = 2", [("changes", "t", "a"), ("changes", "t", "b")]),
        ("delete from t where true", [("deletes", "t", "")]),
        (
            "merge into t using s on t.a = s.a when matched then delete",
            [("deletes", "t", ""), ("changes", "t", "")],
        ),
        (
            "with x as (delete from q returning 1) insert into z select * from x",
            [("inserts", "z", ""), ("deletes", "q", "")],
        ),
        (
            "with x as (update q set a = 1 returning 1) select * from x",
            [("changes", "q", "a")],
        ),
        (
            "with x as (merge into q using s on true when matched then delete returning 1) "
            "select * from x",
            [("deletes", "q", ""), ("changes", "q", "")],
        ),
        ("select 'delete'", []),
        ("create index on t (a)", []),
    ],
)
def test_what_a_statement_does(text: str, expected: list[tuple[str, str, str]]) -> None:
    found = effects_of(parse(Path("a.sql"), f"{text};").statements)

    assert [(one.does, one.table, one.column) for one in found] == expected


@pytest.mark.parametrize(
    ("what", "becomes", "using"),
    [
        ("bigint", "int8", "text"),
        ("text using a", "text", "text"),
        ("varchar(2) using a::text", "varchar", "text"),
        ("mood using a::text::mood", "mood", "cast"),
        ("varchar(2) using a::varchar(2)", "varchar", ""),
        ("text using lower(a)", "text", ""),
    ],
)
def test_a_changed_type_says_how_its_values_are_converted(
    what: str, becomes: str, using: str
) -> None:
    (found,) = effects_of(parse(Path("a.sql"), f"alter table t alter a type {what};").statements)

    assert (found.does, found.becomes, found.using) == ("retypes", becomes, using)


def test_what_may_be_there_already_is_optional() -> None:
    text = "create table if not exists t (i int); alter table t add column if not exists a int;"

    assert effects_of(parse(Path("a.sql"), text).statements) == (
        Effect(does="adds", table="t", optional=True),
        Effect(does="adds", table="t", column="a", optional=True),
    )
