"""A plan on a copy: what is seen of it, what fails it, what is kept of it, what is left behind."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pgwindlass.deployment.planner import current_plan
from pgwindlass.deployment.rehearsals import rehearse_now
from pgwindlass.deployment.work import open_work
from pgwindlass.errors import Refused
from pgwindlass.postgres.throwaway import PREFIX
from tests.fix_postgres import Server
from tests.fix_runner import Job
from tests.kit import WINDLASS, Project, Quiet, tables
from tests.prepared import Prepared, prepared

pytestmark = pytest.mark.sampled(3)

BASE = "20260801_000000_base"
NEXT = "20260802_000000_next"
EVENTS = """
create table events (id int primary key, kind text, note text);
create index events_kind on events (kind);
-- The server words these anew once they were dumped and restored.
create table worded (role varchar(20) default 'a', check (role in ('a', 'b')));
create view worded_a as select role from worded where role in ('a', 'c');
insert into events select i, 'k' || i % 3, case when i % 2 = 0 then 'n' end
from generate_series(1, 1000) i;
"""


def backed_up(home: Path, url: str, throwaway: str) -> Project:
    """Return a project whose first migration is applied, in uat, and backed up."""
    shop = Project(home, url, throwaway=throwaway)
    shop.migration(BASE, EVENTS, "drop view worded_a; drop table worded, events;")
    assert shop.run("deploy", "--env", "uat").code == 0
    assert shop.run("backup", "--env", "uat").code == 0
    return shop


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[[int], Server]
) -> Iterator[Prepared]:
    server = servers(16)
    home = tmp_path_factory.mktemp("rehearse") / "shop"
    with prepared(home, server, lambda home, url: backed_up(home, url, server.url())) as ready:
        yield ready


@pytest.fixture
def project(made: Prepared) -> Iterator[Project]:
    with made.again() as again:
        yield again


def rehearsed(project: Project) -> dict[str, object]:
    (one,) = project.json("rehearse", "--env", "uat")["migrations"]
    return dict(one)


def refused(project: Project) -> list[str]:
    ran = project.run("rehearse", "--env", "uat")
    assert ran.code == 1, ran.out
    return ran.error()


def leftover_copies() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def test_each_migration_is_watched_undone_compared_and_run_again(project: Project) -> None:
    project.migration(
        NEXT,
        "alter table events add column status int;\nalter table events alter kind set not null;",
        "alter table events alter kind drop not null;\nalter table events drop column status;",
    )

    found = project.json("rehearse", "--env", "uat")

    (one,) = found["migrations"]
    assert one["rolled_back"] is True
    assert one["lost"] == one["dropped"] == []
    first, second = one["statements"]
    assert first["where"] == f"migrations/{NEXT}.sql:1"
    assert first["locks"] == [["public.events", "AccessExclusiveLock"]]
    assert first["scans"] == []
    assert second["scans"] == [["public.events", 1000]]
    newest, _ = project.json("backup.list", "--env", "uat")
    assert found["backup"] == newest["manifest"]["key"].split("/")[-2]
    assert found["restore_seconds"] > 0
    with psycopg.connect(project.url) as connection:  # the database itself is as it was
        columns = connection.execute(
            "select attname from pg_attribute where attrelid = 'events'::regclass and attnum > 0"
        ).fetchall()
    assert [name for (name,) in columns] == ["id", "kind", "note"]


def test_a_rollback_that_forgets_an_index_fails(project: Project) -> None:
    project.migration(
        NEXT,
        "drop index events_kind; alter table events add column a int;",
        "alter table events drop column a;",
    )

    what, state, next_step = refused(project)

    assert what == (
        f"✗ {NEXT}: its rollback does not give the schema back: index public.events_kind is missing"
    )
    assert state == "  state: nothing was changed; seen on the copy"
    assert "mend the rollback script" in next_step


def test_a_rollback_that_leaves_something_fails(project: Project) -> None:
    project.migration(NEXT, "alter table events add column a int;", "select 1;")

    assert "table public.events differs: + a integer" in refused(project)[0]


def test_the_order_of_columns_cannot_be_given_back_and_need_not(project: Project) -> None:
    project.migration(
        NEXT,
        "alter table events drop column kind;",
        "alter table events add column kind text; create index events_kind on events (kind);",
    )

    found = rehearsed(project)

    assert found["rolled_back"] is True
    assert found["lost"] == ["public.events.kind without 1,000 of its 1,000 values"]


def test_rows_and_values_that_a_rollback_does_not_bring_back_are_counted(project: Project) -> None:
    project.migration(
        NEXT,
        "delete from events where id > 900; update events set note = 'x' where id <= 10;",
        "update events set note = null where id <= 10;",
    )
    assert rehearsed(project)["lost"] == ["public.events: 100 rows fewer"]

    project.migration(
        NEXT, "update events set kind = upper(kind), note = 'x';", "update events set note = null;"
    )
    assert rehearsed(project)["lost"] == [
        "public.events.kind with other values",
        "public.events.note without 500 of its 500 values",
    ]


def test_rows_that_a_foreign_key_takes_along_are_counted(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "create table parts (id int references events on delete cascade);"
            "insert into parts select generate_series(1, 20)"
        )
    project.run("backup", "--env", "uat")
    project.migration(
        NEXT,
        "delete from events where id <= 5;",
        "insert into events select i, 'k' || i % 3, case when i % 2 = 0 then 'n' end "
        "from generate_series(1, 5) i;",
    )

    assert rehearsed(project)["lost"] == ["public.parts: 5 rows fewer"]


def test_a_rollback_that_drops_a_column_with_data_says_so(project: Project) -> None:
    project.migration(
        NEXT,
        "alter table events add column status int; update events set status = 200;",
        "alter table events drop column status;",
    )

    found = rehearsed(project)

    assert found["lost"] == []
    assert found["dropped"] == ["public.events.status with 1,000 values"]
    ran = project.run("rehearse", "--env", "uat")
    assert f"{NEXT}: its rollback drops public.events.status with 1,000 values" in ran.out


def test_a_column_that_is_renamed_back_is_not_dropped(project: Project) -> None:
    project.migration(
        NEXT,
        "alter table events rename column note to words;",
        "alter table events rename column words to note;",
    )

    found = rehearsed(project)

    assert found["lost"] == found["dropped"] == []


def test_a_missing_rollback_is_named(project: Project) -> None:
    project.migration(NEXT, "create table other (id int);", None)
    project.deploy_yml.write_text(
        project.deploy_yml.read_text().replace("tier: acceptance", "tier: development")
    )

    found = rehearsed(project)

    assert found["rolled_back"] is False
    assert found["not_rolled_back"] == "no rollback script"


def test_what_cannot_run_in_a_transaction_is_rehearsed_too(project: Project) -> None:
    project.migration(
        NEXT,
        "create index concurrently events_note on events (note);",
        "drop index concurrently events_note;",
    )

    found = rehearsed(project)

    assert found["rolled_back"] is True
    assert found["transactional"] is False
    statements = found["statements"]
    assert isinstance(statements, list)
    assert statements[0]["indexes"] == ["public.events_note"]


def test_a_migration_that_fails_on_the_data_fails_the_rehearsal(project: Project) -> None:
    project.migration(NEXT, "alter table events alter note set not null;", "select 1;")

    what, state, _ = refused(project)

    assert f'migrations/{NEXT}.sql:1: column "note" of relation "events" contains null' in what
    assert "nothing was changed" in state


def test_the_mask_runs_before_the_migrations(project: Project) -> None:
    (project.home / "mask.sql").write_text("update events set note = 'masked', kind = 'm';")
    project.deploy_yml.write_text(project.deploy_yml.read_text() + "rehearsal: {mask: mask.sql}\n")
    project.migration(
        NEXT, "select 1;", "select 1;", "select bool_and(note = 'masked') from events;"
    )

    assert rehearsed(project)["rolled_back"] is True

    (project.home / "mask.sql").write_text("update event set note = 'masked';")
    assert 'mask.sql: the mask failed: relation "event" does not exist' in refused(project)[0]
    (project.home / "mask.sql").unlink()
    ran = project.run("rehearse", "--env", "uat")
    assert ran.code == 2
    assert "rehearsal.mask: mask.sql cannot be read" in ran.err


def test_without_a_young_proven_backup_of_this_history_one_is_taken(project: Project) -> None:
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    first = project.json("rehearse", "--env", "uat")["backup"]
    project.deploy_yml.write_text(project.deploy_yml.read_text() + "rehearsal: {backup_age: 1ms}\n")

    ran = project.run("rehearse", "--env", "uat", "--json")

    assert "no proven backup of this history and schema is younger than 1ms: taking one" in ran.err
    assert json.loads(ran.out)["backup"] != first
    assert len(project.json("backup.list", "--env", "uat")) == 3  # the deployment's own, and two


def test_where_a_backup_is_of_another_schema_another_one_is_taken(project: Project) -> None:
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("alter table events add column by_hand int")
    known = {one["manifest"]["key"] for one in project.json("backup.list", "--env", "uat")}

    ran = project.run("rehearse", "--env", "uat", "--json")

    assert "no proven backup of this history and schema is younger than 1d: taking one" in ran.err
    chosen = json.loads(ran.out)["backup"]
    assert chosen not in {key.split("/")[-2] for key in known}
    assert project.json("rehearse", "--env", "uat")["backup"] == chosen


def test_a_backup_whose_schema_is_not_known_is_not_chosen(project: Project) -> None:
    project.migration(NEXT, "select 1;", "select 1;")
    manifests = list((project.home / "backups").rglob("manifest.json"))
    for file in manifests:  # as they were written before the fingerprint stood in them
        written = json.loads(file.read_text())
        assert len(written.pop("schema_fingerprint")) == 64
        file.write_text(json.dumps(written))

    chosen = project.json("rehearse", "--env", "uat")["backup"]

    assert chosen not in {file.parent.name for file in manifests}


def test_a_schema_changed_between_plan_and_backup_is_refused(project: Project) -> None:
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    with (
        psycopg.connect(project.url, autocommit=True) as other,
        open_work(project.settings("uat"), deployment_id="01TEST", reporter=Quiet()) as work,
    ):
        other.execute("create table by_hand (id int)")
        plan = current_plan(work)
        other.execute("alter table by_hand add a int")

        with pytest.raises(Refused, match="the schema was changed by somebody else") as caught:
            rehearse_now(plan, work)

    assert caught.value.state == "nothing was changed; the backup stays, and is not proven"


def test_nothing_pending_is_nothing_to_rehearse(project: Project) -> None:
    ran = project.run("rehearse", "--env", "uat")

    assert ran.code == 0
    assert ran.out == "nothing to rehearse: no migration is pending\n"


def production(project: Project) -> None:
    """Let the database be production's, which rehearses; the rest of its policy stands."""
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("steps: {rehearsal: off}", "steps: {}"))
    with psycopg.connect(project.url) as connection:
        connection.execute(
            "update windlass.identity set environment = 'production', tier = 'production'"
        )


def test_an_approver_sees_the_rehearsal_and_it_runs_once(project: Project) -> None:
    production(project)
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )

    first = project.run("deploy", "--env", "production")
    second = project.run("deploy", "--env", "production")

    assert first.code == second.code == 3  # nobody approved
    for ran in (first, second):
        lines = [line.split("  ") for line in ran.err.splitlines() if NEXT in line]
        cells = [cell.strip() for cell in lines[0] if cell.strip()]
        assert cells[2].startswith("AccessExclusive on public.events: reads and writes, ")
        assert cells[-1].startswith("proven, ")
    assert "1 on a copy in" in first.err
    assert " UTC, 1 rolled back" not in first.err
    assert " UTC, 1 rolled back" in second.err  # the same plan: the same rehearsal
    plan = project.run("plan", "--env", "production")
    assert "rehearsal of plan" in plan.out


def looked(project: Project) -> dict[str, tuple[str, str]]:
    """What doctor found of production, and what it calls a problem."""
    checks = project.json("doctor", "--env", "production")
    return {one["name"]: (one["found"], one["problem"]) for one in checks}


def test_doctor_says_on_what_a_rehearsal_would_run(project: Project) -> None:
    assert "rehearsal" not in looked(project)  # switched off
    project.set_backups()
    production(project)
    found, problem = looked(project)["rehearsal"]
    where = r"on a server that is installed here, (in a sandbox|without a sandbox: bubblewrap .+)"
    assert re.fullmatch(where, found) and not problem
    text = project.deploy_yml.read_text()
    project.set_backups("sandbox: off")
    assert looked(project)["rehearsal"][0].endswith("without a sandbox, as backups.sandbox says")
    project.deploy_yml.write_text(text)
    assert "mask" not in looked(project)

    text = project.deploy_yml.read_text()
    named = text.replace('backups"}', f'backups", throwaway: "{project.url}"}}')
    project.deploy_yml.write_text(named + "rehearsal: {mask: mask.sql}\n")
    checks = looked(project)
    assert checks["rehearsal"] == ("on the throwaway server, PostgreSQL 16", "")
    assert checks["mask"][0].startswith("rehearsal.mask: mask.sql cannot be read")
    assert checks["mask"][1] == "name an SQL file beside deploy.yml, or remove the key"
    (project.home / "mask.sql").write_text("select 1;")
    assert looked(project)["mask"] == ("mask.sql", "")

    project.deploy_yml.write_text(
        text.replace('backups"}', 'backups", throwaway: "postgresql://127.0.0.1:9/none"}')
    )
    what, problem = looked(project)["rehearsal"]
    assert what.startswith("the database cannot be reached") and problem


def test_without_a_server_a_rehearsal_is_a_problem_where_it_is_required(project: Project) -> None:
    production(project)
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    project.set_backups()
    lacks = "the server here lacks postgis"
    with psycopg.connect(project.url, autocommit=True) as connection:  # an extension nobody has
        connection.execute("update pg_extension set extname = 'postgis' where extname = 'plpgsql'")

    assert looked(project)["rehearsal"] == (f"would be skipped: {lacks}", "")

    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("steps: {}", "steps: {rehearsal: required}"))
    what, problem = looked(project)["rehearsal"]
    assert what == f"required, but not possible: {lacks}"
    assert problem.startswith("write throwaway: URL under backups")
    refused = project.run("deploy", "--env", "production")
    assert refused.code == 3
    assert refused.error()[0] == f"✗ preflight: rehearsal: {what}"
    broken = project.run("deploy", "--env", "production", "--break-glass", "the site is down")
    assert "✓ preflight" in broken.err  # what is left out is not asked for


def test_a_plan_is_rehearsed_where_the_policy_has_it(project: Project) -> None:
    job = Job(project)
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    off = project.run("plan", "--env", "production", "--rehearse")
    assert "production rehearses nothing, by its policy" in off.err

    production(project)
    ran = job.run("plan", "--env", "production", "--rehearse")

    assert ran.code == 0, ran.err
    assert "1 on a copy in" in ran.err
    assert f"| `{NEXT}` | " in job.summary
    assert "| `AccessExclusive on public.events: " in job.summary


def test_a_lock_held_too_long_is_refused_unless_there_is_a_reason(project: Project) -> None:
    production(project)
    project.deploy_yml.write_text(
        project.deploy_yml.read_text() + "rehearsal: {blocks_at_most: 200ms}\n"
    )
    sql = "alter table events add column a int;\nselect pg_sleep(0.3);"
    project.migration(NEXT, sql, "alter table events drop column a;")

    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    assert (
        f"rehearsal: migrations/{NEXT}.sql:1: AccessExclusiveLock on public.events held reads and "
        "writes up for 0."
    ) in ran.err
    assert "at most 200ms is allowed" in ran.err

    allowed = f"-- windlass: allow long-lock nobody works at night\n{sql}"
    project.migration(NEXT, allowed, "alter table events drop column a;")
    ran = project.run("deploy", "--env", "production")
    assert "has no approval" in ran.err  # it came past the rehearsal


def test_rows_that_stay_locked_too_long_are_refused_and_the_table_says_how_many(
    project: Project,
) -> None:
    production(project)
    project.deploy_yml.write_text(
        project.deploy_yml.read_text() + "rehearsal: {blocks_at_most: 200ms}\n"
    )
    change = "update events set id = id;\nselect pg_sleep(0.3);"
    sql = f"-- windlass: allow every-row all of them\n{change}"
    project.migration(NEXT, sql, "select 1;")

    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    assert "row locks on public.events held writes of " in ran.err
    assert "at most 200ms is allowed" in ran.err

    allowed = f"-- windlass: allow long-lock nobody works at night\n{sql}"
    project.migration(NEXT, allowed, "select 1;")
    ran = project.run("rehearse", "--env", "production")
    line = next(line for line in ran.out.splitlines() if line.startswith("public.events "))
    assert "writes of " in line
    assert "(measured) × " in line
    assert f"{NEXT}.sql:" in line
    assert "pg_stat_statements is not installed" in ran.out


def test_a_lock_of_a_hot_table_needs_a_word_in_the_file_where_it_is_only_referred_to_too(
    project: Project,
) -> None:
    project.deploy_yml.write_text(
        project.deploy_yml.read_text() + "hot_tables: [{table: events}]\n"
    )
    sql = "create table parts (event int references events);"
    project.migration(NEXT, sql, "drop table parts;")

    unrehearsed = project.run("deploy", "--env", "uat")
    production(project)
    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    what, _, next_step = ran.error()[:3]
    assert f"{NEXT}.sql:1: public.events is a hot table" in what
    assert "ShareRowExclusiveLock on public.events held writes up" in what
    assert "-- windlass: allow hot-table public.events REASON" in next_step
    assert unrehearsed.code == 3
    assert f"{NEXT} names it, and is not rehearsed here" in unrehearsed.error()[0]

    project.migration(
        NEXT, f"-- windlass: allow hot-table events for a millisecond\n{sql}", "drop table parts;"
    )
    ran = project.run("deploy", "--env", "production")
    assert "has no approval" in ran.err  # it came past the rehearsal


def test_a_lock_is_held_through_the_verify_script(project: Project) -> None:
    production(project)
    project.deploy_yml.write_text(
        project.deploy_yml.read_text() + "rehearsal: {blocks_at_most: 500ms}\n"
    )
    slow = "select pg_sleep(1) is not null;"
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;", slow
    )

    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    assert "held reads and writes up for 1." in ran.err
    # Outside a transaction nothing is held meanwhile.
    project.migration(
        NEXT,
        "-- windlass: transaction=off\nalter table events add column a int;",
        "alter table events drop column a;",
        slow,
    )
    assert "has no approval" in project.run("deploy", "--env", "production").err


def test_a_rehearsal_goes_with_its_backup(project: Project) -> None:
    project.migration(
        NEXT, "alter table events add column a int;", "alter table events drop column a;"
    )
    backup = project.json("rehearse", "--env", "uat")["backup"]
    folder = next((project.home / "backups").rglob(f"{backup}/manifest.json")).parent
    assert len(list(folder.glob("rehearsal-*.json"))) == 1
    project.set_backups("keep: {last: 1}")
    project.run("deploy", "--env", "uat")

    project.run("backup", "--env", "uat")

    assert not folder.exists()
    assert tables(project.url) >= {"events"}


def test_a_killed_rehearsal_leaves_nothing_once_the_next_has_run(project: Project) -> None:
    # In a sandbox its server ends with it; this one lives on.
    project.set_backups("sandbox: off")
    project.migration(NEXT, "select pg_sleep(5);", "select 1;")
    child = subprocess.Popen(
        [str(WINDLASS), "rehearse", "--env", "uat"],
        cwd=project.home,
        env=project.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    mine: list[Path] = []
    pids: list[str] = []
    deadline = time.monotonic() + 60
    seen = 0  # how often in a row: while the migration runs, which sleeps, and its server stays
    while seen < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
        mine = [place for place in leftover_copies() if _of(place, child.pid)]
        pids = [_server_of(place) for place in mine]
        seen = seen + 1 if any(map(_serves_a_select, pids)) else 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert seen == 5
    project.migration(NEXT, "select 1;", "select 1;")

    assert rehearsed(project)["rolled_back"] is True

    # Another test's run may be the one that is just clearing it away.
    deadline = time.monotonic() + 15
    left = [*mine, *pids]
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [*(place for place in mine if place.exists()), *filter(_runs, pids)]
    assert left == []


def _runs(pid: str) -> bool:
    """Tell whether a process is there, and not dead and waiting for its parent to look."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _server_of(place: Path) -> str:
    """Return the process of the server in a throw-away directory; empty where none runs."""
    for file in place.glob("*/postmaster.pid"):
        with suppress(FileNotFoundError):
            return next(iter(file.read_text().split()), "")
    return ""


def _serves_a_select(pid: str) -> bool:
    asked = ["ps", "-o", "args=", "--ppid", pid or "0"]
    return " SELECT" in subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def _of(place: Path, pid: int) -> bool:
    """Tell whether a process holds a throw-away directory."""
    held = subprocess.run(
        ["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False
    )
    return str(place) in held.stdout and any(place.glob("*/postmaster.pid"))
