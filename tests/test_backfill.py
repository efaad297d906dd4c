"""Backfills on real PostgreSQL: batches, kills, poison rows, who waits, what is refused."""

import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwindlass.backfill import run as backfills
from pgwindlass.backfill.pausing import Surroundings
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import BackfillConfig, LockConfig, MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.database.retry import Terms
from pgwindlass.engines import Engine, open_engine
from pgwindlass.errors import ConfigError, LockTimeout, Refused, StepFailed
from pgwindlass.model import Migration
from pgwindlass.rehearsal.trace import Trace
from tests.fix_migration import NAME, Write
from tests.heavy import at_most

pytestmark = pytest.mark.sampled(3)

HASTY = Terms(lock=LockConfig(timeout=(Duration(0.1),), wait=Duration(1)))


def run(database: Database, *statements: str) -> None:
    with psycopg.connect(database.url.reveal(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url.reveal()) as connection:
        return connection.execute(query.encode()).fetchall()


def numbers(database: Database, count: int, name: str = "t") -> None:
    run(
        database,
        f"create table {name} as select g::bigint as id, 0 as n from generate_series(1, {count}) g",
        f"alter table {name} add primary key (id)",
    )


@pytest.mark.parametrize("count", [0, 1, 3, 2500])
def test_every_row_is_changed_once_and_the_end_recorded(
    database: Database, write: Write, count: int
) -> None:
    numbers(database, count)
    engine, migration = write(
        "alter table t add column b int;\n-- windlass: backfill table=t\nupdate t set b = n + 1;"
    )

    engine.runner.apply(migration, database, Terms())

    assert rows(database, "select count(*), count(b) from t") == [(count, count)]
    state = "select state, rows_visited, rows_changed from windlass.backfill"
    assert rows(database, state) == [("done", count, count)]
    assert rows(database, "select migration_name from schema_migrations") == [(NAME,)]
    assert rows(database, "select * from windlass.partial_migration") == []


def test_a_trace_counts_the_batches_of_a_statement(database: Database, write: Write) -> None:
    numbers(database, 25)
    engine, migration = write("-- windlass: backfill table=t batch=10\nupdate t set n = 1;")

    with closing(Trace(database)) as trace:
        engine.runner.apply(migration, database, Terms(observe_batch=trace.observe_batch))

    (statement,) = trace.statements
    assert (statement.batches, statement.rows_changed) == (3, 25)


KEYS = {
    "an_int": "select g::int as k",
    "a_uuid": "select md5(g::text)::uuid as k",
    "a_text": "select md5(g::text) || '''\"%s' as k",
    "a_varchar": "select md5(g::text)::varchar(40) as k",
    "a_numeric": "select (g * 1.5)::numeric as k",
    "a_day": "select date '2000-01-01' + g as k",
    "a_moment": "select timestamptz '2000-01-01 12:00:00.123456+02' + g * interval '7 hours' as k",
    "a_time": "select timestamp '2000-01-01' + g * interval '7 hours' as k",
}


def test_a_key_has_any_type_that_is_written_as_text_and_read_back(
    database: Database, write: Write
) -> None:
    files = []
    for name, query in KEYS.items():
        run(
            database,
            f"create table {name} as {query}, 0 as n from generate_series(1, 50) g",
            f"alter table {name} add primary key (k)",
        )
        files.append(f"-- windlass: backfill table={name} batch=7\nupdate {name} set n = n + 1;")
    run(
        database,
        'create schema "Odd"',
        'create table "Odd"."T a" ("K 1" int, k2 uuid, n int default 0)',
        'insert into "Odd"."T a" select g % 5, md5(g::text)::uuid from generate_series(1, 50) g',
        'alter table "Odd"."T a" alter column "K 1" set not null, alter column k2 set not null',
        'create unique index "By two" on "Odd"."T a" ("K 1", k2)',
        "create table parts (day date, id int, n int default 0, primary key (day, id)) "
        "partition by range (day)",
        "create table parts_1 partition of parts for values from ('2026-01-01') to ('2026-02-01')",
        "create table parts_2 partition of parts default",
        "insert into parts select date '2026-01-20' + g, g from generate_series(1, 50) g",
        'create table names (n int not null, k text collate "C" unique not null, m int default 0)',
        "insert into names select g, chr(60 + g) from generate_series(1, 50) g",
    )
    files += [
        "-- windlass: backfill table=parts batch=7\n"
        "update parts as p set n = p.n + 1 where p.id > 0 or p.id < 0;",
        "-- windlass: backfill table=names key=names_k_key batch=7\nupdate names set m = m + 1;",
    ]
    engine, migration = write("\n".join(files))

    engine.runner.apply(migration, database, Terms())

    for name in (*KEYS, "parts"):
        assert rows(database, f"select n, count(*) from {name} group by n") == [(1, 50)], name
    assert rows(database, "select m, count(*) from names group by m") == [(1, 50)]
    assert rows(database, "select min(rows_visited), max(rows_visited) from windlass.backfill") == [
        (50, 50)
    ]


def test_a_delete_and_an_insert_do_what_the_statement_alone_would(
    database: Database, write: Write
) -> None:
    numbers(database, 100)
    run(
        database,
        "create table other as select g as id from generate_series(1, 100, 3) g",
        "create table log (id bigint, other int)",
    )
    engine, migration = write(
        "-- windlass: backfill table=t batch=9\n"
        "insert into log select t.id, o.id from t left join other o on o.id = t.id\n"
        "where t.id < 90 or t.id > 95;\n"
        "-- windlass: backfill table=t batch=9\n"
        "delete from only public.t as x using other o where o.id = x.id;"
    )

    engine.runner.apply(migration, database, Terms())

    assert rows(database, "select count(*), count(distinct id), count(other) from log") == [
        (94, 94, 32)
    ]
    assert rows(database, "select count(*) from t") == [(66,)]


def test_a_row_that_cannot_be_changed_stops_it_with_its_key_and_a_rerun_goes_on_behind(
    database: Database, write: Write
) -> None:
    numbers(database, 300)
    run(
        database,
        "alter table t add column p text default '1'",
        "update t set p = 'x' where id = 170",
    )
    engine, migration = write(
        "-- windlass: backfill table=t batch=50\nupdate t set n = n + p::int;"
    )

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database, Terms())

    assert caught.value.what == (
        f'migrations/{NAME}.sql:2: public.t, id = 170: invalid input syntax for type integer: "x" '
        "[22P02]"
    )
    assert "the batches before it stay done and are recorded" in caught.value.state
    assert rows(database, "select n, max(id) from t group by n order by n") == [(0, 300), (1, 169)]
    done = "select migration_name, statements_done from windlass.partial_migration"
    assert rows(database, done) == [(NAME, 0)]
    run(database, "update t set p = '1'")

    engine.runner.apply(migration, database, Terms())

    assert rows(database, "select n, count(*) from t group by n") == [(1, 300)]


def test_on_error_skip_sets_the_row_aside(database: Database, write: Write) -> None:
    numbers(database, 300)
    run(
        database,
        "alter table t add column q int",
        "alter table t add constraint late unique (q) deferrable initially deferred",
        "insert into t (id, n, q) values (1000, 0, 42)",
    )
    engine, migration = write(
        "-- windlass: backfill table=t batch=50 on_error=skip\n"
        "update t set n = n + 1 + abs(1 / (id - 7)::int), q = case id when 99 then 42 else q end\n"
        "where id < 301;"
    )
    notes: list[str] = []

    engine.runner.apply(migration, database, Terms(note=notes.append))

    aside = "select key, sqlstate from windlass.backfill_row order by id"
    assert rows(database, aside) == [(["7"], "22012"), (["99"], "23505")]
    assert rows(database, "select count(*) from t where n = 0") == [(3,)]
    assert rows(database, "select rows_set_aside, rows_visited from windlass.backfill") == [
        (2, 301)
    ]
    assert any("set aside id = 7: division by zero [22012]" in note for note in notes)


def test_an_error_of_the_statement_itself_shrinks_nothing_and_skips_nothing(
    database16: Database, write: Write
) -> None:
    numbers(database16, 300)
    engine, migration = write(
        "-- windlass: backfill table=t on_error=skip\nupdate t set n = absent;"
    )

    with pytest.raises(StepFailed, match=r'\.sql:2: column "absent" does not exist \[42703\]'):
        engine.runner.apply(migration, database16, Terms())

    assert rows(database16, "select rows_visited, rows_set_aside from windlass.backfill") == [
        (0, 0)
    ]


def test_a_row_that_somebody_holds_is_waited_for_alone(database16: Database, write: Write) -> None:
    numbers(database16, 300)
    engine, migration = write("-- windlass: backfill table=t\nupdate t set n = n + 1;")
    with closing(psycopg.connect(database16.url.reveal())) as holder:
        holder.execute("update t set n = n where id = 170")

        with pytest.raises(LockTimeout):
            engine.runner.apply(migration, database16, HASTY)

        assert rows(database16, "select max(id) from t where n = 1") == [(169,)]
        holder.rollback()
    engine.runner.apply(migration, database16, HASTY)

    assert rows(database16, "select n, count(*) from t group by n") == [(1, 300)]


def test_a_batch_that_takes_too_long_shrinks_down_to_one_row(
    database16: Database, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwindlass.backfill.sizing.LEAST_TIMEOUT", 0.05)
    numbers(database16, 12)
    engine, migration = write(
        "-- windlass: backfill table=t batch=5ms\n"
        "update t set n = n + 1 where pg_sleep(0.06) is not null;"
    )

    retries = engine.runner.apply(migration, database16, Terms())

    assert retries > 1
    assert rows(database16, "select n, count(*) from t group by n") == [(1, 12)]


def test_rows_inserted_deleted_and_given_another_key_meanwhile_are_as_promised(
    database: Database, write: Write
) -> None:
    numbers(database, 100)
    engine, migration = write("-- windlass: backfill table=t batch=10\nupdate t set n = n + 1;")
    batches = 0

    def between() -> None:
        nonlocal batches
        batches += 1
        if batches == 6:  # rows up to 40 or 50 are done
            run(
                database,
                "insert into t values (-5, 100), (1000, 100)",
                "delete from t where id in (5, 95)",
                "update t set id = -7 where id = 97",  # from before it to behind it: never met
                "update t set id = 96 + 1 where id = 7",  # the other way: met twice
            )

    engine.runner.apply(migration, database, Terms(guard=between))

    odd = rows(database, "select id, n from t where n <> 1 order by id")
    assert odd == [(-7, 0), (-5, 100), (97, 2), (1000, 100)]


def _killed(
    engine: Engine, migration: Migration, database: Database, boundary: int, after: bool
) -> bool:
    """Run it in a child that kills itself at a statement of ours; tell whether it ended."""
    child = os.fork()
    if child == 0:
        seen = 0
        send: Any = psycopg.Cursor.execute

        def execute(
            self: psycopg.Cursor[tuple[object, ...]], *args: object, **more: object
        ) -> object:
            nonlocal seen
            seen += 1
            if seen == boundary and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = send(self, *args, **more)
            if seen == boundary:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        psycopg.Cursor.execute = execute  # type: ignore[method-assign, assignment]
        code = 1
        try:
            engine.runner.apply(migration, database, Terms())
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def test_kill_nine_at_any_statement_loses_and_repeats_nothing(
    database16: Database, write: Write
) -> None:
    numbers(database16, 120)
    run(database16, "create table log (id bigint)")
    engine, migration = write(
        "alter table t add column b int;\n"
        "-- windlass: backfill table=t batch=7\nupdate t set n = n + 1;\n"
        "-- windlass: backfill table=t batch=11\ninsert into log select id from t where id > 0;",
    )
    dice, kills, wanted = random.Random(), 0, at_most(6, 100)  # no secret
    span = 120 // (wanted // 10 + 1) + 25
    while not _killed(engine, migration, database16, dice.randrange(8, span), dice.random() < 0.5):
        kills += 1
        if kills >= wanted:
            span = 10**6

    assert rows(database16, "select n, count(*) from t group by n") == [(1, 120)]
    assert rows(database16, "select count(*), count(distinct id) from log") == [(120, 120)]
    assert rows(database16, "select migration_name from schema_migrations") == [(NAME,)]


def test_who_waits_for_a_batch_is_seen_and_given_room(
    database16: Database, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers(database16, 60)
    seen: list[int] = []
    sized = backfills._Run._sized

    def note(
        self: backfills._Run, seconds: float, *, waiting: int, whole: bool
    ) -> tuple[int, float]:
        seen.append(waiting)
        return sized(self, seconds, waiting=waiting, whole=whole)

    monkeypatch.setattr(backfills._Run, "_sized", note)
    engine, migration = write(
        "-- windlass: backfill table=t batch=20\n"
        "update t set n = n + 1 where pg_sleep(0.02) is not null;"
    )
    over = threading.Event()

    def writer() -> None:
        with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
            while not over.is_set():
                connection.execute("update t set n = n where id between 1 and 60")

    other = threading.Thread(target=writer)
    other.start()
    try:
        engine.runner.apply(migration, database16, Terms())
    finally:
        over.set()
        other.join()

    assert max(seen) == 1
    assert rows(database16, "select n, count(*) from t group by n") == [(1, 60)]


def test_a_pause_is_waited_out_and_a_cancel_ends_it(
    database16: Database, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "LOOK_EVERY", 0.0)
    numbers(database16, 100)
    engine, migration = write("-- windlass: backfill table=t batch=10\nupdate t set n = n + 1;")
    ask = "update windlass.backfill set asked = '{}', asked_by = 'ann'"
    batches, notes = 0, list[str]()

    def between() -> None:
        nonlocal batches
        batches += 1
        if batches == 5:
            run(database16, ask.format("pause"))
        if batches == 9:
            run(database16, ask.format(""))
        if batches == 14:
            run(database16, ask.format("cancel"))

    with pytest.raises(StepFailed, match=r"the backfill of public\.t was cancelled by ann"):
        engine.runner.apply(migration, database16, Terms(guard=between, note=notes.append))

    assert notes == ["the backfill of public.t waits: paused by ann"]
    engine.runner.apply(migration, database16, Terms())
    assert rows(database16, "select n, count(*) from t group by n") == [(1, 100)]


def test_replicas_that_stay_behind_end_it_when_their_time_is_over(
    database16: Database, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(
        backfills,
        "surroundings",
        lambda *_: Surroundings(replica="standby", replica_bytes=10**9, replica_seconds=60.0),
    )
    numbers(database16, 10)
    engine, migration = write("-- windlass: backfill table=t\nupdate t set n = n + 1;")
    terms = Terms(backfill=BackfillConfig(wait=Duration(0.2)))

    with pytest.raises(StepFailed) as caught:
        engine.runner.apply(migration, database16, terms)

    assert "waited for 200ms: the replica standby is 60 s and 954 MB behind" in caught.value.what
    assert "backfill.wait" in caught.value.next_step


def test_a_statement_that_was_changed_since_its_batches_began_is_refused(
    database16: Database, write: Write
) -> None:
    numbers(database16, 10)
    run(
        database16,
        "update t set n = null where id = 5",
        "alter table t add check (n is not null) not valid",
    )
    text = "-- windlass: backfill table=t batch=1\nupdate t set n = n + 1;"
    engine, migration = write(text)
    with pytest.raises(StepFailed, match="id = 5"):
        engine.runner.apply(migration, database16, Terms())
    engine, migration = write(text.replace("n + 1", "n + 2"))

    with pytest.raises(Refused, match="the statement or its key has changed since"):
        engine.runner.apply(migration, database16, Terms())

    assert rows(database16, "select max(n) from t") == [(1,)]


UNSUITABLE = {
    "create table t (id int, n int)": (
        "update t set n = 1",
        "",
        "public.t has no primary key: name a unique index of it, key=INDEX",
    ),
    "create table t (id int unique, n int)": (
        "update t set n = 1",
        " key=t_id_key",
        "id of t_id_key may be null, and null has no range",
    ),
    "create table t (id int not null, n int); create unique index i on t (id) where id > 0": (
        "update t set n = 1",
        " key=i",
        "i is invalid, deferrable, partial or of expressions, so that it does not order every row",
    ),
    "create table t (id char(3) primary key, n int)": (
        "update t set n = 1",
        "",
        "id of t_pkey is of the type bpchar",
    ),
    "create table t (id int primary key, n int)": (
        "update t set (n, id) = (1, 2)",
        "",
        "the statement sets id, a column of the key: a row could be met twice",
    ),
    "create view t as select 1 as id, 2 as n": ("update t set n = 1", "", "public.t is a view"),
    "create table t (id int primary key, n int); create table u () inherits (t)": (
        "update t set n = 1",
        "",
        "other tables inherit from public.t, and its key is not theirs: write ONLY, and a backfill "
        "for each",
    ),
    "create table t (id int primary key, n int); create table z (n int); create aggregate "
    "joined (int) (sfunc = int4pl, stype = int)": (
        "insert into z select joined(n) from t",
        "",
        "joined() is an aggregate, which is over rows of different batches",
    ),
    "select 1": ("update t set n = 1", "", "there is no table t"),
}


def test_a_table_that_cannot_be_split_is_refused_with_the_reason(
    database16: Database, write: Write
) -> None:
    for made, (statement, key, reason) in UNSUITABLE.items():
        run(database16, "drop schema public cascade", "create schema public")
        run(database16, *made.split("; "))
        engine, migration = write(f"-- windlass: backfill table=t{key}\n{statement};")

        with pytest.raises(StepFailed) as caught:
            engine.runner.apply(migration, database16, Terms())

        assert caught.value.what == (
            f"migrations/{NAME}.sql:2: this statement cannot be split into batches: {reason}"
        )


def test_a_rollback_script_may_have_a_backfill_and_takes_its_records_away(
    database16: Database, write: Write
) -> None:
    numbers(database16, 50)
    engine, migration = write(
        "-- windlass: backfill table=t batch=9\nupdate t set n = n + 1;",
        rollback="-- windlass: backfill table=t batch=9\nupdate t set n = n - 1;",
    )
    engine.runner.apply(migration, database16, Terms())

    engine.runner.undo(migration, database16, Terms())

    assert rows(database16, "select n, count(*) from t group by n") == [(0, 50)]
    assert rows(database16, "select * from windlass.backfill") == []
    engine.runner.apply(migration, database16, Terms())
    assert rows(database16, "select n, count(*) from t group by n") == [(1, 50)]


def test_a_job_is_recorded_and_left_and_on_a_copy_it_runs(
    database16: Database, write: Write
) -> None:
    numbers(database16, 50)
    text = "-- windlass: backfill table=t as=job\nupdate t set n = n + 1;"
    verify = "select bool_and(n = 1) from t;"
    engine, migration = write(text, verify=verify)

    engine.runner.apply(migration, database16, Terms())

    assert rows(database16, "select state, is_job from windlass.backfill") == [("waiting", True)]
    assert rows(database16, "select migration_name from schema_migrations") == [(NAME,)]
    assert rows(database16, "select max(n) from t") == [(0,)]
    with psycopg.connect(database16.url.reveal(), autocommit=True) as connection:
        engine.corrections.unstamp(connection, NAME)
    engine.runner.apply(migration, database16, replace(Terms(), jobs=True))
    assert rows(database16, "select n, count(*) from t group by n") == [(1, 50)]


def test_a_directive_in_a_migration_of_prisma_does_the_same(
    database16: Database, tmp_path: Path
) -> None:
    numbers(database16, 50)
    place = tmp_path / "prisma" / "migrations" / "20260801000000_a"
    place.mkdir(parents=True)
    (place / "migration.sql").write_text(
        "-- windlass: backfill table=t batch=9\nupdate t set n = n + 1;"
    )
    engine = open_engine(MigrationsConfig(engine="prisma"), tmp_path)

    engine.runner.apply(engine.files.list()[0], database16, Terms())

    assert rows(database16, "select n, count(*) from t group by n") == [(1, 50)]
    finished = "select migration_name from _prisma_migrations where finished_at is not null"
    assert rows(database16, finished) == [("20260801000000_a",)]


COMMITS = """-- windlass: transaction=off
create procedure twice() language plpgsql as $$
begin
    insert into log values (1);
    commit;
    insert into log values (2);
end $$;
call twice();
do $$ begin insert into log values (3); commit; end $$;
do $$ begin insert into log values (4); end $$;
"""


def test_call_and_do_that_commit_inside_run_where_a_transaction_is_off(
    database: Database, write: Write
) -> None:
    run(database, "create table log (n int)")
    engine, migration = write(COMMITS)
    notes: list[str] = []

    engine.runner.apply(migration, database, Terms(note=notes.append))

    assert rows(database, "select array_agg(n order by n) from log") == [([1, 2, 3, 4],)]
    assert [note.partition(": ")[2] for note in notes] == [
        "commits inside: not resumable, and run once"
    ] * 2


def test_one_that_commits_inside_and_fails_is_not_begun_again(
    database16: Database, write: Write
) -> None:
    run(database16, "create table log (n int)")
    engine, migration = write(
        "-- windlass: transaction=off\nselect 1;\n"
        "do $$ begin insert into log values (1); commit; perform 1 / 0; end $$;"
    )

    with pytest.raises(StepFailed, match=r"\.sql:3: this statement commits inside, and failed"):
        engine.runner.apply(migration, database16, Terms())
    with pytest.raises(StepFailed, match="was begun by an earlier run") as caught:
        engine.runner.apply(migration, database16, Terms())

    assert "how far it came is not known from outside" in caught.value.state
    assert rows(database16, "select count(*) from log") == [(1,)]


def test_a_statement_that_is_refused_names_its_line(write: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match=r"\.sql:3: this statement cannot be split"):
        write("-- x\n-- windlass: backfill table=t\nupdate t set n = 1 returning n;")
