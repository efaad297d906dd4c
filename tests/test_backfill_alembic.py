"""A backfill beside a revision: recorded with it, rehearsed with it, run by its own task."""

from collections.abc import Callable
from pathlib import Path

from pgwindlass.engines import open_engine
from pgwindlass.engines.alembic.backfills import AlembicBackfills
from tests.fix_alembic import AlembicProject

FIRST = "1a2b3c4d5e6f"
FILL = """-- windlass: backfill table=error_events batch=9
update error_events set note = 'n' || id where note is null;
"""


def require_the_planned_text_is_recorded(made: AlembicProject, file: Path) -> None:
    engine = open_engine(made.project.settings("uat").shared.migrations, made.project.home)
    assert isinstance(engine.backfills, AlembicBackfills)
    (migration,) = (each for each in engine.files.list() if each.name == "second")
    recorded = engine.backfills.recorded(migration, "up")
    file.write_text(FILL.replace("'n'", "'x'"))
    assert engine.backfills.recorded(migration, "up") == recorded
    file.write_text(FILL)


def test_a_revision_leaves_its_backfill_to_a_job(alembic: Callable[..., AlembicProject]) -> None:
    made = alembic("error_events")
    assert made.project.run("migrate", "--env", "dev").code == 0
    made.sql(
        "insert into error_events (source, payload) select 'a', '{}' from generate_series(1, 40)"
    )
    made.revision(
        "second",
        FIRST,
        'op.add_column("error_events", sa.Column("note", sa.Text()))',
        'op.drop_column("error_events", "note")',
    )
    file = made.versions / "second_test_backfill.sql"
    file.write_text(FILL + "select 1;\n")
    (made.versions / "second_test_verify.sql").write_text(
        "select count(note) = count(*) from error_events;\n"
    )

    wrong = made.project.run("plan", "--env", "uat")
    assert wrong.code == 2
    assert "second_test_backfill.sql:3: this statement is behind a backfill" in wrong.err
    file.write_text(FILL)
    plan = made.project.run("plan", "--env", "uat")
    assert "second: error_events by its primary key, left to invoke backfill.run\n" in plan.out
    assert FILL in plan.out
    require_the_planned_text_is_recorded(made, file)
    deployed = made.project.run("deploy", "--env", "uat", "--yes")
    assert deployed.code == 0, deployed.err
    assert made.sql("select count(*), count(note) from error_events") == [(40, 0)]
    ran = made.project.run("backfill.run", "--env", "uat")

    assert ran.code == 0, ran.err
    assert made.sql("select count(*), count(note) from error_events") == [(40, 40)]
    assert "second: 1 verify scripts hold" in ran.err
    rolled = made.project.run(
        "rollback", "--env", "uat", "--steps", "1", "--lossy", CONFIRM_ROLLBACK="yes"
    )
    assert rolled.code == 0, rolled.err
    assert made.sql("select count(*) from windlass.backfill") == [(0,)]
