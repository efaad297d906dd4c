"""What stands instead of a statement that reads every row, word for word."""

import pytest

from pgwindlass.lint import rewrites
from pgwindlass.lint.rule import Rewriter, Script
from tests.unit.lint.rewriting import HEAD, rewritten, texts, undone

pytestmark = pytest.mark.unit

PARTS = """
create table m (id int, day date) partition by range (day);
create table m_1 partition of m for values from ('2026-01-01') to ('2026-02-01');
create table raw (id int, day date);
create table k (id int, kind text) partition by list (kind);
create table k_rest partition of k default;
create table l (id int, kind text) partition by list (kind);
create table h (id int) partition by hash (id);
"""


def test_a_check_is_added_not_valid_and_validated_apart() -> None:
    scripts = rewritten(rewrites.not_valid, "alter table o add check (a > 0)")

    assert scripts == (
        Script(
            "add_o_check",
            ("ALTER TABLE public.o ADD CONSTRAINT o_check CHECK (a > 0) NOT VALID",),
            ("ALTER TABLE public.o DROP CONSTRAINT o_check",),
        ),
        Script(
            "validate_o_check",
            ("ALTER TABLE public.o VALIDATE CONSTRAINT o_check",),
            ("SELECT 1",),
            (
                "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = "
                "'public.o'::pg_catalog.regclass AND conname = 'o_check'",
            ),
        ),
    )


def test_a_foreign_key_keeps_its_words() -> None:
    sql = "alter table o add foreign key (a) references p (n) on delete cascade deferrable"

    assert texts(rewritten(rewrites.not_valid, sql)) == [
        "-- add_o_a_fkey",
        "ALTER TABLE public.o ADD CONSTRAINT o_a_fkey FOREIGN KEY (a) REFERENCES p (n) "
        "ON DELETE CASCADE DEFERRABLE NOT VALID",
        "-- validate_o_a_fkey",
        "ALTER TABLE public.o VALIDATE CONSTRAINT o_a_fkey",
    ]


@pytest.mark.parametrize(("major", "parts"), [(17, 0), (18, 2)])
def test_a_foreign_key_of_a_partitioned_table_is_not_valid_since_18(major: int, parts: int) -> None:
    sql = "alter table m add foreign key (id) references o"

    assert len(rewritten(rewrites.not_valid, sql, PARTS + HEAD, major)) == parts


def test_a_check_of_a_new_column_comes_behind_it() -> None:
    sql = "alter table o add column x int default 5 check (x > 0) constraint small check (x < 9)"
    scripts = rewritten(rewrites.column_check, sql)

    assert texts(scripts) == [
        "-- add_x",
        "ALTER TABLE o ADD COLUMN x int DEFAULT 5",
        "-- add_o_x_check",
        "ALTER TABLE public.o ADD CONSTRAINT o_x_check CHECK (x > 0) NOT VALID",
        "-- validate_o_x_check",
        "ALTER TABLE public.o VALIDATE CONSTRAINT o_x_check",
        "-- add_small",
        "ALTER TABLE public.o ADD CONSTRAINT small CHECK (x < 9) NOT VALID",
        "-- validate_small",
        "ALTER TABLE public.o VALIDATE CONSTRAINT small",
    ]
    assert undone(scripts)[0] == ("ALTER TABLE public.o DROP COLUMN x",)


@pytest.mark.parametrize(
    "sql",
    [
        "alter table o alter column a set not null",
        "alter table o add constraint n not null a",
    ],
)
def test_not_null_is_proven_by_a_check_that_goes(sql: str) -> None:
    scripts = rewritten(rewrites.not_null, sql, major=18)

    assert texts(scripts) == [
        "-- add_o_a_not_null",
        "ALTER TABLE public.o ADD CONSTRAINT o_a_not_null CHECK (a IS NOT NULL) NOT VALID",
        "-- validate_o_a_not_null",
        "ALTER TABLE public.o VALIDATE CONSTRAINT o_a_not_null",
        "-- set_a_not_null",
        "ALTER TABLE public.o ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE public.o DROP CONSTRAINT o_a_not_null",
    ]
    assert undone(scripts)[2] == (
        "ALTER TABLE public.o ALTER COLUMN a DROP NOT NULL",
        "ALTER TABLE public.o ADD CONSTRAINT o_a_not_null CHECK (a IS NOT NULL) NOT VALID",
    )
    assert scripts[2].verify == (
        "SELECT attnotnull FROM pg_catalog.pg_attribute "
        "WHERE attrelid = 'public.o'::pg_catalog.regclass AND attname = 'a'",
    )


def test_what_is_not_null_already_needs_nothing() -> None:
    assert rewritten(rewrites.not_null, "alter table o alter column c set not null") == ()


def test_a_not_null_that_is_not_valid_lacks_its_validate_alone() -> None:
    stands = f"{HEAD} alter table o add constraint half not null a not valid;"

    assert texts(
        rewritten(rewrites.not_null, "alter table o alter column a set not null", stands, 18)
    ) == ["-- validate_half", "ALTER TABLE public.o VALIDATE CONSTRAINT half"]


def test_a_partition_is_attached_behind_a_proof_of_its_bound() -> None:
    sql = "alter table m attach partition raw for values from ('2026-03-01') to ('2026-04-01')"
    scripts = rewritten(rewrites.attach, sql, PARTS)
    clause = (
        "ADD CONSTRAINT raw_bound CHECK (day IS NOT NULL AND day >= '2026-03-01' "
        "AND day < '2026-04-01') NOT VALID"
    )

    assert texts(scripts) == [
        "-- add_raw_bound",
        f"ALTER TABLE public.raw {clause}",
        "-- validate_raw_bound",
        "ALTER TABLE public.raw VALIDATE CONSTRAINT raw_bound",
        "-- attach_raw",
        "ALTER TABLE public.m ATTACH PARTITION public.raw "
        "FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
        "ALTER TABLE public.raw DROP CONSTRAINT raw_bound",
    ]
    assert undone(scripts)[2] == (
        "ALTER TABLE public.m DETACH PARTITION public.raw",
        f"ALTER TABLE public.raw {clause}",
    )
    assert scripts[2].verify == (
        "SELECT relispartition FROM pg_catalog.pg_class "
        "WHERE oid = 'public.raw'::pg_catalog.regclass",
    )


@pytest.mark.parametrize(
    ("bound", "condition"),
    [
        ("m attach partition raw for values from (minvalue) to ('2026-01-01')", "< '2026-01-01'"),
        ("m attach partition raw for values from ('2027-01-01') to (maxvalue)", ">= '2027-01-01'"),
        ("l attach partition raw for values in ('a', 'b')", "IN ('a', 'b')"),
    ],
)
def test_the_condition_of_a_bound(bound: str, condition: str) -> None:
    first = rewritten(rewrites.attach, f"alter table {bound}", PARTS)[0].sql[0]
    column = "kind" if bound.startswith("l") else "day"

    assert first == (
        "ALTER TABLE public.raw ADD CONSTRAINT raw_bound "
        f"CHECK ({column} IS NOT NULL AND {column} {condition}) NOT VALID"
    )


def test_a_new_partition_is_made_and_then_attached() -> None:
    sql = "create table m_2 partition of m for values from ('2026-02-01') to ('2026-03-01')"
    scripts = rewritten(rewrites.partition, sql, PARTS)

    assert texts(scripts) == [
        "-- create_m_2",
        "CREATE TABLE public.m_2 (LIKE public.m INCLUDING ALL)",
        "-- attach_m_2",
        "ALTER TABLE public.m ATTACH PARTITION public.m_2 "
        "FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    ]
    assert undone(scripts) == [
        ("DROP TABLE public.m_2",),
        ("ALTER TABLE public.m DETACH PARTITION public.m_2",),
    ]


def test_a_partition_is_detached_concurrently() -> None:
    (script,) = rewritten(rewrites.detach, "alter table m detach partition m_1", PARTS)

    assert script == Script(
        "detach_m_1",
        ("ALTER TABLE public.m DETACH PARTITION public.m_1 CONCURRENTLY",),
        (
            "ALTER TABLE public.m ATTACH PARTITION public.m_1 "
            "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        ),
        (
            "SELECT NOT (SELECT relispartition FROM pg_catalog.pg_class "
            "WHERE oid = 'public.m_1'::pg_catalog.regclass)",
        ),
    )


@pytest.mark.parametrize(
    ("rewriter", "sql", "major"),
    [
        (rewrites.not_valid, "alter table o add column x int references p", 16),
        (rewrites.attach, "alter table k attach partition raw for values in ('a')", 16),
        (rewrites.attach, "alter table l attach partition raw for values in (null)", 16),
        (rewrites.attach, "alter table l attach partition raw default", 16),
        (
            rewrites.attach,
            "alter table h attach partition raw for values with (modulus 2, remainder 0)",
            16,
        ),
        (rewrites.detach, "alter table k detach partition k_rest", 16),
        (rewrites.detach, "alter table m detach partition m_1", 13),
        (rewrites.detach, "alter table m detach partition gone", 16),
        (
            rewrites.partition,
            "create table m_2 partition of m (id not null) for values from ('2026-02-01') "
            "to ('2026-03-01')",
            16,
        ),
        (
            rewrites.partition,
            "create table if not exists m_2 partition of m for values from ('2026-02-01') "
            "to ('2026-03-01')",
            16,
        ),
    ],
)
def test_what_has_no_other_text(rewriter: Rewriter, sql: str, major: int) -> None:
    assert rewritten(rewriter, sql, PARTS + HEAD, major) == ()
