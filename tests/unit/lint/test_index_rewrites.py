"""What stands instead of a statement that builds or drops an index, word for word."""

import pytest

from pgwindlass.lint import index_rewrites
from pgwindlass.lint.rule import Rewriter, Script
from tests.unit.lint.rewriting import HEAD, rewritten, texts, undone

pytestmark = pytest.mark.unit

STANDS = f"""
{HEAD}
create index o_b on o (b);
create unique index o_u on o (a);
create table m (id int, day date) partition by range (day);
create table m_1 partition of m for values from ('2026-01-01') to ('2026-02-01');
create index m_day on m (day);
create materialized view v as select id from o;
create unique index v_id on v (id);
create materialized view w as select id from o;
"""


def test_an_index_is_built_concurrently() -> None:
    sql = "create unique index on o using btree (a, lower(b)) where a > 0"

    assert rewritten(index_rewrites.index, sql, STANDS) == (
        Script(
            "o_a_expr_idx",
            (
                "CREATE UNIQUE INDEX CONCURRENTLY o_a_expr_idx ON public.o USING btree "
                "(a, lower(b)) WHERE a > 0",
            ),
            ("DROP INDEX CONCURRENTLY public.o_a_expr_idx",),
            (
                "SELECT indisvalid FROM pg_catalog.pg_index "
                "WHERE indexrelid = 'public.o_a_expr_idx'::pg_catalog.regclass",
            ),
        ),
    )


def test_an_index_of_a_partitioned_table_is_built_partition_by_partition() -> None:
    scripts = rewritten(index_rewrites.index, "create index i on m (id)", STANDS)

    assert texts(scripts) == [
        "-- i",
        "CREATE INDEX i ON ONLY public.m USING btree (id)",
        "-- m_1_i",
        "CREATE INDEX CONCURRENTLY m_1_i ON public.m_1 USING btree (id)",
        "-- attach",
        "ALTER INDEX public.i ATTACH PARTITION public.m_1_i",
    ]
    assert undone(scripts) == [
        ("DROP INDEX IF EXISTS public.i",),
        ("SELECT 1",),
        ("DROP INDEX public.i",),
    ]


def test_an_index_is_dropped_concurrently_and_built_again_by_its_definition() -> None:
    (script,) = rewritten(index_rewrites.drop_index, "drop index if exists o_b", STANDS)

    assert script == Script(
        "drop_o_b",
        ("DROP INDEX CONCURRENTLY IF EXISTS public.o_b",),
        ("CREATE INDEX CONCURRENTLY o_b ON o USING btree (b)",),
        ("SELECT pg_catalog.to_regclass('public.o_b') IS NULL",),
    )


def test_an_index_that_is_not_known_is_dropped_for_good() -> None:
    (script,) = rewritten(index_rewrites.drop_index, "drop index s.gone", STANDS)

    assert script.sql == ("DROP INDEX CONCURRENTLY s.gone",)
    assert script.rollback is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("reindex index o_b", "REINDEX INDEX CONCURRENTLY o_b"),
        ("reindex (verbose) table o", "REINDEX (VERBOSE) TABLE CONCURRENTLY o"),
        ("reindex schema public", "REINDEX SCHEMA CONCURRENTLY public"),
        ('reindex index "TABLE x"', 'REINDEX INDEX CONCURRENTLY "TABLE x"'),
    ],
)
def test_a_reindex_has_the_word_where_13_takes_it(sql: str, expected: str) -> None:
    (script,) = rewritten(index_rewrites.reindex, sql, STANDS)

    assert script == Script("reindex", (expected,), ("SELECT 1",))


def test_a_unique_constraint_takes_an_index_over() -> None:
    sql = "alter table o add unique (a, k) include (b) deferrable initially deferred"
    scripts = rewritten(index_rewrites.by_index, sql, STANDS)

    assert texts(scripts) == [
        "-- build_o_a_k_key",
        "CREATE UNIQUE INDEX CONCURRENTLY o_a_k_key ON public.o (a, k) INCLUDE (b)",
        "-- add_o_a_k_key",
        "ALTER TABLE public.o ADD CONSTRAINT o_a_k_key UNIQUE USING INDEX o_a_k_key "
        "DEFERRABLE INITIALLY DEFERRED",
    ]
    assert undone(scripts) == [
        ("DROP INDEX CONCURRENTLY IF EXISTS public.o_a_k_key",),
        ("ALTER TABLE public.o DROP CONSTRAINT o_a_k_key",),
    ]


def test_a_primary_key_is_not_null_first() -> None:
    stands = "create table q (a int, b int not null);"

    assert texts(
        rewritten(index_rewrites.by_index, "alter table q add primary key (b)", stands)
    ) == [
        "-- build_q_pkey",
        "CREATE UNIQUE INDEX CONCURRENTLY q_pkey ON public.q (b)",
        "-- add_q_pkey",
        "ALTER TABLE public.q ADD CONSTRAINT q_pkey PRIMARY KEY USING INDEX q_pkey",
    ]
    named = rewritten(
        index_rewrites.by_index, "alter table q add constraint z primary key (a)", stands
    )
    assert [script.about for script in named] == [
        "add_q_a_not_null",
        "validate_q_a_not_null",
        "set_a_not_null",
        "build_z",
        "add_z",
    ]


def test_an_index_becomes_the_primary_key_behind_not_null() -> None:
    stands = "create table q (a int); create unique index q_u on q (a);"
    sql = "alter table q add constraint z primary key using index q_u"
    scripts = rewritten(index_rewrites.primary_key, sql, stands)

    assert texts(scripts)[-2:] == [
        "-- add_z",
        "ALTER TABLE q ADD CONSTRAINT z PRIMARY KEY USING INDEX q_u",
    ]
    assert undone(scripts)[-1] == (
        "ALTER TABLE public.q DROP CONSTRAINT z",
        "CREATE UNIQUE INDEX q_u ON q USING btree (a)",
    )
    assert len(scripts) == 4


def test_a_foreign_key_gets_its_index_first() -> None:
    sql = "alter table o add foreign key (k, a) references p not valid"

    assert rewritten(index_rewrites.referring_index, sql, STANDS) == (
        Script(
            "o_k_a_idx",
            ("CREATE INDEX CONCURRENTLY o_k_a_idx ON public.o (k, a)",),
            ("DROP INDEX CONCURRENTLY public.o_k_a_idx",),
            (
                "SELECT indisvalid FROM pg_catalog.pg_index "
                "WHERE indexrelid = 'public.o_k_a_idx'::pg_catalog.regclass",
            ),
        ),
    )


def test_a_view_with_a_unique_index_is_refreshed_concurrently() -> None:
    (script,) = rewritten(index_rewrites.refresh, "refresh materialized view v", STANDS)

    assert script == Script("refresh", ("REFRESH MATERIALIZED VIEW CONCURRENTLY v",), ("SELECT 1",))


@pytest.mark.parametrize(
    ("rewriter", "sql"),
    [
        (index_rewrites.drop_index, "drop index m_day"),
        (index_rewrites.by_index, "alter table m add unique (day)"),
        (index_rewrites.by_index, "alter table gone add unique (a)"),
        (index_rewrites.by_index, "alter table o add unique nulls not distinct (a)"),
        (index_rewrites.primary_key, "alter table o add primary key using index gone"),
        (index_rewrites.referring_index, "alter table m add foreign key (id) references o"),
        (index_rewrites.refresh, "refresh materialized view w"),
        (index_rewrites.refresh, "refresh materialized view gone"),
        (index_rewrites.refresh, "refresh materialized view v with no data"),
    ],
)
def test_what_has_no_other_text(rewriter: Rewriter, sql: str) -> None:
    assert rewritten(rewriter, sql, STANDS) == ()
