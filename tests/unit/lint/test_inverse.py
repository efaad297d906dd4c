"""What undoes a statement."""

from pathlib import Path

import pytest

from pgwindlass.lint import inverse
from pgwindlass.parser.split import split
from tests.unit.lint.rewriting import catalog_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("create table t (a int)", ("DROP TABLE public.t",)),
        ("create table if not exists t (a int)", None),
        ("create table t as select 1", ("DROP TABLE public.t",)),
        ("create materialized view t as select 1", ("DROP MATERIALIZED VIEW public.t",)),
        ("create index on o (a)", ("DROP INDEX public.o_a_idx",)),
        ("create index concurrently i on o (a)", ("DROP INDEX CONCURRENTLY public.i",)),
        ("create index if not exists i on o (a)", None),
        (
            "create trigger t before insert on o for each row execute function f()",
            ("DROP TRIGGER t ON public.o",),
        ),
        ("create or replace trigger t before insert on o execute function f()", None),
        ("create view s.v as select 1", ("DROP VIEW s.v",)),
        ("create or replace view v as select 1", None),
        ("create sequence q", ("DROP SEQUENCE public.q",)),
        ("create sequence if not exists q", None),
        ("create type mood as enum ('a')", ("DROP TYPE public.mood",)),
        ("create type s.mood as enum ('a')", ("DROP TYPE s.mood",)),
        ("comment on table o is 'x'", ("SELECT 1",)),
        ("reindex table o", ("SELECT 1",)),
        ("alter table o validate constraint c", ("SELECT 1",)),
        (
            "alter table o add x int, alter a set not null, alter c drop not null",
            (
                "ALTER TABLE public.o ALTER COLUMN c SET NOT NULL",
                "ALTER TABLE public.o ALTER COLUMN a DROP NOT NULL",
                "ALTER TABLE public.o DROP COLUMN x",
            ),
        ),
        ("alter table o add if not exists x int", None),
        (
            "alter table o add constraint k check (a > 0)",
            ("ALTER TABLE public.o DROP CONSTRAINT k",),
        ),
        ("alter table o add check (a > 0)", None),
        ("alter table o add unique (a)", ("ALTER TABLE public.o DROP CONSTRAINT o_a_key",)),
        ("alter table o add unique using index i", None),
        ("alter table o add primary key (a)", ("ALTER TABLE public.o DROP CONSTRAINT o_pkey",)),
        (
            "alter table o add foreign key (a) references p",
            ("ALTER TABLE public.o DROP CONSTRAINT o_a_fkey",),
        ),
        ("alter table o add x int, drop a", None),
        ("update o set a = 1", None),
    ],
)
def test_what_undoes_a_statement(sql: str, expected: tuple[str, ...] | None) -> None:
    (statement,) = split(Path("x.sql"), sql)

    assert inverse.of(statement.kind, statement.node, catalog_of()) == expected
