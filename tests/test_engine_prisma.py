"""The engine `prisma` beside the real Prisma CLI: each reads what the other wrote as its own."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgwindlass.engines.prisma.engine import ADVISORY_LOCK
from tests.fix_prisma import PrismaProject
from tests.kit import tables

pytestmark = pytest.mark.sampled(3)

INIT = "20260801000000_init"
LAST_ERROR = "20260802000000_add_last_error"
ITEMS = 'create table "Item" (id int primary key);'
COLUMN = 'ALTER TABLE "Item" ADD COLUMN last_error TEXT;'
NO_COLUMN = 'ALTER TABLE "Item" DROP COLUMN last_error;'
UP_TO_DATE = "Database schema is up to date!"
NONE_PENDING = "No pending migrations to apply."


@pytest.fixture
def shop(prisma: Callable[[], PrismaProject]) -> PrismaProject:
    """Guide 001: a table, and a column that is to come."""
    found = prisma()
    found.migration(INIT, ITEMS, 'drop table "Item";')
    found.migration(
        LAST_ERROR,
        COLUMN,
        NO_COLUMN,
        "select count(*) = 1 from pg_attribute where attname = 'last_error' and attrelid = "
        "'\"Item\"'::regclass;",
    )
    return found


def rows(shop: PrismaProject) -> list[tuple[object, ...]]:
    with psycopg.connect(shop.project.url) as connection:
        return connection.execute(
            "select migration_name, finished_at is not null, rolled_back_at is not null, "
            "applied_steps_count from _prisma_migrations order by started_at"
        ).fetchall()


def states(shop: PrismaProject) -> dict[str, str]:
    found = shop.project.json("status", "--env", "uat")["migrations"]
    return {one["name"]: one["state"] for one in found}


def test_after_our_deployment_the_real_cli_has_nothing_to_do(shop: PrismaProject) -> None:
    ran = shop.project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert rows(shop) == [(INIT, True, False, 1), (LAST_ERROR, True, False, 1)]
    assert UP_TO_DATE in shop.cli("status").text
    done = shop.cli("deploy")
    assert (done.code, NONE_PENDING in done.text) == (0, True)
    assert "already" not in ran.err


def test_after_the_real_cli_we_have_nothing_to_do(shop: PrismaProject) -> None:
    assert shop.cli("deploy").code == 0

    assert states(shop) == {INIT: "applied", LAST_ERROR: "applied"}
    ran = shop.project.run("deploy", "--env", "uat")
    assert ran.code == 0, ran.err
    assert "0 pending migrations" in ran.err


def test_checksums_are_alike_with_either_line_end_and_an_edit_is_seen(
    shop: PrismaProject,
) -> None:
    text = f"-- a comment\r\n{ITEMS}\r\n"
    other = text.replace("\r\n", "\n")
    shop.migration(INIT, text)
    assert shop.cli("deploy").code == 0
    assert states(shop)[INIT] == "applied"

    shop.migration(INIT, other)
    assert states(shop)[INIT] == "applied"

    shop.migration(INIT, text + "-- edited")
    assert states(shop)[INIT] == "edited"
    assert shop.cli("status").code == 0  # which never says so
    ran = shop.project.run("deploy", "--env", "uat")
    assert ran.code == 3
    assert f"{INIT} is applied and was edited after it was applied" in ran.err


@pytest.fixture
def failed(shop: PrismaProject) -> PrismaProject:
    """The second migration failed when the real CLI ran it."""
    shop.migration(LAST_ERROR, "select 1 / 0;", "select 1;")
    ran = shop.cli("deploy")
    assert ran.code == 1
    assert "division by zero" in ran.text
    return shop


def test_a_migration_that_failed_there_is_refused_here(failed: PrismaProject) -> None:
    ran = failed.project.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert f"P3009: {LAST_ERROR} failed when the tool itself ran it" in ran.err
    status = failed.project.run("status", "--env", "uat")
    assert status.code == 3
    assert f"failed        {LAST_ERROR}" in status.out
    assert "division by zero" in status.out
    assert "P3009" in failed.cli("deploy").text  # as there


@pytest.mark.parametrize("by", ["windlass", "prisma"])
def test_resolved_as_rolled_back_it_is_pending_again(failed: PrismaProject, by: str) -> None:
    if by == "windlass":
        ran = failed.project.run(
            "unstamp",
            "--env",
            "uat",
            "--name",
            LAST_ERROR,
            "--reason",
            "undone by hand",
            CONFIRM_HISTORY="yes",
        )
        assert ran.code == 0, ran.err
    else:
        assert failed.cli("resolve", "--rolled-back", LAST_ERROR).code == 0
    assert rows(failed)[1] == (LAST_ERROR, False, True, 0)
    assert states(failed)[LAST_ERROR] == "pending"
    failed.migration(LAST_ERROR, COLUMN, NO_COLUMN)

    ran = failed.project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert NONE_PENDING in failed.cli("deploy").text


@pytest.mark.parametrize("by", ["windlass", "prisma"])
def test_resolved_as_applied_it_is_applied(failed: PrismaProject, by: str) -> None:
    if by == "windlass":
        ran = failed.project.run(
            "stamp",
            "--env",
            "uat",
            "--name",
            LAST_ERROR,
            "--reason",
            "finished by hand",
            CONFIRM_HISTORY="yes",
        )
        assert ran.code == 0, ran.err
    else:
        assert failed.cli("resolve", "--applied", LAST_ERROR).code == 0

    assert rows(failed)[1:] == [(LAST_ERROR, False, True, 0), (LAST_ERROR, True, False, 0)]
    assert states(failed)[LAST_ERROR] == "applied"
    assert NONE_PENDING in failed.cli("deploy").text


def test_what_cannot_be_resolved_is_refused_with_prismas_codes(shop: PrismaProject) -> None:
    assert shop.project.run("deploy", "--env", "uat").code == 0
    again = ("--env", "uat", "--name", INIT, "--reason", "why")

    assert "is applied; expected pending" in shop.project.run("stamp", *again).err
    assert "P3008" in shop.cli("resolve", "--applied", INIT).text
    ran = shop.project.run("unstamp", *again, CONFIRM_HISTORY="yes")
    assert ran.code == 3
    assert f"P3012: {INIT} is not in a failed state" in ran.err
    assert "P3012" in shop.cli("resolve", "--rolled-back", INIT).text


def test_a_name_that_nobody_knows_has_prismas_codes(shop: PrismaProject) -> None:
    assert shop.project.run("deploy", "--env", "uat").code == 0
    nobody = ("--env", "uat", "--name", "20260809000000_nobody", "--reason", "why")

    ran = shop.project.run("stamp", *nobody)
    said = shop.cli("resolve", "--applied", "20260809000000_nobody").text
    assert (ran.code, "P3017" in said, "20260809000000_nobody" in said) == (2, True, True)
    assert ran.error()[0].startswith(
        "✗ P3017: prisma/migrations/20260809000000_nobody/migration.sql: no such migration"
    )
    ran = shop.project.run("unstamp", *nobody)
    assert (ran.code, ran.error()[0]) == (
        3,
        "✗ P3011: 20260809000000_nobody was never applied, so it cannot be marked as rolled back",
    )
    assert "P3011" in shop.cli("resolve", "--rolled-back", "20260809000000_nobody").text


def test_a_failing_migration_says_what_prisma_says_of_it(shop: PrismaProject) -> None:
    """With a driver of its own the real one leaves out code and SQLSTATE, which P3018 has."""
    shop.migration(LAST_ERROR, f"{COLUMN}\nselect 1 / 0;", NO_COLUMN)

    ran = shop.project.run("deploy", "--env", "uat")
    said = shop.cli("deploy").text

    assert ran.error()[0] == (
        f"✗ migrate: prisma/migrations/{LAST_ERROR}/migration.sql:2: P3018: division by zero "
        "[22012]"
    )
    for one in (LAST_ERROR, "division by zero"):
        assert one in said, said


def test_a_rollback_makes_it_pending_for_both(shop: PrismaProject) -> None:
    assert shop.project.run("deploy", "--env", "uat").code == 0

    ran = shop.project.run("rollback", "--env", "uat", "--name", LAST_ERROR, CONFIRM_ROLLBACK="yes")

    assert ran.code == 0, ran.err
    assert rows(shop)[1] == (LAST_ERROR, True, True, 1)
    assert states(shop) == {INIT: "applied", LAST_ERROR: "pending"}
    done = shop.cli("deploy")
    assert done.code == 0
    assert LAST_ERROR in done.text
    assert states(shop)[LAST_ERROR] == "applied"


def test_a_database_with_tables_and_no_history_asks_for_a_baseline(shop: PrismaProject) -> None:
    with psycopg.connect(shop.project.url) as connection:
        connection.execute(ITEMS.encode())
    ran = shop.project.run("deploy", "--env", "uat")
    assert ran.code == 3
    assert "P3005: the schema public has tables (Item is one), and no history" in ran.err
    assert "P3005" in shop.cli("deploy").text

    ran = shop.project.run(
        "baseline",
        "--env",
        "uat",
        "--name",
        INIT,
        "--reason",
        "made by hand",
        CONFIRM_HISTORY="yes",
    )

    assert ran.code == 0, ran.err
    assert states(shop) == {INIT: "applied", LAST_ERROR: "pending"}
    done = shop.cli("deploy")
    assert done.code == 0
    assert INIT not in done.text.partition("have been applied")[2]


def test_the_real_cli_waits_for_our_deployment(shop: PrismaProject) -> None:
    shop.migration(LAST_ERROR, f"{COLUMN} select pg_sleep(6);", NO_COLUMN)
    codes: list[int] = []

    def deploy() -> None:
        codes.append(shop.project.run("deploy", "--env", "uat").code)

    thread = threading.Thread(target=deploy)
    thread.start()
    deadline = time.monotonic() + 20
    while "Item" not in tables(shop.project.url) and time.monotonic() < deadline:
        time.sleep(0.05)
    other = shop.start("deploy")
    thread.join()
    text, _ = other.communicate(timeout=60)

    assert codes == [0]
    assert NONE_PENDING in text, text
    assert rows(shop) == [(INIT, True, False, 1), (LAST_ERROR, True, False, 1)]


def test_we_wait_for_the_real_cli(shop: PrismaProject) -> None:
    with psycopg.connect(shop.project.url, autocommit=True) as connection:
        connection.execute("set application_name = 'prisma'")
        connection.execute("select pg_advisory_lock(%s)", (ADVISORY_LOCK,))

        ran = shop.project.run("deploy", "--env", "uat")

    assert ran.code == 3
    assert "another deployment holds the lock: prisma from " in ran.err
    assert "Item" not in tables(shop.project.url)


def test_a_concurrent_build_is_recorded_once_it_stands(shop: PrismaProject) -> None:
    index = "20260803000000_index"
    shop.migration(
        index,
        'create index concurrently item_error on "Item" (last_error);',
        "drop index concurrently item_error;",
    )

    assert shop.project.run("deploy", "--env", "uat").code == 0

    assert states(shop)[index] == "applied"
    assert UP_TO_DATE in shop.cli("status").text


def test_a_rehearsal_and_a_plan_know_prismas_files(shop: PrismaProject) -> None:
    shop.migration(INIT, ITEMS)
    assert shop.project.run("migrate", "--env", "dev", "--to", INIT).code == 0

    found = shop.project.json("rehearse", "--env", "uat")["migrations"]
    plan = shop.project.json("plan", "--env", "uat")["plan"]

    assert [(one["name"], one["rolled_back"]) for one in found] == [(LAST_ERROR, True)]
    assert found[0]["statements"][0]["where"] == f"prisma/migrations/{LAST_ERROR}/migration.sql:1"
    assert plan["engine"] == "prisma"


def test_create_writes_where_prisma_looks(shop: PrismaProject) -> None:
    made = shop.project.json("create", "--name", "add_more")["created"]

    assert [Path(path).name for path in made] == ["migration.sql", "rollback.sql"]
    assert "add_more" in shop.cli("status").text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p / "migration_lock.toml").write_text('provider = "mysql"\n'), "P3019"),
        (lambda p: (p / INIT / "migration.sql").unlink(), "P3015"),
        (lambda p: (p / INIT).rename(p / ("x" * 201)), "P3010"),
        (lambda p: (p / INIT / "ops.json").write_text("{}"), "Prisma 8"),
    ],
)
def test_what_is_wrong_on_disk_is_named(
    shop: PrismaProject, change: Callable[[Path], object], said: str
) -> None:
    change(shop.migrations)

    ran = shop.project.run("status", "--env", "uat")

    assert ran.code == 2
    assert said in ran.err
    assert ran.err.startswith("✗ prisma/migrations")
