"""A statement with a range: written through the tree, and read back as that."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser.backfill import Backfill, require_splittable
from pgwindlass.parser.ranges import KeyColumn, condition, quoted, ranged
from pgwindlass.parser.split import split

pytestmark = pytest.mark.unit

FILE = Path("a.sql")
ID = (KeyColumn("id", "int8"),)
TWO = (KeyColumn("day", "date"), KeyColumn('K "1"', "uuid"))
ABOVE = "t.id OPERATOR(pg_catalog.>) $1::pg_catalog.text::bigint"
UP_TO = "t.id OPERATOR(pg_catalog.<=) $2::pg_catalog.text::bigint"


def text(sql: str, key: tuple[KeyColumn, ...] = ID, *, lower: bool = True) -> str:
    (statement,) = split(FILE, sql)
    asked = Backfill(table="t", line=1)
    place = require_splittable(FILE, 1, statement.kind, statement.node, asked)
    return ranged(FILE, statement, place, key, lower=lower)


def test_a_name_in_quotes_may_have_quotes() -> None:
    assert quoted('a"b') == '"a""b"'


def test_a_range_compares_whole_keys() -> None:
    (statement,) = split(FILE, "update t as x set a = 1")
    place = require_splittable(FILE, 1, statement.kind, statement.node, Backfill(table="t", line=1))
    row = 'row("x"."day", "x"."K ""1""")'
    value = '${}::pg_catalog.text::pg_catalog."{}"'
    values = [f"row({value.format(n, 'date')}, {value.format(n + 1, 'uuid')})" for n in (1, 3)]
    assert condition(place, TWO, lower=True) == (
        f"{row} operator(pg_catalog.>) {values[0]} and {row} operator(pg_catalog.<=) {values[1]}"
    )
    assert condition(place, TWO, lower=False) == f"{row} operator(pg_catalog.<=) {values[0]}"


def test_a_statement_without_a_condition_gets_the_range_as_its_own() -> None:
    assert text("update t set a = 1") == f"UPDATE t SET a = 1 WHERE {ABOVE} AND {UP_TO}"
    assert text("delete from t", lower=False) == f"DELETE FROM t WHERE {UP_TO}".replace("$2", "$1")


def test_its_own_condition_is_kept_whole() -> None:
    assert text("update t set a = 1 where b or c") == (
        f"UPDATE t SET a = 1 WHERE ({ABOVE} AND {UP_TO}) AND (b OR c)"
    )
    assert text("update t set a = 1 where (b and c) and (d and (e or f))") == (
        f"UPDATE t SET a = 1 WHERE ({ABOVE} AND {UP_TO}) AND (b AND c AND (d AND (e OR f)))"
    )


def test_of_an_insert_the_select_gets_it() -> None:
    assert text("insert into z select a from t where b on conflict do nothing") == (
        f"INSERT INTO z SELECT a FROM t WHERE ({ABOVE} AND {UP_TO}) AND b ON CONFLICT DO NOTHING"
    )


def test_what_the_parser_would_read_otherwise_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        text("update t set a = 1", (KeyColumn("id", "bpchar"),))

    assert caught.value.what == (
        "a.sql:1: this statement cannot be split into batches: the parser does not read it back as "
        "it wrote it"
    )
    assert caught.value.next_step == "write it in a simpler form"
