"""Parts of what to write instead."""

import pytest

from pgwindlass.lint import parts
from pgwindlass.lint.catalog import CatalogTable
from pgwindlass.lint.rule import Subject
from tests.unit.lint.rewriting import HEAD, subject_of

pytestmark = pytest.mark.unit


def named(sql: str, stands: str = HEAD) -> str:
    subject: Subject = subject_of(sql, stands)
    key, constraint = parts.constraint_of(subject)
    table: CatalogTable | None = subject.step.before.tables.get(key)
    return parts.constraint_name(key, table, constraint)


def test_a_name_is_no_longer_than_the_server_lets_it_be() -> None:
    assert parts.short("a" * 64) == "a" * 63
    assert parts.short("a" * 62 + "é") == "a" * 62
    assert parts.short("short") == "short"


def test_a_definition_becomes_a_build_that_blocks_nobody() -> None:
    assert parts.concurrently("CREATE UNIQUE INDEX i ON t (a)") == (
        "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)"
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("alter table o add constraint mine check (a > 0)", "mine"),
        ("alter table o add check (a > 0)", "o_check"),
        ("alter table o add unique (a, b)", "o_a_b_key"),
        ("alter table o add primary key (a)", "o_pkey1"),  # there is one already
        ("alter table o add foreign key (a, b) references p", "o_a_b_fkey"),
    ],
)
def test_a_constraint_has_the_name_that_the_server_gives(sql: str, expected: str) -> None:
    assert named(sql) == expected


def test_a_name_that_is_taken_by_an_index_gets_a_digit() -> None:
    assert named("alter table o add unique (a)", f"{HEAD} create index o_a_key on o (b);") == (
        "o_a_key1"
    )


def test_queries_of_a_relation() -> None:
    key = ("public", "It's")

    assert parts.regclass(key) == "'public.\"It''s\"'::pg_catalog.regclass"
    assert parts.about("RELATION NAME", ("s", "t"), "c") == "'s.t'::pg_catalog.regclass 'c'"
    assert parts.valid_index(("s", "i")) == (
        "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 's.i'::pg_catalog.regclass"
    )
    assert parts.is_partition(("s", "t")) == (
        "SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 's.t'::pg_catalog.regclass"
    )


def test_an_alter_table_with_other_commands() -> None:
    subject = subject_of("alter table only o add x int, add y int")

    assert parts.alter_with(subject, subject.cmd) == "ALTER TABLE ONLY o ADD COLUMN x int"
