"""Plans and rehearsals as text: every text whole."""

import msgspec
import pytest

from pgwindlass.model import Plan, Rehearsed, Sources, TableActivity
from pgwindlass.report.plan import (
    forecast_text,
    headline,
    plan_text,
    rehearsal_notes,
    rehearsal_text,
    rehearsed_rows,
    waiting_notes,
    waiting_rows,
)
from tests.unit.examples import (
    ORIGIN,
    TARGET,
    A,
    B,
    about,
    changed,
    correction,
    finding,
    migration,
    plan,
    rehearsal,
    rehearsed,
    steps,
    table_size,
    traced,
)

pytestmark = pytest.mark.unit

EXCLUSIVE = "AccessExclusiveLock"


@pytest.mark.parametrize(
    ("given", "tail"),
    [
        (plan(), "1 pending migration"),
        (plan(migrations=()), "0 pending migrations"),
        (plan(migrations=(migration(A), migration(B))), "2 pending migrations"),
        (plan(direction="down"), "1 to undo migration"),
    ],
)
def test_the_headline_counts_the_migrations(given: Plan, tail: str) -> None:
    assert headline(given) == f"uat · shop · plan {given.digest[:12]} · {tail}"


def test_a_plan_is_shown_with_everything_that_decides() -> None:
    given = plan(
        history=(("a", None), ("b", None)),
        steps=steps("lock", "migrate", "verify"),
        engine_version="7",
        migrations=(
            migration(A),
            migration(B, title="total", phase="after", transactional=False),
        ),
    )

    assert plan_text(given, ("-- sql of a", "-- sql of b")) == (
        f"{headline(given)}\n"
        "\n"
        f"  digest     {given.digest}\n"
        "  target     database shop, system 7301, PostgreSQL 16\n"
        "  engine     sql, 7\n"
        "  steps      lock, migrate, verify\n"
        "  history    2 applied\n"
        f"  migrate    {A}\n"
        f"  migrate    {B} total (after the restart) (outside a transaction)\n"
        "\n"
        "-- sql of a\n"
        "\n"
        "-- sql of b"
    )


def test_a_plan_without_migrations_says_so() -> None:
    assert plan_text(plan(migrations=())).splitlines()[-1] == "  nothing to migrate"
    assert "nothing to migrate" not in plan_text(plan())


def test_a_rollback_shows_what_it_undoes() -> None:
    assert plan_text(plan(direction="down")).splitlines()[-1] == f"  undo       {A}"


def test_what_a_reader_should_know_is_shown_behind_what_decides() -> None:
    given = plan(
        about=about(
            origin=changed(ORIGIN, ci_run="https://ci/1"),
            backup_to="s3://b/p",
            models="models: 2 differ: a, b",
            tables=(table_size(rows=1234), table_size("public.u", rows=-1, size=5)),
            findings=(finding(),),
        )
    )

    assert plan_text(given).splitlines()[8:] == [
        "  made       2026-11-20 12:30:15 UTC by ann on ci-7 from commit c0ffee000000, "
        "https://ci/1",
        "  host       db.example.com",
        "  backup to  s3://b/p",
        "  models     2 differ: a, b",
        "  table      public.t: about 1,234 rows, 2.5 MB",
        "  table      public.u: not analysed, 5 B",
        "  lint       migrations/a.sql:3: warning: writes [add-serial]",
    ]


def test_what_is_not_known_of_a_plan_is_left_out() -> None:
    given = plan(about=about(origin=changed(ORIGIN, commit=None)))

    assert plan_text(given).splitlines()[8:] == [
        "  made       2026-11-20 12:30:15 UTC by ann on ci-7",
        "  host       db.example.com",
    ]


def test_a_table_without_rows_was_analysed() -> None:
    given = plan(about=about(tables=(table_size(rows=0),)))

    assert plan_text(given).splitlines()[-1] == "  table      public.t: about 0 rows, 2.5 MB"


WORKING = rehearsed(
    traced(
        seconds=0.5,
        locks=(("public.t", EXCLUSIVE), ("public.u", "ShareLock")),
        rewrites=("public.t",),
        scans=(("public.u", 7),),
        wal=1000,
    ),
    traced(seconds=0.25, rewrites=("public.a", "public.t"), scans=(("public.b", 1),), wal=500),
    lost=("2 rows of public.t",),
    dropped=("column x of t",),
)
IDLE = rehearsed(
    traced(seconds=0.002), name=B, rolled_back=False, not_rolled_back="no rollback script"
)
ONE_LOCK = rehearsed(traced(locks=(("public.t", "ShareLock"),)))


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        (
            WORKING,
            (
                A,
                "750 ms",
                "AccessExclusive on public.t: reads and writes, 750 ms; 2 relations, below",
                "public.a, public.t",
                "public.b, public.u",
                "1.5 kB",
                "proven, 250 ms",
            ),
        ),
        (IDLE, (B, "2 ms", "–", "–", "–", "0 B", "no rollback script")),
        (
            ONE_LOCK,
            (A, "1.0 s", "Share on public.t: writes, 1.0 s", "–", "–", "0 B", "proven, 250 ms"),
        ),
    ],
)
def test_a_rehearsed_migration_is_a_row(given: Rehearsed, cells: tuple[str, ...]) -> None:
    assert rehearsed_rows(rehearsal(given)) == [cells]


BUSY = (
    TableActivity(relation="public.u", traffic=20_000.0, calls=14_000.4, measured=True),
    TableActivity(relation="public.t", traffic=30.0),
)


def test_of_three_locks_the_busiest_tables_is_shown_and_that_there_are_others() -> None:
    locks = (("public.t", EXCLUSIVE), ("public.u", EXCLUSIVE), ("public.v", EXCLUSIVE))

    ((_, _, shown, *_),) = rehearsed_rows(rehearsal(rehearsed(traced(locks=locks)), activity=BUSY))

    assert shown == "AccessExclusive on public.u: reads and writes, 1.0 s; 3 relations, below"


def test_each_relation_that_anybody_waits_for_is_a_line_and_the_busiest_is_first() -> None:
    taking = traced(seconds=0.5, locks=(("public.t", EXCLUSIVE), ("public.v", "ShareLock")))
    changing = traced(seconds=2.1, rows_locked=(("public.u", 4500, 5000),))
    given = rehearsal(rehearsed(taking), rehearsed(changing), rehearsed(taking), activity=BUSY)

    assert waiting_rows(given) == [
        (
            "public.u",
            "writes of 4,500 of about 5,000 rows",
            "2.1 s (measured) × 14,000 calls/min (measured)",
            "row locks of migrations/a.sql:2",
        ),
        (
            "public.t",
            "reads and writes",
            "500 ms (measured) × 30 scans and changed rows/min (inferred), calls not known",
            "AccessExclusive of migrations/a.sql:2, and 1 more, 1.0 s in all",
        ),
        (
            "public.v",
            "writes",
            "500 ms (measured) × calls not known",
            "Share of migrations/a.sql:2, and 1 more, 1.0 s in all",
        ),
    ]


def test_what_the_figures_rest_on_stands_under_them() -> None:
    given = rehearsal(ONE_LOCK, not_seen=("pg_stat_statements is not installed",))

    lines = waiting_notes(given)

    assert lines[0] == "not known: pg_stat_statements is not installed"
    assert [line.partition(":")[0] for line in lines[1:]] == ["measured", "assumed"]
    assert waiting_notes(rehearsal(IDLE)) == []


def test_scans_outside_a_transaction_are_not_seen_and_that_is_shown() -> None:
    unseen = rehearsed(traced(scans_seen=False), transactional=False)

    ((*_, scans, _wal, _rollback),) = rehearsed_rows(rehearsal(unseen))

    assert scans == "not seen"


def test_what_a_rollback_does_not_bring_back_is_noted() -> None:
    assert rehearsal_notes(rehearsal(WORKING, IDLE)) == [
        f"{A}: its rollback does not bring back: 2 rows of public.t",
        f"{A}: its rollback drops column x of t",
    ]


def test_what_ran_in_batches_says_how_many_and_how_long() -> None:
    traced = msgspec.structs.replace(
        WORKING.statements[0], where="migrations/a.sql:3", seconds=0.5, rows_changed=12_000
    )
    many, few = (msgspec.structs.replace(traced, batches=count) for count in (1200, 1))

    notes = rehearsal_notes(rehearsal(msgspec.structs.replace(IDLE, statements=(many, few))))

    assert notes[:2] == [
        "migrations/a.sql:3: 1,200 batches, 500 ms at most each; 12,000 rows changed",
        "migrations/a.sql:3: 1 batch, 500 ms at most each; 12,000 rows changed",
    ]


def test_calls_that_namesakes_share_are_inferred() -> None:
    shared = TableActivity(relation="public.t", traffic=1.0, calls=7.0, measured=True, shared=True)
    busy = msgspec.structs.replace(rehearsal(ONE_LOCK), activity=(shared,))

    assert "× 7 calls/min (inferred)" in rehearsal_text(busy)


def test_the_forecast_says_how_long_a_deployment_and_a_restore_take() -> None:
    assert forecast_text(rehearsal(WORKING)) == (
        "forecast: a deployment takes 14.8 s and the restart, a restore 20.0 s"
    )


def test_a_rehearsal_is_a_table_its_notes_and_its_forecast() -> None:
    assert rehearsal_text(rehearsal(ONE_LOCK, IDLE, ONE_LOCK)) == (
        "rehearsal of plan 0123456789ab on a copy of backup 20261120T113000Z-d1\n"
        "migration                      time   who waits, and how long           rewrite"
        "  full scan  WAL  rollback\n"
        "20260801_000000_create_orders  1.0 s  Share on public.t: writes, 1.0 s  –      "
        "  –          0 B  proven, 250 ms\n"
        "20260802_000000_add_total      2 ms   –                                 –      "
        "  –          0 B  no rollback script\n"
        "20260801_000000_create_orders  1.0 s  Share on public.t: writes, 1.0 s  –      "
        "  –          0 B  proven, 250 ms\n"
        "relation  what waits  how long, and how often             because of\n"
        "public.t  writes      1.0 s (measured) × calls not known  "
        "Share of migrations/a.sql:2, and 1 more, 2.0 s in all\n"
        "measured: seen on the copy, or counted on the live server meanwhile; inferred: the time "
        "of a whole statement, rows by statistics, an average since the counters began, calls that "
        "tables of one name share\n"
        "assumed: nobody else works on the copy, and it does not wait for its disk, so each time "
        "may be longer live; before it, a try waits for its locks for one rung of lock.timeout at "
        "most\n"
        "forecast: a deployment takes 16.0 s and the restart, a restore 20.0 s"
    )


def test_a_correction_is_shown_as_it_is_typed_and_with_all_it_does() -> None:
    given = plan(
        migrations=(),
        steps=steps("approval", "lock"),
        correction=correction("one", "two"),
        about=about(origin=changed(ORIGIN, commit=None), notes=("about 3 rows",)),
    )

    assert headline(given) == f"uat · shop · plan {given.digest[:12]} · stamp"
    assert plan_text(given).splitlines()[5:] == [
        "  steps      approval, lock",
        "  history    0 applied",
        "  task       invoke stamp --env uat --name=a '--reason=by hand'",
        "  does       one",
        "  does       two",
        "  made       2026-11-20 12:30:15 UTC by ann on ci-7",
        "  host       db.example.com",
        "  note       about 3 rows",
    ]


def test_a_plan_shows_where_it_is_for_and_what_it_was_made_from() -> None:
    sources = Sources(
        commit="c0ffee", changed=("notes.md",), files=(("restart.sh", "sha256:0123456789abcdef"),)
    )
    target = changed(TARGET, address="db:5432/shop")

    lines = plan_text(plan(target=target, sources=sources)).splitlines()

    assert "  address    db:5432/shop" in lines
    assert "  commit     c0ffee" in lines
    assert "  changed    notes.md" in lines
    assert "  file       restart.sh, sha256:0123456789ab" in lines
