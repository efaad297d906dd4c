"""What a parsed statement is: each question with statements that answer it either way."""

from pathlib import Path

import pytest

from pgwindlass.parser import tree
from pgwindlass.parser.split import Statement, split

pytestmark = pytest.mark.unit

PATH = Path("a.sql")


def statement(text: str) -> Statement:
    (only,) = split(PATH, text)
    return only


@pytest.mark.parametrize(
    ("text", "subtypes"),
    [
        ("alter table t add column a int, drop column b", ["AT_AddColumn", "AT_DropColumn"]),
        ("alter table t validate constraint c", ["AT_ValidateConstraint"]),
    ],
)
def test_the_commands_of_an_alter_table(text: str, subtypes: list[str]) -> None:
    assert [tree.subtype(cmd) for cmd in tree.commands(statement(text).node)] == subtypes


@pytest.mark.parametrize(
    ("text", "concurrent", "autocommit"),
    [
        ("create index concurrently i on t (a)", True, True),
        ("create index i on t (a)", False, False),
        ("drop index concurrently i", True, True),
        ("drop index i", False, False),
        ("reindex (verbose, concurrently) index i", True, True),
        ("reindex table concurrently t", True, True),
        ("reindex index i", False, False),
        ("reindex table t", False, False),
        ("reindex (verbose) schema s", False, True),
        ("reindex database d", False, True),
        ("alter table t detach partition p concurrently", True, True),
        ("alter table t detach partition p", False, False),
        ("alter table t add column a int, validate constraint c", False, False),
        ("alter system set work_mem = '1MB'", False, True),
        ("create database d", False, True),
        ("drop database d", False, True),
        ("create tablespace s location '/x'", False, True),
        ("drop tablespace s", False, True),
        ("create subscription s connection '' publication p", False, True),
        ("drop subscription s", False, True),
        ("vacuum t", False, True),
        ("analyze t", False, False),
        ("cluster", False, True),
        ("cluster t using i", False, False),
        ("select 1", False, False),
    ],
)
def test_what_the_server_refuses_in_a_transaction(
    text: str, concurrent: bool, autocommit: bool
) -> None:
    found = statement(text)

    assert tree.is_concurrent(found.kind, found.node) is concurrent
    assert tree.is_autocommit(found.kind, found.node) is autocommit


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("set search_path = a", True),
        ("show work_mem", True),
        ("comment on table t is 'x'", True),
        ("vacuum t", True),
        ("analyze t", True),
        ("drop table if exists t", True),
        ("drop table t", False),
        ("alter table t validate constraint c", True),
        ("alter table t add column if not exists a int", True),
        ("alter table t drop column if exists a", True),
        ("alter table t validate constraint c, drop column a", False),
        ("alter table t add column a int", False),
        ("create table if not exists t (a int)", True),
        ("create table t (a int)", False),
        ("create index if not exists i on t (a)", True),
        ("create schema if not exists s", True),
        ("insert into t values (1)", False),
        ("select 1", False),
    ],
)
def test_what_may_stand_done_although_one_behind_it_failed(text: str, harmless: bool) -> None:
    found = statement(text)

    assert tree.is_harmless(found.kind, found.node) is harmless


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("set lock_timeout = '1s'", "lock_timeout"),
        ("set local statement_timeout = 0", "statement_timeout"),
        (
            "set idle_in_transaction_session_timeout = 0",
            "idle_in_transaction_session_timeout",
        ),
        ("reset transaction_timeout", "transaction_timeout"),
        ("set standard_conforming_strings = off", "standard_conforming_strings"),
        ("set search_path = a", ""),
        ("reset search_path", ""),
        ("reset all", "every setting"),
        ("discard all", "every setting"),
        ("discard plans", "every setting"),
        ("select set_config('lock_timeout', '0', false)", "lock_timeout"),
        ("select Pg_Catalog.SET_CONFIG('Lock_Timeout', '0', false)", "lock_timeout"),
        ("select lower('x'), set_config('lock_timeout', '0', true)", "lock_timeout"),
        ("select set_config('search_path', 'a', false)", ""),
        ("select set_config(name, '0', false) from t", ""),
        ("select 'set_config', lower('lock_timeout')", ""),
        ("select set_config()", ""),
        ("select 1", ""),
    ],
)
def test_a_setting_of_the_runners_is_found(text: str, setting: str) -> None:
    found = statement(text)

    assert tree.owned_setting(found.kind, found.node, found.sql) == setting


@pytest.mark.parametrize(
    ("text", "session", "role"),
    [
        ("set search_path = a", True, False),
        ("set local search_path = a", False, False),
        ("set role joe", True, True),
        ("set local role joe", False, True),
        ("set session authorization joe", True, True),
        ("reset role", True, True),
        ("select 1", False, False),
    ],
)
def test_what_a_setting_outlives_and_whose_it_is(text: str, session: bool, role: bool) -> None:
    found = statement(text)

    assert tree.sets_the_session(found.kind, found.node) is session
    assert tree.sets_the_role(found.kind, found.node) is role


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select * from s.a join b using (x), (select 1 from c) d", {"a", "b", "c"}),
        ("alter table s.a add foreign key (x) references s.o", {"a", "o"}),
        ("insert into a select * from b", {"a", "b"}),
        ("create index i on s.a (x)", {"a"}),
        ("drop table a, s.b", {"a", "b"}),
        ("drop view v", {"v"}),
        ("drop materialized view m", {"m"}),
        ("drop foreign table f", {"f"}),
        ("drop index i", set()),
        ("drop function f()", set()),
        ("select 1", set()),
    ],
)
def test_the_tables_that_a_statement_names(text: str, names: set[str]) -> None:
    found = statement(text)

    assert tree.tables(found.kind, found.node) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [("drop table a, s.b", {"a", "b"}), ("drop view v", set()), ("drop index i", set())],
)
def test_the_tables_that_a_statement_drops(text: str, names: set[str]) -> None:
    assert tree.dropped_tables(statement(text).node) == names


def test_the_functions_that_a_statement_calls_in_their_order() -> None:
    found = statement("select b(a(1)), s.c() from t where d(x)")

    assert sorted(tree.functions(found.node)) == ["a", "b", "c", "d"]
    assert tree.functions(statement("select 1").node) == ()


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("begin", "BEGIN"),
        ("begin isolation level serializable", "BEGIN"),
        ("start transaction", "BEGIN"),
        ("commit", "COMMIT"),
        ("end", "COMMIT"),
        ("commit and chain", ""),
        ("rollback", ""),
        ("savepoint a", ""),
        ("select 1", ""),
    ],
)
def test_a_plain_transaction_command(text: str, command: str) -> None:
    found = statement(text)

    assert tree.transaction(found.kind, found.node) == command


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("begin", ""),
        ("begin isolation level serializable", "ISOLATION LEVEL SERIALIZABLE"),
        ("start transaction read only, deferrable", "READ ONLY, DEFERRABLE"),
        ("begin transaction isolation level repeatable read", "ISOLATION LEVEL REPEATABLE READ"),
    ],
)
def test_the_modes_that_a_begin_asks_for(text: str, modes: str) -> None:
    assert tree.modes(statement(text).node) == modes


@pytest.mark.parametrize("name", ["bigint", "varchar(5)", "numeric(8, 2)[]", "app.mood", "uuid"])
def test_a_type_as_sql(name: str) -> None:
    (cmd,) = tree.commands(statement(f"alter table t alter a type {name}").node)

    assert tree.type_name(getattr(cmd, "def").column_def.type_name) == name
