"""Statements that change or lock every row, and which run functions."""

from pathlib import Path

import pytest

from pgwindlass.lint.rows import every_row, hidden, is_on, runs, whole_tables
from pgwindlass.parser.split import Statement, split
from tests.unit.lint.rewriting import HEAD, catalog_of

pytestmark = pytest.mark.unit

CATALOG = catalog_of(f"{HEAD} create table p (id int primary key, o_id int, name text);")


def statement(sql: str) -> Statement:
    (only,) = split(Path("x.sql"), sql)
    return only


def said(sql: str) -> list[str]:
    return [remark.message for remark in every_row(statement(sql), CATALOG)]


CHANGES = ["may change every row of o in one transaction: do it in batches"]
LOCKS = ["may lock every row of o in one transaction: do it in batches"]


@pytest.mark.parametrize(
    "sql",
    [
        "update o set a = 1",
        "delete from o where true",
        "delete from o where not false",
        "update o set a = 1 where 1 = 1",
        "update o set a = 1 where id = id",
        "update o set a = 1 where coalesce(a, 0) >= coalesce(a, 0)",
        "update o set a = 1 where id is not null",
        "update o set a = 1 where b is null or b is not null",
        "update o set a = 1 where b = 'x' or c is not null",
        "update o set b = p.name from p where p.o_id = o.id",
        "update o set b = p.name from p where p.o_id = o.id and true",
        "delete from o using p where p.o_id = o.id",
        "delete from o where id in (select id from o)",
        "delete from o x where x.id in (select o.id from o)",
        "with g as (delete from o returning id) select * from g",
        "explain (analyze, verbose) delete from o",
        "merge into o using p on o.id = p.o_id when matched then delete",
        "insert into o (id, c) select id, 1 from p on conflict (id) do update set a = 1",
    ],
)
def test_every_row_is_changed(sql: str) -> None:
    assert said(sql) == CHANGES


@pytest.mark.parametrize(
    "sql",
    [
        "select id from o for update",
        "select id from o for no key update",
        "select id from o for share",
        "with x as (select o.id from o for update) select * from x",
    ],
)
def test_every_row_is_locked(sql: str) -> None:
    assert said(sql) == LOCKS


@pytest.mark.parametrize(
    "sql",
    [
        "update o set a = 1 where a = 2",
        "update o set a = 1 where false",
        "update o set a = 1 where a <> a",
        "update o set a = 1 where b is null",
        "update o set a = 1 where b is null or a is not null",
        "update o set a = 1 where a between a and 5",
        "update o set b = p.name from p where p.o_id = o.id and o.a = 1",
        "delete from o where id in (select id from o where a = 1)",
        "delete from o where id in (select id from o limit 5)",
        "delete from o where id in (select a from o)",
        "delete from o where id in (select o_id from p)",
        "delete from o where id in (select id from o group by id)",
        "delete from o where id = any ('{1}')",
        "explain delete from o",
        "explain (analyze false) delete from o",
        "merge into o using p on o.id = p.o_id when not matched then insert (id, c) values (1, 1)",
        "merge into o using p on o.id = p.o_id when matched and o.a = 1 then delete",
        "merge into o using (values (1)) v (id) on o.id = v.id when matched then delete",
        "insert into o (id, c) select id, 1 from p on conflict (id) do nothing",
        "insert into o (id) select id from p where id = 1 on conflict (id) do update set a = 1",
        "insert into o (id, c) values (1, 1) on conflict (id) do update set a = 1",
        "insert into o (id, c) select id, 1 from p",
        "select id from o where id = 1 for update",
        "select id from o limit 1 for update",
        "select id from o for key share",
        "select id from o",
        "select * from gone for update",
    ],
)
def test_some_rows_or_none(sql: str) -> None:
    assert said(sql) == []


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("full", True),
        ("full true", True),
        ("full on", True),
        ("full 1", True),
        ("full 0", False),
        ("full off", False),
        ("full FALSE", False),
    ],
)
def test_an_option_is_on(option: str, expected: bool) -> None:
    node = statement(f"vacuum ({option}) o").node

    assert is_on(node.options[0].def_elem) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1", True),
        ("explain select 1", False),
        ("explain analyze select 1", True),
        ("explain (analyze off) select 1", False),
        ("create view v as select 1", False),
        ("create table v as select 1", True),
    ],
)
def test_what_is_carried_out_now(sql: str, expected: bool) -> None:
    assert runs(statement(sql).kind, statement(sql).node) is expected


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("select * from o, p", ["o", "p"]),
        ("select * from o where a = 1", []),
        ("select * from o limit 1", []),
        ("select * from (select 1) x", []),
    ],
)
def test_the_tables_that_a_query_reads_whole(sql: str, tables: list[str]) -> None:
    assert [str(table.relname) for table in whole_tables(statement(sql).node)] == tables


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("do $$ begin end $$", "what a DO block does is not in its text"),
        ("call p()", "what a procedure does is not in its CALL"),
        ("execute p", "what a prepared statement does is not in its EXECUTE"),
        ("select mine()", "what the function mine does is not in its call"),
        ("explain analyze select mine()", "what the function mine does is not in its call"),
        ("explain select mine()", ""),
        ("update o set a = mine()", ""),
        ("create view v as select mine()", ""),
        ("select 1", ""),
    ],
)
def test_what_a_text_does_not_show(sql: str, expected: str) -> None:
    assert hidden(statement(sql), CATALOG) == expected
