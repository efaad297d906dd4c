"""The directive, and each statement that ranges would not do faithfully."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser.backfill import Backfill, Split, read_directive, require_splittable
from pgwindlass.parser.split import split

pytestmark = pytest.mark.unit

FILE = Path("a.sql")


def read(text: str) -> Backfill | None:
    return read_directive(FILE, 7, text)


def splittable(sql: str, table: str = "t") -> Split:
    (statement,) = split(FILE, f"\n{sql}")
    asked = Backfill(table=table, line=1)
    return require_splittable(FILE, statement.line, statement.kind, statement.node, asked)


def test_the_words_of_another_directive_are_not_ours() -> None:
    assert read("phase=after") is None
    assert read("backfilled table=t") is None


def test_a_directive_has_the_usual_values() -> None:
    assert read("backfill table=error_events") == Backfill(table="error_events", line=7)


def test_a_directive_says_all_that_it_may() -> None:
    text = 'backfill table=app."T" key=t_u batch=250ms on_error=skip as=job'
    assert read(text) == Backfill(
        table='app."T"', line=7, key="t_u", seconds=0.25, on_error="skip", job=True
    )
    assert read("backfill table=t batch=60s") == Backfill(table="t", line=7, seconds=60.0)
    assert read("backfill table=t batch=5000 on_error=stop") == Backfill(
        table="t", line=7, most=5000
    )


def test_a_name_is_folded_as_the_server_does() -> None:
    assert Backfill(table='App."T x"'.replace(" ", ""), line=1).name == ("app", "Tx")
    assert Backfill(table="Events", line=1).name == ("", "events")
    with pytest.raises(ValueError, match='"a b" is no name of a table'):
        _ = Backfill(table="a b", line=1).name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("backfill", 'no name of table: ""'),
        ("backfill table=", 'no name of table: ""'),
        ("backfill table=t table=u", 'unknown, or there twice: "table=u"'),
        ("backfill table=t skip", 'unknown, or there twice: "skip"'),
        ("backfill table=t rows=5", 'unknown, or there twice: "rows=5"'),
        ("backfill table=t on_error=ignore", "on_error=ignore: expected skip or stop"),
        ("backfill table=t as=task", "as=task: expected job"),
        ("backfill table=t key=1x", 'no name of key: "1x"'),
        ("backfill table=t batch=61s", "batch=61s: expected above 0 and at most 60s"),
        ("backfill table=t batch=0s", "batch=0s: expected above 0 and at most 60s"),
    ],
)
def test_a_wrong_directive_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert caught.value.what == f"a.sql:7: backfill: {problem}"
    assert caught.value.next_step == (
        "write -- windlass: backfill table=T [key=INDEX] [batch=500ms] [on_error=skip] [as=job]"
    )


@pytest.mark.parametrize("batch", ["0", "x", "-1", str(2**31)])
def test_a_batch_is_a_time_or_a_number_of_rows(batch: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a duration; .*, or a number of rows"):
        read(f"backfill table=t batch={batch}")


@pytest.mark.parametrize(
    "sql",
    [
        "update t set a = 1",
        "update t as x set a = o.b from o left join p on p.i = o.i where o.i = x.i",
        "update t set a = (select b from o where o.i = t.i order by c limit 1)",
        "delete from t using o where o.i = t.i",
        "delete from t where exists (select from o where o.i = t.i)",
        "insert into z select * from t",
        "insert into z table t",
        "insert into z (a) select f(a) from t where a > 1 on conflict do nothing",
        "insert into z select t.a from t left join o on o.i = t.i",
        "insert into z select t.a from o right join t on o.i = t.i",
        "insert into z select t.a from o join (t cross join p) on true",
        "insert into z select (select max(o.a) from o where o.i = t.i) from t",
        "insert into z select (select count(b) from o) from t",
        "insert into z select (select max(q.a) from (select a from o) q) from t",
        "with o as (select 1 as i) insert into z select t.a from t, o",
        "insert into archive.t select * from public.t",
    ],
)
def test_what_each_row_is_changed_by_itself_can_be_split(sql: str) -> None:
    assert splittable(sql).table == "t"


def test_a_split_says_where_the_range_goes() -> None:
    assert splittable('update only app."T" as x set (a, b) = (1, 2), c = 3', 'app."T"') == Split(
        schema="app",
        table="T",
        only=True,
        alias="x",
        columns_set=frozenset({"a", "b", "c"}),
        functions=frozenset(),
    )
    assert splittable("insert into z select f(g(a)), (select h(1)) from s.t", "s.t") == Split(
        schema="s",
        table="t",
        only=False,
        alias="t",
        columns_set=frozenset(),
        functions=frozenset({"f", "g"}),
    )


OWN = "it names t more than once, and each batch would see the changes of others"
AGGREGATE = "an aggregate is over rows of different batches"
FROM = (
    "t must be in FROM itself, not in a subquery or TABLESAMPLE, nor on the side of an outer join "
    "that may be missing"
)
NO_SELECT = "it has no SELECT … FROM that could be split"
INTO_ITSELF = "it inserts into t itself, or may: a batch would read what one wrote"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select 1", "it is no UPDATE, DELETE or INSERT … SELECT"),
        (
            "merge into t using o on true when matched then delete",
            "it is no UPDATE, DELETE or INSERT … SELECT",
        ),
        ("insert into z values (1)", NO_SELECT),
        ("insert into z select 1", NO_SELECT),
        ("insert into z default values", NO_SELECT),
        ("update t set a = 1 returning a", "nobody reads what RETURNING returns"),
        (
            "with d as (delete from o returning 1) update t set a = 1",
            "its WITH writes, and would do so once for each batch",
        ),
        ("delete from t where current of c", "no batch has the cursor of WHERE CURRENT OF"),
        ("update t set a = $1", "it has parameters ($1), and nobody gives them values"),
        (
            "delete from t where i in (select i from o limit 5)",
            "which rows a LIMIT without ORDER BY takes may differ from batch to batch",
        ),
        (
            "delete from t where i in (select i from o offset 5)",
            "which rows a LIMIT without ORDER BY takes may differ from batch to batch",
        ),
        ("update o set a = 1", "it changes o, and the backfill is of t"),
        ("update t set a = 1 where i in (select i from t)", OWN),
        ("update t set a = 1 from t as u", OWN),
        ("insert into z select t.a from t, t as u", OWN),
        ("insert into z select a from o", "it does not read t, the table of the backfill"),
        ("insert into t select * from t", INTO_ITSELF),
        ("insert into s.t select * from t", INTO_ITSELF),
        ("insert into t select * from s.t", INTO_ITSELF),
        ("insert into s.t select * from r.t, s.t", INTO_ITSELF),
        (
            "with t as (select 1 as a) insert into z select a from t",
            "its WITH has a query named t, as the table of the backfill is",
        ),
        (
            "insert into z (a) select a from t on conflict (a) do update set a = 1",
            "with ON CONFLICT DO UPDATE two batches may change one row, which one statement "
            "refuses to do",
        ),
        (
            "insert into z select a from t union all select b from o",
            "UNION, INTERSECT and EXCEPT are over rows of all batches",
        ),
        ("insert into z select distinct a from t", "DISTINCT compares rows of different batches"),
        ("insert into z select a from t group by a", "GROUP BY joins rows of different batches"),
        ("insert into z select 1 from t having true", "HAVING is about rows of different batches"),
        (
            "insert into z select a from t window w as ()",
            "a window is over rows of different batches",
        ),
        ("insert into z select a from t order by a", "ORDER BY is over rows of different batches"),
        (
            "insert into z select a from t order by a limit 3",
            "ORDER BY is over rows of different batches",
        ),
        (
            "insert into z select a from t for update",
            "FOR UPDATE would hold the locks of one batch alone",
        ),
        (
            "insert into z select row_number() over () from t",
            "a window function is over rows of different batches",
        ),
        ("insert into z select count(*) from t", AGGREGATE),
        ("insert into z select 1 + max(a) from t", AGGREGATE),
        ("insert into z select mine(distinct a) from t", AGGREGATE),
        ("insert into z select mine(a order by a) from t", AGGREGATE),
        ("insert into z select mine(a) filter (where b) from t", AGGREGATE),
        ("insert into z select mine() within group (order by a) from t", AGGREGATE),
        ("insert into z select (select max(t.a)) from t", AGGREGATE),
        ("insert into z select (select max(a)) from t", AGGREGATE),
        ("insert into z select (select max(t.a) from o) from t", AGGREGATE),
        ("insert into z select a from (select * from t) q", FROM),
        ("insert into z select a from t tablesample system (5)", FROM),
        ("insert into z select t.a from o left join t on true", FROM),
        ("insert into z select t.a from t right join o on true", FROM),
        ("insert into z select t.a from t full join o on true", FROM),
        ("insert into z select j.a from (t join o on true) as j", FROM),
        ("with q as (select * from t) insert into z select * from q", "t is read inside of WITH"),
        ("insert into z with q as (select * from t) select * from q", "t is read inside of WITH"),
    ],
)
def test_what_ranges_would_not_do_faithfully_is_refused(sql: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        splittable(sql)

    assert caught.value.what == f"a.sql:2: this statement cannot be split into batches: {reason}"
    assert caught.value.next_step == (
        "write it so that each row is changed by itself, or take the backfill directive of line 1 "
        "out"
    )


def test_a_schema_that_is_another_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"it names b\.t, and the backfill is of a\.t"):
        splittable("update b.t set a = 1", "a.t")
    with pytest.raises(ConfigError, match=r"it names t, and the backfill is of a\.t"):
        splittable("update t set a = 1", "a.t")
    assert splittable("update b.t set a = 1").schema == "b"
